"""`python -m alerts`."""

from alerts import main

main()
