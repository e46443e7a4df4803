"""States that an attacker would try on the PostgreSQL section; each is proved by the server itself first."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.judge.replication import judge_slots
from collectors.systems.postgresql.model.instance import Slot
from collectors.systems.postgresql.model.options import ClusterLimits
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from exporter.runner import utc_now
from exporter.verdict import Reason, Status
from tests.collectors.evidence import attested
from tests.collectors.infrastructure.test_postgresql import alone, look, pgbackrest, see
from tests.collectors.infrastructure.test_postgresql_states import (
    POOLS,
    archive,
    archived,
    backed,
    failover,
    held,
    told,
    waiting_commit,
    write,
)
from tests.servers.exporters import postgres_exporter
from tests.servers.faults import Proxy, serving
from tests.servers.patroni import Patroni
from tests.servers.patroni import members as patroni_members
from tests.servers.pgbackrest import Repository
from tests.servers.pgbouncer import APPLICATION, PgBouncer
from tests.servers.postgresql import (
    MONITOR,
    PASSWORD,
    Cluster,
    Postgres,
    Programs,
    cluster,
    create_monitor,
    postgresql_15,
    postgresql_18,
)
from tests.servers.process import LOOPBACK, call, eventually, scratch, unprivileged, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import Clock, connected, make_context, until


async def test_sessions_that_the_server_ends_when_they_are_idle(pair: Cluster) -> None:
    change, undo = (
        f"ALTER ROLE {MONITOR} SET idle_session_timeout = '60ms'",
        f"ALTER ROLE {MONITOR} RESET idle_session_timeout",
    )
    with pair.primary.statements(change, undo):
        with psycopg.connect(pair.primary.dsn(), autocommit=True) as connection:
            time.sleep(0.5)
            with pytest.raises(psycopg.OperationalError, match=r"idle-session timeout|closed the connection"):
                connection.execute("SELECT 1")
        # The exporter takes the limit off its session first, for which a busy machine may need longer than that.
        for item in ("pods_healthy", "slow_query_logging_enabled", "connection_pool_sized"):
            await until(partial(see, pair.primary.dsn(), item, **POOLS), Status.OK)


async def test_a_standby_that_lets_nobody_read(pair: Cluster) -> None:
    """A warm standby: it answers, and takes no connections."""
    with pair.primary.standby("warm") as warm:
        warm.query("ALTER SYSTEM SET hot_standby = off")
        warm.stop()
        warm._ready = lambda: True
        warm.start()
        refused = "hot standby mode is disabled|not accepting connections|starting up"
        wait_until(lambda: _refuses(warm, refused), "the standby to refuse")
        seen = await look(pair.primary.dsn(warm), "pods_healthy", "replication_operational")
    drop = "SELECT pg_drop_replication_slot('warm') FROM pg_replication_slots WHERE slot_name = 'warm' AND NOT active"
    wait_until(lambda: pair.primary.query(drop), "the slot to be dropped")
    told(seen["pods_healthy"], "failed", "takes no connections: FATAL: ")
    told(seen["replication_operational"], "unknown", "takes no connections: FATAL: ")


def _refuses(instance: Postgres, words: str) -> bool:
    with suppress(ValueError):
        try:
            instance.connect().close()
        except psycopg.OperationalError as error:
            return re.search(words, str(error)) is not None
    return False


async def test_commits_that_wait_for_replay(pair: Cluster) -> None:
    """remote_apply: the standby streams and flushes at once, but does not replay."""
    settings = {"synchronous_standby_names": "standby", "synchronous_commit": "remote_apply"}
    with (
        pair.standby.statements("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"),
        pair.primary.setting(**settings),
        waiting_commit(pair.primary),
    ):
        assert pair.primary.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)]
        result = await see(pair.primary.dsn(), "replication_operational")
    pair.caught_up()
    told(result, "failed", "1 commit has waited for synchronous standbys")


async def test_any_of_two_of_which_one_is_gone(pair: Cluster) -> None:
    with pair.primary.setting(synchronous_standby_names="ANY 1 (standby, gone)"):
        wait_until(
            lambda: pair.primary.query("SELECT sync_state FROM pg_stat_replication") == [("quorum",)], "a quorum"
        )
        pair.primary.query("SELECT pg_logical_emit_message(true, 'test', 'x'), txid_current()")  # commits do not hang
        pair.caught_up()
        told(await see(pair.dsn, "replication_operational"), "ok", "Commits wait for 1 standby.")


async def test_writes_that_are_refused_to_the_application_alone(pair: Cluster) -> None:
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'", f"DROP ROLE {APPLICATION}"
    with pair.primary.statements(create, drop):
        pair.primary.query(f"ALTER ROLE {APPLICATION} IN DATABASE orders SET default_transaction_read_only = on")
        try:
            with pair.primary.connect("orders", APPLICATION, password=APPLICATION) as connection:
                assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
            reader = await see(pair.dsn, "pods_healthy")
            application = await see(pair.dsn, "pods_healthy", app_roles=[APPLICATION])
        finally:
            pair.primary.query(f"ALTER ROLE {APPLICATION} IN DATABASE orders RESET ALL")
    told(reader, "ok")
    told(application, "failed", f"default_transaction_read_only is on for role {APPLICATION} in database orders")


async def test_what_the_exporters_own_role_sets_hides_the_instance(pair: Cluster) -> None:
    name = "default_transaction_read_only"
    with pair.primary.statements(f"ALTER ROLE {MONITOR} SET {name} = on", f"ALTER ROLE {MONITOR} RESET {name}"):
        told(await see(pair.dsn, "pods_healthy"), "ok", f"what the instance sets for {name} is hidden")


async def test_an_override_of_a_database_that_a_role_overrides(pair: Cluster) -> None:
    name = "log_min_duration_statement"
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'", f"DROP ROLE {APPLICATION}"
    with (
        pair.primary.statements(create, drop),
        pair.primary.statements(f"ALTER DATABASE orders SET {name} = -1", f"ALTER DATABASE orders RESET {name}"),
    ):
        pair.primary.query(f"ALTER ROLE {APPLICATION} SET {name} = '300ms'")
        with pair.primary.connect("orders", APPLICATION, password=APPLICATION) as connection:
            assert connection.execute(f"SHOW {name}").fetchone() == ("300ms",)
        told(await see(pair.dsn, "slow_query_logging_enabled"), "failed", "is -1 for database orders")
        told(await see(pair.dsn, "slow_query_logging_enabled", app_roles=[APPLICATION]), "ok", "300 ms")


async def test_a_database_whose_name_needs_quotes(pair: Cluster) -> None:
    name = "Ordres spéciaux"
    with pair.primary.statements(f'CREATE DATABASE "{name}"', f'DROP DATABASE "{name}" WITH (FORCE)'):
        pair.primary.query(f'ALTER DATABASE "{name}" SET log_min_duration_statement = -1')
        pair.caught_up()
        dsn = pair.primary.dsn(pair.standby, dbname=name)
        told(await see(dsn, "pods_healthy"), "ok", f"/{name} is the primary")
        told(await see(dsn, "slow_query_logging_enabled"), "failed", f"is -1 for database {name}")


async def test_a_console_whose_connection_string_names_another_database(pair: Cluster) -> None:
    """The console has one name; elsewhere SHOW POOLS is a setting that does not exist."""
    with scratch("pgbouncer", unprivileged()) as directory, PgBouncer(pair.primary, directory) as bouncer:
        with psycopg.connect(bouncer.dsn(dbname="orders"), autocommit=True) as connection, pytest.raises(psycopg.Error):
            connection.execute("SHOW POOLS")
        told(await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn(dbname="orders")), "ok")


async def test_a_pool_that_spreads_over_two_servers(pair: Cluster) -> None:
    """Each of them may get all of it."""
    both = {"spread": f"host={LOOPBACK},localhost port={pair.primary.port} dbname=orders pool_size=60"}
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, pool_size=30, databases=both) as bouncer,
    ):
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
    told(result, "ok", "The pools may reach 90 of 97 connections")


async def test_a_role_whose_limit_is_below_its_pool(pair: Cluster) -> None:
    create = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}' CONNECTION LIMIT 5"
    with (
        pair.primary.statements(create, f"DROP ROLE {APPLICATION}"),
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, pool_size=20) as bouncer,
    ):
        with bouncer.client() as client:
            client.execute("SELECT 1")
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
        direct = [{"name": "api", "size": 6, "role": APPLICATION}]
        alone_ = await see(pair.dsn, "connection_pool_sized", pools=direct)
    told(result, "failed", f"The pools of role {APPLICATION} may reach 20 connections, but its CONNECTION LIMIT is 5")
    told(alone_, "failed", f"The pools of role {APPLICATION} may reach 6 connections")


async def test_segments_of_another_size(tmp_path: Path) -> None:
    """A check that takes 256 segments of 16 MB for granted sees gaps where there are none."""
    with scratch("pgbackrest", unprivileged()) as directory, ExitStack() as stack:
        repository = Repository(directory)
        instance = Postgres(postgresql_15(), directory, "small")
        instance.programs.run(
            "initdb",
            "-D",
            instance.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "--wal-segsize=1",
            "--locale=C.UTF-8",
        )
        with (instance.data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '{LOOPBACK}'\narchive_mode = on\nmin_wal_size = 2MB\n"
                f"shared_preload_libraries = 'pg_stat_statements'\narchive_command = '{repository.archive_command}'\n"
            )
        stack.enter_context(instance)
        create_monitor(instance)
        repository.configure(instance)
        repository.back_up(instance)
        assert instance.query("SHOW wal_segment_size") == [("1MB",)]
        archive(instance)
        told(await backed(instance, repository, tmp_path), "ok")
        with instance.setting(archive_command="sh -c ''exit 0'' %p"):
            lost = archive(instance)
        archive(instance)
        assert lost not in held(repository)
        told(
            await backed(instance, repository, tmp_path),
            "failed",
            "lacks 1 WAL segment after backup",
            f"the first {lost}",
        )


async def test_a_slot_that_is_about_to_lose_its_wal(postgresql: Programs) -> None:
    sizes = {"max_slot_wal_keep_size": "1MB", "wal_keep_size": "0", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    with alone(postgresql, **sizes) as instance:
        instance.query("SELECT pg_create_physical_replication_slot('behind', true)")
        instance.query("SELECT pg_switch_wal() FROM pg_logical_emit_message(false, '', 'x')")
        write(instance, 2 * 10**6)
        status = instance.query("SELECT wal_status FROM pg_replication_slots")
        assert status in [[("unreserved",)], [("lost",)]]
        told(
            await see(instance.dsn(), "replication_operational"),
            "failed",
            "slot behind ",
            f"wal_status is {status[0][0]}",
        )


async def test_a_slot_that_was_never_used_keeps_nothing(pair: Cluster) -> None:
    create = "SELECT pg_create_physical_replication_slot('new', false)"
    with pair.primary.statements(create, "SELECT pg_drop_replication_slot('new')"):
        assert pair.primary.query("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'new'") == [(None,)]
        pair.caught_up()
        told(
            await see(pair.dsn, "replication_operational"),
            "warning",
            "Replication slot new was never used; it keeps no WAL",
        )


async def test_a_password_never_reaches_a_sentence(pair: Cluster) -> None:
    result = await see(pair.primary.dsn(dbname="absent"), "pods_healthy")
    told(result, "unknown", 'database "absent" does not exist')
    assert PASSWORD not in result.summary


# What holds now and not after a restart


async def test_settings_that_the_next_start_changes(pair: Cluster) -> None:
    primary = pair.primary
    changes = {"max_connections": "20", "shared_preload_libraries": ""}
    pending = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name"
    try:
        for name, value in changes.items():
            primary.query(f"ALTER SYSTEM SET {name} = '{value}'")
        primary.query("SELECT pg_reload_conf()")
        wait_until(lambda: [name for (name,) in primary.query(pending)] == sorted(changes), "the changes to wait", 60)
        seen = await look(primary.dsn(), "connection_pool_sized", "slow_query_logging_enabled", **POOLS)
    finally:
        for name in changes:
            primary.query(f"ALTER SYSTEM RESET {name}")
        primary.query("SELECT pg_reload_conf()")
    wait_until(lambda: not primary.query(pending), "nothing to wait any more", 60)
    told(seen["connection_pool_sized"], "warning", "another value of max_connections in its configuration files")
    told(seen["slow_query_logging_enabled"], "warning", "another value of shared_preload_libraries in its")


# Logical subscribers


async def test_logical_subscribers_that_wait_for_a_slot_that_is_gone() -> None:
    with cluster(postgresql_18(), wal_level="logical", synchronized_standby_slots="standby,gone") as pair:
        primary = pair.primary
        told(await see(pair.dsn, "replication_operational"), "ok")
        primary.query("SELECT pg_create_logical_replication_slot('cdc', 'test_decoding', false, false, true)", "orders")
        primary.query("SELECT pg_logical_emit_message(true, 'test', 'x')", "orders")
        changes = "SELECT count(*) FROM pg_logical_slot_peek_changes('cdc', NULL, NULL)"
        with primary.connect("orders") as connection:
            connection.execute("SET statement_timeout = '2s'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute(changes.encode())
        pair.caught_up()
        options = {"spare_slots": ["cdc"]}
        told(
            await see(pair.dsn, "replication_operational", **options),
            "failed",
            "synchronized_standby_slots names slot gone, which does not exist",
        )
        with primary.setting(synchronized_standby_slots="standby"):
            pair.caught_up()
            told(await see(pair.dsn, "replication_operational", **options), "ok")


# A name with several addresses


def resolving(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def resolve(host: str, port: Any, **more: Any) -> Any:
        if host != name:
            return await real(host, port, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)


async def test_each_address_of_a_name_is_asked(pair: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a headless service, a name may lead to a primary and to a standby, or to an instance that answers nobody."""
    port = pair.primary.port
    dsn = psycopg.conninfo.make_conninfo(pair.primary.dsn(), host="db.example.com")

    resolving(monkeypatch, "db.example.com", LOOPBACK, "127.0.0.2")
    alone = await see(dsn, "pods_healthy")
    async with Proxy(LOOPBACK, pair.standby.port, where=("127.0.0.2", port)):
        both = await see(dsn, "pods_healthy")
    async with serving(_read_to_end, where=("127.0.0.2", port)):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(pair.primary.dsn(), hostaddr="127.0.0.2", connect_timeout=2)
        deaf = await see(dsn, "pods_healthy", query_timeout="5s")
    resolving(monkeypatch, "db.example.com", LOOPBACK, LOOPBACK)
    same = await see(dsn, "pods_healthy")
    told(alone, "ok", f"db.example.com:{port}/orders (127.0.0.1) is the primary, with 0 standbys")
    told(both, "ok", f"db.example.com:{port}/orders (127.0.0.1) is the primary, with 1 standby answering too")
    told(deaf, "unknown", f"PostgreSQL at db.example.com:{port}/orders (127.0.0.2) let nobody in within 5s")
    told(same, "ok", f"db.example.com:{port}/orders is the primary, with 0 standbys")


