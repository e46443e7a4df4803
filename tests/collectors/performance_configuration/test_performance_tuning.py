"""Performance Tuning against real servers: PostgreSQL 15 and 18, PgBouncer, Redis, Caddy, Varnish, nginx."""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from collectors.performance_configuration.performance_tuning import PerformanceTuning, PerformanceTuningSettings
from collectors.systems.delivery.client.http import negotiated
from exporter.verdict import Result, Status
from tests.servers.applications.programs import next_build, next_server
from tests.servers.caddy import caddy
from tests.servers.certificates import authority
from tests.servers.faults import refused
from tests.servers.nginx import nginx
from tests.servers.postgresql import PASSWORD, Cluster, Postgres
from tests.servers.process import LOOPBACK, eventually, free_port, scratch, wait_until
from tests.servers.redis import VALKEY, Node
from tests.servers.varnish import varnish
from tests.support import Run, make_context, sees, until

SECTION = "performance_tuning"
TEXT = "words that repeat " * 400


def run_item(item: str, *, memory: dict[str, Any] | None = None, **options: object) -> Run:
    """One run of an item with these options of the section."""
    return Run(PerformanceTuning, [item], settings=options, context=make_context(memory=memory), secrets=[PASSWORD])


see = sees(run_item)


def database(dsn: str, **options: object) -> list[dict[str, object]]:
    """Option `databases`, with limits at which a server that has just started is judged."""
    return [{"name": "orders", "dsn": dsn, "query_timeout": "20s", "min_observation": "0s", **options}]


# Queries


@pytest.fixture
def orders(pair: Cluster) -> Iterator[Postgres]:
    """The primary, with a table of an application whose statements are counted anew."""
    primary = pair.primary
    primary.script("CREATE TABLE public.line (id int PRIMARY KEY, of int)", "orders")
    primary.script("INSERT INTO public.line SELECT i, i % 100 FROM generate_series(1, 1000) i", "orders")
    primary.script("ANALYZE public.line; SELECT pg_stat_statements_reset()", "orders")
    for _ in range(5):
        primary.query("SELECT count(*) FROM public.line", "orders")
    yield primary
    primary.script("DROP TABLE IF EXISTS public.line CASCADE", "orders")


def run(instance: Postgres, statement: str, times: int) -> None:
    """Run a statement often, on one connection."""
    with instance.connect("orders") as connection:
        for _ in range(times):
            connection.execute(statement.encode())


@pytest.mark.verifies("performance_tuning.query_optimization_applied", "ok")
async def test_fast_statements_pass(orders: Postgres) -> None:
    result = await see("query_optimization_applied", databases=database(orders.dsn()))
    assert result.status is Status.OK, result.summary
    assert 0 < result.measurements["slowest_mean_seconds"] < 0.2 or not result.measurements["slowest_mean_seconds"]


@pytest.mark.verifies("performance_tuning.query_optimization_applied", "failed")
async def test_a_slow_statement_that_runs_often_fails(orders: Postgres) -> None:
    run(orders, "SELECT pg_sleep(0.02) FROM public.line WHERE id = 1", 12)
    options = {"slow_mean": "15ms", "min_calls": 10}
    result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
    assert result.status is Status.FAILED, result.summary
    assert "of role postgres in database orders took" in result.summary
    assert "(12 calls in all; limit 15ms)" in result.summary
    assert "pg_sleep" not in result.summary
    left_out = await see(
        "query_optimization_applied",
        databases=database(orders.dsn(), **options, maintenance_roles=["postgres"]),
    )
    assert left_out.status is Status.UNKNOWN
    assert "has counted no statement of an application" in left_out.summary


async def test_a_statement_that_was_made_faster_passes_before_statistics_are_reset(orders: Postgres) -> None:
    statement = "SELECT CASE WHEN of = 0 THEN pg_sleep(0.03) END FROM public.line WHERE id = {}"
    run(orders, statement.format(100), 10)  # of 0: slow
    memory: dict[str, Any] = {}
    options = {"slow_mean": "5ms", "min_calls": 10, "window": "1s"}
    first = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert first.status is Status.FAILED, first.summary
    await asyncio.sleep(0.6)  # half of the window
    run(orders, statement.format(1), 20)
    second = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert second.status is Status.OK, second.summary


async def test_a_statement_that_became_slow_is_not_hidden_by_a_fast_past(orders: Postgres) -> None:
    statement = "SELECT CASE WHEN of = 0 THEN pg_sleep(0.03) END FROM public.line WHERE id = {}"
    run(orders, statement.format(1), 300)
    memory: dict[str, Any] = {}
    options = {"slow_mean": "10ms", "min_calls": 10, "window": "1s"}
    first = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert first.status is Status.OK, first.summary
    await asyncio.sleep(0.6)
    run(orders, statement.format(100), 10)
    second = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert second.status is Status.FAILED, second.summary


async def test_a_slow_query_in_many_shapes_is_one(orders: Postgres) -> None:
    """A list of values makes a statement of each length before PostgreSQL 18, and an ORM one of each set of columns."""
    memory: dict[str, Any] = {}
    options = {"slow_mean": "15ms", "min_calls": 10, "window": "1s"}
    first = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert first.status is Status.OK, first.summary
    await asyncio.sleep(0.6)  # half of the window
    for number in range(12):
        columns = "".join(f", id AS a{column}" for column in range(number))
        orders.query(f"SELECT pg_sleep(0.03){columns} FROM public.line WHERE id = 1", "orders")
    second = await see("query_optimization_applied", memory=memory, databases=database(orders.dsn(), **options))
    assert (second.status, "each of them run rarely, took" in second.summary) == (Status.FAILED, True), second.summary


async def test_the_copy_of_a_backup_is_no_slow_statement(orders: Postgres) -> None:
    orders.programs.run("pg_dump", "-h", LOOPBACK, "-p", str(orders.port), "-U", "postgres", "-d", "orders")
    copied = "SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'COPY%'"
    assert orders.query(copied, "orders")[0][0] > 0
    options = {"slow_mean": "1ms", "min_calls": 1, "maintenance_roles": ["postgres"]}
    result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
    assert result.status is Status.UNKNOWN, result.summary


