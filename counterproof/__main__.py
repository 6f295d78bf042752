"""`python -m counterproof`."""

from counterproof.app.cli import main

main()
