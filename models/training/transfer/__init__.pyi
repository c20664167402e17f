# The face of this room: what others may import.
from .adaptation import plan_adaptation as plan_adaptation
from .adaptation import scratch_recipe as scratch_recipe
from .base_weights import take_over as take_over
