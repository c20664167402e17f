"""`python -m service`: the same command as `subnet-search`."""

from service.cli import main

main()
