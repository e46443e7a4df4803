"""Looks up the records of a domain, as a receiver of its messages does."""
