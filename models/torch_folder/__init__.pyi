# The face of this room: what others may import.
from .contents import WEIGHTS as WEIGHTS
from .contents import TorchNetwork as TorchNetwork
from .contents import architecture_sha256 as architecture_sha256
from .contents import check_new_folder as check_new_folder
from .contents import folder_files as folder_files
from .contents import logits_of_source as logits_of_source
from .contents import module_of as module_of
from .contents import state_bytes as state_bytes
from .contents import tensors_of as tensors_of
from .reading import read_folder as read_folder
from .reading import read_tensors as read_tensors
