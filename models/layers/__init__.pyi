# The face of this room: what others may import.
from .kind import WORK_UNITS as WORK_UNITS
from .kind import LayerKind as LayerKind
from .kind import OnnxGraph as OnnxGraph
from .kind import Shapes as Shapes
from .kind import TorchLayer as TorchLayer
from .kind import Work as Work
from .kind import kind_of as kind_of
from .kind import register_kind as register_kind
from .kind import unregister_kind as unregister_kind
from .published import COUNTER as COUNTER
from .published import PublishedModule as PublishedModule
from .spec import Activation as Activation
from .spec import LayerSpec as LayerSpec
from .tensors import conv_norm_shapes as conv_norm_shapes
from .tensors import tensor_shapes as tensor_shapes
from .tensors import window as window
