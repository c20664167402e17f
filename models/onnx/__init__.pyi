# The face of this room: what others may import.
from .accelerators import provider_coverage as provider_coverage
from .builder import build_slice as build_slice
from .export import CALIBRATION_BATCH as CALIBRATION_BATCH
from .export import ImageSet as ImageSet
from .export import calibrated_subnet as calibrated_subnet
from .export import fix_batch as fix_batch
from .export import measure_top1 as measure_top1
from .export import network_onnx as network_onnx
from .export import onnx_top1 as onnx_top1
from .export import run_onnx as run_onnx
from .export import run_outputs as run_outputs
from .export import subnet_onnx as subnet_onnx
from .file_size import ENVELOPE_BYTES as ENVELOPE_BYTES
from .file_size import stored_bytes as stored_bytes
from .quantize import quantize_onnx as quantize_onnx
