"""Benchmarks print what they measured as one table at the end: ratios within one run, not times."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers.loki import loki
from tests.servers.nats import nats_server
from tests.servers.neo4j import neo4j_server
from tests.servers.redis import any_redis

ROWS = pytest.StashKey[list[tuple[str, str, str]]]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Add a row to the table: what was measured, the outcome, the goal."""
    rows = request.config.stash.setdefault(ROWS, [])
    return lambda what, outcome, goal: rows.append((what, outcome, goal))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    table = [("measured", "outcome", "goal"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    terminalreporter.section("benchmarks")
    for row in table:
        terminalreporter.line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
