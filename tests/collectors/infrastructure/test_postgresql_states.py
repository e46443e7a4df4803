"""States of real servers in which a simple check lies: each is proved by the server itself before the collector is asked."""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import psycopg
import pytest

from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from exporter.verdict import Result, Status
from tests.collectors.evidence import attested
from tests.collectors.infrastructure.test_postgresql import alone, look, pgbackrest, see
from tests.servers.exporters import Exporter, Exposition, postgres_exporter
from tests.servers.patroni import Patroni
from tests.servers.pgbackrest import Repository
from tests.servers.pgbouncer import APPLICATION, PgBouncer
from tests.servers.postgresql import (
    MONITOR,
    PASSWORD,
    Cluster,
    Postgres,
    Programs,
    postgresql_15,
    run_unprivileged,
)
from tests.servers.process import LOOPBACK, eventually, scratch, unprivileged, wait_until
from tests.servers.prometheus import NEW, Prometheus, scrape
from tests.support import context_of, make_context, until

SAME_EVERYWHERE = ("pods_healthy", "replication_operational", "connection_pool_sized", "slow_query_logging_enabled")
POOLS: dict[str, Any] = {"pools": [{"name": "api", "size": 1}]}


def told(result: Result, status: str, *words: str) -> None:
    """The verdict has this status, and its sentence these words."""
    assert result.status == status, result
    for word in words:
        assert word in result.summary, result


