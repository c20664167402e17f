"""`supernets`: list, show, download and import (`bringing`); train one and preview it (`training`),
adapt one to other classes (`adapting`);
measure its subnets and fit its predictor, step by step (`measuring`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
