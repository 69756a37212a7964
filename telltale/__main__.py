"""`python -m telltale`: the same as the console script."""

from telltale.cli import main

main()