def write(instance: Postgres, size: int) -> None:
    """Write that many bytes of WAL, in one transaction."""
    with instance.connect() as connection:
        for _ in range(max(1, size // 10**6)):
            connection.execute(
                f"SELECT pg_logical_emit_message(true, 'test', repeat('x', {min(size, 10**6)}))".encode()
            )


def position(instance: Postgres, function: str) -> int:
    ((found,),) = instance.query(f"SELECT ({function}() - '0/0')::int8")
    return int(found)


# The session is not ours


@pytest.mark.parametrize("style", ["SQL, DMY", "German, DMY", "Postgres, MDY"])
async def test_dates_are_written_in_the_style_of_a_database(pair: Cluster, style: str) -> None:
    change = f"ALTER DATABASE orders SET datestyle = '{style}'"
    with pair.primary.statements(change, "ALTER DATABASE orders RESET datestyle"):
        with psycopg.connect(pair.primary.dsn()) as connection:
            row = connection.execute("SHOW datestyle").fetchone()
            assert row == (style.replace("Postgres", "Postgres"),)
        pair.caught_up()
        seen = await look(pair.dsn, *SAME_EVERYWHERE, **POOLS)
    assert {result.status for result in seen.values()} == {Status.OK}, seen


async def test_a_database_that_shadows_the_functions_of_the_catalogue(pair: Cluster) -> None:
    lie = "CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'"
    with pair.primary.statements("CREATE SCHEMA evil", "DROP SCHEMA evil CASCADE", "orders"):
        pair.primary.query(lie, "orders")
        pair.primary.query(f"GRANT USAGE ON SCHEMA evil TO {MONITOR}", "orders")
        change = "ALTER DATABASE orders SET search_path = evil, pg_catalog"
        with pair.primary.statements(change, "ALTER DATABASE orders RESET search_path"):
            with psycopg.connect(pair.primary.dsn()) as connection:
                assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            pair.caught_up()
            told(await see(pair.dsn, "pods_healthy"), "ok", "is the primary, with 1 standby answering too")


async def test_serializable_by_default_is_refused_by_a_standby(pair: Cluster) -> None:
    change = "ALTER DATABASE orders SET default_transaction_isolation = 'serializable'"
    with pair.primary.statements(change, "ALTER DATABASE orders RESET default_transaction_isolation"):
        pair.caught_up()
        with (
            psycopg.connect(pair.standby.dsn()) as connection,
            pytest.raises(psycopg.errors.FeatureNotSupported, match="serializable"),
        ):
            connection.execute("SELECT 1 FROM pg_class")
        told(await see(pair.dsn, "pods_healthy"), "ok", "1 standby answering too")


async def test_a_database_without_an_encoding_gives_bytes(pair: Cluster) -> None:
    create = "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with pair.primary.statements(create, "DROP DATABASE plain WITH (FORCE)"):
        pair.caught_up()
        with psycopg.connect(pair.primary.dsn(dbname="plain")) as connection:
            assert connection.execute("SELECT 'streaming'::text").fetchone() == (b"streaming",)
        seen = await look(pair.primary.dsn(pair.standby, dbname="plain"), *SAME_EVERYWHERE, **POOLS)
    assert {result.status for result in seen.values()} == {Status.OK}, seen


async def test_the_environment_of_the_exporter_chooses_nothing(pair: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_isolation=serializable")
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "read-write")
    monkeypatch.setenv("PGDATESTYLE", "German")
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        psycopg.connect(pair.standby.dsn())
    told(await see(pair.dsn, "pods_healthy"), "ok", "1 standby answering too")


async def test_timeouts_of_the_role_are_not_ours(pair: Cluster) -> None:
    change = f"ALTER ROLE {MONITOR} SET statement_timeout = 1"
    with pair.primary.statements(change, f"ALTER ROLE {MONITOR} SET statement_timeout = '5s'"):
        with psycopg.connect(pair.primary.dsn()) as connection, pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(0.5)")
        told(await see(pair.primary.dsn(), "slow_query_logging_enabled"), "ok")


@pytest.fixture(scope="module")
def pooled(pair: Cluster) -> Iterator[PgBouncer]:
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'", f"DROP ROLE {APPLICATION}"
    with ExitStack() as stack:
        stack.enter_context(pair.primary.statements(create, drop))
        directory = stack.enter_context(scratch("pgbouncer", unprivileged()))
        yield stack.enter_context(PgBouncer(pair.primary, directory, pool_size=2))


async def test_a_session_through_pgbouncer_is_ours_and_leaves_nothing_behind(pair: Cluster, pooled: PgBouncer) -> None:
    """PgBouncer refuses startup parameters, and hands the same server connection to its next client."""
    dsn = pooled.dsn(dbname="orders")
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        psycopg.connect(dsn, options="-c search_path=pg_catalog")
    change = "ALTER DATABASE orders SET datestyle = 'SQL, DMY'"
    with pair.primary.statements(change, "ALTER DATABASE orders RESET datestyle"):
        seen = await look(dsn, "pods_healthy", "slow_query_logging_enabled", "connection_pool_sized", **POOLS)
        assert {result.status for result in seen.values()} == {Status.OK}, seen
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SHOW search_path").fetchone() != ("pg_catalog",)
            assert connection.execute("SHOW transaction_read_only").fetchone() == ("off",)


async def test_a_service_is_named_by_its_hosts(pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = f"{pair.primary.port},{pair.standby.port}"
    lines = [f"host={LOOPBACK},{LOOPBACK}", f"port={ports}", "dbname=orders", f"user={MONITOR}", f"password={PASSWORD}"]
    (tmp_path / "services").write_text("\n".join(["[orders]", *lines]) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    told(
        await see("service=orders", "pods_healthy"),
        "ok",
        f"{LOOPBACK}:{pair.primary.port}/orders is the primary, with 1",
    )


async def test_an_ipv6_address_has_brackets() -> None:
    result = await see("postgresql://u@[::1]:1/orders", "pods_healthy", query_timeout="2s")
    told(result, "unknown", "PostgreSQL at [::1]:1/orders cannot be reached: ")


# How far behind


async def test_a_bulk_transaction_after_an_idle_time_is_no_lag(pair: Cluster) -> None:
    pair.primary.query("CREATE TABLE bulk (n int)", "orders")
    pair.caught_up()
    naive = "SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float"
    wait_until(lambda: pair.standby.query(naive)[0][0] > 5, "the last transaction to be five seconds old")
    insert = "INSERT INTO bulk SELECT generate_series(1, 1500000)"
    bulk = threading.Thread(target=pair.primary.query, args=(insert, "orders"))
    bulk.start()
    seen, older = [], []
    try:
        while bulk.is_alive():
            older.append(pair.standby.query(naive)[0][0])
            seen.append(await see(pair.dsn, "replication_operational", max_lag="5s", max_lag_bytes="10GB"))
    finally:
        bulk.join()
        pair.primary.query("DROP TABLE bulk", "orders")
        pair.caught_up()
    assert max(older) > 5
    assert {result.status for result in seen} == {Status.OK}, seen


async def test_replay_that_stopped_is_late_also_where_the_primary_alone_is_listed(pair: Cluster) -> None:
    with pair.standby.statements("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"):
        write(pair.primary, 65_536)
        lag = "SELECT 1 FROM pg_stat_replication WHERE replay_lag > interval '3s'"
        await eventually(lambda: pair.primary.query(lag), "the standby to be three seconds late", 20)
        result = await see(pair.primary.dsn(), "replication_operational", max_lag="2s")
    pair.caught_up()
    told(result, "failed", "Standby standby is ", "(limit 2s)")
    assert result.measurements["replication_lag_seconds"] > 2


@contextmanager
def relayed(pair: Cluster) -> Iterator[tuple[Postgres, Postgres]]:
    """A standby of the primary, and a standby of that."""
    with pair.primary.standby("relay") as relay, relay.standby("leaf") as leaf:
        rows = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: relay.query(rows), "the leaf to stream")
        yield relay, leaf
    drop_relay_slot(pair)


def drop_relay_slot(pair: Cluster) -> None:
    """Drop the slot of the relay, as soon as the primary has seen it leave."""
    active = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'relay' AND active"
    wait_until(lambda: not pair.primary.query(active), "the relay to be gone")
    pair.primary.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'relay'")


async def test_the_leaf_of_a_relay_that_was_cut_off(pair: Cluster) -> None:
    with relayed(pair) as (relay, leaf):
        told(await see(pair.primary.dsn(pair.standby, relay, leaf), "replication_operational"), "ok")
        unlisted = await see(pair.primary.dsn(pair.standby, leaf), "replication_operational")
        told(unlisted, "warning", f"streams from {LOOPBACK}:{relay.port}, which is not among the instances listed")
        relay.query("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        relay.query("SELECT pg_reload_conf()")
        wait_until(lambda: not relay.query("SELECT 1 FROM pg_stat_wal_receiver"), "the relay to be cut off")
        write(pair.primary, 10_000)
        pair.caught_up_except("relay")
        drop_relay_slot(pair)
        context = make_context(memory={})
        listed = pair.primary.dsn(pair.standby, leaf)
        told(await see(listed, "replication_operational", context=context), "warning")
        time.sleep(1.5)
        earlier = await see(listed, "replication_operational", max_lag="1s", context=context)
        told(earlier, "failed", f"Standby {LOOPBACK}:{leaf.port}/orders ", "of WAL", "(limit 1s)")
        write(pair.primary, 4 * 10**6)
        pair.caught_up_except("relay")
        assert leaf.query("SELECT status FROM pg_stat_wal_receiver") == [("streaming",)]
        assert position(leaf, "pg_last_wal_replay_lsn") >= position(leaf, "pg_last_wal_receive_lsn")
        result = await see(pair.primary.dsn(pair.standby, leaf), "replication_operational", max_lag_bytes="1MB")
    told(result, "failed", f"Standby {LOOPBACK}:{leaf.port}/orders is ", "MB behind (limit 1 MB)")


async def test_a_wal_receiver_that_is_frozen(pair: Cluster) -> None:
    ((pid,),) = pair.standby.query("SELECT pid FROM pg_stat_wal_receiver")
    os.kill(pid, signal.SIGSTOP)
    try:
        write(pair.primary, 10_000)
        silent = "SELECT 1 FROM pg_stat_wal_receiver WHERE clock_timestamp() - last_msg_receipt_time > interval '3s'"
        await eventually(lambda: pair.standby.query(silent), "the receiver to be silent", 20)
        assert pair.standby.query("SELECT status FROM pg_stat_wal_receiver") == [("streaming",)]
        result = await see(pair.dsn, "replication_operational", max_lag="2s")
    finally:
        os.kill(pid, signal.SIGCONT)
    pair.caught_up()
    told(result, "failed", f":{pair.standby.port}/orders has heard nothing of its sender for ", "(limit 2s)")


@pytest.fixture(scope="module")
def promoted(pair: Cluster) -> Iterator[tuple[Postgres, Postgres]]:
    """A copy of the primary that was promoted, and its standby."""
    with pair.primary.standby("copy") as copy:
        copy.query("SELECT pg_promote()")
        drop = (
            "SELECT pg_drop_replication_slot('copy') FROM pg_replication_slots WHERE slot_name = 'copy' AND NOT active"
        )
        wait_until(lambda: pair.primary.query(drop), "the slot of the copy to be dropped")
        copy.query("CHECKPOINT")
        with copy.standby("follower") as follower:
            wait_until(lambda: copy.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), "a follower")
            yield copy, follower


async def test_a_standby_of_a_promoted_copy(pair: Cluster, promoted: tuple[Postgres, Postgres]) -> None:
    _, follower = promoted
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert follower.query(identifier) == pair.primary.query(identifier)
    pair.caught_up()
    result = await see(pair.primary.dsn(pair.standby, follower), "replication_operational")
    told(
        result,
        "failed",
        f"Standby {LOOPBACK}:{follower.port}/orders receives timeline 2, while the primary writes timeline 1",
    )


async def test_a_standby_that_follows_a_copy_on_the_same_timeline(pair: Cluster) -> None:
    """A copy whose standby.signal was removed goes on without a new timeline."""
    with pair.primary.standby("twin") as twin:
        wait_until(lambda: twin.query("SELECT 1 FROM pg_stat_wal_receiver"), "the copy to stream")
        twin.stop()
        (twin.data / "standby.signal").unlink()
        with (twin.data / "postgresql.conf").open("a") as file:
            file.write("primary_slot_name = ''\nprimary_conninfo = ''\n")
        twin.start()
        drop = (
            "SELECT pg_drop_replication_slot('twin') FROM pg_replication_slots WHERE slot_name = 'twin' AND NOT active"
        )
        wait_until(lambda: pair.primary.query(drop), "the slot of the copy to be dropped")
        with twin.standby("stray") as stray:
            write(twin, 4 * 10**6)
            rows = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
            wait_until(lambda: twin.query(rows), "the stray to follow the copy")
            assert stray.query("SELECT received_tli FROM pg_stat_wal_receiver") == [(1,)]
            result = await see(pair.primary.dsn(pair.standby, stray), "replication_operational")
    told(
        result,
        "failed",
        f"Standby {LOOPBACK}:{stray.port}/orders is ",
        "ahead of the primary: it follows another server",
    )


async def test_a_standby_that_replays_late_by_design(pair: Cluster) -> None:
    with pair.primary.standby("late") as late:
        late.query("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
        late.query("SELECT pg_reload_conf()")
        write(pair.primary, 4 * 10**6)
        pair.caught_up_except("late")
        rows = (
            "SELECT flush_lsn = pg_current_wal_lsn(), replay_lsn < flush_lsn FROM pg_stat_replication "
            "WHERE application_name = 'late'"
        )
        await eventually(
            lambda: pair.primary.query(rows) == [(True, True)], "it to have received all, and replayed less"
        )
        limits = {"max_lag": "1s", "max_lag_bytes": "1MB"}
        time.sleep(1.5)
        listed = await see(pair.primary.dsn(pair.standby, late), "replication_operational", **limits)
        primary = await see(pair.primary.dsn(), "replication_operational", **limits)
        named = await see(pair.primary.dsn(), "replication_operational", delayed_standbys={"late": "1h"}, **limits)
    drop = "SELECT pg_drop_replication_slot('late') FROM pg_replication_slots WHERE slot_name = 'late' AND NOT active"
    wait_until(lambda: pair.primary.query(drop), "the slot to be dropped")
    told(listed, "ok", "late replays 1h late by design", "1h of which by design")
    told(primary, "failed", "Standby late is ", "though it has received all but 0 B")
    told(named, "ok", "late replays 1h late by design")


@contextmanager
def waiting_commit(instance: Postgres) -> Iterator[None]:
    """A commit that hangs as long as the context lasts: it waits for a synchronous standby."""

    def commit() -> None:
        with suppress(psycopg.Error), instance.connect() as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'test', 'x'), txid_current()")

    thread = threading.Thread(target=commit)
    thread.start()
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    try:
        wait_until(lambda: instance.query(waits), "the commit to hang")
        time.sleep(1)
        assert instance.query(waits)
        yield
    finally:
        instance.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        thread.join()


async def test_commits_that_wait_for_a_standby_that_is_gone(pair: Cluster) -> None:
    with pair.primary.setting(synchronous_standby_names="gone"), waiting_commit(pair.primary):
        result = await see(pair.dsn, "replication_operational")
    told(
        result,
        "failed",
        "synchronous_standby_names is 'gone', but 0 such standbys stream (wanted 1): every commit waits",
    )


async def test_commits_that_wait_for_a_standby_that_does_not_answer(pair: Cluster) -> None:
    with pair.primary.setting(synchronous_standby_names="standby"):
        told(await see(pair.dsn, "replication_operational"), "ok", "Commits wait for 1 standby.")
        ((pid,),) = pair.standby.query("SELECT pid FROM pg_stat_wal_receiver")
        os.kill(pid, signal.SIGSTOP)
        try:
            with waiting_commit(pair.primary):
                result = await see(pair.dsn, "replication_operational")
        finally:
            os.kill(pid, signal.SIGCONT)
    told(result, "failed", "1 commit has waited for synchronous standbys for more than 2 seconds")


async def test_a_slot_that_lost_its_wal(postgresql: Programs) -> None:
    with alone(
        postgresql, max_slot_wal_keep_size="16MB", wal_keep_size="0", min_wal_size="32MB", max_wal_size="32MB"
    ) as instance:
        instance.query("SELECT pg_create_physical_replication_slot('behind', true)")
        for _ in range(6):
            instance.query("SELECT pg_switch_wal() FROM pg_logical_emit_message(false, '', 'x')")
        instance.query("CHECKPOINT")
        instance.query("CHECKPOINT")
        assert instance.query("SELECT wal_status, active FROM pg_replication_slots") == [("lost", False)]
        told(
            await see(instance.dsn(), "replication_operational"),
            "failed",
            "slot behind has lost WAL: wal_status is lost",
        )


async def test_standbys_of_one_name_have_their_address(pair: Cluster) -> None:
    with pair.primary.standby("namesake") as second:
        second.query(
            f"ALTER SYSTEM SET primary_conninfo = 'host={LOOPBACK} port={pair.primary.port} user=postgres application_name=standby'"
        )
        second.query("SELECT pg_reload_conf()")
        rows = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming'"
        wait_until(lambda: pair.primary.query(rows) == [(2,)], "two standbys of one name")
        with second.statements("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"):
            write(pair.primary, 100_000)
            lag = "SELECT 1 FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > 90000"
            await eventually(lambda: pair.primary.query(lag), "the standby to fall behind")
            options = {"max_lag_bytes": "64KiB"}
            result = await until(lambda: see(pair.primary.dsn(), "replication_operational", **options), Status.FAILED)
    drop = "SELECT pg_drop_replication_slot('namesake') FROM pg_replication_slots WHERE slot_name = 'namesake' AND NOT active"
    wait_until(lambda: pair.primary.query(drop), "the slot to be dropped")
    pair.caught_up()
    told(result, "failed", f"Standby standby ({LOOPBACK}) is 1", "kB behind")


# Health


async def test_connecting_that_takes_long_is_a_slow_answer(pair: Cluster) -> None:
    """The server lets in after two seconds and then answers at once."""
    with slow_to_connect(pair.primary) as port:
        started = time.monotonic()
        with psycopg.connect(pair.primary.dsn().replace(str(pair.primary.port), str(port))) as connection:
            connected = time.monotonic() - started
            connection.execute("SELECT 1")
            assert time.monotonic() - started - connected < 1 < connected
        result = await see(
            pair.primary.dsn().replace(str(pair.primary.port), str(port)), "pods_healthy", max_latency="1s"
        )
    told(result, "failed", "answers after ", "(limit 1s)")


@contextmanager
def slow_to_connect(instance: Postgres) -> Iterator[int]:
    """A port that leads to the instance after 1.5 seconds."""
    listener = socket.create_server((LOOPBACK, 0))
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                time.sleep(1.5)
                server = socket.create_connection((LOOPBACK, instance.port))
                ends.extend((client, server))
                for ends_of_one in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=ends_of_one, daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for end in ends:
            end.close()


@pytest.mark.parametrize("change", ["SYSTEM", "DATABASE orders", "ROLE ALL"])
async def test_writes_that_are_refused_by_default(pair: Cluster, change: str) -> None:
    name = "default_transaction_read_only"
    context = (
        pair.primary.setting(**{name: "on"})
        if change == "SYSTEM"
        else pair.primary.statements(
            f"ALTER {change} SET {name} = on", f"BEGIN READ WRITE; ALTER {change} RESET {name}; COMMIT"
        )
    )
    with pair.primary.connect("postgres") as admin:
        admin.execute("SET default_transaction_read_only = off")
        with context:
            with pair.primary.connect("orders") as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("CREATE TABLE refused ()")
            result = await see(pair.dsn, "pods_healthy")
            if change == "SYSTEM":
                admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
                admin.execute("SELECT pg_reload_conf()")
                wait_until(lambda: pair.primary.query(f"SHOW {name}") == [("off",)], "writes to be allowed again")
    told(result, "failed", f"refuses writes: {name} is on for ")


async def test_writes_that_are_refused_near_wraparound(postgresql: Programs) -> None:
    with alone(postgresql, autovacuum="off") as instance:
        for database in ("postgres", "template1", "orders"):
            instance.query("VACUUM (FREEZE)", database)
        # A table that cannot be read keeps the vacuum that PostgreSQL starts by itself then from ending the state at once.
        instance.script("CREATE TABLE public.broken AS SELECT 1", "orders")
        ((broken,),) = instance.query("SELECT pg_relation_filepath('public.broken')", "orders")
        instance.query("CHECKPOINT")
        instance.stop()
        (instance.data / broken).unlink()
        run_unprivileged(
            instance.programs.folder / "pg_resetwal", "-f", "-x", "2146000000", instance.data, env=instance.programs.env
        )
        segment = instance.data / "pg_xact" / f"{2146000000 // 32768 // 32:04X}"
        segment.write_bytes(b"\0" * 32 * 8192)
        if user := unprivileged():
            shutil.chown(segment, user)
        instance.start()
        with pytest.raises(psycopg.Error, match="not accepting commands"):
            instance.query("CREATE TABLE refused ()", "orders")
        told(
            await see(instance.dsn(), "pods_healthy"),
            "failed",
            "refuses writes that take a new transaction id: database ",
        )


async def test_a_server_whose_connections_are_all_in_use(postgresql: Programs) -> None:
    with alone(postgresql, max_connections="8") as instance, ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(instance.connect())
        with pytest.raises(psycopg.OperationalError, match=r"too many clients|slots are reserved"):
            psycopg.connect(instance.dsn())
        seen = await look(
            instance.dsn(), "pods_healthy", "connection_pool_sized", "slow_query_logging_enabled", **POOLS
        )
    told(seen["pods_healthy"], "failed", "takes no more connections: ")
    told(seen["connection_pool_sized"], "failed", "takes no more connections: ")
    told(seen["slow_query_logging_enabled"], "unknown")


async def test_the_limit_of_the_exporters_own_role_is_not_the_servers(pair: Cluster) -> None:
    sessions = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{MONITOR}'"
    await eventually(lambda: not pair.primary.query(sessions), "sessions of earlier runs to end")
    held: list[psycopg.Connection[Any]] = []

    def connected() -> bool:
        with suppress(psycopg.OperationalError):  # a backend that is gone from the list may still be counted
            held.append(psycopg.connect(pair.primary.dsn()))
        return bool(held)

    limit = pair.primary.statements(
        f"ALTER ROLE {MONITOR} CONNECTION LIMIT 1", f"ALTER ROLE {MONITOR} CONNECTION LIMIT 5"
    )
    with limit:
        await eventually(connected, "the only connection that the role may have")
        with closing(held[0]):
            seen = await look(pair.primary.dsn(), "pods_healthy", "connection_pool_sized", **POOLS)
    for result in seen.values():
        told(result, "unknown", "too many connections for role", "raise the role's CONNECTION LIMIT")


# Connections


async def test_a_limit_of_the_database_under_its_pool(pair: Cluster, pooled: PgBouncer) -> None:
    with (
        pair.primary.statements(
            "ALTER DATABASE orders CONNECTION LIMIT 20", "ALTER DATABASE orders CONNECTION LIMIT -1"
        ),
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, pool_size=60) as bouncer,
    ):
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
    told(result, "failed", "The pools of database orders may reach 60 connections, but its CONNECTION LIMIT is 20")


async def test_a_limit_of_the_database_that_is_reached(pair: Cluster, pooled: PgBouncer) -> None:
    limit = pair.primary.statements(
        "ALTER DATABASE orders CONNECTION LIMIT 2", "ALTER DATABASE orders CONNECTION LIMIT -1"
    )
    with limit, ExitStack() as stack:
        with pytest.raises(psycopg.OperationalError, match="too many connections for database"):  # noqa: PT012
            for _ in range(3):  # the pool may hold some already
                stack.enter_context(pair.primary.connect("orders", APPLICATION, password=APPLICATION))
        result = await see(pair.primary.dsn(), "connection_pool_sized", **POOLS)
    told(result, "failed", "takes no more connections: FATAL: too many connections for database")


async def test_connections_that_are_reserved_leave_few(postgresql: Programs) -> None:
    with alone(postgresql, superuser_reserved_connections="53") as instance, ExitStack() as stack:
        for _ in range(45):
            stack.enter_context(instance.connect())
        result = await see(instance.dsn(), "connection_pool_sized", **POOLS)
    told(
        result,
        "warning",
        "of the 47 connections that applications can get (limit 80%; max_connections 100, 53 reserved)",
    )


async def test_processes_that_share_a_port(pair: Cluster, pooled: PgBouncer) -> None:
    with scratch("pgbouncer", unprivileged()) as directory, ExitStack() as stack:
        first = stack.enter_context(PgBouncer(pair.primary, directory, pool_size=40, settings={"so_reuseport": 1}))
        for _ in range(2):
            stack.enter_context(
                PgBouncer(pair.primary, directory, pool_size=40, settings={"so_reuseport": 1}, port=first.port)
            )

        def listeners() -> set[int | None]:
            return {
                process.pid
                for process in psutil.net_connections("tcp")
                if process.laddr[1:] == (first.port,) and process.status == "LISTEN"
            }

        await eventually(lambda: len(listeners()) == 3, "all three to listen")
        # One that has just begun to listen may refuse logins for a moment.
        options: dict[str, Any] = {"pgbouncer": first.dsn()}
        unsaid = await until(lambda: see(pair.dsn, "connection_pool_sized", **options), Status.UNKNOWN, "so_reuseport")
        options["pgbouncer_processes"] = 3
        said = await until(lambda: see(pair.dsn, "connection_pool_sized", **options), Status.FAILED)
    told(unsaid, "unknown", "shares its port with others (so_reuseport)", "pgbouncer_processes")
    told(said, "failed", "The pools may reach 120 connections, but PostgreSQL has 97")


async def test_a_pool_for_any_database_that_nobody_used_yet(pair: Cluster, pooled: PgBouncer) -> None:
    anything = {"*": f"host={LOOPBACK} port={pair.primary.port} pool_size=60"}
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, pool_size=40, databases=anything) as bouncer,
    ):
        with psycopg.connect(bouncer.dsn(), autocommit=True) as console:
            names = {row[0] for row in console.execute("SHOW DATABASES").fetchall()}
        assert names == {"orders", "pgbouncer"}
        context = make_context(memory={})
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn(), context=context)
        time.sleep(1)
        with psycopg.connect(bouncer.dsn(), autocommit=True) as console:
            assert len(console.execute("SHOW DATABASES").fetchall()) == 2, "it is forgotten"
        again = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn(), context=context)
        psycopg.connect(bouncer.dsn(APPLICATION, APPLICATION, "postgres"), connect_timeout=5).close()  # it is there
    for seen in (result, again):
        told(seen, "failed", "The pools may reach 100 connections, but PostgreSQL has 97 for them", "60 of them by *")


