# The face of this room: what others may import.
from .effort import DEFAULT_EFFORT as DEFAULT_EFFORT
from .effort import Effort as Effort
from .effort import Work as Work
from .enumeration import every_network as every_network
from .enumeration import is_small as is_small
from .operators import neighbours as neighbours
from .problem import SubnetProblem as SubnetProblem
from .progress import SearchProgress as SearchProgress
from .run import SearchResult as SearchResult
from .run import search_subnet as search_subnet
from .threads import one_blas_thread as one_blas_thread
from .warm_start_pool import build_warm_start_pool as build_warm_start_pool
from .whole_range import WholeRange as WholeRange
