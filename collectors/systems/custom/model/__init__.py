"""What may be checked, by which options, and what conditions on it may name."""
