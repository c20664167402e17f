# The face of this room: what others may import.
from .builtin import BuiltinDevices as BuiltinDevices
from .builtin import choose_table as choose_table
from .formats import import_table as import_table
from .formats import register_table_format as register_table_format
from .formats import unregister_table_format as unregister_table_format