@pytest.mark.verifies("performance_tuning.query_optimization_applied", "unknown")
async def test_statistics_that_were_reset_a_moment_ago_show_nothing(orders: Postgres) -> None:
    result = await see("query_optimization_applied", databases=database(orders.dsn(), min_observation="24h"))
    assert result.status is Status.UNKNOWN, result.summary
    assert "only (wanted 1d), so slow statements may be missing" in result.summary


async def test_the_time_of_planning_counts(orders: Postgres) -> None:
    joined = "SELECT 1 FROM public.line l0" + "".join(
        f" JOIN public.line l{i} ON l{i}.id = l{i - 1}.id" for i in range(1, 9)
    )
    planned = "SELECT mean_plan_time, mean_exec_time FROM pg_stat_statements WHERE plans > 3 ORDER BY 1 DESC LIMIT 1"
    with (
        orders.setting(**{"pg_stat_statements.track_planning": "on", "geqo": "off", "join_collapse_limit": "20"}),
        orders.connect("orders") as connection,
    ):
        for _ in range(5):
            connection.execute(f"{joined} WHERE l0.id = 1".encode())
        ((planning, executing),) = orders.query(planned, "orders")
        assert planning > 3 * executing, "the state was not set up"
        options = {"slow_mean": f"{planning / 1.5 / 1000:.6f}s", "min_calls": 5}
        result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
    assert result.status is Status.FAILED, result.summary


async def test_statements_that_are_not_counted_are_unknown(orders: Postgres) -> None:
    with orders.setting(**{"pg_stat_statements.track": "none"}):
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
    assert result.status is Status.UNKNOWN, result.summary
    assert "pg_stat_statements.track" in result.summary


async def test_a_transaction_that_failed_and_was_never_rolled_back_is_open(orders: Postgres) -> None:
    with orders.connect("orders") as connection:
        connection.execute("BEGIN")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        options = {"max_transaction_age": "1s"}

        async def now() -> Result:
            return await see("query_optimization_applied", databases=database(orders.dsn(), **options))

        result = await until(now, Status.FAILED, "has been idle in transaction (aborted) for ")
    assert "of role postgres in database orders" in result.summary


async def test_an_old_transaction_fails_and_a_dump_does_not(orders: Postgres) -> None:
    with closing(psycopg.connect(orders.dsn(user="postgres"), application_name="shop")) as held:
        held.execute("SELECT 1")
        options = {"max_transaction_age": "1ms"}
        result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
        assert result.status is Status.FAILED, result.summary
        assert "in database orders on" in result.summary
        assert "has been idle in transaction for" in result.summary
    with closing(psycopg.connect(orders.dsn(user="postgres"), application_name="pg_dump")) as held:
        held.execute("SELECT 1")
        result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
        assert result.status is Status.OK, result.summary


async def test_a_bloated_table_fails(orders: Postgres) -> None:
    orders.script("CREATE TABLE public.bloated (i int) WITH (autovacuum_enabled = off)", "orders")
    try:
        orders.script("INSERT INTO public.bloated SELECT generate_series(1, 20000); ANALYZE public.bloated", "orders")
        orders.script("DELETE FROM public.bloated WHERE i <= 15000", "orders")
        dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'bloated'"
        wait_until(lambda: orders.query(dead, "orders")[0][0] >= 15000, "the deletion to be counted")
        orders.script("ANALYZE public.bloated", "orders")
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
        assert result.status is Status.FAILED, result.summary
        assert "of the rows of public.bloated on" in result.summary
        assert "are dead" in result.summary
        orders.script("VACUUM public.bloated", "orders")
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
        assert result.status is Status.OK, result.summary
    finally:
        orders.script("DROP TABLE public.bloated", "orders")


@pytest.mark.parametrize("name", ["autovacuum", "track_counts"])
async def test_autovacuum_that_does_not_run_fails(orders: Postgres, name: str) -> None:
    with orders.setting(**{name: "off"}):
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
        scans = await see("indexes_optimized", databases=database(orders.dsn()))
    assert result.status is Status.FAILED, result.summary
    assert f"{name} is off on" in result.summary
    assert scans.status is (Status.UNKNOWN if name == "track_counts" else Status.OK), scans.summary


async def test_a_transaction_that_is_not_shown_is_unknown(orders: Postgres) -> None:
    with closing(psycopg.connect(orders.dsn(user="postgres"))) as held:
        held.execute("SET track_activities = off")
        held.commit()
        held.execute("SELECT 1")
        shown = f"SELECT state, xact_start FROM pg_stat_activity WHERE pid = {held.info.backend_pid}"
        assert orders.query(shown) == [("disabled", None)]
        result = await see("query_optimization_applied", databases=database(orders.dsn(), max_transaction_age="1ms"))
    assert result.status is Status.UNKNOWN, result.summary
    assert "hides since when its transaction is open (track_activities is off)" in result.summary


@pytest.mark.parametrize("kind", ["prepared", "procedure", "block"])
async def test_slow_statements_hide_neither_behind_prepare_nor_in_a_procedure(orders: Postgres, kind: str) -> None:
    orders.script("CREATE PROCEDURE public.slow() LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.03); END'", "orders")
    try:
        with orders.connect("orders", prepare_threshold=None) as connection:
            connection.execute("PREPARE slow AS SELECT pg_sleep(0.03) FROM public.line WHERE id = 1")
            ways = {
                "prepared": "EXECUTE slow",
                "procedure": "CALL public.slow()",
                "block": "DO $$ BEGIN PERFORM pg_sleep(0.03); END $$",
            }
            for _ in range(12):
                connection.execute(ways[kind].encode())
        options = {"slow_mean": "15ms", "min_calls": 10}
        result = await see("query_optimization_applied", databases=database(orders.dsn(), **options))
    finally:
        orders.script("DROP PROCEDURE public.slow()", "orders")
    assert result.status is Status.FAILED, result.summary
    assert "(12 calls in all; limit 15ms)" in result.summary


async def test_an_extension_that_was_not_updated_is_named(orders: Postgres) -> None:
    orders.script("DROP EXTENSION pg_stat_statements; CREATE EXTENSION pg_stat_statements VERSION '1.8'", "orders")
    try:
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
    finally:
        orders.script("ALTER EXTENSION pg_stat_statements UPDATE", "orders")
    assert result.status is Status.UNKNOWN
    assert "is of version 1.8" in result.summary


