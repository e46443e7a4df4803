"""Alembic's migrations on a real PostgreSQL, in every state that they come into."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import see
from tests.servers.applications.programs import alembic
from tests.servers.postgresql import Postgres, postgresql_18
from tests.servers.process import LOOPBACK, scratch, unprivileged

LINE = "database_migrations_applied"


@pytest.mark.verifies("backend_api.database_migrations_applied", "ok")
@pytest.mark.verifies("backend_api.database_migrations_applied", "failed")
@pytest.mark.verifies("backend_api.database_migrations_applied", "unknown")
async def test_migrations() -> None:
    with (
        scratch("postgresql", unprivileged()) as folder,
        Postgres(postgresql_18(), folder, "orders").initialize(shared_preload_libraries="") as postgres,
    ):
        url = f"postgresql+psycopg://postgres@{LOOPBACK}:{postgres.port}/postgres"
        postgres.query("CREATE ROLE reader LOGIN PASSWORD 'canary-5a1e'")
        dsn = f"postgresql://reader:canary-5a1e@{LOOPBACK}:{postgres.port}/postgres"

        async def state(*heads: str) -> tuple[Status, str]:
            migrations = {"dsn": dsn, "expected_heads": heads or ("c3", "d4")}
            result = await see("backend_api", LINE, "http://backend", migrations=migrations)
            assert "canary" not in result.summary
            return result.status, result.summary.partition(" ")[2]

        database = f"{LOOPBACK}:{postgres.port}"
        status, fresh = await state()
        assert status is Status.FAILED
        assert "has no table public.alembic_version, so no migration was applied (wanted c3 and d4)." in fresh
        alembic(url, "upgrade", "b2")
        denied = await state()
        assert (denied[0], "lacks a right" in denied[1]) == (Status.UNKNOWN, True)
        postgres.query("GRANT SELECT ON alembic_version TO reader")
        behind = await state()
        assert (behind[0], "lacks c3 and d4 and is at b2 instead" in behind[1]) == (Status.FAILED, True)
        alembic(url, "upgrade", "c3")
        one_head = await state()
        assert (one_head[0], "lacks d4 (wanted c3 and d4)" in one_head[1]) == (Status.FAILED, True)
        alembic(url, "upgrade", "heads")
        assert (await state())[0] is Status.OK
        assert (await state("d4", "c3"))[0] is Status.OK
        ahead = await state("b2")
        assert (ahead[0], "lacks b2 and is at c3 and d4 instead" in ahead[1]) == (Status.FAILED, True)
        more = await state("c3")
        assert (more[0], "is also at d4" in more[1]) == (Status.FAILED, True)
        alembic(url, "downgrade", "base")
        emptied = await state()
        assert (emptied[0], "all were downgraded" in emptied[1]) == (Status.FAILED, True)
        postgres.kill()
        gone = await see("backend_api", LINE, "http://backend", migrations={"dsn": dsn, "expected_heads": ["c3"]})
        assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
        assert database in gone.summary
    assert (await see("backend_api", LINE, "http://backend")).reason is Reason.NOT_CONFIGURED


@pytest.mark.parametrize(
    "migrations",
    [
        {"dsn": "postgresql://reader:canary@p@db/orders", "expected_heads": ["c3"]},
        {"dsn": "host=db no equals", "expected_heads": ["c3"]},
        {"dsn": "host=db", "expected_heads": []},
        {"dsn": "host=db", "expected_heads": ["c3"], "table": 'x"; DROP'},
        {"dsn": "host=db", "expected_heads": ["c3"], "tool": "prisma"},
    ],
)
async def test_bad_options_are_refused_and_not_repeated(migrations: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        await see("backend_api", LINE, "http://backend", migrations=migrations)
    assert "canary" not in str(refused.value)
