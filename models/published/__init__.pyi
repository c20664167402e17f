# The face of this room: what others may import.
from .files import PublishedFile as PublishedFile
from .files import blob_id as blob_id
from .networks import PublishedNetwork as PublishedNetwork
from .networks import networks_source as networks_source
from .networks import published_network as published_network
from .networks import published_networks as published_networks
from .supernets import PublishedSupernet as PublishedSupernet
from .supernets import published_supernets as published_supernets
