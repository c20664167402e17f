"""`python -m subnet_search`: the same command as `subnet-search`."""

from service.cli import main

if __name__ == "__main__":
    main()
