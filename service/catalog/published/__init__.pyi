# The face of this room: what others may import.
from .downloading import fetch_published as fetch_published
from .places import read_place as read_place
from .places import read_places as read_places
from .supernets import Downloaded as Downloaded
from .supernets import download_supernet as download_supernet
