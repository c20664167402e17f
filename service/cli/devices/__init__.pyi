# The face of this room: what others may import.
from .commands import app as app
from .linking import try_ as try_
from .measuring import measure_unknown as measure_unknown
