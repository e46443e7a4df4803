"""Gateways in front of applications: what they let through, what they limit, and whether they can be gone around."""