async def test_clients_that_get_no_further_than_pgbouncer(pair: Cluster, pooled: PgBouncer) -> None:
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, settings={"max_client_conn": 4}) as bouncer,
        ExitStack() as stack,
    ):
        for _ in range(4):
            stack.enter_context(bouncer.client())
        assert "max_client_conn" in bouncer.refuses()
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
    told(result, "failed", "clients and takes no more (max_client_conn 4)")


async def test_pools_to_the_primary_and_to_the_standby(pair: Cluster, pooled: PgBouncer) -> None:
    reports = {"reports": f"host=localhost port={pair.standby.port} dbname=orders pool_size=60"}
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, pool_size=50, databases=reports) as bouncer,
    ):
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
        told(result, "ok", "The pools may reach 50 of 97 connections, and 60 of 97 of ")
        alias = {"reports": f"host=localhost port={pair.primary.port} dbname=orders pool_size=60"}
        with PgBouncer(pair.primary, directory, pool_size=50, databases=alias) as same:
            told(
                await see(pair.dsn, "connection_pool_sized", pgbouncer=same.dsn()),
                "failed",
                "may reach 110 connections",
            )


async def test_a_database_that_is_paused(pair: Cluster, pooled: PgBouncer) -> None:
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, settings={"admin_users": APPLICATION}) as bouncer,
        psycopg.connect(bouncer.dsn(APPLICATION, APPLICATION), autocommit=True) as console,
        closing(bouncer.client()) as client,
    ):
        console.execute("PAUSE orders")
        client.pgconn.send_query(b"SELECT 1")
        time.sleep(0.5)
        client.pgconn.consume_input()
        assert client.pgconn.is_busy()
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
        console.execute("RESUME orders")
    told(result, "failed", "has paused or disabled orders: its clients wait")


