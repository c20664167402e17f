# The face of this room: what others may import.
from .bundle import IMAGENET as IMAGENET
from .bundle import WEIGHTS as WEIGHTS
from .bundle import Bundle as Bundle
from .bundle import BundleRegistry as BundleRegistry
from .bundle import add_to_bundle as add_to_bundle
from .bundle import file_sha256 as file_sha256
from .bundle import published_card as published_card
from .bundle import write_bundle as write_bundle
from .measure_accuracy import measure_subnets as measure_subnets
from .measure_accuracy import subnets_to_measure as subnets_to_measure
from .measured import Measured as Measured
from .measured import Shift as Shift
from .measured import as_arrays as as_arrays
from .measured import compress as compress
from .measured import read_measured as read_measured
from .measured import read_measurements as read_measurements
from .measured import shift_to_test_images as shift_to_test_images