async def _read_to_end(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


# PgBouncer at several addresses, and one that gets nobody on


async def test_each_address_of_a_pooler_is_asked_and_each_pooler_counted_once(
    pair: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'", f"DROP ROLE {APPLICATION}"
    with ExitStack() as stack:
        stack.enter_context(pair.primary.statements(create, drop))
        folder = stack.enter_context(scratch("pgbouncers", unprivileged()))
        both = stack.enter_context(
            PgBouncer(pair.primary, folder, pool_size=30, settings={"listen_addr": f"{LOOPBACK}, 127.0.0.2"})
        )
        other = stack.enter_context(
            PgBouncer(pair.primary, folder, pool_size=30, port=both.port, settings={"listen_addr": "127.0.0.3"})
        )
        console = psycopg.conninfo.make_conninfo(both.dsn(), host="pool.example.com")
        resolving(monkeypatch, "pool.example.com", LOOPBACK, "127.0.0.2")
        once = await see(pair.dsn, "connection_pool_sized", pgbouncer=console)
        resolving(monkeypatch, "pool.example.com", LOOPBACK, "127.0.0.2", "127.0.0.3")
        twice = await see(pair.dsn, "connection_pool_sized", pgbouncer=console)
        other.stop()
        # As behind a translation of addresses, it does not list the exporter where it comes from.
        async with Proxy(LOOPBACK, both.port, where=("127.0.0.3", both.port)):
            unclear = await see(pair.dsn, "connection_pool_sized", pgbouncer=console, query_timeout="30s")
    told(once, "ok", "The pools may reach 30 of ")
    told(twice, "ok", "The pools may reach 60 of ")
    told(
        unclear,
        "unknown",
        f"PgBouncer at pool.example.com:{both.port}/pgbouncer (127.0.0.1) and at pool.example.com:{both.port}/pgbouncer "
        "(127.0.0.3) may be one or several",
    )
    assert unclear.measurements["pool_connections"] == 30


async def test_a_pooler_whose_login_is_refused(pair: Cluster) -> None:
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD 'changed'", f"DROP ROLE {APPLICATION}"
    with ExitStack() as stack:
        stack.enter_context(pair.primary.statements(create, drop))
        folder = stack.enter_context(scratch("pgbouncer", unprivileged()))
        pooler = stack.enter_context(PgBouncer(pair.primary, folder, settings={"server_login_retry": 60}))
        assert "password authentication failed" in pooler.refuses()
        pool = f"database orders as role {APPLICATION}"
        never = await see(pair.dsn, "connection_pool_sized", pgbouncer=pooler.dsn())
        told(never, "warning", f"PgBouncer at {LOOPBACK}:{pooler.port}/pgbouncer has served no query of {pool} since")
        pair.primary.query(f"ALTER ROLE {APPLICATION} PASSWORD '{APPLICATION}'")
        pooler.stop()
        pooler.start()
        client = stack.enter_context(pooler.client())
        client.execute("SELECT 1")
        client.rollback()
        told(await see(pair.dsn, "connection_pool_sized", pgbouncer=pooler.dsn()), "ok")
        pair.primary.query(f"ALTER ROLE {APPLICATION} PASSWORD 'changed'")
        pair.primary.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{APPLICATION}'")
        wait_until(lambda: not pooler.servers(APPLICATION), "the pooler to notice that its connection is gone")
        waiting = asyncio.create_task(asyncio.to_thread(_ask, client))
        seen = await until(
            lambda: see(pair.dsn, "connection_pool_sized", pgbouncer=pooler.dsn()),
            Status.FAILED,
            "its login is refused",
        )
        assert f"1 client waits at PgBouncer at {LOOPBACK}:{pooler.port}/pgbouncer for {pool}" in seen.summary
        pooler.stop()
        await waiting


def _ask(client: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.OperationalError):
        client.execute("SELECT 1")


# Roles, and transactions that nobody ends


async def test_a_role_or_database_whose_commits_do_not_wait(pair: Cluster) -> None:
    hasty = ("CREATE ROLE hasty LOGIN PASSWORD 'hasty'", "DROP ROLE hasty")
    lax = ("ALTER DATABASE orders SET synchronous_commit = 'local'", "ALTER DATABASE orders RESET synchronous_commit")
    with pair.primary.statements(*hasty), pair.primary.setting(synchronous_standby_names="standby"):
        wait_until(lambda: pair.primary.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)], "sync", 60)
        told(await see(pair.dsn, "replication_operational"), "ok", "Commits wait for 1 standby.")
        pair.primary.query("ALTER ROLE hasty SET synchronous_commit = off")
        with pair.primary.connect(user="hasty", password="hasty") as client:
            assert client.execute("SHOW synchronous_commit").fetchone() == ("off",)
        result = await see(pair.dsn, "replication_operational")
        told(result, "warning", "is 'standby', but commits of role hasty do not wait (synchronous_commit off).")
        told(await see(pair.dsn, "replication_operational", app_roles=["postgres"]), "ok")
        with pair.primary.statements(*lax):
            result = await see(pair.dsn, "replication_operational", app_roles=["postgres"])
        told(result, "warning", "database orders")