# Logging and statements


async def test_a_log_that_goes_nowhere(pair: Cluster) -> None:
    with pair.primary.setting(log_destination=""):
        told(
            await see(pair.dsn, "slow_query_logging_enabled"),
            "failed",
            "log_destination is empty for the instance: nothing is",
        )


async def test_logging_that_is_off_on_the_standby_alone(pair: Cluster) -> None:
    with pair.standby.setting(log_min_duration_statement="-1"):
        result = await see(pair.dsn, "slow_query_logging_enabled")
    told(result, "failed", f"is -1 for standby {LOOPBACK}:{pair.standby.port}/orders: slow queries are not logged")


def logged(instance: Postgres, database: str = "orders", user: str = "postgres") -> bool:
    """Whether a slow query of a session reaches the log of the instance."""
    marker = f"marker_{time.monotonic_ns()}"
    with instance.connect(database, user, **({} if user == "postgres" else {"password": user})) as connection:
        connection.execute(f"SELECT pg_sleep(0.6) AS {marker}".encode())
    return marker in instance.log.read_text(errors="replace")


async def test_sessions_that_do_not_load_what_logs(pair: Cluster) -> None:
    explain = {
        "log_min_duration_statement": "-1",
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "250ms",
    }
    with pair.primary.setting(**explain):
        assert logged(pair.primary)
        change = "ALTER DATABASE orders SET session_preload_libraries = 'plpgsql'"
        with pair.primary.statements(change, "ALTER DATABASE orders RESET session_preload_libraries"):
            assert not logged(pair.primary)
            result = await see(pair.primary.dsn(), "slow_query_logging_enabled")
        told(await see(pair.primary.dsn(), "slow_query_logging_enabled"), "ok")
    told(result, "failed", "slow queries are not logged")


