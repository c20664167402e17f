"""How it is served and remembered. Rooms, from the top: cli, http, jobs, delivery, catalog,
storage, contracts; `client` stands beside them and knows the contracts alone."""

__version__ = "1.0.0"
"""Of the product: its packages, its command and the description of its API."""
