"""Data stores that are reached from outside of the cluster, by its objects."""
