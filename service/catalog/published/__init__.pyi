# The face of this room: what others may import.
from .downloading import fetch_published as fetch_published
from .downloading import is_cached as is_cached
from .networks import describe_network as describe_network
from .networks import summarize_networks as summarize_networks
from .places import Place as Place
from .places import read_place as read_place
from .places import read_places as read_places
from .supernets import Downloaded as Downloaded
from .supernets import download_supernet as download_supernet
