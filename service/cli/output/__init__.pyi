# The face of this room: what others may import.
from .arch_format import ArchFormat as ArchFormat
from .arch_format import in_arch_format as in_arch_format
from .networks import latency_names as latency_names
from .networks import print_comparison as print_comparison
from .networks import print_doubts as print_doubts
from .networks import print_plot as print_plot
from .networks import print_search as print_search
from .progress import never_silent as never_silent
from .progress import progress_bar as progress_bar
from .supernets import can_in_words as can_in_words
from .supernets import print_next_steps as print_next_steps
from .tables import print_csv as print_csv
from .tables import print_json as print_json
from .tables import print_table as print_table
from .tables import short as short
from .tensorboard import TensorBoard as TensorBoard
from .training import TrainingDisplay as TrainingDisplay
