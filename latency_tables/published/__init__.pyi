# The face of this room: what others may import.
from .ai_hub import is_ai_hub as is_ai_hub
from .ai_hub import read_ai_hub as read_ai_hub
from .assembly import ImportedTable as ImportedTable
from .assembly import IncompleteTable as IncompleteTable
from .assembly import UnmappedRow as UnmappedRow
from .builtin import BuiltinDevices as BuiltinDevices
from .builtin import choose_table as choose_table
from .formats import read_foreign_table as read_foreign_table
from .formats import register_table_format as register_table_format
from .formats import unregister_table_format as unregister_table_format
from .mapping import read_mapping as read_mapping
from .template import key_rows as key_rows
from .template import keys_csv as keys_csv
from .template import table_csv as table_csv