async def test_a_sample_of_all_is_all(pair: Cluster) -> None:
    sample = {"log_min_duration_statement": "-1", "log_min_duration_sample": "250ms", "log_statement_sample_rate": "1"}
    with pair.primary.setting(**sample):
        assert logged(pair.primary)
        told(await see(pair.primary.dsn(), "slow_query_logging_enabled"), "ok", "250 ms", "(log_min_duration_sample)")


async def test_a_role_that_cannot_log_in_overrides_nothing(pair: Cluster) -> None:
    with pair.primary.statements("CREATE ROLE grouped NOLOGIN", "DROP ROLE grouped"):
        pair.primary.query("ALTER ROLE grouped SET log_min_duration_statement = -1")
        told(await see(pair.dsn, "slow_query_logging_enabled"), "ok")


async def test_statements_that_are_not_counted_for_the_application(pair: Cluster, pooled: PgBouncer) -> None:
    name = "pg_stat_statements.track"
    with pair.primary.statements(
        f"ALTER ROLE {APPLICATION} SET {name} = 'none'", f"ALTER ROLE {APPLICATION} RESET {name}"
    ):
        with pair.primary.connect("orders", APPLICATION, password=APPLICATION) as connection:
            connection.execute("SELECT 1 AS never_counted")
        counted = "SELECT 1 FROM pg_stat_statements WHERE query LIKE '%never_counted' AND query NOT LIKE '%pg_stat%'"
        assert not pair.primary.query(counted, "orders")
        result = await see(pair.dsn, "metrics_collected")
    told(result, "failed", f"{name} is none on ", f"for role {APPLICATION}: pg_stat_statements counts nothing")


