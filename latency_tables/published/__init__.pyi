# The face of this room: what others may import.
from .builtin import BuiltinDevices as BuiltinDevices
from .builtin import choose_table as choose_table
from .ofa_yaml import import_ofa_lut as import_ofa_lut
