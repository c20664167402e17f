# The face of this room: what others may import.
from . import catalog as catalog
from . import explanations as explanations
from . import ledger as ledger
from . import searches as searches