# Metrics


async def test_an_exporter_of_another_cluster(pair: Cluster, tmp_path: Path) -> None:
    with (
        alone(postgresql_15()) as other,
        postgres_exporter(
            tmp_path, f"postgresql://postgres@{LOOPBACK}:{other.port}/orders?sslmode=disable", release=NEW
        ) as wrong,
        Exposition(_page(wrong)) as frozen,
        Prometheus(
            tmp_path,
            release=NEW,
            scrapes=[
                scrape("postgres", wrong.port, scrape_interval="2s", scrape_timeout="2s"),
                scrape("cached", frozen.port),
            ],
        ) as server,
    ):
        server.wait_for("pg_stat_database_xact_commit and on() pg_up{job='postgres'} == 1")
        server.wait_for("pg_stat_database_xact_commit{job='cached'} offset 6s")
        async with context_of({PrometheusClient: server.url}) as context:
            result = await see(pair.primary.dsn(), "metrics_collected", context=context)
            right = await see(other.dsn(), "metrics_collected", context=context)
            old = await see(
                other.dsn(), "metrics_collected", context=context, metrics={"job": "cached", "stale_after": "10s"}
            )
    told(result, "failed", f"exporter {LOOPBACK}:{wrong.port} reports is not of ", "it scrapes another server")
    told(right, "ok")
    told(old, "failed", f"What {LOOPBACK}:{frozen.port} reports has not changed for at least 5s")


def _page(exporter: Exporter) -> str:
    """What an exporter gives, once it has figures of a database."""

    def read() -> str:
        with urlopen(f"{exporter.url}/metrics", timeout=10) as page:
            text: str = page.read().decode()
        return text if "pg_stat_database_xact_commit{" in text else ""

    return wait_until(read, "the exporter to have figures")


# Storage


async def test_two_instances_and_one_volume(pair: Cluster) -> None:
    volume = {"path": "/", "min_free": 1, "min_free_ratio": 0}
    one = await see(pair.dsn, "storage_sufficient", volumes=[volume])
    twice = await see(pair.dsn, "storage_sufficient", volumes=[volume, volume])
    shared = await see(pair.dsn, "storage_sufficient", volumes=[{**volume, "instances": 2}])
    for result in (one, twice):
        told(result, "unknown", "Option volumes names 1 volume data for 2 instances")
    told(shared, "ok")


# Backups


@contextmanager
def archived() -> Iterator[tuple[Postgres, Repository]]:
    """A PostgreSQL 15 alone that archives into a pgBackRest repository with one full backup."""
    with scratch("pgbackrest", unprivileged()) as directory:
        repository = Repository(directory)
        with alone(postgresql_15(), archive_mode="on", archive_command=repository.archive_command) as instance:
            repository.configure(instance)
            repository.back_up(instance)
            yield instance, repository


