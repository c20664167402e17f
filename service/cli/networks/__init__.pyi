# The face of this room: what others may import.
from .commands import app as app
from .exporting import export as export
from .searching import front as front
from .searching import predict as predict
from .searching import search as search
