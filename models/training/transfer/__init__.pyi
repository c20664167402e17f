# The face of this room: what others may import.
from .adaptation import Adaptation as Adaptation
from .adaptation import plan_adaptation as plan_adaptation
from .adaptation import scratch_recipe as scratch_recipe
from .base_weights import check_base as check_base
from .base_weights import take_over as take_over
