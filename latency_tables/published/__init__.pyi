# The face of this room: what others may import.
from .builtin import BuiltinDevices as BuiltinDevices
from .builtin import TableKey as TableKey
from .builtin import choose_table as choose_table
from .builtin import load_named as load_named
from .builtin import write_atomically as write_atomically
from .ofa_yaml import import_ofa_lut as import_ofa_lut
