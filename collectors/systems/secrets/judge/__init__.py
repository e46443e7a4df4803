"""Whether settings and secrets are as they should be."""
