# The face of this room: what others may import.
from .accuracy_check import Unverified as Unverified
from .delivery import deliver as deliver
from .delivery import run_search as run_search
from .file_batch import deliverable_batch as deliverable_batch
from .model_builder import ModelBuilder as ModelBuilder
from .parity import difference as difference
from .published_network import export_published as export_published
from .quantization_report import compare as compare
from .signing import generate as generate
from .signing import read_private as read_private
from .signing import read_public as read_public
from .timing import LatencyBudget as LatencyBudget
from .timing import describe_times as describe_times
from .verification import verify_file as verify_file
