"""Migrations of Alembic, Prisma, TypeORM, Knex, Django, Flyway and Liquibase on a real PostgreSQL, in the states they come into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Status
from tests.collectors.application_services.services import see
from tests.servers.applications.programs import alembic
from tests.servers.migrating import by_node, django, flyway, liquibase
from tests.servers.pages import Pages
from tests.servers.postgresql import Postgres, postgresql_18
from tests.servers.process import LOOPBACK, scratch, unprivileged, wait_until

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
        assert (emptied[0], "none was applied, or all were reverted" in emptied[1]) == (Status.FAILED, True)
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
        {"dsn": "host=db", "expected_heads": ["c3"], "tool": "sequelize"},
        {"dsn": "host=db", "expected_heads": ["c3"], "expected_file": "/heads"},
        {"dsn": "host=db", "expected_path": "/version", "expected_value": "json.a == 1"},
        {"dsn": "host=db"},
    ],
)
async def test_bad_options_are_refused_and_not_repeated(migrations: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        await see("backend_api", LINE, "http://backend", migrations=migrations)
    assert "canary" not in str(refused.value)


class Tool:
    """A database of one tool, and what is found there."""

    def __init__(self, postgres: Postgres, name: str, table: str, **options: Any) -> None:
        self.postgres, self.name, self.table = postgres, name, table
        self.where = f"{LOOPBACK}:{postgres.port}/{name}"
        self.options = {"dsn": f"postgresql://reader:canary-5a1e@{self.where}", "tool": name, **options}
        self.url = f"postgresql://{LOOPBACK}:{postgres.port}/{name}"
        postgres.query(f"CREATE DATABASE {name}")

    def query(self, sql: str) -> Any:
        """The single value that a statement gives in the database."""
        rows = self.postgres.query(sql, self.name)
        return rows[0][0] if rows else None

    def grant(self, *tables: str) -> None:
        """What the documentation says that the exporter needs."""
        for table in (self.table, *tables):
            self.query(f"GRANT SELECT ON {table} TO reader")

    async def verdict(self, *heads: str, **options: Any) -> tuple[Status, str]:
        """The verdict where these heads are expected."""
        later, memory = options.pop("later", timedelta(0)), options.pop("memory", None)
        migrations = {**self.options, "expected_heads": heads, **options}
        result = await see("backend_api", LINE, "http://backend", migrations=migrations, later=later, memory=memory)
        assert "canary" not in result.summary
        return result.status, result.summary


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server with a database for each tool, and a role that may log in and nothing else."""
    with (
        scratch("postgresql", unprivileged()) as folder,
        Postgres(postgresql_18(), folder, "tools").initialize(shared_preload_libraries="") as server,
    ):
        server.query("CREATE ROLE reader LOGIN PASSWORD 'canary-5a1e'")
        yield server


def of(tool: Tool, heads: str, *, lacks: str = "", instead: str = "", also: str = "") -> tuple[Status, str]:
    """The verdict on a database that is behind or ahead; ok without either."""
    if not lacks and not also:
        return Status.OK, f"PostgreSQL at {tool.where} is at {heads}, as the release expects."
    parts = f"lacks {lacks}" + (f" and is at {instead} instead" if instead else "") if lacks else f"is also at {also}"
    return (
        Status.FAILED,
        f"PostgreSQL at {tool.where} {parts} (wanted {heads}): it is behind or ahead of the running release.",
    )


async def test_knex(postgres: Postgres) -> None:
    tool = Tool(postgres, "knex", "knex_migrations")
    assert "has no table public.knex_migrations" in (await tool.verdict("1_users.js"))[1]
    by_node("knex", "latest", tool.url.replace("//", "//postgres@"), 1)
    tool.grant("knex_migrations_lock")
    assert await tool.verdict("1_users.js") == of(tool, "1_users.js")
    assert await tool.verdict("2_orders.js") == of(tool, "2_orders.js", lacks="2_orders.js", instead="1_users.js")
    by_node("knex", "latest", tool.url.replace("//", "//postgres@"), 2)
    assert await tool.verdict("1_users.js") == of(tool, "1_users.js", also="2_orders.js")
    by_node("knex", "latest", tool.url.replace("//", "//postgres@"), 3, check=False)  # is killed, and leaves its lock
    assert tool.query("SELECT is_locked FROM knex_migrations_lock") == 1
    memory: dict[str, Any] = {}
    status, killed = await tool.verdict("2_orders.js", memory=memory)
    assert (status, "a migration is running, or was killed" in killed) == (Status.UNKNOWN, True)
    status, held = await tool.verdict("2_orders.js", memory=memory, later=timedelta(minutes=16))
    assert (status, "has been held for at least 16" in held) == (Status.FAILED, True)
    tool.query("UPDATE knex_migrations_lock SET is_locked = 0")
    assert (await tool.verdict("2_orders.js", memory=memory))[0] is Status.OK
    assert "migrations lock" not in memory


