"""What may be looked at, by which options, and what conditions on it may name."""
