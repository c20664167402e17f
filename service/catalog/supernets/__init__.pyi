# The face of this room: what others may import.
from .importing import SEARCHES as SEARCHES
from .importing import import_supernet as import_supernet
from .importing import read_calibration as read_calibration
from .importing import write_checkpoint as write_checkpoint
from .upkeep import FIT_SUBNETS as FIT_SUBNETS
from .upkeep import TEST_SUBNETS as TEST_SUBNETS
from .upkeep import collect_measured as collect_measured
from .upkeep import compare_with_alone as compare_with_alone
from .upkeep import fit_predictor as fit_predictor
from .upkeep import fit_predictor_to as fit_predictor_to