async def test_typeorm(postgres: Postgres) -> None:
    tool = Tool(postgres, "typeorm", "migrations")
    url = tool.url.replace("//", "//postgres@")
    first, second = "Users1700000000001", "Orders1700000000002"
    by_node("typeorm", "latest", url, 2)
    tool.grant()
    assert await tool.verdict(second) == of(tool, second)
    assert await tool.verdict(first) == of(tool, first, also=second)  # though its name comes before it
    by_node("typeorm", "rollback", url, 2)
    assert await tool.verdict(second) == of(tool, second, lacks=second, instead=first)
    tool.query("DELETE FROM migrations")
    assert "has no migration in public.migrations: none was applied" in (await tool.verdict(second))[1]


async def test_django(postgres: Postgres) -> None:
    tool = Tool(postgres, "django", "django_migrations")
    url = tool.url.replace("//", "//postgres@")
    django(url)
    tool.grant()
    heads = ("contenttypes.0002_remove_content_type_name", "shop.0003_prices")
    assert await tool.verdict(*heads) == of(tool, f"{heads[0]} and {heads[1]}")
    assert await tool.verdict("shop.0002_orders") == of(tool, "shop.0002_orders", also="shop.0003_prices")
    django(url, "shop", "0002")
    assert await tool.verdict(*heads) == of(
        tool, f"{heads[0]} and {heads[1]}", lacks="shop.0003_prices", instead="shop.0002_orders"
    )
    # A squashed migration is written down after those that it replaces, and is no newer one.
    tool.query("INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_squashed_0002_orders', now())")
    assert (await tool.verdict("shop.0002_orders"))[0] is Status.OK
    django(url, "shop", "zero")
    assert (await tool.verdict("shop.0003_prices"))[0] is Status.FAILED


async def test_flyway(postgres: Postgres) -> None:
    tool = Tool(postgres, "flyway", "flyway_schema_history")
    flyway(tool.url, "1")
    tool.grant()
    assert await tool.verdict("1") == of(tool, "1")
    assert await tool.verdict("1.10") == of(tool, "1.10", lacks="1.10", instead="1")
    flyway(tool.url, "1.10")
    # As Flyway documents it for a migration that failed outside a transaction.
    row = "(3, '2', 'prices', 'SQL', 'V2__prices.sql', 1, 'p', now(), 1, false)"
    tool.query(f"INSERT INTO flyway_schema_history VALUES {row}")
    status, broken = await tool.verdict("1.10")
    assert (status, broken) == (Status.FAILED, f"The migration 2 failed on PostgreSQL at {tool.where}.")
    assert "lacks 2.0 and is at 1.10 instead" in (await tool.verdict("2.0"))[1]
    tool.query("DELETE FROM flyway_schema_history WHERE NOT success")
    assert await tool.verdict("1_10") == of(tool, "1_10")
    assert await tool.verdict("1.9") == of(tool, "1.9", lacks="1.9", instead="1.10")
    assert await tool.verdict("1") == of(tool, "1", also="1.10")
    # As a repeatable migration and an undone one are written down.
    views = "(3, NULL, 'views', 'SQL', 'R__views.sql', 1, 'p', now(), 1, true)"
    undone = "(4, '1.10', 'orders', 'UNDO_SQL', 'U1.10__orders.sql', 1, 'p', now(), 1, true)"
    tool.query(f"INSERT INTO flyway_schema_history VALUES {views}, {undone}")
    assert await tool.verdict("1") == of(tool, "1")
    assert (await tool.verdict("1.10"))[0] is Status.FAILED


async def test_liquibase(postgres: Postgres) -> None:
    tool = Tool(postgres, "liquibase", "databasechangelog")
    assert liquibase(tool.url).wait(120) == 0
    tool.grant("databasechangeloglock")
    assert await tool.verdict("view") == of(tool, "view")
    assert await tool.verdict("shop:orders") == of(tool, "shop:orders", also="shop:view")
    assert await tool.verdict("slow") == of(tool, "slow", lacks="slow", instead="shop:view")
    update = liquibase(tool.url, slow=True)
    try:
        wait_until(
            lambda: (
                tool.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
                )
                == 1
            ),
            "the update to sleep",
            120,
        )
        assert tool.query("SELECT locked FROM databasechangeloglock") is True
    finally:
        update.kill()
        update.wait()
    # What runs at every update comes last now, and is no newer one.
    assert tool.query("SELECT exectype FROM databasechangelog WHERE id = 'view'") == "RERAN"
    memory: dict[str, Any] = {}
    status, killed = await tool.verdict("orders", memory=memory)
    assert (status, "a migration is running, or was killed" in killed) == (Status.UNKNOWN, True)
    assert (await tool.verdict("orders", memory=memory, later=timedelta(minutes=16)))[0] is Status.FAILED
    tool.query("UPDATE databasechangeloglock SET lockgranted = lockgranted - interval '2 days'")
    status, old = await tool.verdict("orders")
    assert (status, "has been held for at least 1 day (limit 15m)" in old) == (Status.FAILED, True), old
    tool.query("UPDATE databasechangeloglock SET locked = false, lockgranted = NULL, lockedby = NULL")
    assert await tool.verdict("orders") == of(tool, "orders")


