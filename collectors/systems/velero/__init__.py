"""Velero: what its Schedules back up of a cluster, as far as its objects show it."""
