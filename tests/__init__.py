"""Tests, laid out as the packages that they test; ``tests.servers`` starts the real servers."""
