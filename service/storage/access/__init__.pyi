# The face of this room: what others may import.
from .api_keys import Key as Key
from .api_keys import KeyStore as KeyStore
from .api_keys import open_keys as open_keys
from .audit import AuditLog as AuditLog
from .owners import Owners as Owners
from .owners import claim as claim
from .owners import identity as identity
from .owners import own_key as own_key