async def test_a_transaction_that_is_left_prepared(postgresql: Programs) -> None:
    with alone(postgresql, max_prepared_transactions="2") as instance:
        instance.script("BEGIN; CREATE TABLE held (); PREPARE TRANSACTION 'abandoned';", "orders")
        assert instance.query("SELECT gid FROM pg_prepared_xacts") == [("abandoned",)]
        told(await see(instance.dsn(), "pods_healthy"), "ok")
        seen = await until(lambda: see(instance.dsn(), "pods_healthy", max_prepared_age="1s"), Status.WARNING)
    assert "Transaction 'abandoned' in database orders of " in seen.summary
    assert seen.summary.endswith("by role postgres (limit 1s) and keeps its locks: COMMIT or ROLLBACK PREPARED.")


async def test_settings_that_endanger_data(pair: Cluster) -> None:
    at = f"{LOOPBACK}:{pair.primary.port}/orders"
    for name, value, status, words in (
        ("fsync", "off", "failed", "does not wait for its disk"),
        ("full_page_writes", "off", "warning", "cannot repair pages that a crash left half written"),
        ("autovacuum", "off", "warning", "vacuums nothing by itself"),
        ("track_counts", "off", "warning", "vacuums nothing by itself"),
        ("ignore_checksum_failure", "on", "warning", "reads pages that failed their checksum"),
    ):
        with pair.primary.setting(**{name: value}):
            assert pair.primary.query(f"SHOW {name}") == [(value,)]
            told(await see(pair.primary.dsn(), "pods_healthy"), status, f"{at} {words} ({name} is {value}): ")
    with pair.standby.setting(fsync="off"):
        result = await see(pair.dsn, "pods_healthy")
    told(result, "failed", f"{LOOPBACK}:{pair.standby.port}/orders does not wait for its disk (fsync is off): ")
    told(await see(pair.dsn, "pods_healthy"), "ok")


