# The face of this room: what others may import.
from .bottleneck import Bottleneck as Bottleneck
from .bottleneck import ElasticBottleneck as ElasticBottleneck
from .depthwise import depthwise_conv as depthwise_conv
from .elastic import ElasticConvLayer as ElasticConvLayer
from .elastic import ElasticLinear as ElasticLinear
from .elastic import ElasticMBConv as ElasticMBConv
from .elastic import activate as activate
from .elastic import channels_last as channels_last
