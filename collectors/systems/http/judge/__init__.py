"""Verdicts on what services answered."""
