# The face of this room: what others may import.
from .addresses import address_of as address_of
from .links import Links as Links
from .links import Places as Places
from .web_runtime import WEB_INSTALL as WEB_INSTALL
from .web_runtime import WEB_NAME as WEB_NAME
from .web_runtime import WebRuntime as WebRuntime
