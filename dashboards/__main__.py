"""`python -m dashboards`."""

from dashboards import main

main()
