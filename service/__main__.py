"""`python -m service`: the same command as `subnet-search`."""

from service.cli import app

app(prog_name="subnet-search")
