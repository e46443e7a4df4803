"""What the judges say of the rows that a real Neo4j gave in `test_recordings.py`."""

from __future__ import annotations

import pytest

from collectors.systems.neo4j import judge
from collectors.systems.neo4j.model import DEFAULT_USER, Look, Neo4jLimits
from exporter.verdict import Status
from tests.collectors.systems.neo4j.test_recordings import Rows
from tests.recordings import recorded, states

#: What the judges find, by state.
EXPECTED: dict[str, list[str]] = {
    "database_offline": [
        (
            "Database neo4j is offline on 127.0.0.1:7687 (wanted online, requested online): "
            "An error occurred! Unable to start `DatabaseId{1[neo4j]}`."
        )
    ],
    "healthy": [],
}


def test_every_recording_is_judged() -> None:
    assert states("neo4j") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    rows = recorded("neo4j", state, Rows)
    users = {row["user"]: row for row in rows.users}
    edition = rows.components[0]["edition"]
    look = Look("127.0.0.1:7687", edition, 0.01, None, rows.databases, (), {}, users[DEFAULT_USER], None)
    problems = [*judge.server_problems(look, Neo4jLimits()), *judge.database_problems(look, Neo4jLimits())]
    assert {problem.status for problem in problems} <= {Status.FAILED}
    assert [problem.summary for problem in problems] == EXPECTED[state]