async def test_a_table_that_was_never_analysed_fails(orders: Postgres) -> None:
    orders.script(
        "CREATE TABLE public.loaded (t text) WITH (autovacuum_enabled = off);"
        "INSERT INTO public.loaded SELECT repeat('x', 1000) FROM generate_series(1, 12000)",
        "orders",
    )
    try:
        result = await see("query_optimization_applied", databases=database(orders.dsn()))
        assert result.status is Status.FAILED, result.summary
        assert "Table public.loaded on" in result.summary
        assert "was never analysed" in result.summary
    finally:
        orders.script("DROP TABLE public.loaded", "orders")


# Indexes


@pytest.mark.verifies("performance_tuning.indexes_optimized", "ok")
async def test_valid_indexes_pass(pair: Cluster, orders: Postgres) -> None:
    options = {"required_indexes": ["public.line_pkey"]}
    result = await see("indexes_optimized", databases=database(pair.dsn, **options))
    assert result.status is Status.OK, result.summary


@pytest.mark.verifies("performance_tuning.indexes_optimized", "failed")
async def test_what_a_failed_concurrent_build_leaves_fails(orders: Postgres) -> None:
    orders.script("INSERT INTO public.line VALUES (5000, 1), (5001, 1)", "orders")
    with pytest.raises(psycopg.errors.UniqueViolation):
        orders.query("CREATE UNIQUE INDEX CONCURRENTLY line_of ON public.line (of)", "orders")
    result = await see("indexes_optimized", databases=database(orders.dsn()))
    assert result.status is Status.FAILED, result.summary
    assert "Index public.line_of of table public.line on" in result.summary
    assert "is invalid" in result.summary


async def test_an_index_that_is_being_built_is_not_invalid(orders: Postgres) -> None:
    with orders.connect("orders") as blocking, ExitStack() as stack:
        blocking.autocommit = False
        blocking.execute("INSERT INTO public.line VALUES (6000, 1)")  # the build waits for this transaction
        building = stack.enter_context(closing(orders.connect("orders")))
        thread = asyncio.create_task(
            asyncio.to_thread(building.execute, "CREATE INDEX CONCURRENTLY line_built ON public.line (of)")
        )
        invalid = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('public.line_built') AND NOT indisvalid"
        await eventually(lambda: bool(orders.query(invalid, "orders")), "the index to be in the catalogue")
        result = await see("indexes_optimized", databases=database(orders.dsn()))
        assert result.status is Status.OK, result.summary
        blocking.rollback()
        await thread


@contextmanager
def waiting(orders: Postgres, statement: str) -> Iterator[None]:
    """A statement that has to wait for a transaction that uses the table, and its index when that is dropped."""

    def work() -> None:
        with orders.connect("orders") as connection:
            connection.execute(statement.encode())

    held = orders.connect("orders")
    held.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    held.execute("SELECT of FROM public.line WHERE of = 3")
    thread = threading.Thread(target=work)
    thread.start()
    try:
        invalid = "SELECT 1 FROM pg_index WHERE indrelid = 'public.line'::regclass AND NOT indisvalid"
        wait_until(lambda: orders.query(invalid, "orders"), "the index to be invalid")
        yield
    finally:
        held.close()
        thread.join()


async def test_a_required_index_that_is_being_built_is_not_there_yet(orders: Postgres) -> None:
    with waiting(orders, "CREATE INDEX CONCURRENTLY line_needed ON public.line (of)"):
        options = {"required_indexes": ["public.line_needed"]}
        result = await see("indexes_optimized", databases=database(orders.dsn(), **options))
    assert result.status is Status.UNKNOWN, result.summary
    assert "Index public.line_needed on" in result.summary


@pytest.mark.parametrize("statement", ["DROP INDEX CONCURRENTLY", "REINDEX INDEX CONCURRENTLY"])
async def test_an_index_that_is_being_dropped_or_rebuilt_is_not_invalid(orders: Postgres, statement: str) -> None:
    orders.script("CREATE INDEX line_of ON public.line (of)", "orders")
    with waiting(orders, f"{statement} public.line_of"):
        result = await see("indexes_optimized", databases=database(orders.dsn()))
    assert result.status is Status.OK, result.summary


@pytest.mark.parametrize("other", ["UNIQUE (of) DEFERRABLE", "UNIQUE NULLS NOT DISTINCT (of)"])
async def test_a_unique_index_that_enforces_something_else_is_not_needless(orders: Postgres, other: str) -> None:
    orders.script(f"CREATE TABLE public.enforced (of int, {other})", "orders")
    try:
        orders.script("CREATE UNIQUE INDEX arbiter ON public.enforced (of)", "orders")
        kept = await see("indexes_optimized", databases=database(orders.dsn()))
        orders.script("CREATE INDEX needless ON public.enforced (of)", "orders")
        doubled = await see("indexes_optimized", databases=database(orders.dsn()))
    finally:
        orders.script("DROP TABLE public.enforced", "orders")
    assert kept.status is Status.OK, kept.summary
    assert doubled.status is Status.WARNING
    assert doubled.summary.startswith("public.needless of table public.enforced")


async def test_statistics_that_a_crash_emptied_show_no_index_unused(orders: Postgres) -> None:
    # In a database of its own: other tests reset the statistics of theirs, which dates them.
    with orders.statements("CREATE DATABASE crashed", "DROP DATABASE crashed WITH (FORCE)"):
        orders.script("CREATE TABLE public.line (id int, of int); CREATE INDEX line_of ON public.line (of)", "crashed")
        assert orders.query("SELECT stats_reset FROM pg_stat_database WHERE datname = 'crashed'") == [(None,)]
        options = {"min_observation": "24h", "unused_index_min_size": "1kB"}
        result = await see("indexes_optimized", databases=database(orders.dsn(dbname="crashed"), **options))
    assert result.status is Status.OK, result.summary
    assert "which are unused shows after 1d of statistics" in result.summary


