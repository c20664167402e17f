# The face of this room: what others may import.
from .app import configure_logging as configure_logging
from .app import create_app as create_app
from .dependencies import open_service as open_service
