# The face of this room: what others may import.
from .devices import Devices as Devices
from .kept import KeptTable as KeptTable
from .kept import OpenStore as OpenStore
from .listing import summarize_devices as summarize_devices
from .opening import open_devices as open_devices
from .opening import store_opener as store_opener