async def test_a_database_that_loses_rows_of_damaged_pages(pair: Cluster) -> None:
    name = "zero_damaged_pages"
    with pair.primary.statements(f"ALTER DATABASE orders SET {name} = true", f"ALTER DATABASE orders RESET {name}"):
        assert pair.primary.query(f"SHOW {name}", "orders") == [("on",)]
        result = await see(pair.primary.dsn(), "pods_healthy")
    told(result, "warning", f"replaces damaged pages by empty ones ({name} is true for database orders)")


async def test_a_standby_that_is_gone_without_a_word(pair: Cluster) -> None:
    """A cable was pulled: nothing ends the connection, and the idle primary goes on showing that the standby streams."""
    streaming = (
        "SELECT client_port FROM pg_stat_replication WHERE application_name = 'standby' AND replay_lsn IS NOT NULL"
    )
    direct = pair.primary.query(streaming)
    assert len(direct) == 1
    async with Proxy(LOOPBACK, pair.primary.port) as network:
        host, port = network.address
        through = f"host={host} port={port} user=postgres application_name=standby"
        with pair.primary.setting(wal_sender_timeout="0"), pair.standby.setting(primary_conninfo=through):
            await eventually(lambda: network.open == 1, "the standby to come by the network", 60)
            await eventually(lambda: pair.primary.query(streaming) not in ([], direct), "the standby to stream", 60)
            network.pause()
            clock = Clock(utc_now())
            context = make_context(now=clock)
            try:
                first = await see(pair.primary.dsn(), "replication_operational", context=context)
                clock.advance(seconds=61)
                result = await see(pair.primary.dsn(), "replication_operational", context=context)
                assert len(pair.primary.query(streaming)) == 1
            finally:
                network.cut()
    pair.caught_up()
    assert "has not replied" not in first.summary
    told(result, "failed", "0 standbys stream from the primary (wanted 1)")
    told(result, "failed", "Standby standby (127.0.0.1) has not replied for 1 minute (limit 1m): the primary keeps a ")


