# The face of this room: what others may import.
from .files import load_predictor as load_predictor
from .files import predictor_provenance as predictor_provenance
from .files import register_predictor as register_predictor
from .files import save_predictor as save_predictor
from .files import unregister_predictor as unregister_predictor
from .gaussian_process_fit import fit_gaussian_process as fit_gaussian_process
from .metrics import prediction_agreement as prediction_agreement
from .mlp import Mlp as Mlp
from .mlp import read_published_mlp as read_published_mlp
from .protocol import AccuracyPredictor as AccuracyPredictor
from .protocol import Explored as Explored
from .protocol import Provenance as Provenance
from .protocol import Sloped as Sloped
from .protocol import warm_start_pool_of as warm_start_pool_of
