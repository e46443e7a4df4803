"""Prefect: a workflow engine whose workers take runs of flows from work pools."""
