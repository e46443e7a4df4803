"""A mesh of Linkerd, by its objects."""
