"""Work that ends its process, as a decoder that crashes does."""

import os


def die(part: object) -> None:
    """End at once."""
    os._exit(1)
