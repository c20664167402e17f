# The face of this room: what others may import.
from .gaussian_process_fit import fit as fit
from .metrics import agreement as agreement
from .mlp import Mlp as Mlp
from .mlp import from_published as from_published
from .predictor import AccuracyPredictor as AccuracyPredictor
from .predictor import Provenance as Provenance
from .predictor import Sloped as Sloped
from .predictor import elites_of as elites_of
from .predictor import load_predictor as load_predictor
from .predictor import predictor_provenance as predictor_provenance
