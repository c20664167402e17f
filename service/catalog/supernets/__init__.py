"""What a supernet needs before it can be searched: import, measured subnets, a predictor.

Read `importing`, `measure_accuracy`, then `predictor_fit`; `searchable` does both after a training,
`sharing_gap` trains networks alone, and `removal` removes a supernet."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
