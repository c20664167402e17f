# The face of this room: what others may import.
from .kit import build_kit as build_kit
from .kit import table_from_kit as table_from_kit
from .measure import OrtStopwatch as OrtStopwatch
from .measure import measure_space as measure_space
from .measure import random_tensors as random_tensors
from .measure import timed_session as timed_session
from .rounds import MeasureOptions as MeasureOptions
from .runner import processor as processor
from .table_validation import Additivity as Additivity
from .table_validation import check_additivity as check_additivity