async def test_a_standby_that_replies_only_when_it_is_asked(pair: Cluster) -> None:
    """wal_receiver_status_interval is 0: while nothing is written, the primary asks after half of wal_sender_timeout."""
    replied = "SELECT reply_time FROM pg_stat_replication WHERE application_name = 'standby'"
    with pair.primary.setting(wal_sender_timeout="4s"), pair.standby.setting(wal_receiver_status_interval="0"):
        before = pair.primary.query(replied)
        clock = Clock(utc_now())
        context = make_context(now=clock)
        await see(pair.primary.dsn(), "replication_operational", context=context)
        await eventually(lambda: pair.primary.query(replied) not in ([], before), "another reply", 30)
        clock.advance(seconds=50)
        result = await see(pair.primary.dsn(), "replication_operational", context=context)
    assert "has not replied" not in result.summary


async def test_a_primary_that_takes_no_more_standbys() -> None:
    with cluster(postgresql_15(), max_wal_senders="2") as pair:
        told(await see(pair.dsn, "replication_operational"), "ok")
        pair.primary.query("ALTER SYSTEM SET max_wal_senders = 1")
        pair.primary.stop()
        pair.primary.start()
        await eventually(
            lambda: pair.primary.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), "the standby"
        )
        with pytest.raises(psycopg.OperationalError, match="exceeds max_wal_senders"):
            pair.primary.connect(replication="true")
        full = await until(lambda: see(pair.dsn, "replication_operational"), Status.WARNING)
    assert full.summary == (
        f"{LOOPBACK}:{pair.primary.port}/orders refuses further standbys and backups: 1 of 1 WAL sender in use (max_wal_senders)."
    )


