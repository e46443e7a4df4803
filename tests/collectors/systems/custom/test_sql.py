"""SQL: one row of a real server, read-only and in time, with its NULLs, its standbys and tables that never answer."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from collectors.custom import Custom
from exporter.verdict import Reason, Result, Severity, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.servers import faults
from tests.servers.postgresql import MONITOR, PASSWORD, Cluster, Postgres
from tests.servers.process import LOOPBACK

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN
QUOTED = quote(PASSWORD, safe="")


def dsn(*instances: Postgres) -> str:
    hosts = ",".join(f"{LOOPBACK}:{instance.port}" for instance in instances)
    return f"postgresql://{MONITOR}:{QUOTED}@{hosts}/orders"


async def asked(*instances: Postgres, query: str, conditions: list[str], **options: Any) -> Result:
    given = {"dsn": dsn(*instances), "query": query, "conditions": conditions, "timeout": "20s", **options}
    return await seen(sql=given, secrets=(PASSWORD,))


@pytest.fixture(scope="module")
def orders(pair: Cluster) -> Cluster:
    pair.primary.script(
        f"""CREATE SCHEMA IF NOT EXISTS shop;
            CREATE TABLE IF NOT EXISTS shop.orders (id int, total numeric, placed timestamptz, state text);
            TRUNCATE shop.orders;
            INSERT INTO shop.orders VALUES (1, 10.50, now(), 'paid'), (2, 20, now() - interval '2 days', NULL);
            GRANT USAGE ON SCHEMA shop TO {MONITOR}; GRANT SELECT ON shop.orders TO {MONITOR};
            CREATE TABLE IF NOT EXISTS shop.secret (id int);
            CREATE OR REPLACE VIEW shop.slow AS SELECT pg_sleep(60)::text AS x;
            GRANT SELECT ON shop.slow TO {MONITOR}""",
        "orders",
    )
    pair.caught_up()
    return pair


COUNT = "SELECT count(*) AS n, max(placed) AS last, min(state) AS state, sum(total) AS total FROM shop.orders"


@pytest.mark.parametrize(
    ("query", "conditions", "status", "words"),
    [
        (COUNT, ["row.n == 2", "row.total == 30.5", 'age(row.last) < duration("1h")', 'row.state == "paid"'], OK, "row.n is 2"),
        (f"{COUNT};", ["row.n >= 3"], FAILED, "row.n is 2"),
        ("SELECT 1 AS n -- a comment", ["row.n == 1"], OK, "as wanted"),
        ("WITH a AS (SELECT 5 AS n) SELECT * FROM a", ["row.n == 5"], OK, "as wanted"),
        ("SELECT 5 % 3 AS n, '%s' AS text", ["row.n == 2", 'row.text == "%s"'], OK, "as wanted"),
        ("VALUES (7)", ["row.column1 == 7"], OK, "as wanted"),
        # What is not there is not as wanted.
        ("SELECT state FROM shop.orders WHERE id = 2", ['row.state != "broken"'], FAILED, "row.state is null"),
        ("SELECT max(placed) AS t FROM shop.orders WHERE id > 9", ['age(row.t) < duration("1h")'], FAILED, "row.t is null"),
        ("SELECT state FROM shop.orders WHERE id = 2", ["row.state == null"], OK, "as wanted"),
        ("SELECT * FROM shop.orders WHERE id > 9", ['row.state != "broken"'], FAILED, "does not return one row: it returned none"),
        ("SELECT * FROM shop.orders", ['row.state != "broken"'], FAILED, "does not return one row: it returned more"),
        ("SELECT * FROM shop.orders WHERE id > 9", ["rows == 0"], OK, "rows is 0"),
        ("SELECT * FROM shop.orders", ["rows == 0"], FAILED, "rows is 2"),
        ("SELECT * FROM shop.orders", ["rows > 0", "row.id > 0"], FAILED, "returned more than one row"),
        ("SELECT 1 AS n", ["row.m == 1"], FAILED, "it has no key m"),
        # A column may be called as the query is inside.
        ("SELECT '{\"stuck\": 0}'::jsonb AS a, 5 AS stuck", ["row.stuck == 0"], FAILED, "row.stuck is 5"),
        ("SELECT 1 AS a", ["row.a == 1"], OK, "as wanted"),
        ("SELECT NULL AS a, 2 AS b", ["row.b == 2"], OK, "as wanted"),
        ("SELECT 'x' AS n", ["row.n > 1"], FAILED, "types do not match"),
        ("SELECT now()::timestamp AS t", ['age(row.t) < duration("1h")'], FAILED, "which time zone"),
        ("SELECT now() + interval '1 day' AS t", ['age(row.t) < duration("1h")'], FAILED, "lies in the future"),
        ("SELECT 'NaN'::float8 AS n", ["row.n < 5.0"], FAILED, "types do not match"),
        ("SELECT 9223372036854775807::numeric * 10 AS n", ["row.n > 9.0e18"], OK, "as wanted"),
        ("SELECT array_agg(id ORDER BY id) AS ids FROM shop.orders", ["row.ids.all(id, id < 3)"], OK, "as wanted"),
        ("SELECT '{}'::int[] AS ids", ["row.ids.all(id, id < 3)"], FAILED, "row.ids is an empty list"),
        # Nobody has answered the question.
        ("SELECT * FROM orders", ["row.id == 1"], UNKNOWN, "write it with its schema"),
        ("SELECT * FROM shop.secret", ["rows == 0"], UNKNOWN, "lacks a right"),
        ("SELEC 1", ["rows == 0"], UNKNOWN, "syntax error"),
        ("SELECT 1; SELECT 2", ["rows == 0"], UNKNOWN, "syntax error"),
        ("SELECT 1) a; COMMIT; DROP TABLE shop.orders; SELECT * FROM (SELECT 1", ["rows == 1"], UNKNOWN, "multiple commands"),
        ("SELECT nextval('shop.numbers')", ["rows == 1"], UNKNOWN, "does not exist"),
        ("SELECT 1/0 AS n", ["row.n != 5"], UNKNOWN, "division by zero"),
    ],
)  # fmt: skip
async def test_the_row_decides(orders: Cluster, query: str, conditions: list[str], status: Status, words: str) -> None:
    result = await asked(orders.primary, query=query, conditions=conditions)
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_nothing_is_written(orders: Cluster) -> None:
    with orders.primary.connect("orders") as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS shop.counted")
        connection.execute("GRANT USAGE ON SEQUENCE shop.counted TO PUBLIC")
    result = await asked(orders.primary, query="SELECT nextval('shop.counted') AS n", conditions=["row.n > 0"])
    assert (result.status, "read-only transaction" in result.summary) == (UNKNOWN, True), result.summary


async def test_a_view_that_never_answers_is_unknown(orders: Cluster) -> None:
    result = await asked(orders.primary, query="SELECT * FROM shop.slow", conditions=["rows == 1"], timeout="1s")
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT), result.summary


async def test_a_view_over_a_foreign_table_of_a_server_that_is_mute(orders: Cluster) -> None:
    """The server waits for another one, and heeds no timeout while it connects."""
    async with faults.mute() as (host, port):
        orders.primary.script(
            f"""CREATE EXTENSION IF NOT EXISTS postgres_fdw;
                DROP SERVER IF EXISTS mute CASCADE;
                CREATE SERVER mute FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}');
                CREATE USER MAPPING FOR PUBLIC SERVER mute OPTIONS (user 'x', password 'x');
                CREATE FOREIGN TABLE shop.far (id int) SERVER mute;
                GRANT SELECT ON shop.far TO {MONITOR}""",
            "orders",
        )
        result = await asked(orders.primary, query="SELECT * FROM shop.far", conditions=["rows == 0"], timeout="1s")
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT), result.summary


async def test_a_lock_that_is_held_is_unknown(orders: Cluster) -> None:
    with orders.primary.connect("orders") as held, held.transaction():
        held.execute("LOCK TABLE shop.orders")
        result = await asked(orders.primary, query=COUNT, conditions=["row.n > 0"], timeout="1s")
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT), result.summary


async def test_every_host_of_a_dsn_is_asked(orders: Cluster) -> None:
    both = await asked(orders.primary, orders.standby, query=COUNT, conditions=["row.n == 2"])
    primaries = await asked(orders.primary, orders.standby, query=COUNT, conditions=["!replica"])
    assert (both.status, primaries.status) == (OK, FAILED), both.summary
    assert "The query on the standby" in primaries.summary
    assert "replica is true" in primaries.summary


async def test_a_role_may_be_asked_for(orders: Cluster) -> None:
    hosts = (orders.primary, orders.standby)
    for role, condition in (("primary", "!replica"), ("standby", "replica")):
        result = await asked(*hosts, query="SELECT 1 AS n", conditions=[condition, "row.n == 1"], role=role)
        assert result.status is OK, result.summary
    none = await asked(orders.standby, query="SELECT 1 AS n", conditions=["row.n == 1"], role="primary")
    assert (none.status, none.summary) == (FAILED, "None of the hosts of the DSN is a primary.")


async def test_a_host_that_does_not_answer_may_be_the_one(orders: Cluster) -> None:
    async with faults.refused() as (_, port):
        base = f"postgresql://{MONITOR}:{QUOTED}@{LOOPBACK}:{port},{LOOPBACK}"
        given = {"query": "SELECT 1 AS n", "conditions": ["row.n == 1"], "role": "primary", "timeout": "20s"}
        only_standby = await seen(sql={**given, "dsn": f"{base}:{orders.standby.port}/orders"}, secrets=(PASSWORD,))
        found = await seen(sql={**given, "dsn": f"{base}:{orders.primary.port}/orders"}, secrets=(PASSWORD,))
        every = await seen(
            sql={**given, "role": "any", "dsn": f"{base}:{orders.primary.port}/orders"}, secrets=(PASSWORD,)
        )
    assert (only_standby.status, found.status, every.status) == (UNKNOWN, OK, UNKNOWN), only_standby.summary


async def test_several_databases_are_targets(orders: Cluster) -> None:
    given = {"query": "SELECT count(*) AS n FROM shop.orders", "conditions": ["row.n > 0"], "timeout": "20s"}
    targets = [{"name": "orders", "dsn": dsn(orders.primary)}, {"name": "empty", "dsn": dsn(orders.primary) + "_not"}]
    assert [part.name for part in line(sql={**given, "targets": targets}).parts] == ["orders", "empty"]
    result = await seen(sql={**given, "targets": targets}, secrets=(PASSWORD,))
    assert (result.status, 'database "orders_not" does not exist' in result.summary) == (UNKNOWN, True), result.summary


async def test_what_is_measured(orders: Cluster) -> None:
    result = await asked(
        orders.primary, query='SELECT 3 AS queued, 1.5 AS lag, true AS up, 4 AS "not a name"', conditions=["row.up"]
    )
    assert {name for name in result.measurements if name != "seconds"} == {"queued", "lag"}


async def test_a_server_that_lets_nobody_in_is_unknown() -> None:
    given = {"query": "SELECT 1 AS n", "conditions": ["row.n == 1"]}
    async with faults.mute() as silent, faults.refused() as gone:
        for (host, port), timeout, reason in ((silent, "1s", Reason.TIMEOUT), (gone, "30s", Reason.UNREACHABLE)):
            where = f"postgresql://user:{QUOTED}@{host}:{port}/x"
            result = await seen(sql={**given, "timeout": timeout, "dsn": where}, secrets=(PASSWORD,))
            assert (result.status, result.reason) == (UNKNOWN, reason), result.summary


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "expected either dsn or targets"),
        (
            {"dsn": "postgresql://a/b", "targets": [{"name": "a", "dsn": "postgresql://a/b"}]},
            "expected either dsn or targets",
        ),
        ({"dsn": "nonsense"}, "expected a PostgreSQL connection string"),
        ({"dsn": "postgresql://a/b", "query": " ; "}, "expected a query"),
        ({"dsn": "postgresql://a/b", "conditions": []}, "at least 1 item"),
        ({"dsn": "postgresql://a/b", "conditions": ["n == 1"]}, "undeclared reference to 'n'"),
        ({"targets": [{"name": "a", "dsn": "postgresql://a/b"}] * 2}, "found a twice"),
        ({"dsn": "postgresql://a/b", "role": "leader"}, "'any', 'primary' or 'standby'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    given = {"query": "SELECT 1 AS n", "conditions": ["row.n == 1"], **options}
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(sql=given)


def test_a_line_keeps_its_class_while_it_is_the_same() -> None:
    given = {"dsn": "postgresql://a/b", "query": "SELECT 1 AS n", "conditions": ["row.n == 1"]}
    made = [Custom.verifying(line(sql=json.loads(json.dumps(given))), "shop", "x", Severity.INFO) for _ in range(2)]
    assert made[0] is made[1]
