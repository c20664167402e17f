# The face of this room: what others may import.
from .api_keys import Key as Key
from .api_keys import KeyStore as KeyStore
from .api_keys import open_keys as open_keys
from .audit import AuditLog as AuditLog
from .links import Link as Link
from .links import LinkStore as LinkStore
from .links import link_gone as link_gone
from .links import unknown_link as unknown_link
from .owners import Owners as Owners
from .owners import claim as claim
from .owners import identity as identity
from .owners import own_key as own_key