async def test_a_cascading_member_of_patroni(tmp_path: Path) -> None:
    """Patroni 4 keeps a slot on every member for all others; that of one which follows another member is inactive."""
    with ExitStack() as stack:
        tags: dict[str, dict[str, object]] = {
            "two": {"nofailover": True},
            "three": {"nofailover": True, "replicatefrom": "two"},
        }  # one leads
        members = patroni_members(stack, 3, tags=tags)
        for member in members:
            stack.enter_context(member)
        patroni, (_, two, three) = Patroni(members), members
        served = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: two.instance.query(served) == [("three",)], "the third member to follow the second", 90)
        create_monitor(patroni.leader)
        slot = "SELECT active FROM pg_replication_slots WHERE slot_name = 'three'"
        wait_until(lambda: patroni.leader.query(slot) == [(False,)], "the leader's slot for it")
        options: dict[str, Any] = {"patroni": {"url": patroni.url}}
        for dsn in (patroni.leader.dsn(two.instance), patroni.leader.dsn(two.instance, three.instance)):
            result = await until(partial(see, dsn, "replication_operational", **options), Status.OK)
            assert "2 replication slots are in order." in result.summary
        told(
            await see(patroni.leader.dsn(two.instance), "replication_operational"), "failed", "slot three is not active"
        )


