"""How much would be lost now: a real PostgreSQL with a pgBackRest repository, S3 and RDS by moto, and records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from collectors.backup_and_recovery.disaster_recovery import DisasterRecovery, DisasterRecoverySettings
from collectors.systems.aws.client import Aws, AwsSettings
from collectors.systems.postgresql.judge.recovery_point import judge_recovery_point
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.pgbackrest import Backup, Needed, _Database, _Span
from collectors.systems.postgresql.model.recovery_point import SegmentStatus, WalState
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.aws import REGION, AwsServer
from tests.servers.pgbackrest import Repository
from tests.servers.postgresql import PASSWORD, Postgres, create_monitor, postgresql_15
from tests.servers.process import LOOPBACK, eventually, free_port, scratch, unprivileged, wait_until
from tests.support import Run, make_context, sees

ITEM = "rpo_met"
KEY = "a-secret-key"


evidence = evidence_of("disaster_recovery", today=True)


@pytest.fixture
async def client(aws: AwsServer) -> AsyncIterator[Aws]:
    made = Aws(AwsSettings.model_validate(aws.settings), Threads())
    yield made
    await made.close()


@pytest.fixture(scope="module")
def archiving() -> Iterator[tuple[Postgres, Repository]]:
    """A PostgreSQL 15 that archives into a pgBackRest repository with one full backup."""
    with scratch("recovery-points", unprivileged()) as directory:
        repository = Repository(directory)
        primary = Postgres(postgresql_15(), directory, "primary")
        primary.initialize(archive_mode="on", archive_command=repository.archive_command)
        with primary:
            create_monitor(primary)
            repository.configure(primary)
            repository.back_up(primary)
            yield primary, repository


def run(evidence: Folder, *points: dict[str, Any], client: Aws | None = None) -> Run:
    context = make_context(clients={"aws": client} if client else {}, **evidence.context)
    settings = {"recovery_points": points}
    return Run(DisasterRecovery, [ITEM], settings=settings, context=context, secrets=[KEY, PASSWORD])


seen = sees(run)


def orders(archiving: tuple[Postgres, Repository], at_most: str, dsn: str | None = None) -> dict[str, Any]:
    primary, repository = archiving
    pgbackrest = {"stanza": "orders", "command": repository.command, "config": str(repository.config)}
    return {"store": "orders", "at_most": at_most, "dsn": dsn or primary.dsn(), "pgbackrest": pgbackrest}


def write(primary: Postgres) -> None:
    primary.script("CREATE TABLE IF NOT EXISTS paid (n int); INSERT INTO paid VALUES (1)", "orders")


def switch(primary: Postgres) -> str:
    """Write, and finish the segment; its name."""
    write(primary)
    ((segment,),) = primary.query("SELECT pg_walfile_name(pg_switch_wal())")
    return str(segment)


def archived(primary: Postgres, segment: str) -> None:
    wait_until(
        lambda: primary.query(f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'"),
        f"{segment} to be archived",
    )


@pytest.mark.verifies("disaster_recovery.rpo_met", "ok")
@pytest.mark.verifies("disaster_recovery.rpo_met", "failed")
@pytest.mark.verifies("disaster_recovery.rpo_met", "unknown")
async def test_positions_are_compared_and_not_times(evidence: Folder, archiving: tuple[Postgres, Repository]) -> None:
    primary, _ = archiving
    with primary.setting(archive_timeout="60s"):
        archived(primary, switch(primary))
        result = await seen(evidence, orders(archiving, "5m"))
        assert result.status is Status.OK, result
        assert result.measurements["orders_data_at_risk_seconds"] <= 60
        evidence.clock.at += timedelta(days=3)  # an idle database is as recoverable three days later
        assert (await seen(evidence, orders(archiving, "5m"))).status is Status.OK
        with primary.setting(archive_command="false"):
            segment = switch(primary)
            assert (await seen(evidence, orders(archiving, "1h"))).status is Status.OK

            async def too_old() -> bool:
                return (await seen(evidence, orders(archiving, "1s"))).status is Status.FAILED

            await eventually(too_old, "the segment to wait for too long")
            assert (
                "WAL from then is not in the repository (objective 1s)"
                in (await seen(evidence, orders(archiving, "1s"))).summary
            )
        archived(primary, segment)
    nowhere = f"postgresql://checklist:{KEY}@{LOOPBACK}:{free_port()}/orders"
    assert (await seen(evidence, orders(archiving, "5m", nowhere))).status is Status.UNKNOWN


async def test_an_unfinished_segment_may_hold_an_old_commit(
    evidence: Folder, archiving: tuple[Postgres, Repository]
) -> None:
    primary, _ = archiving
    archived(primary, switch(primary))
    write(primary)
    result = await seen(evidence, orders(archiving, "1h"))
    assert (result.status, "as long as it writes a lot: archive_timeout is 0s" in result.summary) == (
        Status.WARNING,
        True,
    ), result

    async def may_be_too_old() -> bool:
        return (await seen(evidence, orders(archiving, "1s"))).status is Status.UNKNOWN

    await eventually(may_be_too_old, "the commit to be older than its objective")
    with primary.setting(archive_timeout="30min"):
        assert (await seen(evidence, orders(archiving, "1m"))).status is not Status.OK
        assert (await seen(evidence, orders(archiving, "30m"))).status is Status.OK


async def test_what_the_repository_lacks_is_lost(evidence: Folder, archiving: tuple[Postgres, Repository]) -> None:
    primary, repository = archiving
    with primary.setting(archive_timeout="60s"):
        with primary.setting(archive_command="/bin/true"):
            lost = switch(primary)
            archived(primary, lost)  # as PostgreSQL believes
            result = await seen(evidence, orders(archiving, "1h"))
            assert (result.status, f"believes WAL segment {lost} to be archived" in result.summary) == (
                Status.FAILED,
                True,
            ), result
        archived(primary, switch(primary))  # archiving works again, and the gap remains
        result = await seen(evidence, orders(archiving, "1h"))
        assert (result.status, "nothing later can be restored" in result.summary) == (Status.FAILED, True), result
        repository.run("backup", "--type=full")
        assert (await seen(evidence, orders(archiving, "1h"))).status is Status.OK


def judged(wal: WalState, *segments: str, timeline: int = 1, mode: str = "on") -> Result:
    archiver = Archiver(
        archive_mode=mode,
        archive_command="pgbackrest archive-push %p",
        archive_library="",
        last_archived_wal=None,
        last_archived_time=None,
        last_failed_wal=None,
        last_failed_time=None,
        ready=0,
        oldest_ready=None,
        oldest_ready_age=None,
        timeline=timeline,
        segment_size=2**24,
    )
    backup = Backup("full", "full", _Span(0, 0), _Database(1), archive=Needed(segments[0], segments[0]))
    return judge_recovery_point(wal, archiver, frozenset(segments), backup, timedelta(minutes=5), "orders")


ONE, TWO, OTHER = "000000010000000000000001", "000000010000000000000002", "000000020000000000000003"


@pytest.mark.parametrize(
    ("wal", "segments", "timeline", "mode", "status"),
    [
        (WalState(3 * 2**24, 0, ()), (ONE, TWO), 1, "on", "warning"),  # at the very end
        (WalState(3 * 2**24, 60, ()), (ONE, TWO), 1, "on", "ok"),
        (WalState(3 * 2**24 + 1, 0, ()), (ONE, TWO), 1, "on", "unknown"),  # nothing tells how old it is
        (WalState(3 * 2**24 + 1, 0, (SegmentStatus(TWO, False, -9000.0),)), (ONE, TWO), 1, "on", "unknown"),
        (WalState(3 * 2**24 + 1, 60, (SegmentStatus(TWO, False, 9000.0),)), (ONE, TWO), 1, "on", "ok"),
        (WalState(3 * 2**24 + 1, 60, (SegmentStatus(TWO, True, 301.0),)), (ONE,), 1, "on", "failed"),
        (WalState(3 * 2**24 + 1, 60, (SegmentStatus(TWO, True, 299.0),)), (ONE,), 1, "on", "unknown"),
        (WalState(4 * 2**24, 60, ()), (ONE, TWO, OTHER), 1, "on", "ok"),  # of a copy, not ours
        (WalState(4 * 2**24, 60, ()), (ONE, TWO, OTHER), 2, "on", "ok"),
        (WalState(3 * 2**24, 60, ()), (ONE, TWO), 2, "on", "unknown"),  # promoted, and nothing archived since
        (WalState(3 * 2**24, 60, ()), (ONE, TWO), 1, "off", "failed"),
    ],
)
def test_ages_of_what_is_not_in_the_repository(
    wal: WalState, segments: tuple[str, ...], timeline: int, mode: str, status: str
) -> None:
    assert judged(wal, *segments, timeline=timeline, mode=mode).status == status


async def test_other_stores_lose_what_their_last_backup_lacks(evidence: Folder, aws: AwsServer, client: Aws) -> None:
    graph = {"store": "graph", "at_most": "1d", "objects": {"bucket": "graph-backups", "prefix": "neo4j/"}}
    result = await seen(evidence, graph, client=client)
    assert (result.status, "does not exist (NoSuchBucket)" in result.summary) == (Status.FAILED, True)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="graph-backups", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert "holds no backup" in (await seen(evidence, graph, client=client)).summary
    s3.put_object(Bucket="graph-backups", Key="neo4j/neo4j.dump", Body=b"x" * 1000)
    assert (await seen(evidence, graph, client=client)).status is Status.OK
    evidence.clock.at += timedelta(hours=25)
    result = await seen(evidence, graph, client=client)
    assert (result.status, "(limit 1d)" in result.summary) == (Status.FAILED, True)
    evidence.clock.at -= timedelta(hours=27)  # made in the future
    assert (await seen(evidence, graph, client=client)).status is Status.UNKNOWN
    assert (await seen(evidence, graph)).status is Status.UNKNOWN
    result = await seen(evidence, {"store": "billing", "at_most": "1h", "rds": {"instance": "billing"}}, client=client)
    assert (result.status, "DBInstanceNotFound" in result.summary) == (Status.FAILED, True)


async def test_a_record_measures_what_a_drill_lost(evidence: Folder) -> None:
    search = {"store": "search", "at_most": "1h"}
    assert (await seen(evidence)).status is Status.UNKNOWN
    assert (await seen(evidence, search)).status is Status.FAILED
    on = f"{evidence.clock.at:%Y-%m-%d}"
    for measured, status, words in (
        ({"search_seconds": 0}, "ok", ""),
        ({"search_seconds": 3600}, "ok", ""),
        ({"search_seconds": 3601}, "failed", "search lost the writes of 3601 s (objective 1h)"),
        ({"search_seconds": -1}, "failed", "which cannot be"),
        ({"orders_seconds": 1}, "failed", "does not measure what search lost (search_seconds)"),
    ):
        evidence.record(ITEM, on=on, measured=measured)
        result = await seen(evidence, search)
        assert (result.status, words in result.summary) == (status, True), result
    evidence.tear(ITEM)
    assert (await seen(evidence, search)).status is Status.UNKNOWN


@pytest.mark.parametrize(
    "point",
    [
        {"store": "Or ders", "at_most": "1h"},
        {"store": "orders", "at_most": "0s"},
        {"store": "orders", "at_most": "1h", "pgbackrest": {"stanza": "orders"}},
        {"store": "orders", "at_most": "1h", "dsn": f"postgresql://a:{KEY}@b/c"},
        {"store": "orders", "at_most": "1h", "dsn": f"postgresql://a:{KEY}@b@c/d", "pgbackrest": {"stanza": "orders"}},
        {"store": "orders", "at_most": "1h", "rds": {"instance": "a"}, "objects": {"bucket": "abc"}},
    ],
)
def test_points_that_cannot_be_meant_are_refused(point: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as refused:
        DisasterRecoverySettings.model_validate({"recovery_points": [point]}, strict=False)
    assert KEY not in str(refused.value)
