"""A server that takes e-mail."""