# Exporters that do not see all


@pytest.mark.parametrize(("release", "why"), [(OLD, "it sees "), (NEW, "its collector wal fails.")])
async def test_an_exporter_whose_role_may_not_see(release: str, why: str, tmp_path: Path) -> None:
    """Its `up` and `pg_up` are 1, and it gets rows that are empty. 0.11 shows that only by what is missing."""
    async with AsyncExitStack() as stack:
        instance = stack.enter_context(alone(postgresql_15()))
        instance.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "orders")
        instance.query("CREATE ROLE exporter LOGIN PASSWORD 'exporter'")
        instance.query("CREATE ROLE application LOGIN PASSWORD 'application'")
        stack.enter_context(instance.connect("orders", "application", password="application")).execute("SELECT 1")
        source = f"postgresql://exporter:exporter@{LOOPBACK}:{instance.port}/orders?sslmode=disable"
        exporter = stack.enter_context(postgres_exporter(tmp_path, source, release=release))
        scraped = scrape("postgres", exporter.port, scrape_interval="2s", scrape_timeout="2s")
        server = stack.enter_context(Prometheus(tmp_path, release=NEW, scrapes=[scraped]))
        server.wait_for("pg_stat_database_xact_commit and on() pg_up == 1")
        context = make_context(clients=await stack.enter_async_context(connected({PrometheusClient: server.url})))
        blind = await until(
            lambda: see(instance.dsn(), "metrics_collected", context=context),
            Status.FAILED,
            f"The role of exporter {LOOPBACK}:{exporter.port} does not have the rights of pg_monitor: {why}",
        )
        assert blind.reason is Reason.DENIED
        instance.query("GRANT pg_monitor TO exporter")
        await until(lambda: see(instance.dsn(), "metrics_collected", context=context), Status.OK)


# Several repositories


def states_of(repository: Repository) -> dict[int, str]:
    """What pgBackRest says of each of its repositories."""
    (stanza,) = json.loads(repository.run("info", "--output=json"))
    return {repo["key"]: repo["status"]["message"] for repo in stanza["repo"]}


