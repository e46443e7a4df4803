"""States that an attacker would try on the PostgreSQL section; each is proved by the server itself first."""

import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from tests.collectors.infrastructure.test_postgresql import alone, look, see
from tests.collectors.infrastructure.test_postgresql_states import (
    POOLS,
    archive,
    backed,
    held,
    told,
    waiting_commit,
    write,
)
from tests.servers.pgbackrest import Repository
from tests.servers.pgbouncer import APPLICATION, PgBouncer
from tests.servers.postgresql import MONITOR, PASSWORD, Cluster, Postgres, Programs, create_monitor, postgresql_15
from tests.servers.process import LOOPBACK, scratch, unprivileged, wait_until


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
        seen = await look(
            pair.primary.dsn(), "pods_healthy", "slow_query_logging_enabled", "connection_pool_sized", **POOLS
        )
    assert {result.status for result in seen.values()} == {"ok"}, seen


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
                f"listen_addresses = '{LOOPBACK}'\nfsync = off\narchive_mode = on\nmin_wal_size = 2MB\n"
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