async def test_indexes_that_the_planner_leaves_alone_are_a_warning(orders: Postgres) -> None:
    with orders.setting(enable_indexscan="off", enable_bitmapscan="off"):
        everybody = await see("indexes_optimized", databases=database(orders.dsn()))
    with orders.statements("ALTER DATABASE orders SET enable_indexscan = false", "ALTER DATABASE orders RESET ALL"):
        here = await see("indexes_optimized", databases=database(orders.dsn()))
    with orders.statements("ALTER DATABASE postgres SET enable_indexscan = off", "ALTER DATABASE postgres RESET ALL"):
        elsewhere = await see("indexes_optimized", databases=database(orders.dsn()))
    assert elsewhere.status is Status.OK, elsewhere.summary
    assert (everybody.status, "enable_bitmapscan is off" in everybody.summary) == (Status.WARNING, True), everybody
    assert (here.status, "for database orders" in here.summary) == (Status.WARNING, True), here.summary


async def test_a_required_index_that_is_missing_fails(orders: Postgres) -> None:
    result = await see("indexes_optimized", databases=database(orders.dsn(), required_indexes=["public.line_gone"]))
    assert result.status is Status.FAILED
    assert "Index public.line_gone does not exist on" in result.summary


async def test_an_index_beside_a_constraint_is_needless_and_the_constraint_stays(orders: Postgres) -> None:
    orders.script("CREATE INDEX line_again ON public.line (id)", "orders")
    result = await see("indexes_optimized", databases=database(orders.dsn()))
    assert result.status is Status.WARNING, result.summary
    assert "public.line_again of table public.line on" in result.summary
    assert "holds the same as public.line_pkey" in result.summary
    orders.script("DROP INDEX public.line_again; CREATE INDEX line_part ON public.line (id) WHERE of > 3", "orders")
    result = await see("indexes_optimized", databases=database(orders.dsn()))
    assert result.status is Status.OK, result.summary


async def test_an_index_that_only_the_standby_uses_is_used(pair: Cluster, orders: Postgres) -> None:
    orders.script("CREATE INDEX line_reports ON public.line (of)", "orders")
    pair.caught_up()
    options = {"unused_index_min_size": 1}
    alone = await see("indexes_optimized", databases=database(orders.dsn(), **options))
    assert alone.status is Status.WARNING, alone.summary
    assert "Index public.line_reports on" in alone.summary
    assert "was never used" in alone.summary
    assert "line_pkey" not in alone.summary, "a constraint stands on it"
    with pair.standby.connect("orders") as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT count(*) FROM public.line WHERE of = 7")
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'line_reports'"
    await eventually(lambda: pair.standby.query(used, "orders")[0][0] > 0, "the scan to be counted")
    both = await see("indexes_optimized", databases=database(pair.dsn, **options))
    assert "line_reports" not in both.summary


async def test_a_foreign_key_without_an_index_is_a_warning_once_rows_are_deleted(orders: Postgres) -> None:
    orders.script(
        "CREATE TABLE public.item (line int REFERENCES public.line, x int);"
        "INSERT INTO public.item SELECT 1, i FROM generate_series(1, 2000) i",
        "orders",
    )
    try:
        orders.script("ANALYZE public.item", "orders")
        options = {"min_rows": 1000}
        before = await see("indexes_optimized", databases=database(orders.dsn(), **options))
        assert before.status is Status.OK, before.summary
        orders.query("DELETE FROM public.line WHERE id = 999", "orders")
        deleted = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'line'"
        await eventually(lambda: orders.query(deleted, "orders")[0][0] > 0, "the deletion to be counted")
        after = await see("indexes_optimized", databases=database(orders.dsn(), **options))
        assert after.status is Status.WARNING, after.summary
        assert "Foreign key item_line_fkey of table public.item on" in after.summary
        orders.script("CREATE INDEX ON public.item (line) WHERE x > 0", "orders")
        partial = await see("indexes_optimized", databases=database(orders.dsn(), **options))
        assert partial.status is Status.WARNING, partial.summary
        orders.script("CREATE INDEX present ON public.item (line) WHERE line IS NOT NULL", "orders")
        found = orders.query("EXPLAIN SELECT FROM ONLY public.item WHERE line = 5 FOR KEY SHARE", "orders")
        assert "present" in str(found)  # as the check of the foreign key finds them
        present = await see("indexes_optimized", databases=database(orders.dsn(), **options))
        assert present.status is Status.OK, present.summary
        orders.script("DROP INDEX public.present; CREATE INDEX ON public.item (line, x)", "orders")
        indexed = await see("indexes_optimized", databases=database(orders.dsn(), **options))
        assert indexed.status is Status.OK, indexed.summary
    finally:
        orders.script("DROP TABLE public.item", "orders")


async def test_a_large_table_that_is_read_whole_is_a_warning(orders: Postgres) -> None:
    memory: dict[str, Any] = {}
    options = {"min_rows": 500, "window": "1s", "max_scans_per_hour": 60}
    await see("indexes_optimized", memory=memory, databases=database(orders.dsn(), **options))
    await asyncio.sleep(0.6)
    run(orders, "SELECT count(*) FROM public.line WHERE of = 3", 5)
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'line'"
    await eventually(lambda: orders.query(scans, "orders")[0][0] >= 10, "the scans to be counted")
    result = await see("indexes_optimized", memory=memory, databases=database(orders.dsn(), **options))
    assert result.status is Status.WARNING, result.summary
    assert "Table public.line on" in result.summary
    assert "is read whole" in result.summary


@pytest.mark.verifies("performance_tuning.indexes_optimized", "unknown")
async def test_an_instance_that_does_not_answer_is_unknown() -> None:
    async with refused() as (_, port):
        dsn = f"host={LOOPBACK} port={port} user=checklist_exporter dbname=orders"
        for item in ("indexes_optimized", "query_optimization_applied"):
            result = await see(item, databases=database(dsn))
            assert result.status is Status.UNKNOWN
            assert "cannot be reached" in result.summary


# Pools


@pytest.mark.verifies("performance_tuning.connection_pools_tuned", "ok")
@pytest.mark.verifies("performance_tuning.connection_pools_tuned", "failed")
async def test_pools_have_to_fit_into_the_server(pair: Cluster) -> None:
    pools = [{"name": "api", "size": 10, "replicas": 3}]
    result = await see("connection_pools_tuned", databases=database(pair.dsn, pools=pools))
    assert result.status is Status.OK, result.summary
    pools = [{"name": "api", "size": 40, "replicas": 3}]
    result = await see("connection_pools_tuned", databases=database(pair.dsn, pools=pools))
    assert result.status is Status.FAILED
    assert "The pools may reach 120 connections" in result.summary


