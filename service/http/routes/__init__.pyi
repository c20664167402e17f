# The face of this room: what others may import.
from . import devices as devices
from . import explanations as explanations
from . import links as links
from . import networks as networks
from . import searches as searches
from . import supernets as supernets
from . import trainings as trainings