async def test_each_of_several_repositories_has_to_be_in_order(tmp_path: Path) -> None:
    with archived() as (instance, repository):
        second = repository.path.parent / "repository2"
        text = repository.config.read_text()
        repository.config.write_text(text.replace("[orders]", f"repo2-path={second}\n[orders]"))
        repository.run("stanza-create")
        archive(instance)
        assert states_of(repository) == {1: "ok", 2: "no valid backups"}
        told(
            await backed(instance, repository, tmp_path),
            "failed",
            "pgBackRest stanza orders in repository 2 is not well: no valid backups.",
        )
        repository.run("backup", "--type=full", "--repo=2")
        last = archive(instance)
        assert states_of(repository) == {1: "ok", 2: "ok"}
        told(await backed(instance, repository, tmp_path), "ok", f"Repository 1 holds WAL up to {last}", "Repository 2")
        seldom = pgbackrest(repository, repositories={1: {"backup_max_age": "8d"}, 2: {"backup_max_age": "1ms"}})
        evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested")
        by_schedule = await see(instance.dsn(), "backups_enabled_and_tested", evidence=evidence, pgbackrest=seldom)
        told(by_schedule, "warning", "in repository 2 was complete 0.0 h ago (limit 1ms).")
        for held in sorted(repository.path.glob("archive/orders/15-1/0000*/0000*"))[-2:]:
            held.unlink()
        assert last not in repository.run("repo-ls", "--recurse", "--repo=1", "archive/orders")
        assert last in repository.run("repo-ls", "--recurse", "--repo=2", "archive/orders")
        told(
            await backed(instance, repository, tmp_path),
            "failed",
            f"PostgreSQL believes WAL segment {last} to be archived, but repository 1 ends at ",
        )


# Patroni


async def test_a_leader_that_keeps_its_lock_for_a_day(patroni: Patroni, tmp_path: Path) -> None:
    def configured(name: str, value: object) -> bool:
        return bool(call(f"{patroni.url}/config").get(name) == value)

    for name, value, usual, status, words in (
        ("ttl", 86_400, 20, "failed", "A leader that is gone keeps Patroni's lock for 1 day"),
        ("primary_start_timeout", 7200, None, "warning", "may try to start it for 2 hours"),
    ):
        patroni.configure(**{name: value})
        try:
            await eventually(partial(configured, name, value), "the value to be known", 60)
            result = await failover(patroni, tmp_path)
        finally:
            patroni.configure(**{name: usual})
        await eventually(partial(configured, name, usual), "the usual value", 60)
        told(result, status, words)


# What is connected, and does nothing


async def test_a_subscriber_that_confirms_nothing(postgresql: Programs) -> None:
    with alone(postgresql, wal_level="logical") as instance:
        instance.query("SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')", "orders")
        program, to = postgresql.folder / "pg_recvlogical", ("-h", LOOPBACK, "-p", str(instance.port), "-U", "postgres")
        argv: list[str | Path] = [program, *to, "-d", "orders", "--slot=cdc", "--start", "-f", "-"]
        environment = {**os.environ, **postgresql.env}
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as subscriber:
            try:
                active = "SELECT 1 FROM pg_replication_slots WHERE active"
                wait_until(lambda: instance.query(active), "the subscriber to be connected", 60)
                os.kill(subscriber.pid, signal.SIGSTOP)
                write(instance, 4 * 10**6)
                assert instance.query(f"{active} AND pg_current_wal_lsn() - confirmed_flush_lsn > 3000000")
                result = await see(instance.dsn(), "replication_operational", max_lag_bytes="100KiB")
                slots = judge_slots(await _slots(instance), (), ClusterLimits(max_lag_bytes=100 * 1024))
            finally:
                os.kill(subscriber.pid, signal.SIGCONT)
                subscriber.kill()
    told(result, "failed", "0 standbys stream")  # it is alone
    told(
        slots,
        "warning",
        "The subscriber of replication slot cdc is connected and has not confirmed 4.",
        "(limit 1.64 MB)",
    )


async def _slots(instance: Postgres) -> list[Slot]:
    async with AsyncExitStack() as resources:
        found = await Instances.open(SecretStr(instance.dsn()), timedelta(seconds=20), resources)
        return await found.primary().slots()


async def test_commits_that_do_not_wait_for_a_synchronous_standby(pair: Cluster) -> None:
    with pair.primary.setting(synchronous_standby_names="standby", synchronous_commit="local"):
        wait_until(lambda: pair.primary.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)], "sync", 60)
        result = await see(pair.dsn, "replication_operational")
    told(result, "warning", "is 'standby', but commits do not wait, as synchronous_commit is local.")
