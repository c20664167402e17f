# The face of this room: what others may import.
from .commands import app as app
