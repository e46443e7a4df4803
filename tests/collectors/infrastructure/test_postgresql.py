"""The PostgreSQL section against real servers: PostgreSQL 15 and 18, PgBouncer, pgBackRest, Patroni, Prometheus."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from collectors.infrastructure.postgresql import (
    PostgreSQL,
    PostgresScrape,
)
from collectors.systems.postgresql.client.patroni import read_cluster
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from exporter.collector import Context
from exporter.evidence.validity import Evidence
from exporter.http import HttpSettings
from exporter.runner import utc_now
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.collectors.evidence import attested
from tests.servers.exporters import Exporter, node_exporter, postgres_exporter
from tests.servers.faults import refused
from tests.servers.patroni import Patroni
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
    run_unprivileged,
)
from tests.servers.process import LOOPBACK, Server, eventually, scratch, unprivileged, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape
from tests.support import Run, looks, make_context, sees

ALL = tuple(PostgreSQL.items())


def run(
    dsn: str, *items: str, context: Context | None = None, evidence: Evidence | None = None, **options: object
) -> Run:
    """One run of the items, with these options of the target; a busy machine gets its time."""
    target = {"name": "orders", "dsn": dsn, "query_timeout": "20s", "max_latency": "20s", **options}
    context = context or make_context(evidence=evidence)
    return Run(PostgreSQL, items or ALL, target=target, context=context, secrets=[PASSWORD])


def run_item(dsn: str, item: str, **options: Any) -> Run:
    return run(dsn, item, **options)


look, see = looks(run), sees(run_item)


@pytest.fixture
async def ask_prometheus() -> AsyncIterator[Any]:
    """Make a context whose Prometheus is the given one."""
    clients: list[PrometheusClient] = []

    def make(server: Prometheus, **more: Any) -> Any:
        client = PrometheusClient(PrometheusSettings(url=server.url), Threads())
        clients.append(client)
        return make_context(clients={"prometheus": client}, **more)

    yield make
    for client in clients:
        await client.close()


# Instances


@pytest.mark.verifies("postgresql.pods_healthy", "ok")
async def test_a_primary_and_its_standby_are_healthy(pair: Cluster) -> None:
    result = await see(pair.dsn, "pods_healthy")
    assert result.status is Status.OK
    assert f"{LOOPBACK}:{pair.primary.port}/orders is the primary, with 1 standby answering too" in result.summary
    assert "pods not checked" in result.summary
    assert 0 < result.measurements["latency_seconds"] < 20


@pytest.fixture(scope="module")
def rival(pair: Cluster) -> Iterator[Postgres]:
    """A copy of the primary that was promoted: the second half of a split brain."""
    with pair.primary.standby("rival") as copy:
        copy.query("SELECT pg_promote()")
        drop_slot(pair, "rival")
        yield copy


def drop_slot(pair: Cluster, name: str) -> None:
    """Drop the slot of a standby that left, as soon as the primary has seen it leave."""
    drop = f"SELECT pg_drop_replication_slot('{name}') IS NOT NULL FROM pg_replication_slots"
    wait_until(
        lambda: pair.primary.query(f"{drop} WHERE slot_name = '{name}' AND NOT active"), f"slot {name} to be dropped"
    )


@pytest.mark.verifies("postgresql.pods_healthy", "failed")
async def test_two_primaries_of_one_cluster_are_a_split_brain(pair: Cluster, rival: Postgres) -> None:
    seen = await look(pair.primary.dsn(rival, pair.standby))
    assert seen["pods_healthy"].status is Status.FAILED
    assert seen["pods_healthy"].summary.startswith("Split brain: ")
    assert seen["slow_query_logging_enabled"].status is Status.UNKNOWN
    assert "are all primaries" in seen["slow_query_logging_enabled"].summary
    named_twice = await see(pair.primary.dsn(pair.primary, rival), "pods_healthy")
    assert (named_twice.status, named_twice.summary.startswith("Split brain: ")) == (Status.FAILED, True)


async def test_instances_of_different_clusters_are_not_one(
    pair: Cluster, backed_up: tuple[Cluster, Repository]
) -> None:
    result = await see(pair.primary.dsn(backed_up[0].primary), "pods_healthy")
    assert (result.status, "different clusters" in result.summary) == (Status.FAILED, True)


async def test_standbys_alone_are_no_cluster(pair: Cluster) -> None:
    with pair.primary.standby("second") as second:
        seen = await look(pair.standby.dsn(second), "pods_healthy", "replication_operational")
    drop_slot(pair, "second")
    assert seen["pods_healthy"].status is Status.FAILED
    assert "There is no primary" in seen["pods_healthy"].summary
    assert seen["replication_operational"].status is Status.UNKNOWN


async def test_a_server_that_is_named_twice_is_no_split_brain(pair: Cluster) -> None:
    result = await see(pair.primary.dsn(pair.primary, pair.standby), "pods_healthy")
    where = f"{LOOPBACK}:{pair.primary.port}/orders"
    assert result.status is Status.UNKNOWN
    assert result.summary.startswith(
        f"{where}, {where} are one server, so the other instances may not have been checked"
    )


async def test_a_standby_alone_leaves_the_primary_unseen(pair: Cluster) -> None:
    seen = await look(pair.standby.dsn())
    assert seen["pods_healthy"].status is Status.UNKNOWN
    assert "the primary was not found" in seen["pods_healthy"].summary
    assert "No primary was found" in seen["slow_query_logging_enabled"].summary


async def test_a_slow_answer_is_not_healthy(pair: Cluster) -> None:
    result = await see(pair.dsn, "pods_healthy", max_latency="0.001ms")
    assert (result.status, "(limit 0s)" in result.summary) == (Status.FAILED, True)


@pytest.mark.verifies("postgresql.pods_healthy", "unknown")
@pytest.mark.verifies("postgresql.slow_query_logging_enabled", "unknown")
async def test_an_instance_that_refuses_was_not_seen(pair: Cluster) -> None:
    async with refused() as (_, port):
        seen = await look(pair.primary.dsn().replace(f"port={pair.primary.port}", f"port={port}"))
    assert {result.status for result in seen.values()} <= {Status.UNKNOWN}
    expected = f"PostgreSQL at {LOOPBACK}:{port}/orders cannot be reached: Connection refused."
    assert seen["pods_healthy"].summary == seen["slow_query_logging_enabled"].summary == expected


async def test_one_of_two_that_refuses_leaves_the_other_seen(pair: Cluster) -> None:
    async with refused() as (_, port):
        dsn = pair.primary.dsn(pair.standby).replace(f",{pair.standby.port}", f",{port}")
        seen = await look(dsn, "pods_healthy", "replication_operational", "slow_query_logging_enabled")
    assert seen["pods_healthy"].status is seen["replication_operational"].status is Status.UNKNOWN
    assert seen["slow_query_logging_enabled"].status is Status.OK


# The role


@contextmanager
def role(primary: Postgres, *statements: str) -> Iterator[str]:
    """A role `plain` with a password, and what the statements give it."""
    primary.query(f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
    try:
        for statement in statements:
            primary.query(statement)
        yield primary.dsn(user="plain")
    finally:
        primary.query("DROP ROLE plain")


@pytest.mark.verifies("postgresql.replication_operational", "unknown")
@pytest.mark.verifies("postgresql.connection_pool_sized", "unknown")
@pytest.mark.verifies("postgresql.storage_sufficient", "unknown")
@pytest.mark.parametrize(
    ("grants", "state"),
    [
        ((), None),
        (("ALTER ROLE plain NOINHERIT", "GRANT pg_monitor TO plain"), None),
        (("GRANT pg_read_all_stats TO plain",), "streaming"),  # which lacks the folders of WAL, and some settings
    ],
    ids=["a plain role", "a member that does not inherit", "a part of pg_monitor"],
)
async def test_a_role_without_pg_monitor_is_told_the_right_that_it_lacks(
    pair: Cluster, grants: tuple[str, ...], state: str | None
) -> None:
    """Such a role gets rows whose fields are NULL, not errors: they must not be taken for answers."""
    with role(pair.primary, *grants) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert set(connection.execute("SELECT state FROM pg_stat_replication").fetchall()) == {(state,)}
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM pg_ls_waldir()")
            # Others' statements are counted for it as well, while their texts and ids are hidden.
            assert connection.execute("SELECT count(*) > 0 FROM pg_stat_statements").fetchone() == (True,)
        seen = await look(
            dsn, volumes=[{"path": "/", "min_free": "1MB", "min_free_ratio": 0.001}], pools=[{"name": "api", "size": 1}]
        )
    for item in (
        "replication_operational",
        "connection_pool_sized",
        "storage_sufficient",
        "slow_query_logging_enabled",
        "metrics_collected",
    ):
        assert seen[item].status is Status.UNKNOWN
        assert "does not have the rights of pg_monitor" in seen[item].summary
        assert 'GRANT pg_monitor TO "plain"' in seen[item].summary
    assert "primary" in seen["pods_healthy"].summary


async def test_the_printed_rights_suffice_and_only_read(pair: Cluster) -> None:
    """`pair` was made by running `PostgreSQL.rights`, and every other test here connects as that role."""
    with psycopg.connect(pair.primary.dsn(), autocommit=True) as connection:
        assert connection.execute(
            "SELECT rolconnlimit, rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (
            5,
            False,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE t ()")


def test_the_rights_are_documented_as_they_are_printed() -> None:
    page = Path(__file__).parents[3] / "docs" / "sections" / "postgresql.md"
    assert f"```sql\n{PostgreSQL.rights}```" in page.read_text()


# Replication


@pytest.mark.verifies("postgresql.replication_operational", "ok")
async def test_replication_of_an_idle_primary_is_not_behind(pair: Cluster) -> None:
    """`now() - pg_last_xact_replay_timestamp()` grows while nothing is written: no limit in time is short enough to be kept."""
    pair.primary.query("SELECT pg_logical_emit_message(true, 'test', 'x')")  # a restarted standby has replayed none yet
    pair.caught_up()
    naive = "SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float"
    assert pair.standby.query(naive)[0][0] > 0.001
    result = await see(pair.dsn, "replication_operational", max_lag="0.5ms")
    assert result.status is Status.OK
    assert result.measurements["replication_lag_seconds"] == 0
    assert result.measurements["replication_lag_bytes"] == 0
    assert result.measurements["streaming_replicas"] == 1


async def test_a_standby_alone_leaves_unseen_who_else_follows_and_what_slots_keep(pair: Cluster) -> None:
    pair.caught_up()
    result = await see(pair.standby.dsn(), "replication_operational")
    assert result.status is Status.UNKNOWN
    assert result.summary == "No primary was found among the instances of the connection string."
    assert result.measurements["replay_lag_bytes"] == 0


@contextmanager
def receiving(primary: Postgres, program: str, state: str, *arguments: str) -> Iterator[None]:
    """A program that receives from the primary as long as the context lasts; `state` is what the primary calls it."""
    rows = f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{program}' AND state = '{state}'"
    with scratch(program, unprivileged()) as directory:
        into = [str(directory / "received") if word == "DIRECTORY" else word for word in arguments]
        with Server(
            program,
            [primary.programs.folder / program, *f"-h {LOOPBACK} -p {primary.port} -U postgres".split(), *into],
            directory=directory,
            env=primary.programs.env,
            ready=lambda: primary.query(rows),
            user=unprivileged(),
        ):
            yield


@pytest.mark.verifies("postgresql.replication_operational", "failed")
async def test_a_backup_in_progress_is_no_standby(pair: Cluster) -> None:
    """The second walsender of pg_basebackup is `streaming`, like a standby's."""
    with (
        without_standby(pair),
        receiving(
            pair.primary,
            "pg_basebackup",
            "streaming",
            "-D",
            "DIRECTORY",
            "-X",
            "stream",
            "--max-rate=32k",
            "-c",
            "fast",
        ),
    ):
        result = await see(pair.primary.dsn(), "replication_operational")
    assert result.status is Status.FAILED
    assert "0 standbys stream from the primary (wanted 1); also connected: " in result.summary
    assert "pg_basebackup (streaming)" in result.summary


