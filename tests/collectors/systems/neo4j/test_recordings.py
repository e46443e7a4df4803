"""What a real Neo4j answers in the states that `test_judge_recorded.py` judges."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.neo4j.client.bolt import Login, connected
from exporter.options import Secret
from tests.recordings import Record, record
from tests.servers.neo4j import PASSWORD, Neo4j
from tests.servers.process import eventually

__all__ = ["record"]

pytestmark = pytest.mark.xdist_group("neo4j")


@dataclass(frozen=True)
class Rows:
    """The rows that the section asks a server for."""

    components: list[dict[str, Any]]
    databases: list[dict[str, Any]]
    users: list[dict[str, Any]]


async def answers(server: Neo4j) -> Rows:
    """All of them, asked anew."""
    login = Login("neo4j", Secret(PASSWORD), None, timedelta(seconds=60))
    async with connected(server.address, login) as connection:
        databases = await connection.rows("SHOW DATABASES YIELD *", "system")
        return Rows(
            await connection.rows("CALL dbms.components()", "system"),
            sorted(databases, key=lambda row: str(row["name"])),
            await connection.rows("SHOW USERS YIELD user, passwordChangeRequired", "system"),
        )


async def test_a_server_that_is_well_and_one_whose_database_did_not_start(tmp_path: Path, record: Record) -> None:
    with Neo4j(tmp_path / "neo4j") as server:
        names = {str(server.port): "7687", str(server.http_port): "7474", str(server.directory): "/data"}
        server.change_password()
        record("neo4j", "healthy", await answers(server), names=names)
        server.kill()
        (server.directory / "data/databases/neo4j/neostore").write_bytes(b"broken")
        server.start()

        async def offline() -> bool:
            rows = {row["name"]: row["currentStatus"] for row in (await answers(server)).databases}
            return rows == {"neo4j": "offline", "system": "online"}

        await eventually(offline, "the database to have failed", deadline=60)
        record("neo4j", "database_offline", await answers(server), names=names)
