# The face of this room: what others may import.
from .energy import EnergyMeter as EnergyMeter
from .energy import added as added
from .energy import check_country as check_country
from .files import exclusive as exclusive
from .files import write_atomically as write_atomically
from .files import write_folder as write_folder
from .memory import give_back_memory as give_back_memory
from .memory import keep_freed_memory as keep_freed_memory
from .parallel import cores as cores
from .parallel import in_order as in_order