@contextmanager
def without_standby(pair: Cluster) -> Iterator[None]:
    pair.standby.stop()
    try:
        yield
    finally:
        pair.standby.start()
        pair.caught_up()


async def test_a_logical_subscriber_is_no_standby(logical: Postgres) -> None:
    logical.query("SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')", "orders")
    logical.query("CREATE PUBLICATION everything FOR ALL TABLES", "orders")
    options = [
        "-d",
        "orders",
        "-S",
        "subscriber",
        "-f",
        "-",
        *["-o", "proto_version=1", "-o", "publication_names=everything"],
    ]
    with receiving(logical, "pg_recvlogical", "streaming", "--start", *options):
        result = await see(logical.dsn(), "replication_operational")
    assert result.status is Status.FAILED
    assert result.summary.endswith("also connected: pg_recvlogical (streaming).")


@pytest.fixture(scope="module")
def logical(postgresql: Programs) -> Iterator[Postgres]:
    """A primary alone, which decodes."""
    with alone(postgresql, wal_level="logical") as instance:
        yield instance


@contextmanager
def alone(programs: Programs, **settings: str) -> Iterator[Postgres]:
    """A primary without a standby."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch("postgresql", unprivileged()))
        instance = stack.enter_context(Postgres(programs, directory, "alone").initialize(**settings))
        create_monitor(instance)
        yield instance


async def test_a_standby_that_replays_no_more_is_behind(pair: Cluster) -> None:
    with pair.standby.statements("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"):
        pair.primary.query("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
        lag = "SELECT 1 FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > 90000"
        await eventually(lambda: pair.primary.query(lag), "the standby to fall behind")
        both = await see(pair.dsn, "replication_operational", max_lag_bytes="64KiB")
        alone = await see(pair.primary.dsn(), "replication_operational", max_lag_bytes="64KiB")
    pair.caught_up()
    assert both.status is alone.status is Status.FAILED
    assert "replay is paused" in both.summary
    assert re.match(r"Standby standby is [\d.]+ [kM]B behind \(limit 65\.5 kB\)", alone.summary)
    assert alone.measurements["replication_lag_bytes"] > 90_000


async def test_a_slot_that_nobody_uses_keeps_wal(pair: Cluster) -> None:
    create = "SELECT pg_create_physical_replication_slot('forgotten', true)"
    with pair.primary.statements(create, "SELECT pg_drop_replication_slot('forgotten')"):
        result = await see(pair.dsn, "replication_operational")
    assert result.status is Status.FAILED
    assert "Replication slot forgotten is not active and keeps " in result.summary


async def test_a_standby_that_lost_its_primary_does_not_stream(pair: Cluster) -> None:
    async with refused() as (_, port):
        with pair.standby.setting(primary_conninfo=f"host={LOOPBACK} port={port} user=postgres"):
            await eventually(
                lambda: not pair.standby.query("SELECT 1 FROM pg_stat_wal_receiver"), "the receiver to end"
            )
            result = await see(pair.standby.dsn(), "replication_operational")
    pair.caught_up()
    assert result.status is Status.FAILED
    assert "does not stream: its WAL receiver is not running" in result.summary


# Backups


@pytest.fixture(scope="session")
def backed_up() -> Iterator[tuple[Cluster, Repository]]:
    """A PostgreSQL 15 that archives into a pgBackRest repository with one full backup."""
    with scratch("pgbackrest", unprivileged()) as directory:
        repository = Repository(directory)
        with cluster(postgresql_15(), archive_mode="on", archive_command=repository.archive_command) as pair:
            repository.configure(pair.primary)
            repository.back_up(pair.primary)
            yield pair, repository


def pgbackrest(repository: Repository, **more: object) -> dict[str, object]:
    return {"stanza": "orders", "command": repository.command, "config": str(repository.config), **more}


@pytest.mark.verifies("postgresql.backups_enabled_and_tested", "ok")
async def test_a_fresh_backup_that_was_restored_lately(backed_up: tuple[Cluster, Repository], tmp_path: Path) -> None:
    pair, repository = backed_up
    evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested")
    result = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), evidence=evidence)
    assert result.status is Status.OK
    assert result.summary.startswith("Backup 20")
    assert "The repository holds WAL up to 0000000100000000000000" in result.summary
    assert 0 <= result.measurements["backup_age_seconds"] < 600
    assert result.measurements["wal_segments_waiting"] == 0
    assert result.valid_until is not None
    assert result.evidence


@pytest.mark.verifies("postgresql.backups_enabled_and_tested", "failed")
@pytest.mark.parametrize(
    ("pretence", "told"),
    [
        ("/bin/true", "archive_command stores nothing: '/bin/true'"),
        (":", "archive_command stores nothing: ':'"),
        ("test -f %p", "archive_command stores nothing"),
        ("cp %p /dev/null", "archive_command stores nothing"),
        ("sh -c 'exit 0' %p", "but the repository ends at "),
    ],
)
async def test_a_command_that_archives_nothing_is_not_believed(
    backed_up: tuple[Cluster, Repository], tmp_path: Path, pretence: str, told: str
) -> None:
    """It makes pg_stat_archiver report success, and clears a backlog of failures."""
    pair, repository = backed_up
    evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested")
    with pair.primary.setting(archive_command=pretence.replace("'", "''")):
        switch = "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(false, '', 'x')"
        ((segment,),) = pair.primary.query(switch)
        archived = (
            f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}' "
            "AND last_archived_time > coalesce(last_failed_time, '-infinity')"
        )
        await eventually(lambda: pair.primary.query(archived), "PostgreSQL to be deceived")
        result = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), evidence=evidence)
    repository.run("backup", "--type=incr")  # what was not archived is not needed any more
    assert result.status is Status.FAILED
    assert told in result.summary


async def test_wal_that_waits_and_wal_that_fails(backed_up: tuple[Cluster, Repository]) -> None:
    pair, repository = backed_up
    with pair.primary.setting(archive_command="false %p"):
        pair.primary.query("SELECT pg_switch_wal() FROM pg_logical_emit_message(false, '', 'x')")
        failing = "SELECT 1 FROM pg_stat_archiver WHERE last_failed_time > last_archived_time"
        await eventually(lambda: pair.primary.query(failing), "archiving to fail")
        one = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), max_ready=0)
        fails = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository))
    await eventually(lambda: not pair.primary.query(failing), "archiving to work again")
    assert one.status is fails.status is Status.FAILED
    assert "1 WAL segment waits to be archived (limit 0)" in one.summary
    assert one.measurements["wal_segments_waiting"] == 1
    assert "Archiving of 00000001" in fails.summary


async def test_an_old_backup(backed_up: tuple[Cluster, Repository]) -> None:
    pair, repository = backed_up
    context = make_context(now=lambda: utc_now() + timedelta(hours=27))
    result = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), context=context)
    assert result.status is Status.FAILED
    assert re.search(r"was complete 27\.\d h ago \(limit 1d2h\)", result.summary)


async def test_backups_of_another_cluster_do_not_count(pair: Cluster, backed_up: tuple[Cluster, Repository]) -> None:
    _, repository = backed_up
    result = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository))
    assert result.status is Status.FAILED
    assert " of other clusters and none of cluster " in result.summary
    assert "WAL archiving is off" in result.summary


async def test_backups_that_were_never_restored(backed_up: tuple[Cluster, Repository], tmp_path: Path) -> None:
    pair, repository = backed_up
    for evidence, told in (
        (Evidence(tmp_path, now=utc_now), "There is no evidence for postgresql.backups_enabled_and_tested."),
        (attested(tmp_path, "postgresql.backups_enabled_and_tested", days_ago=40), "expired"),
    ):
        result = await see(pair.dsn, "backups_enabled_and_tested", pgbackrest=pgbackrest(repository), evidence=evidence)
        assert (result.status, told in result.summary) == (Status.FAILED, True), result


@pytest.mark.verifies("postgresql.backups_enabled_and_tested", "unknown")
async def test_a_repository_that_was_not_seen(backed_up: tuple[Cluster, Repository], tmp_path: Path) -> None:
    pair, repository = backed_up
    evidence = attested(tmp_path, "postgresql.backups_enabled_and_tested")
    for options, told in (
        ({}, "Option pgbackrest is not set"),
        ({"pgbackrest": pgbackrest(repository, command=["/nonexistent"])}, "/nonexistent cannot be run: No such file"),
    ):
        result = await see(pair.dsn, "backups_enabled_and_tested", evidence=evidence, **options)
        assert (result.status, told in result.summary) == (Status.UNKNOWN, True), result
    result = await see(
        pair.dsn, "backups_enabled_and_tested", evidence=evidence, pgbackrest=pgbackrest(repository, stanza="other")
    )
    assert (result.status, "stanza other is not well: missing stanza path" in result.summary) == (Status.FAILED, True)


# Connections


@pytest.fixture(scope="module")
def pooled(pair: Cluster) -> Iterator[PgBouncer]:
    """PgBouncer in front of the primary, with one connection for everybody."""
    create, drop = f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'", f"DROP ROLE {APPLICATION}"
    with ExitStack() as stack:
        stack.enter_context(pair.primary.statements(create, drop))
        directory = stack.enter_context(scratch("pgbouncer", unprivileged()))
        yield stack.enter_context(PgBouncer(pair.primary, directory, pool_size=1))


@pytest.mark.verifies("postgresql.connection_pool_sized", "ok")
async def test_pools_that_fit(pair: Cluster, pooled: PgBouncer) -> None:
    pools = [{"name": "api", "size": 10, "replicas": 5}, {"name": "worker", "size": 40}]
    with pooled.client() as client:
        client.execute("SELECT 1")
        client.rollback()
        result = await see(pair.dsn, "connection_pool_sized", pools=pools, pgbouncer=pooled.dsn())
    assert result.status is Status.OK
    assert result.summary.startswith("The pools may reach 91 of 97 connections.")
    assert result.measurements["pool_connections"] == 91
    assert result.measurements["connections_max"] == 100
    assert 1 <= result.measurements["connections_used"] <= 20


@pytest.mark.verifies("postgresql.connection_pool_sized", "failed")
async def test_pools_that_do_not_fit(pair: Cluster) -> None:
    result = await see(pair.dsn, "connection_pool_sized", pools=[{"name": "api", "size": 20, "replicas": 7}])
    assert result.status is Status.FAILED
    assert (
        "may reach 140 connections, but PostgreSQL has 97 for them (max_connections 100, 3 kept back)" in result.summary
    )


async def test_connections_that_are_reserved_from_16_on_are_kept_back(postgresql: Programs) -> None:
    if postgresql.major < 16:
        return
    with alone(postgresql, reserved_connections="5") as instance:
        result = await see(instance.dsn(), "connection_pool_sized", pools=[{"name": "api", "size": 93}])
    assert (result.status, "has 92 for them" in result.summary) == (Status.FAILED, True)


async def test_max_connections_is_a_number_or_a_range(pair: Cluster) -> None:
    pools = [{"name": "api", "size": 1}]
    for wanted, status in ((100, "ok"), ([50, 200], "ok"), (200, "failed"), ([150, 200], "failed")):
        result = await see(pair.dsn, "connection_pool_sized", pools=pools, max_connections=wanted)
        assert result.status == status
    assert "max_connections of 127.0.0.1" in result.summary
    assert "is 100 (wanted 150 to 200)" in result.summary


@pytest.mark.verifies("postgresql.connection_pool_sized", "warning")
async def test_connections_in_use(pair: Cluster) -> None:
    pools = [{"name": "api", "size": 1}]
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(pair.primary.connect())
        result = await see(pair.dsn, "connection_pool_sized", pools=pools, connections_warning_ratio=0.1)
    assert result.status is Status.WARNING
    assert (
        "of the 97 connections that applications can get (limit 10%; max_connections 100, 3 reserved)" in result.summary
    )


async def test_a_pooler_that_lists_no_database_yet_has_not_told_its_size(pair: Cluster, pooled: PgBouncer) -> None:
    """`*` in its configuration is listed only while somebody uses it."""
    with (
        scratch("pgbouncer", unprivileged()) as directory,
        PgBouncer(pair.primary, directory, name="*", pool_size=60) as bouncer,
    ):
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
        assert result.status is Status.UNKNOWN
        assert "lists no database, so what its pools may reach was not checked" in result.summary
        with bouncer.client() as client:
            client.execute("SELECT 1")
            client.rollback()
            result = await see(pair.dsn, "connection_pool_sized", pgbouncer=bouncer.dsn())
    assert (result.status, result.measurements["pool_connections"]) == (Status.OK, 60)


async def test_clients_that_wait_in_pgbouncer(pair: Cluster, pooled: PgBouncer) -> None:
    seen: list[Result] = []

    async def waited() -> bool:
        seen.append(await see(pair.dsn, "connection_pool_sized", pgbouncer=pooled.dsn()))
        return seen[-1].status is Status.FAILED

    with pooled.client() as holder, closing(pooled.client()) as waiting:
        holder.execute("SELECT 1")  # in a transaction, so that it keeps the only connection
        waiting.pgconn.send_query(b"SELECT 2")
        waiting.pgconn.flush()
        await eventually(waited, "the client to have waited for a second", 15)
    assert "A client of PgBouncer at 127.0.0.1" in seen[-1].summary
    assert "(limit 1 s)" in seen[-1].summary
    assert {result.status for result in seen[:-1]} <= {Status.OK, Status.WARNING}


async def test_a_console_that_lets_nobody_in(pair: Cluster, pooled: PgBouncer) -> None:
    for dsn, told in (
        (pooled.dsn(password="wrong"), "cannot be reached: FATAL: SASL authentication failed"),
        (pooled.dsn("nobody", "nobody"), "not allowed"),
    ):
        result = await see(pair.dsn, "connection_pool_sized", pgbouncer=dsn)
        assert result.status is Status.UNKNOWN
        assert told in result.summary, result
    assert "Neither option pools nor option pgbouncer is set" in (await see(pair.dsn, "connection_pool_sized")).summary


# Space


@pytest.mark.verifies("postgresql.storage_sufficient", "ok")
async def test_space_of_a_local_path(pair: Cluster) -> None:
    result = await see(pair.dsn, "storage_sufficient", volumes=[_volume(path=str(pair.primary.directory), instances=2)])
    assert result.status is Status.OK
    assert result.measurements["free_bytes"] > 1


def _volume(**more: object) -> dict[str, object]:
    return {"min_free": 1, "min_free_ratio": 0, **more}


@pytest.mark.verifies("postgresql.storage_sufficient", "failed")
async def test_too_little_space(pair: Cluster) -> None:
    volumes = [_volume(path="/"), _volume(name="wal", path="/", min_free="1000TB")]
    result = await see(pair.dsn, "storage_sufficient", volumes=volumes)
    assert result.status is Status.FAILED
    assert "in all: 1e+03 TB can never be free on it" in result.summary
    assert {"free_bytes", "wal_free_bytes"} <= set(result.measurements)


async def test_a_tablespace_without_a_volume_was_not_seen(pair: Cluster) -> None:
    for instance in (pair.primary, pair.standby):
        assert instance.data.parent == pair.primary.directory
    location = pair.primary.directory / "archive-space"
    run_unprivileged("mkdir", "-m", "700", location)
    # A standby on the same machine would use the same folder.
    tablespace = pair.primary.statements(f"CREATE TABLESPACE archive LOCATION '{location}'", "DROP TABLESPACE archive")
    with without_standby(pair), tablespace:
        hidden = await see(pair.primary.dsn(), "storage_sufficient", volumes=[_volume(path="/")])
        named = await see(
            pair.primary.dsn(),
            "storage_sufficient",
            volumes=[_volume(path="/"), _volume(name="archive", path=str(location))],
        )
    assert hidden.status is Status.UNKNOWN
    assert "names no volume for tablespace archive" in hidden.summary
    assert named.status is Status.OK


async def test_a_volume_for_wal_alone_does_not_show_the_space_of_data(pair: Cluster) -> None:
    result = await see(pair.dsn, "storage_sufficient", volumes=[_volume(name="wal", path="/")])
    assert (result.status, "names no volume data" in result.summary) == (Status.UNKNOWN, True)


async def test_of_the_volumes_of_several_instances_the_least_is_measured(pair: Cluster, tmp_path: Path) -> None:
    spaces = [os.statvfs(path) for path in ("/", "/dev/shm")]
    least = min(space.f_blocks * space.f_frsize for space in spaces)
    for paths in (("/", "/dev/shm"), ("/dev/shm", "/")):
        result = await see(pair.dsn, "storage_sufficient", volumes=[_volume(path=path) for path in paths])
        assert result.status is Status.OK
        assert result.measurements["free_bytes"] <= least


async def test_no_volume_is_no_space(pair: Cluster) -> None:
    result = await see(pair.dsn, "storage_sufficient")
    assert (result.status, "Option volumes is not set" in result.summary) == (Status.UNKNOWN, True)


# Slow queries


@pytest.mark.verifies("postgresql.slow_query_logging_enabled", "ok")
async def test_slow_queries_are_logged(pair: Cluster) -> None:
    result = await see(pair.dsn, "slow_query_logging_enabled")
    assert (result.status, "Queries slower than 500 ms are logged" in result.summary) == (Status.OK, True)


@pytest.mark.verifies("postgresql.slow_query_logging_enabled", "failed")
@pytest.mark.verifies("postgresql.slow_query_logging_enabled", "warning")
@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ("DATABASE orders SET log_min_duration_statement = -1", "failed", "is -1 for database orders"),
        ("DATABASE template1 SET log_min_duration_statement = -1", "failed", "is -1 for database template1"),
        ("DATABASE orders SET log_min_duration_statement = '1min'", "failed", "is 60000 ms for database orders"),
        (
            "DATABASE orders SET log_min_duration_statement = '0.9s'",
            "ok",
            "slower than 900 ms are logged in database orders (",
        ),
        ("DATABASE orders SET log_min_duration_statement = 0", "warning", "every statement is logged"),
        ("ROLE postgres SET log_min_duration_statement = -1", "failed", "is -1 for role postgres"),
        (
            "ROLE postgres IN DATABASE orders SET log_min_duration_statement = -1",
            "failed",
            "role postgres in database orders",
        ),
        ("ROLE postgres SET log_min_messages = 'panic'", "failed", "log_min_messages is panic for role postgres"),
        (f"ROLE {MONITOR} SET log_min_duration_statement = 500", "unknown", "own role"),
    ],
)
async def test_a_database_or_role_that_differs(pair: Cluster, change: str, status: str, told: str) -> None:
    """`SHOW` in database postgres still says 500 ms."""
    name = "log_min_messages" if "messages" in change else "log_min_duration_statement"
    with pair.primary.statements(f"ALTER {change}", f"ALTER {change.partition(' SET ')[0]} RESET {name}"):
        assert pair.primary.query("SELECT setting FROM pg_file_settings WHERE name = 'log_min_duration_statement'") == [
            ("500",)
        ]
        result = await see(pair.dsn, "slow_query_logging_enabled")
        only = await see(pair.dsn, "slow_query_logging_enabled", app_roles=["application"])
    assert (result.status, told in result.summary) == (Status(status), True), result
    assert only.status is (Status.OK if change.startswith("ROLE postgres") else result.status)


@pytest.mark.parametrize(
    ("values", "status", "told"),
    [
        ({"log_min_duration_statement": "-1"}, "failed", "is -1 for the instance"),
        ({"log_min_duration_statement": "2s"}, "failed", "is 2000 ms for the instance (limit 1000 ms)"),
        ({"log_min_messages": "fatal"}, "failed", "log_min_messages is fatal for the instance"),
        ({"log_min_duration_statement": "-1", "session_preload_libraries": "auto_explain"}, "failed", "is -1 for"),
        (
            {
                "log_min_duration_statement": "-1",
                "session_preload_libraries": "auto_explain",
                "auto_explain.log_min_duration": "250ms",
            },
            "ok",
            "slower than 250 ms are logged (auto_explain.log_min_duration)",
        ),
        *(
            (
                {
                    "log_min_duration_statement": "-1",
                    "session_preload_libraries": "auto_explain",
                    "auto_explain.log_min_duration": "250ms",
                    setting: value,
                },
                "failed",
                "log_min_duration_statement is -1 for",
            )
            for setting, value in (("auto_explain.sample_rate", "0.5"), ("auto_explain.log_level", "debug1"))
        ),
    ],
)
async def test_settings_of_the_instance(pair: Cluster, values: dict[str, str], status: str, told: str) -> None:
    with pair.primary.setting(**values):
        result = await see(pair.dsn, "slow_query_logging_enabled")
    assert (result.status, told in result.summary) == (Status(status), True), result


# Metrics


SLOW = {"scrape_interval": "2s", "scrape_timeout": "2s"}  # postgres_exporter tries for a second to reach its server


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["exporter-0.11", "exporter-0.19"])
def scraped(
    request: pytest.FixtureRequest, pair: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, Exporter]]:
    """Prometheus (old or new) that scrapes a postgres_exporter (old or new) of the primary, and node_exporter."""
    directory = tmp_path_factory.mktemp("scraped")
    source = f"postgresql://postgres@{LOOPBACK}:{pair.primary.port}/orders?sslmode=disable"
    with (
        postgres_exporter(directory, source, release=request.param) as exporter,
        node_exporter(directory, release=request.param) as node,
        Prometheus(
            directory,
            release=request.param,
            # Without its database the exporter takes a second to say so.
            scrapes=[
                scrape("postgres", exporter.port, scrape_interval="3s", scrape_timeout="3s"),
                scrape("node", node.port),
            ],
        ) as server,
    ):
        server.wait_for("pg_stat_database_xact_commit and on() pg_up == 1 and on() node_filesystem_avail_bytes")
        yield server, exporter


@pytest.mark.verifies("postgresql.metrics_collected", "ok")
async def test_metrics_arrive(pair: Cluster, scraped: tuple[Prometheus, Exporter], ask_prometheus: Any) -> None:
    server, exporter = scraped
    result = await see(pair.primary.dsn(), "metrics_collected", context=ask_prometheus(server))
    assert result.status is Status.OK
    assert f"Prometheus scrapes 127.0.0.1:{exporter.port}, pg_up is 1" in result.summary
    assert "pg_stat_statements knows " in result.summary
    assert 0 <= result.measurements["sample_age_seconds"] < 60


@pytest.mark.verifies("postgresql.metrics_collected", "failed")
async def test_an_exporter_that_is_up_but_cannot_reach_its_database(
    pair: Cluster, scraped: tuple[Prometheus, Exporter], ask_prometheus: Any
) -> None:
    server, _ = scraped
    pair.primary.stop()
    try:
        server.wait_for("pg_up == 0 and on() up{job='postgres'} == 1")
        seen = await judge_scrape(ask_prometheus(server).clients["prometheus"], PostgresScrape())
    finally:
        pair.primary.start()
        pair.caught_up()
        server.wait_for("pg_up == 1")
    assert seen.status is Status.FAILED
    assert "which cannot reach the server: pg_up is not 1" in seen.summary


async def test_fewer_exporters_than_instances(
    pair: Cluster, scraped: tuple[Prometheus, Exporter], ask_prometheus: Any
) -> None:
    result = await see(pair.dsn, "metrics_collected", context=ask_prometheus(scraped[0]))
    assert result.status is Status.FAILED
    assert 'Prometheus scrapes 1 exporters that match up{job="postgres"} (wanted 2).' in result.summary


async def test_statements_are_not_counted_without_the_extension(
    pair: Cluster, scraped: tuple[Prometheus, Exporter], ask_prometheus: Any
) -> None:
    context = ask_prometheus(scraped[0])
    with pair.primary.statements("CREATE DATABASE bare", "DROP DATABASE bare WITH (FORCE)"):
        result = await see(pair.primary.dsn(dbname="bare"), "metrics_collected", context=context)
        assert (result.status, "pg_stat_statements is not installed" in result.summary) == (Status.FAILED, True)
        pair.primary.query('CREATE SCHEMA "odd schema"', "bare")
        pair.primary.query('CREATE EXTENSION pg_stat_statements SCHEMA "odd schema"', "bare")
        pair.primary.query(f'GRANT USAGE ON SCHEMA "odd schema" TO {MONITOR}', "bare")
        result = await see(pair.primary.dsn(dbname="bare"), "metrics_collected", context=context)
        assert result.status is Status.OK
        pair.primary.query(f'REVOKE USAGE ON SCHEMA "odd schema" FROM {MONITOR}', "bare")
        result = await see(pair.primary.dsn(dbname="bare"), "metrics_collected", context=context)
        assert result.status is Status.UNKNOWN
        assert f"Role {MONITOR} lacks a right on PostgreSQL" in result.summary


@pytest.mark.parametrize(("setting", "value"), [("pg_stat_statements.track", "none"), ("compute_query_id", "off")])
async def test_an_extension_that_counts_nothing(pair: Cluster, setting: str, value: str) -> None:
    """What it has counted before stays readable."""
    with pair.primary.setting(**{setting: value}):
        result = await see(pair.dsn, "metrics_collected")
    assert result.status is Status.FAILED
    assert f"{setting} is {value} on {LOOPBACK}:{pair.primary.port}/orders" in result.summary


@pytest.mark.verifies("postgresql.metrics_collected", "unknown")
async def test_metrics_without_a_prometheus(pair: Cluster) -> None:
    result = await see(pair.dsn, "metrics_collected")
    assert result.status is Status.UNKNOWN
    assert "clients.prometheus is not configured" in result.summary


async def test_statements_are_not_counted_unless_preloaded(patroni: Patroni) -> None:
    result = await see(patroni.leader.dsn(), "metrics_collected")
    assert result.status is Status.FAILED
    assert "pg_stat_statements is not in shared_preload_libraries" in result.summary


# Failover


@pytest.mark.verifies("postgresql.failover_tested", "ok")
async def test_patroni_would_fail_over(patroni: Patroni, tmp_path: Path) -> None:
    await eventually(patroni.following, "the standby to follow")
    evidence = attested(tmp_path, "postgresql.failover_tested", days_ago=60)
    result = await see(patroni.leader.dsn(), "failover_tested", patroni={"url": patroni.url}, evidence=evidence)
    assert result.status is Status.OK
    assert "and 1 standby that could take over" in result.summary
    assert result.measurements["failover_candidates"] == 1


@pytest.mark.verifies("postgresql.failover_tested", "failed")
async def test_patroni_that_is_paused_or_speaks_of_another_cluster(patroni: Patroni, pair: Cluster) -> None:
    options = {"patroni": {"url": patroni.url}}
    patroni.pause(True)
    try:
        paused = await see(patroni.leader.dsn(), "failover_tested", **options)
    finally:
        patroni.pause(False)
    other = await see(pair.dsn, "failover_tested", **options)
    assert paused.status is other.status is Status.FAILED
    assert "Patroni is paused" in paused.summary
    assert "Patroni reports cluster " in other.summary


async def test_a_synchronous_standby_takes_over_in_synchronous_mode(patroni: Patroni, tmp_path: Path) -> None:
    evidence = attested(tmp_path, "postgresql.failover_tested")
    patroni.synchronous(True)
    try:
        assert (await read_cluster(HttpSettings(url=patroni.url))).synchronous
        result = await see(patroni.leader.dsn(), "failover_tested", patroni={"url": patroni.url}, evidence=evidence)
    finally:
        patroni.synchronous(False)
    assert result.status is Status.OK
    assert result.measurements["failover_candidates"] == 1


@pytest.mark.verifies("postgresql.failover_tested", "unknown")
async def test_no_failover_mechanism_was_seen(pair: Cluster, tmp_path: Path) -> None:
    evidence = attested(tmp_path, "postgresql.failover_tested")
    result = await see(pair.dsn, "failover_tested", evidence=evidence)
    assert (result.status, "Option patroni is not set" in result.summary) == (Status.UNKNOWN, True)
    async with refused() as (host, port):
        result = await see(pair.dsn, "failover_tested", evidence=evidence, patroni={"url": f"http://{host}:{port}"})
        assert (result.status, "the connection was refused" in result.summary) == (Status.UNKNOWN, True)
        dsn = pair.primary.dsn().replace(f"port={pair.primary.port}", f"port={port}")
        result = await see(dsn, "failover_tested", evidence=evidence)
        assert result.status is Status.UNKNOWN