@pytest.mark.parametrize(
    ("setup", "undo", "names", "status", "why"),
    [
        ("", "", {"role": "appi"}, Status.UNKNOWN, "There is no role appi, which pools use"),
        ("", "", {"database": "orderz"}, Status.UNKNOWN, "There is no database orderz, which pools use"),
        (
            "CREATE ROLE pooled NOLOGIN",
            "DROP ROLE pooled",
            {"role": "pooled"},
            Status.FAILED,
            "role pooled, which accepts no",
        ),
        (
            "CREATE ROLE pooled LOGIN VALID UNTIL '2020-01-01'",
            "DROP ROLE pooled",
            {"role": "pooled"},
            Status.WARNING,
            "The password of role pooled has expired",
        ),
        ("", "", {"database": "template0"}, Status.FAILED, "database template0, which accepts no"),
        ("", "", {"role": "postgres", "database": "postgres"}, Status.OK, "The pools may reach 10 of"),
    ],
)
async def test_pools_that_get_in_nowhere_do_not_fit(
    pair: Cluster, setup: str, undo: str, names: dict[str, str], status: Status, why: str
) -> None:
    if setup:
        pair.primary.query(setup)
    try:
        pools = [{"name": "api", "size": 10, **names}]
        result = await see("connection_pools_tuned", databases=database(pair.dsn, pools=pools))
        assert (result.status, why in result.summary) == (status, True), result.summary
    finally:
        if undo:
            pair.primary.query(undo)


@pytest.mark.verifies("performance_tuning.connection_pools_tuned", "unknown")
async def test_without_pools_nothing_is_known() -> None:
    result = await see("connection_pools_tuned")
    assert result.status is Status.UNKNOWN
    assert result.summary == "Neither databases nor caches are configured, so no pool was checked."
    async with refused() as (_, port):
        result = await see("connection_pools_tuned", caches=[{"name": "cache", "nodes": [f"{LOOPBACK}:{port}"]}])
    assert result.status is Status.UNKNOWN
    assert "refuses the connection" in result.summary


async def test_pools_have_to_fit_into_a_cache() -> None:
    with cache("--maxclients", "12") as node:
        caches = [{"name": "cache", "nodes": [node.address], "pools": {"api": 10, "worker": 10}}]
        result = await see("connection_pools_tuned", caches=caches)
    assert result.status is Status.FAILED
    assert f"may hold 20 connections to {node.address}, which accepts 12 clients (maxclients)" in result.summary


# Caches


@contextmanager
def cache(*options: str) -> Iterator[Node]:
    with scratch("redis") as directory, Node(directory, *options) as node:
        yield node


def looked_up(node: Node, hits: int, misses: int) -> None:
    """Have so many lookups find their key, or not."""
    with node.client() as client:
        client.set("key", "1", ex=3600)
        pipeline = client.pipeline(transaction=False)
        for number in range(hits + misses):
            pipeline.get("key" if number < hits else "none")
        pipeline.execute()


@pytest.mark.verifies("performance_tuning.cache_ttls_optimized", "ok")
@pytest.mark.verifies("performance_tuning.cache_ttls_optimized", "failed")
@pytest.mark.verifies("performance_tuning.cache_ttls_optimized", "unknown")
async def test_a_cache_whose_keys_expire_and_are_found_passes() -> None:
    with cache() as node:
        caches = [{"name": "cache", "nodes": [node.address], "min_lookups": 100}]
        empty = await see("cache_ttls_optimized", caches=caches)
        assert empty.status is Status.UNKNOWN
        assert "holds no key in a database that caches" in empty.summary
        looked_up(node, 95, 5)
        good = await see("cache_ttls_optimized", caches=caches)
        assert good.status is Status.OK, good.summary
        assert good.measurements["keys_expiring_ratio"] == 1
        with node.client() as client:
            client.mset({f"stays:{number}": "1" for number in range(9)})
        stays = await see("cache_ttls_optimized", caches=caches)
        assert stays.status is Status.FAILED
        assert stays.summary.startswith(f"10.0% of the 10 keys in database 0 of {node.address} expire (wanted 90%)")
        node.command("SWAPDB", 0, 5)
        lasting = await see("cache_ttls_optimized", caches=[{**caches[0], "lasting_databases": [5]}])
        assert lasting.status is Status.UNKNOWN, "no database is left that caches"


async def test_lookups_of_now_outweigh_those_of_the_past() -> None:
    with cache() as node:
        memory: dict[str, Any] = {}
        caches = [{"name": "cache", "nodes": [node.address], "min_lookups": 100, "window": "1s"}]
        looked_up(node, 1000, 10)
        first = await see("cache_ttls_optimized", memory=memory, caches=caches)
        assert first.status is Status.OK, first.summary
        await asyncio.sleep(0.6)
        looked_up(node, 20, 200)
        second = await see("cache_ttls_optimized", memory=memory, caches=caches)
        assert second.status is Status.FAILED, second.summary
        assert f"of 220 lookups in {node.address} found their key (wanted 80%)" in second.summary


async def test_hits_of_one_node_do_not_hide_the_misses_of_another() -> None:
    with cache() as one, cache() as other:
        looked_up(one, 5000, 0)
        looked_up(other, 10, 200)
        caches = [{"name": "cache", "nodes": [one.address, other.address], "min_lookups": 100}]
        result = await see("cache_ttls_optimized", caches=caches)
    assert result.status is Status.WARNING, result.summary
    assert f"4.8% of 210 lookups in {other.address} alone found their key" in result.summary


async def test_keys_whose_fields_expire_may_expire() -> None:
    with scratch("redis") as directory, Node(directory, release=VALKEY) as node:
        looked_up(node, 100, 0)
        for number in range(20):
            node.command("HSET", f"hash:{number}", "field", 1)
            node.command("HEXPIRE", f"hash:{number}", 3600, "FIELDS", 1, "field")
        caches = [{"name": "cache", "nodes": [node.address], "min_lookups": 100}]
        result = await see("cache_ttls_optimized", caches=caches)
    assert (result.status, "20 others have fields that do" in result.summary) == (Status.UNKNOWN, True), result.summary


