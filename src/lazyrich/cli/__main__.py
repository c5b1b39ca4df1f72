"""`python -m lazyrich.cli`: the command line where no script is installed."""

from . import main

main()
