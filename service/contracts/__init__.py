"""Requests and answers, problem documents, and the values that every room of the service shares.

Requests and answers have a module for each resource (`searches`, `devices`, ...); `records` are the
values that the store returns, `errors` what every room may raise.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
