# The face of this room: what others may import.
from .design import design_networks as design_networks
from .fit import Costs as Costs
from .fit import fit_costs as fit_costs
from .fit import fit_layers as fit_layers
from .fit import fit_table as fit_table
from .fit import folds as folds
from .layer_costs import Floats as Floats
from .layer_costs import as_costs as as_costs
from .layer_costs import as_vector as as_vector
from .layer_costs import layer_features as layer_features
from .profiles import parse_head as parse_head
from .profiles import parse_profile as parse_profile
from .profiles import profile_of_table as profile_of_table
from .whole_networks import WholeNetworks as WholeNetworks
