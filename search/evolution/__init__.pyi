# The face of this room: what others may import.
from .enumeration import every_network as every_network
from .enumeration import is_small as is_small
from .evolution import Offspring as Offspring
from .loop import generations as generations
from .operators import crossover as crossover
from .operators import mutate as mutate
from .operators import neighbours as neighbours
from .problem import SubnetProblem as SubnetProblem
from .run import SearchResult as SearchResult
from .run import search_subnet as search_subnet
from .surrogate import fit_additive as fit_additive
from .termination import SearchProgress as SearchProgress
from .threads import one_blas_thread as one_blas_thread
from .warm_start import TILT as TILT
from .warm_start_pool import build_warm_start_pool as build_warm_start_pool
