# The face of this room: what others may import.
from .runtime import DEFAULT_RUNTIME as DEFAULT_RUNTIME
from .runtime import OpenModel as OpenModel
from .runtime import Runtime as Runtime
from .runtime import RuntimeSummary as RuntimeSummary
from .runtime import find_runtime as find_runtime
from .runtime import register_runtime as register_runtime
from .runtime import runtime_names as runtime_names
from .runtime import runtime_source as runtime_source
from .runtime import summarize_runtime as summarize_runtime
from .runtime import unregister_runtime as unregister_runtime
from .runtime import why_fixed_batch as why_fixed_batch
