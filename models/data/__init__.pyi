# The face of this room: what others may import.
from .augmentation import Augmentation as Augmentation
from .augmentation import mix as mix
from .augmentation import transform as transform
from .calibration import calibration_warnings as calibration_warnings
from .datasets import load_dataset as load_dataset
from .image_cache import OnShare as OnShare
from .image_folder import calibration_images as calibration_images
from .image_folder import image_files as image_files
from .image_folder import load_images as load_images
from .images import Images as Images
from .images import LabelledImages as LabelledImages
from .images import augment as augment
from .images import hold_out as hold_out
from .images import to_tensor as to_tensor
from .inspection import FolderReport as FolderReport
from .inspection import scan_folder as scan_folder
from .preprocessing import preprocess as preprocess
