# The face of this room: what others may import.
from .kit import build_kit as build_kit
from .kit import sitting_from_kit as sitting_from_kit
from .kit import table_from_kit as table_from_kit
from .measure import RuntimeStopwatch as RuntimeStopwatch
from .measure import host_conditions as host_conditions
from .measure import measure_space as measure_space
from .measure import time_model as time_model
from .open_models import processor as processor
from .remote_plan import RemotePlan as RemotePlan
from .remote_plan import quick_plan as quick_plan
from .remote_plan import thorough_plan as thorough_plan
from .rounds import MeasureOptions as MeasureOptions
from .runner import OnProgress as OnProgress
from .runner import visit_summary as visit_summary
from .table_assembly import p50_ms as p50_ms
from .table_validation import TableValidation as TableValidation
from .table_validation import validate_table as validate_table
