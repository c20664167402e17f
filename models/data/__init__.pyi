# The face of this room: what others may import.
from .calibration import calibration_warnings as calibration_warnings
from .datasets import load_dataset as load_dataset
from .image_folder import calibration_images as calibration_images
from .image_folder import image_files as image_files
from .image_folder import load_images as load_images
from .images import LabelledImages as LabelledImages
from .images import augment as augment
from .images import hold_out as hold_out
from .images import to_tensor as to_tensor
from .preprocessing import preprocess as preprocess