async def test_few_lookups_show_nothing() -> None:
    with cache() as node:
        looked_up(node, 5, 0)
        result = await see("cache_ttls_optimized", caches=[{"name": "cache", "nodes": [node.address]}])
    assert result.status is Status.UNKNOWN
    assert "had fewer than 1,000 lookups" in result.summary


# Sites


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The authority's file, and a certificate with its key for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    return (authority().write(folder, "ca")[0], *authority().issue("localhost").write(folder, "server"))


def site(port: int, ca: Path | None = None, **options: object) -> list[dict[str, object]]:
    """Option `sites` for a server on this machine."""
    scheme = "https" if ca else "http"
    trust = {"tls": {"ca_file": str(ca)}} if ca else {}
    return [
        {
            "name": "shop",
            "url": f"{scheme}://localhost:{port}",
            "timeout": "20s",
            "cache_pause": "10ms",
            **trust,
            **options,
        }
    ]


@pytest.fixture(scope="module")
def edge(secure: tuple[Path, Path, Path]) -> Iterator[int]:
    """The port of a Caddy that compresses, and speaks HTTP/2 and HTTP/3."""
    port = free_port()
    _, cert, key = secure
    block = (
        f"https://localhost:{port} {{\n\ttls {cert} {key}\n\tencode zstd gzip\n\theader /text Content-Type text/plain\n"
        f'\trespond /text "{TEXT}"\n\theader /short Content-Type text/plain\n\trespond /short "hello"\n'
        f'\trespond /none 404\n\trespond /broken 502\n\theader /image Content-Type image/png\n\trespond /image "{TEXT}"\n}}\n'
    )
    with caddy(block, port=port):
        yield port


@pytest.fixture(scope="module")
def plain(secure: tuple[Path, Path, Path]) -> Iterator[int]:
    """The port of an nginx that speaks HTTP/1.1 alone, compresses nothing and ends each connection."""
    port = free_port()
    _, cert, key = secure
    with scratch("files") as folder:  # that nginx may read
        for name in ("index.txt", "fake", "stored", "cut", "stub", "named", "as-br", "as-zstd", "as-deflate"):
            (folder / name).write_text(TEXT)
        (folder / "stored.gz").write_bytes(gzip.compress(TEXT.encode(), 0))
        (folder / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-20])
        (folder / "stub.gz").write_bytes(gzip.compress(b"what was deployed last year"))
        (folder / "named.br").write_text(TEXT)
        block = (
            f"keepalive_timeout 0; server {{ listen {LOOPBACK}:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};\n"
            f"root {folder}; index index.txt; default_type text/plain;\n"
            "location = /fake { add_header Content-Encoding gzip; add_header Vary Accept-Encoding; }\n"
            "location = /busy { return 503; }\n"
            "location ~ ^/as-(?<as>.*)$ { if ($http_accept_encoding ~ br) { rewrite ^ /spoiled-$as last; } }\n"
            "location = /spoiled-br { add_header Content-Encoding br; return 200 ''; }\n"
            "location = /spoiled-zstd { add_header Content-Encoding zstd; return 200 'no zstd'; }\n"
            "location = /spoiled-deflate { add_header Content-Encoding deflate; return 200 'no deflate'; }\n"
            "location = /away/403 { return 403; } location = /away/429 { return 429; } location = /away/503 { return 503; }\n"
            "location = /nothing.js { add_header X-Cache HIT; return 200 ''; }\n"
            "location ~ ^/(stored|cut|stub)$ { if ($http_accept_encoding ~ gzip) { rewrite ^ $uri.gz last; } }\n"
            "location = /named { if ($http_accept_encoding ~ br) { rewrite ^ /named.br last; } }\n"
            "location ~ gz$ { add_header Content-Encoding gzip; add_header Vary Accept-Encoding; }\n"
            "location ~ br$ { add_header Content-Encoding br; add_header Vary Accept-Encoding; }\n"
            "location /cache/ { default_type text/javascript; add_header X-Cache $arg_is; add_header Server-Timing $arg_timing; "
            "return 200 'code'; }\n"
            "location = /page { default_type text/html; return 200 '<html>'; } }"
        )
        with nginx(block, port=port):
            yield port


@pytest.mark.verifies("performance_tuning.compression_enabled", "ok")
@pytest.mark.verifies("performance_tuning.compression_enabled", "failed")
@pytest.mark.verifies("performance_tuning.compression_enabled", "unknown")
async def test_text_has_to_be_compressed(edge: int, plain: int, secure: tuple[Path, Path, Path]) -> None:
    ca = secure[0]
    good = await see("compression_enabled", sites=site(edge, ca, pages=["/text"]))
    assert good.status is Status.OK, good.summary
    assert good.summary == f"GET https://localhost:{edge}/text is sent as zstd."
    for path, why in (
        ("/short", "too few to be compressed"),
        ("/image", "which is not compressed"),
        ("/none", "answered"),
    ):
        result = await see("compression_enabled", sites=site(edge, ca, pages=[path]))
        assert result.status is Status.UNKNOWN, result.summary
        assert why in result.summary
    bad = await see("compression_enabled", sites=site(plain, ca))
    assert bad.status is Status.FAILED
    assert bad.summary.endswith("is sent uncompressed to browsers (wanted br, zstd or gzip).")
    fake = await see("compression_enabled", sites=site(plain, ca, pages=["/fake"]))
    assert fake.status is Status.FAILED
    assert "claims to be gzip, but cannot be unpacked" in fake.summary


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/stored", "are no fewer than uncompressed"),
        ("/named", "are no fewer than uncompressed"),
        ("/cut", "claims to be gzip, but cannot be unpacked"),
        ("/as-br", "claims to be br, but cannot be unpacked"),
        ("/as-zstd", "claims to be zstd, but cannot be unpacked"),
        ("/as-deflate", "claims to be deflate, but cannot be unpacked"),
        ("/stub", "unpacks from gzip to 27 bytes and has 7,200 uncompressed"),
    ],
)
async def test_what_is_compressed_in_name_only_fails(
    plain: int, secure: tuple[Path, Path, Path], path: str, why: str
) -> None:
    result = await see("compression_enabled", sites=site(plain, secure[0], pages=[path]))
    assert result.status is Status.FAILED, result.summary
    assert why in result.summary


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("is=TCP_HIT", Status.OK),  # Akamai, Azure
        ("is=TCP_MEM_HIT", Status.OK),
        ("is=RefreshHit", Status.OK),  # CloudFront
        ("timing=cdn-cache;desc=HIT", Status.OK),
        ("is=PRERENDER", Status.OK),  # Vercel
        ("is=TCP_MISS", Status.FAILED),
        ("is=NOHIT", Status.FAILED),
        ("is=no-hit", Status.FAILED),
        ("is=hit-for-pass", Status.FAILED),
    ],
)
async def test_a_cdn_names_its_hits_as_it_likes(
    plain: int, secure: tuple[Path, Path, Path], asked: str, status: Status
) -> None:
    result = await see("cdn_configured", sites=site(plain, secure[0], assets=[f"/cache/app.js?{asked}"]))
    assert result.status is status, result.summary


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((f"/away/{code}", Status.UNKNOWN) for code in (403, 429, 503)),  # of a firewall, a limit, a broken origin
        ("/nothing.js", Status.FAILED),
    ],
)
async def test_a_cdn_is_not_judged_by_what_is_no_file(
    plain: int, secure: tuple[Path, Path, Path], path: str, status: Status
) -> None:
    result = await see("cdn_configured", sites=site(plain, secure[0], assets=[path]))
    assert result.status is status, result.summary


