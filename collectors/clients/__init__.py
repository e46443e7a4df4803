"""Connections that sections share, one per process: `clients` in the configuration."""
