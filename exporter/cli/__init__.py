"""The command line. Each command is a module of its name; `app` puts them together."""

from exporter.cli.app import main

__all__ = ["main"]
