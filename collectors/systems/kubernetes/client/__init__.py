"""Asks; gives no verdicts."""