_PRISMA = """
CREATE TABLE _prisma_migrations (
    id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, finished_at timestamptz,
    migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)"""


async def test_prisma_by_its_documented_table(postgres: Postgres) -> None:
    tool = Tool(postgres, "prisma", "_prisma_migrations")
    tool.query(_PRISMA)
    tool.grant()

    def write(name: str, **columns: str) -> None:
        given = {"id": "gen_random_uuid()", "checksum": "''", "migration_name": f"'{name}'", **columns}
        tool.query(f"INSERT INTO _prisma_migrations ({', '.join(given)}) VALUES ({', '.join(given.values())})")

    assert "has no migration in public._prisma_migrations" in (await tool.verdict("20260101_init"))[1]
    write("20260101_init", finished_at="now()")
    assert await tool.verdict("20260101_init") == of(tool, "20260101_init")
    write("20260102_orders")
    status, running = await tool.verdict("20260101_init")
    assert (status, running) == (
        Status.UNKNOWN,
        f"The migration 20260102_orders is running on PostgreSQL at {tool.where}.",
    )
    tool.query("UPDATE _prisma_migrations SET started_at = now() - interval '1 hour' WHERE finished_at IS NULL")
    status, hung = await tool.verdict("20260101_init")
    assert (status, "was begun more than 15m ago and has not ended" in hung) == (Status.FAILED, True)
    tool.query("UPDATE _prisma_migrations SET logs = 'canary: relation exists' WHERE finished_at IS NULL")
    status, broken = await tool.verdict("20260101_init")
    assert (status, broken) == (Status.FAILED, f"The migration 20260102_orders failed on PostgreSQL at {tool.where}.")
    tool.query("UPDATE _prisma_migrations SET rolled_back_at = now() WHERE finished_at IS NULL")
    assert await tool.verdict("20260101_init") == of(tool, "20260101_init")
    behind = await tool.verdict("20260102_orders")
    assert behind == of(tool, "20260102_orders", lacks="20260102_orders", instead="20260101_init")
    write("20260102_orders", finished_at="now()")
    assert await tool.verdict("20260102_orders") == of(tool, "20260102_orders")
    assert await tool.verdict("20260101_init") == of(tool, "20260101_init", also="20260102_orders")
    # A table of another tool under the same name.
    status, _ = await tool.verdict("x", tool="typeorm", table="_prisma_migrations")
    assert status is Status.UNKNOWN


async def test_what_is_expected_can_be_in_a_file_or_told_by_the_service(
    postgres: Postgres, pages: Pages, tmp_path: Path
) -> None:
    postgres.query("CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('c3')")
    postgres.query("GRANT SELECT ON alembic_version TO reader")
    dsn = f"postgresql://reader:canary-5a1e@{LOOPBACK}:{postgres.port}/postgres"

    async def judged(**options: Any) -> tuple[Status, Reason | None]:
        result = await see("backend_api", LINE, pages.url, migrations={"dsn": dsn, **options})
        assert "canary" not in result.summary
        return result.status, result.reason

    heads = tmp_path / "heads"
    file = {"expected_file": str(heads)}
    assert await judged(**file) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    for text, seen in (
        ("c3 (head)\n", (Status.OK, None)),
        ("# heads of 1.2\nc3\nd4\n", (Status.FAILED, Reason.CONTRADICTED)),
        ("# nothing\n\n", (Status.UNKNOWN, Reason.MISCONFIGURED)),
        ("\udcff", (Status.UNKNOWN, Reason.MALFORMED)),
        ("c3" * 2**20, (Status.UNKNOWN, Reason.MISCONFIGURED)),
    ):
        heads.write_bytes(text.encode(errors="surrogateescape"))
        assert await judged(**file) == seen, text[:9]
    path = {"expected_path": "/version"}
    for document, seen in (
        ({"migrations": ["c3"]}, (Status.OK, None)),
        ({"migrations": "c3"}, (Status.OK, None)),
        ({"migrations": "d4"}, (Status.FAILED, Reason.CONTRADICTED)),
        ({"migrations": []}, (Status.UNKNOWN, Reason.MALFORMED)),
        ({"migrations": [3]}, (Status.UNKNOWN, Reason.MALFORMED)),
        ({"migrations": "#"}, (Status.UNKNOWN, Reason.MISCONFIGURED)),
        ({}, (Status.UNKNOWN, Reason.MALFORMED)),
    ):
        pages.add("/version", json.dumps(document))
        assert await judged(**path) == seen, document
    pages.add("/version", '{"migrations": "c3"}', Age="9")
    assert await judged(**path) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    pages.add("/version", '{"migrations": "c3"}', 503)
    assert await judged(**path) == (Status.UNKNOWN, Reason.REFUSED)
    pages.add("/version", '{"release": {"database": "c3"}}')
    assert await judged(**path, expected_value="json.release.database") == (Status.OK, None)
