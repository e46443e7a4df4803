"""What is in effect now and no more after the next start."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from exporter.verdict import Result, warning
from exporter.words import listed

__all__ = ["ARCHIVING", "CONNECTIONS", "LOADED", "pending_problems"]

#: Settings that only a restart changes, by what they decide: archiving, how many may connect, what is loaded.
ARCHIVING = ("archive_mode", "wal_level")
CONNECTIONS = ("max_connections", "superuser_reserved_connections", "reserved_connections")
LOADED = ("shared_preload_libraries", "logging_collector")


def pending_problems(where: str, pending: Collection[str]) -> Iterator[Result]:
    """Whether an instance keeps its settings when it is restarted. `pending` are those that it will not."""
    if pending:
        yield warning(
            f"{where} has another value of {listed(pending)} in its configuration files than is in effect: its next restart "
            "changes what was verified."
        )
