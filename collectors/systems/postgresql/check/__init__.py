"""Whole questions about PostgreSQL that several sections ask."""
