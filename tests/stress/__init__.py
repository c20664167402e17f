"""Scripts that load, break and fuzz a running service. Each says in its docstring how to run it."""

import sys

from tests.stress.needs import require_packages

if "pytest" not in sys.modules:  # run as a script: what it imports next may be missing
    require_packages("httpx", "hypothesis", "pytest")
