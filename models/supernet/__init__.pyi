# The face of this room: what others may import.
from .channel_sorting import sort_channels as sort_channels
from .checkpoint import FORMATS as FORMATS
from .checkpoint import detect_format as detect_format
from .checkpoint import from_published as from_published
from .checkpoint import to_published as to_published
from .checkpoint_file import read_checkpoint as read_checkpoint
from .extraction import LAYOUT as LAYOUT
from .extraction import STEM as STEM
from .extraction import Subnet as Subnet
from .extraction import extract as extract
from .extraction import plain as plain
from .extraction import recalibrate as recalibrate
from .masked import MaskedSupernet as MaskedSupernet
from .static_network import load_static as load_static
from .supernet import Supernet as Supernet
from .supernet import initialize as initialize
