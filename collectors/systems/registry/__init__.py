"""Registries of container images (OCI distribution, the registry API v2)."""
