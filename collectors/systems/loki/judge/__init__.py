"""From model to results."""
