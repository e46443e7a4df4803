"""Looks at one thing, and returns its facts."""
