"""Verdicts on the security of a web application."""