@pytest.fixture(scope="module")
def archiving() -> Iterator[tuple[Postgres, Repository]]:
    with archived() as started:
        yield started


def switch(instance: Postgres) -> str:
    """End the current segment, and return its name."""
    ((segment,),) = instance.query(
        "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(false, '', 'x')"
    )
    return str(segment)


def archive(instance: Postgres) -> str:
    """End the current segment and wait until PostgreSQL believes it to be archived."""
    segment = switch(instance)
    wait_until(
        lambda: instance.query(f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'"), "archived WAL"
    )
    return segment


async def backed(instance: Postgres, repository: Repository, tmp_path: Path, **options: Any) -> Result:
    evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested")
    return await see(
        instance.dsn(), "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), evidence=evidence, **options
    )


def held(repository: Repository) -> str:
    return repository.run("repo-ls", "--recurse", "archive/orders")


def spanning(repository: Repository) -> tuple[str, str]:
    """The first and last segment that the newest backup needs."""
    (stanza,) = json.loads(repository.run("info", "--output=json"))
    needed = stanza["backup"][-1]["archive"]
    return needed["start"], needed["stop"]


async def test_wal_that_the_backup_needs_was_deleted(archiving: tuple[Postgres, Repository], tmp_path: Path) -> None:
    instance, repository = archiving
    archive(instance)
    told(await backed(instance, repository, tmp_path), "ok", "The repository holds WAL up to ")
    first, _ = spanning(repository)
    (path,) = [line for line in held(repository).splitlines() if first in line and ".backup" not in line]
    file = repository.path / "archive" / "orders" / path
    content = file.read_bytes()
    file.unlink()
    try:
        assert first not in held(repository).replace(f"{first}.", "")
        status = json.loads(repository.run("info", "--output=json"))[0]["status"]
        assert status["message"] == "ok"
        result = await backed(instance, repository, tmp_path)
    finally:
        file.write_bytes(content)
        if user := unprivileged():
            shutil.chown(file, user)
    told(result, "failed", f"needs WAL from {first} to ", f"but the repository lacks {first}: it cannot be restored")


async def test_archiving_that_was_off_for_three_segments(
    archiving: tuple[Postgres, Repository], tmp_path: Path
) -> None:
    instance, repository = archiving
    with instance.setting(archive_command="sh -c ''exit 0'' %p"):
        lost = [archive(instance) for _ in range(3)]
    later = archive(instance)
    assert later in held(repository)
    assert not any(segment in held(repository) for segment in lost)
    result = await backed(instance, repository, tmp_path)
    repository.run("backup", "--type=full")
    told(result, "failed", "The repository lacks 3 WAL segments after backup ", f"the first {lost[0]}")
    told(await backed(instance, repository, tmp_path), "ok")


async def test_an_archive_command_that_hangs(archiving: tuple[Postgres, Repository], tmp_path: Path) -> None:
    instance, repository = archiving
    archive(instance)
    with instance.setting(archive_command="sleep 3600; cp %p /nowhere"):
        switch(instance)
        ready = (
            "SELECT 1 FROM pg_ls_archive_statusdir() "
            "WHERE name LIKE '%.ready' AND clock_timestamp() - modification > interval '3s'"
        )
        await eventually(lambda: instance.query(ready), "a segment to wait", 20)
        failed = "SELECT 1 FROM pg_stat_archiver WHERE last_failed_time > last_archived_time"
        assert not instance.query(failed)
        result = await backed(instance, repository, tmp_path, max_ready_age="2s")
        instance.query("SELECT 1")
        for process in psutil.Process(instance.pid).children(recursive=True):
            if process.name() == "sleep":
                process.kill()
    await eventually(
        lambda: not instance.query("SELECT 1 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"), "archived", 90
    )
    told(result, "failed", "WAL segment 0000", "to be archived (limit 2s)")


async def test_increments_of_an_old_full_backup(archiving: tuple[Postgres, Repository], tmp_path: Path) -> None:
    instance, repository = archiving
    time.sleep(2)
    repository.run("backup", "--type=incr")
    (stanza,) = json.loads(repository.run("info", "--output=json"))
    assert stanza["backup"][-1]["type"] == "incr"
    result = await backed(instance, repository, tmp_path, full_backup_max_age="1s")
    told(result, "failed", "The newest full backup, ", "(limit 1s)")


async def test_a_backup_that_is_dated_in_the_future(archiving: tuple[Postgres, Repository], tmp_path: Path) -> None:
    instance, repository = archiving
    from exporter.runner import utc_now

    evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested", days_ago=2)
    context = make_context(now=lambda: utc_now() - timedelta(hours=3), evidence=evidence)
    result = await see(instance.dsn(), "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), context=context)
    told(result, "unknown", "in the future: a clock is wrong")


async def test_a_promoted_copy_that_archives_into_the_same_stanza(tmp_path: Path) -> None:
    with archived() as (instance, repository), instance.standby("copy") as copy:
        instance.query("ALTER SYSTEM SET archive_command = 'sh -c ''exit 0'' %p'")
        instance.query("SELECT pg_reload_conf()")
        wait_until(lambda: "exit 0" in instance.query("SHOW archive_command")[0][0], "the archive to be cut off")
        repository.configure(copy)  # pgBackRest pushes from this folder alone
        copy.query("SELECT pg_promote()")
        wait_until(lambda: copy.query("SELECT NOT pg_is_in_recovery()") == [(True,)], "the copy to be promoted")
        for _ in range(2):
            archive(instance)
        for _ in range(4):
            archive(copy)
        repository.run("backup", "--type=full")
        (stanza,) = json.loads(repository.run("info", "--output=json"))
        assert stanza["archive"][0]["max"].startswith("00000002")
        assert stanza["backup"][-1]["archive"]["start"].startswith("00000002")
        assert stanza["status"]["message"] == "ok"
        result = await backed(instance, repository, tmp_path)
    told(
        result,
        "failed",
        "PostgreSQL believes WAL segment 00000001",
        "to be archived, but the repository ends at 00000001",
    )


def restored(repository: Repository, instance: Postgres, table: str) -> bool:
    """Whether a restore from the repository, up to the newest WAL, brings back a table."""
    copy = Postgres(instance.programs, instance.directory, "restored")
    copy.data.mkdir(mode=0o700)
    if user := unprivileged():
        shutil.chown(copy.data, user)
    repository.run("restore", f"--pg1-path={copy.data}", "--archive-mode=off")
    try:
        with copy:
            wait_until(lambda: copy.query("SELECT NOT pg_is_in_recovery()") == [(True,)], "the end of recovery", 60)
            return copy.query(f"SELECT to_regclass('{table}') IS NOT NULL") == [(True,)]
    finally:
        shutil.rmtree(copy.data)


async def test_wal_after_a_failover_is_of_the_timelines_that_the_primary_descends_from(tmp_path: Path) -> None:
    with archived() as (old, repository), old.standby("new") as new:
        archive(old)
        wait_until(
            lambda: old.query("SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"),
            "the standby",
        )
        old.stop()
        repository.configure(new)
        new.query("SELECT pg_promote()")
        wait_until(lambda: new.query("SELECT NOT pg_is_in_recovery()") == [(True,)], "the standby to be promoted")
        new.query("CREATE TABLE since AS SELECT 1")
        segments = [archive(new) for _ in range(3)]
        assert segments[-1].startswith("00000002")
        told(await backed(new, repository, tmp_path), "ok", f"The repository holds WAL up to {segments[-1]}")
        assert restored(repository, new, "since")
        (history,) = repository.path.rglob("00000002.history")
        with aside(history, history.with_name("elsewhere")):
            assert not restored(repository, new, "since")
            told(
                await backed(new, repository, tmp_path),
                "failed",
                "The repository lacks 00000002.history: after backup ",
                " on timeline 1 nothing of timeline 2 can be restored.",
            )
        (second,) = repository.path.rglob(f"{segments[1]}-*")
        with aside(
            second, second.parent.with_name("0000000100000000") / second.name.replace("00000002", "00000001", 1)
        ):
            assert segments[1] not in held(repository)
            assert segments[1].replace("00000002", "00000001", 1) in held(repository)
            told(
                await backed(new, repository, tmp_path),
                "failed",
                "The repository lacks 1 WAL segment after backup ",
                f"the first {segments[1]}: nothing later can be restored.",
            )
        told(await backed(new, repository, tmp_path), "ok")


@contextmanager
def aside(file: Path, to: Path) -> Iterator[None]:
    """Have a file somewhere else for a while."""
    file.rename(to)
    try:
        yield
    finally:
        to.rename(file)


# Failover


async def failover(patroni: Patroni, tmp_path: Path, **options: Any) -> Result:
    evidence = attested(tmp_path, "postgresql.failover_tested")
    return await see(
        patroni.leader.dsn(), "failover_tested", patroni={"url": patroni.url}, evidence=evidence, **options
    )


def distance(patroni: Patroni) -> int:
    """How far Patroni believes the standby to be behind; 0 while it does not know."""
    lags = [member.get("lag") for member in patroni.cluster()["members"] if member["role"] == "replica"]
    return max((lag for lag in lags if isinstance(lag, int)), default=0)


async def test_a_standby_too_far_behind_for_patroni(patroni: Patroni, tmp_path: Path) -> None:
    await eventually(patroni.following, "the standby to follow")
    follower = patroni.follower
    with follower.instance.statements("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"):
        ((pid,),) = follower.instance.query("SELECT pid FROM pg_stat_wal_receiver")
        os.kill(pid, signal.SIGSTOP)
        try:
            write(patroni.leader, 12 * 10**6)
            await eventually(lambda: distance(patroni) > 2 * 10**6, "Patroni to see the distance", 30)
            result = await failover(patroni, tmp_path)
        finally:
            os.kill(pid, signal.SIGCONT)
    await eventually(patroni.following, "the standby to follow again", 60)
    told(result, "failed", "Patroni shows no standby that could take over", "bytes behind (maximum_lag_on_failover")


async def test_a_consensus_store_without_a_quorum(patroni: Patroni, tmp_path: Path) -> None:
    """Two members make the quorum: without the other, the leader steps down, while /cluster still shows it as running."""
    if patroni.leader is not patroni.asked.instance:
        patroni.switch_over()
    follower = patroni.follower
    os.kill(follower.pid, signal.SIGSTOP)
    try:
        await eventually(lambda: patroni.status()["role"] == "replica", "the leader to step down", 60)
        assert [member["role"] for member in patroni.cluster()["members"]].count("leader") == 1
        evidence = attested(tmp_path, "postgresql.failover_tested")
        result = await see(patroni.any_dsn(), "failover_tested", patroni={"url": patroni.url}, evidence=evidence)
    finally:
        os.kill(follower.pid, signal.SIGCONT)
    await eventually(patroni.following, "the cluster to be whole again", 90)
    told(
        result, "failed", "Patroni shows leader ", "which reports itself as replica: the consensus store has no quorum"
    )


async def test_a_page_that_fails_its_checksum(postgresql: Programs) -> None:
    with alone(postgresql) as instance:
        instance.script("CREATE TABLE damaged AS SELECT generate_series(1, 5000); CHECKPOINT", "orders")
        ((relation,),) = instance.query("SELECT pg_relation_filepath('damaged')", "orders")
        instance.signal(signal.SIGINT)  # pg_checksums wants a clean end
        wait_until(lambda: not instance.running, "the instance to end")
        instance.stop()
        if postgresql.major < 18:  # later ones keep checksums by default
            postgresql.run("pg_checksums", "--enable", "--no-sync", "-D", instance.data)
        with (instance.data / relation).open("r+b") as file:
            file.seek(4000)
            file.write(b"garbage" * 8)
        instance.start()
        told(await see(instance.dsn(), "pods_healthy"), "ok")
        with pytest.raises(psycopg.errors.DataCorrupted):
            instance.query("SELECT count(*) FROM damaged", "orders")
        counted = "SELECT 1 FROM pg_stat_database WHERE checksum_failures > 0"
        wait_until(lambda: instance.query(counted), "the failure to be counted")
        told(await see(instance.dsn(), "pods_healthy"), "failed", "is damaged: 1 page of orders failed the checksum")
