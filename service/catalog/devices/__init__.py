"""Devices of an installation: those that come with the program, and the users' own.

A name means the caller's own device, else the shared one. `NAME@OWNER` means the private device of
an owner, for that owner and for those who see all: no name means somebody else's otherwise.

What reads tables is imported when one is asked for: devices are listed without it. Read `kept`,
`devices`, then `opening` and `listing`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