async def test_each_address_of_a_site_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with scratch("files") as folder, ExitStack() as stack:
        (folder / "page.txt").write_text(TEXT)
        served = f"root {folder}; index page.txt; default_type text/plain; gzip_types text/plain; gzip_vary on;"
        good = f"server {{ listen {LOOPBACK}:{port}; {served} gzip on; }}"
        stack.enter_context(
            nginx(f"{good} server {{ listen 127.0.0.2:{port}; {served} keepalive_timeout 0; }}", port=port)
        )
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def resolve(host: str, *rest: Any, **more: Any) -> Any:
            addresses = [LOOPBACK, "127.0.0.2", "127.0.0.3"] if host == "localhost" else [host]
            return [found for address in addresses for found in await real(address, *rest, **more)]

        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        compressed = await see("compression_enabled", sites=site(port))
        kept = await see("keep_alive_configured", sites=site(port))
    assert (compressed.status, "at 127.0.0.2 is sent uncompressed" in compressed.summary) == (Status.FAILED, True)
    assert (kept.status, "at 127.0.0.2 ends the connection" in kept.summary) == (Status.FAILED, True), kept.summary
    assert "127.0.0.3" not in compressed.summary + kept.summary, "nothing listens there, as where there is no route"


async def test_an_error_shows_neither_versions_nor_kept_connections(
    edge: int, plain: int, secure: tuple[Path, Path, Path]
) -> None:
    broken = await see("http2_or_http3_enabled", sites=site(edge, secure[0], pages=["/broken"]))
    assert broken.status is Status.UNKNOWN, broken.summary
    assert "answered 502" in broken.summary
    busy = await see("keep_alive_configured", sites=site(plain, secure[0], pages=["/busy"]))
    assert busy.status is Status.UNKNOWN, busy.summary
    assert "answered 503" in busy.summary


async def test_the_protocols_of_a_handshake_are_not_those_of_another_client(
    edge: int, secure: tuple[Path, Path, Path]
) -> None:
    (place,) = PerformanceTuningSettings.model_validate_json(json.dumps({"sites": site(edge, secure[0])})).sites

    async def others() -> None:
        while True:
            place.tls.context.set_alpn_protocols(["http/1.1"])
            await asyncio.sleep(0)

    busy = asyncio.create_task(others())
    try:
        assert set((await negotiated(place)).values()) == {"h2"}
    finally:
        busy.cancel()


@pytest.mark.verifies("performance_tuning.http2_or_http3_enabled", "ok")
@pytest.mark.verifies("performance_tuning.http2_or_http3_enabled", "failed")
@pytest.mark.verifies("performance_tuning.http2_or_http3_enabled", "unknown")
async def test_browsers_get_http2_or_http3(edge: int, plain: int, secure: tuple[Path, Path, Path]) -> None:
    ca = secure[0]
    good = await see("http2_or_http3_enabled", sites=site(edge, ca, http3=True, pages=["/text"]))
    assert good.status is Status.OK, good.summary
    assert good.summary == f"localhost:{edge} answers by HTTP/2 and HTTP/3."
    bad = await see("http2_or_http3_enabled", sites=site(plain, ca))
    assert bad.status is Status.FAILED
    assert "speaks HTTP/1.1 alone" in bad.summary
    demanded = await see("http2_or_http3_enabled", sites=site(plain, ca, http3=True, timeout="2s"))
    assert demanded.status is Status.FAILED
    assert "does not answer by HTTP/3" in demanded.summary
    untrusted = await see("http2_or_http3_enabled", sites=[{"name": "shop", "url": f"https://localhost:{edge}"}])
    assert untrusted.status is Status.UNKNOWN, untrusted.summary


async def test_http3_that_is_only_claimed_is_a_warning(secure: tuple[Path, Path, Path]) -> None:
    port = free_port()
    ca, cert, key = secure
    block = (
        f'https://localhost:{port} {{\n\ttls {cert} {key}\n\theader Alt-Svc "h3=\\":{port}\\""\n\trespond "hello"\n}}\n'
    )
    with caddy(block, port=port, protocols="h1 h2"):
        result = await see("http2_or_http3_enabled", sites=site(port, ca, timeout="2s"))
    assert result.status is Status.WARNING, result.summary
    assert "advertises HTTP/3 (Alt-Svc), but it was not answered" in result.summary


