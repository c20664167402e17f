# The face of this room: what others may import.
from .bottleneck import Bottleneck as Bottleneck
from .bottleneck import ElasticBottleneck as ElasticBottleneck
from .conv import ConvLayer as ConvLayer
from .conv import ElasticConvLayer as ElasticConvLayer
from .elastic import ElasticBatchNorm as ElasticBatchNorm
from .elastic import ElasticLayer as ElasticLayer
from .elastic import activate as activate
from .elastic import channels_last as channels_last
from .linear import Classifier as Classifier
from .linear import ElasticLinear as ElasticLinear
from .mbconv import ElasticMBConv as ElasticMBConv
from .mbconv import MBConv as MBConv
from .pooling import ElasticMaxPool as ElasticMaxPool
from .pooling import ElasticPool as ElasticPool
from .pooling import MaxPool as MaxPool
from .pooling import Pool as Pool
