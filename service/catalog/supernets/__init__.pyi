# The face of this room: what others may import.
from .importing import import_supernet as import_supernet
from .importing import read_calibration as read_calibration
from .importing import write_checkpoint as write_checkpoint
from .measure_accuracy import measure_subnets as measure_subnets
from .predictor_fit import fit_predictor as fit_predictor
from .predictor_fit import fit_predictor_to as fit_predictor_to
from .predictor_fit import fit_warnings as fit_warnings
from .removal import remove_supernet as remove_supernet
from .samples import sample_images as sample_images
from .searchable import make_searchable as make_searchable
from .searchable import trained_before as trained_before
from .sharing_gap import measure_sharing_gap as measure_sharing_gap
