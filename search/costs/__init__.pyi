# The face of this room: what others may import.
from .costs import Cost as Cost
from .costs import CostModel as CostModel
from .costs import Factor as Factor
from .costs import Floats as Floats
from .costs import latency_costs as latency_costs
from .costs import macs_costs as macs_costs
from .costs import params_costs as params_costs
from .costs import scaled as scaled
from .costs import weighted as weighted
from .limits import CostInputs as CostInputs
from .limits import Limit as Limit
from .limits import register_limit as register_limit
from .limits import registered_limits as registered_limits
from .limits import unregister_limit as unregister_limit
from .peak_memory import peak_memory_costs as peak_memory_costs
