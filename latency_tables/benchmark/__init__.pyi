# The face of this room: what others may import.
from .kit import build_kit as build_kit
from .kit import table_from_kit as table_from_kit
from .measure import RuntimeStopwatch as RuntimeStopwatch
from .measure import host_conditions as host_conditions
from .measure import measure_space as measure_space
from .measure import timed_model as timed_model
from .rounds import MeasureOptions as MeasureOptions
from .runner import processor as processor
from .table_validation import TableValidation as TableValidation
from .table_validation import validate_table as validate_table