@pytest.mark.verifies("performance_tuning.keep_alive_configured", "ok")
@pytest.mark.verifies("performance_tuning.keep_alive_configured", "failed")
@pytest.mark.verifies("performance_tuning.keep_alive_configured", "unknown")
async def test_connections_have_to_be_kept(edge: int, plain: int, secure: tuple[Path, Path, Path]) -> None:
    ca = secure[0]
    good = await see("keep_alive_configured", sites=site(edge, ca, pages=["/text"]))
    assert good.status is Status.OK, good.summary
    bad = await see("keep_alive_configured", sites=site(plain, ca))
    assert bad.status is Status.FAILED
    assert "ends the connection after one request (it answers Connection: close)" in bad.summary
    async with refused() as (_, port):
        unseen = await see("keep_alive_configured", sites=site(port, ca))
    assert unseen.status is Status.UNKNOWN
    assert unseen.summary.endswith("failed: the connection was refused.")
    with cache("--tcp-keepalive", "0") as node:
        caches = [{"name": "cache", "nodes": [node.address]}]
        result = await see("keep_alive_configured", sites=site(edge, ca, pages=["/text"]), caches=caches)
    assert result.status is Status.FAILED
    assert result.summary == f"{node.address} never notices clients that vanished (tcp-keepalive 0)."
    with cache("--timeout", "5") as node:
        caches = [{"name": "cache", "nodes": [node.address]}]
        result = await see("keep_alive_configured", sites=site(edge, ca, pages=["/text"]), caches=caches)
        assert (result.status, "closes connections that are idle for 5 seconds" in result.summary) == (
            Status.WARNING,
            True,
        )
        node.command("CONFIG", "SET", "timeout", 300)
        result = await see("keep_alive_configured", sites=site(edge, ca, pages=["/text"]), caches=caches)
        assert result.status is Status.OK, result.summary


async def test_sessions_that_end_when_idle_are_a_warning(
    orders: Postgres, edge: int, secure: tuple[Path, Path, Path]
) -> None:
    options: dict[str, Any] = {"sites": site(edge, secure[0], pages=["/text"]), "databases": database(orders.dsn())}
    with orders.setting(idle_session_timeout="30s"):
        everybody = await see("keep_alive_configured", **options)
    with orders.statements("CREATE ROLE api LOGIN", "DROP ROLE api"):
        orders.query("ALTER ROLE api SET idle_session_timeout = '10s'")
        one = await see("keep_alive_configured", **options)
        orders.query("ALTER ROLE api SET idle_session_timeout = '10min'")
        longer = await see("keep_alive_configured", **options)
    assert (everybody.status, "idle for 30 seconds" in everybody.summary) == (Status.WARNING, True), everybody.summary
    assert (one.status, "of role api that are idle for 10 seconds" in one.summary) == (Status.WARNING, True), (
        one.summary
    )
    assert longer.status is Status.OK, longer.summary


async def test_clients_that_connect_for_every_transaction_fail(
    orders: Postgres, edge: int, secure: tuple[Path, Path, Path]
) -> None:
    memory: dict[str, Any] = {}
    options: dict[str, Any] = {
        "sites": site(edge, secure[0], pages=["/text"]),
        "databases": database(orders.dsn(), window="1s"),
        "memory": memory,
    }
    assert (await see("keep_alive_configured", **options)).status is Status.OK
    await asyncio.sleep(0.6)
    for _ in range(120):
        orders.query("SELECT 1", "orders")
    counted = "SELECT sum(sessions) FROM pg_stat_database"
    before = orders.query(counted)[0][0]
    await eventually(lambda: orders.query(counted)[0][0] > before + 1, "sessions to be counted")
    result = await see("keep_alive_configured", **options)
    assert result.status is Status.FAILED, result.summary
    assert "(wanted at least 2 transactions for each)" in result.summary


async def test_an_application_of_next_compresses_and_keeps_connections_without_a_proxy(tmp_path: Path) -> None:
    chunks = next_build() / ".next/static/chunks"
    largest = max(chunks.rglob("*.js"), key=lambda path: path.stat().st_size)
    code = f"/_next/static/chunks/{largest.relative_to(chunks)}"
    with next_server(tmp_path) as web:
        options: dict[str, Any] = {"sites": site(web.port, pages=[code], assets=[code])}
        compressed = await see("compression_enabled", **options)
        kept = await see("keep_alive_configured", **options)
        versions = await see("http2_or_http3_enabled", **options)
        cached = await see("cdn_configured", **options)
    assert (compressed.status, compressed.summary.endswith("is sent as gzip.")) == (Status.OK, True), compressed.summary
    assert kept.status is Status.OK, kept.summary
    assert versions.status is Status.FAILED, versions.summary
    # It may be cached for a year, and nothing in front of it does that.
    assert (cached.status, "shows no sign of a CDN" in cached.summary) == (Status.FAILED, True), cached.summary


@pytest.mark.verifies("performance_tuning.cdn_configured", "ok")
@pytest.mark.verifies("performance_tuning.cdn_configured", "failed")
@pytest.mark.verifies("performance_tuning.cdn_configured", "unknown")
async def test_static_files_have_to_come_from_a_shared_cache(plain: int, secure: tuple[Path, Path, Path]) -> None:
    ca = secure[0]
    port = free_port()
    block = (
        f'http://localhost:{port} {{\n\theader /a.js Cache-Control "public, max-age=60"\n\trespond /a.js "code"\n'
        '\theader /b.js Cache-Control "private"\n\trespond /b.js "code"\n}\n'
    )
    with caddy(block, port=port), varnish(port) as front:
        direct = await see("cdn_configured", sites=site(port, assets=["/a.js"]))
        assert direct.status is Status.FAILED
        assert "shows no sign of a CDN in 3 answers" in direct.summary
        headers = {"Host": f"localhost:{port}"}
        good = await see("cdn_configured", sites=site(front.port, assets=["/a.js"], headers=headers))
        assert good.status is Status.OK, good.summary
        private = await see("cdn_configured", sites=site(front.port, assets=["/b.js"], headers=headers))
        assert private.status is Status.FAILED
        assert "forbids caches to keep it (Cache-Control: private)" in private.summary
    page = await see("cdn_configured", sites=site(plain, ca, assets=["/page"]))
    assert page.status is Status.FAILED
    assert "answered a page (text/html)" in page.summary
    gone = await see("cdn_configured", sites=site(plain, ca, assets=["/gone"]))
    assert gone.status is Status.FAILED
    nothing = await see("cdn_configured", sites=site(plain, ca))
    assert nothing.status is Status.UNKNOWN
    assert nothing.summary == "No site has option assets, so no static file was requested."
