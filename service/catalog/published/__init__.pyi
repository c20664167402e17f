# The face of this room: what others may import.
from .downloading import fetch_published as fetch_published
from .places import Place as Place
from .places import read_place as read_place
from .places import read_places as read_places
