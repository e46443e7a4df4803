"""What is right and wrong about a PostgreSQL cluster, case by case; where the facts come from is tested on real servers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collectors.systems.postgresql.judge.backups import judge_archive, judge_archiver, judge_backup
from collectors.systems.postgresql.judge.connections import judge_connections, judge_pools
from collectors.systems.postgresql.judge.failover import judge_patroni
from collectors.systems.postgresql.judge.logging import judge_logging
from collectors.systems.postgresql.judge.replication import judge_receiver, judge_senders
from collectors.systems.postgresql.model.instance import Archiver, Connections, Logging, Receiver, Sender, Setting, Slot
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.patroni import PatroniCluster
from collectors.systems.postgresql.model.pgbackrest import Stanza
from collectors.systems.postgresql.model.pgbouncer import Pooler
from exporter.verdict import ProbeError
from tests.collectors.systems.postgresql.client.test_pgbackrest import STANZA

LIMITS = ClusterLimits()
NOW = datetime(2026, 11, 24, 21, tzinfo=UTC)
CLUSTER = "7711845448443692536"


def standby(**changes: Any) -> Sender:
    return replace(Sender("db-1", "streaming", follows=True, lag_bytes=0), **changes)


def slot(**changes: Any) -> Slot:
    return replace(Slot("db-1", active=True, wal_status="reserved", retained_bytes=5e9), **changes)


@pytest.mark.parametrize(
    ("senders", "slots", "status", "told"),
    [
        ([standby()], [slot(), slot(wal_status="extended")], "ok", "1 standbys stream, at most 0 B behind."),
        ([], [], "failed", "0 standbys stream from the primary (wanted 1)."),
        ([standby(state="catchup")], [], "failed", "also connected: db-1 (catchup)."),
        ([standby(follows=False)], [], "failed", "also connected: db-1 (streaming)."),
        ([standby(lag_bytes=312e6), standby()], [], "failed", "Standby db-1 is 312 MB behind (limit 67.1 MB)."),
        ([standby()], [slot(active=False)], "failed", "slot db-1 is not active and keeps 5 GB of WAL."),
        ([standby()], [slot(wal_status="lost")], "failed", "slot db-1 has lost WAL: wal_status is lost."),
        ([standby()], [slot(wal_status="unreserved")], "failed", "wal_status is unreserved."),
    ],
)
def test_senders_and_slots(senders: list[Sender], slots: list[Slot], status: str, told: str) -> None:
    result = judge_senders(senders, slots, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


def receiver(**changes: Any) -> Receiver:
    given = Receiver("streaming", caught_up=False, behind_bytes=5000, behind_seconds=2, paused=False)
    return replace(given, **changes)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (receiver(), "ok", "streams and is 2.0 s behind."),
        (receiver(behind_seconds=31), "failed", "is 31 s behind (limit 30s)."),
        (receiver(behind_seconds=9999, caught_up=True), "ok", "is 0.0 s behind."),
        (receiver(status="waiting"), "failed", "its WAL receiver is waiting."),
        (receiver(status=None, caught_up=True), "failed", "its WAL receiver is not running."),
        (receiver(paused=True), "failed", "replay is paused."),
        (receiver(behind_seconds=None), "unknown", "has replayed no transaction yet"),
        (receiver(caught_up=None, behind_bytes=None), "unknown", "how far it is behind was not seen."),
    ],
)
def test_receivers(given: Receiver, status: str, told: str) -> None:
    result = judge_receiver("db-1:5432/orders", given, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


def stanza(**changes: Any) -> Stanza:
    return msgspec.convert({**STANZA, **changes}, Stanza)


def backup(**changes: Any) -> dict[str, Any]:
    return {**STANZA["backup"][0], **changes}


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (stanza(), "ok", "Backup 20261124-205902F was complete 0.0 h ago."),
        (stanza(status={"code": 2, "message": "no valid backups"}), "failed", "is not well: no valid backups."),
        (stanza(backup=[]), "failed", "holds no backup and none of cluster"),
        (stanza(db=[{"id": 1, "system-id": 1}]), "failed", "holds 1 backups of other clusters"),
        (stanza(backup=[backup(error=True)]), "failed", "holds pages with wrong checksums."),
        (
            stanza(backup=[backup(label="old", timestamp={"start": 1, "stop": 2}), backup(error=False)]),
            "ok",
            "Backup 20261124-205902F",
        ),
        (
            stanza(backup=[backup(timestamp={"start": 1795460000, "stop": 1795460399})]),
            "failed",
            "26.0 h ago (limit 1d2h).",
        ),
    ],
)
def test_backups(given: Stanza, status: str, told: str) -> None:
    result = judge_backup(given, CLUSTER, NOW, timedelta(hours=26))
    assert (result.status, told in result.summary) == (status, True), result


def archiver(**changes: Any) -> Archiver:
    given = Archiver(
        archive_mode="on",
        archive_command="pgbackrest --stanza=orders archive-push %p",
        archive_library="",
        last_archived_wal="000000010000000000000003",
        last_archived_time=NOW,
        last_failed_wal=None,
        last_failed_time=None,
        ready=0,
    )
    return replace(given, **changes)


FAILED_LATER: dict[str, Any] = {"last_failed_wal": "0" * 24, "last_failed_time": NOW + timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (archiver(), "ok", "WAL is archived, 0 segments wait."),
        (archiver(archive_mode="off"), "failed", "WAL archiving is off (archive_mode)."),
        (archiver(ready=11), "failed", "11 WAL segments wait to be archived (limit 10)."),
        (archiver(**FAILED_LATER), "failed", f"Archiving of {'0' * 24} failed at 2026-11-24 21:01:00 UTC."),
        (archiver(**FAILED_LATER, last_archived_time=None), "failed", "Archiving of "),
        (archiver(last_failed_time=NOW - timedelta(days=1)), "ok", "WAL is archived"),
        (archiver(last_archived_time=None), "unknown", "No WAL segment was archived since the statistics were reset."),
        (archiver(archive_command="", archive_library="basic_archive"), "ok", "WAL is archived"),
    ],
)
def test_archivers(given: Archiver, status: str, told: str) -> None:
    result = judge_archiver(given, 10)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("command", "stores"),
    [
        ("pgbackrest --stanza=orders archive-push %p", True),
        ("test ! -f /archive/%f && cp %p /archive/%f", True),
        ("wal-g wal-push %p >> /var/log/wal-g.log 2>&1", True),
        ("pgbackrest archive-push %p > /dev/null 2>&1", True),
        ("gzip < %p | ssh db-backup 'cat > /archive/%f.gz'", True),
        ("envdir '/etc/wal-g wal-g wal-push %p", True),  # what no shell would read is left to fail by itself
        ("", False),
        ("   ", False),
        (":", False),
        ("true", False),
        ("/bin/true", False),
        ("/usr/bin/true %p %f", False),
        ("exit 0", False),
        ("echo %p", False),
        ("echo archived %f >> /var/log/archive.log", False),
        ("test -f %p && true", False),
        ("cp /dev/zero /archive", False),
        ("cp %p /dev/null", False),
        ("(disabled)", False),
    ],
)
def test_commands_that_store_nothing(command: str, stores: bool) -> None:
    result = judge_archiver(archiver(archive_command=command), 10)
    assert result.status == ("ok" if stores else "failed")
    assert stores or f"archive_command stores nothing: {command!r}." == result.summary


@pytest.mark.parametrize(
    ("last", "given", "status", "told"),
    [
        ("000000000000000000000004", stanza(), "ok", "The repository holds WAL up to 000000000000000000000004."),
        ("000000000000000000000005", stanza(), "failed", "but the repository ends at 000000000000000000000004."),
        ("000000000000000000000004.00000028.backup", stanza(), "ok", ""),
        ("000000000000000000000005.00000028.backup", stanza(), "failed", "000000000000000000000005 to be archived"),
        ("00000002.history", stanza(), "ok", ""),
        (None, stanza(), "ok", ""),
        ("000000000000000000000001", stanza(archive=[]), "failed", "holds no WAL of cluster"),
        ("000000000000000000000001", stanza(db=[{"id": 1, "system-id": 1}]), "failed", "holds no WAL of cluster"),
    ],
)
def test_what_the_repository_holds(last: str | None, given: Stanza, status: str, told: str) -> None:
    result = judge_archive(given, CLUSTER, archiver(last_archived_wal=last))
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (Connections(100, 3, 20), "ok", "db uses 20 of 100 connections."),
        (Connections(100, 3, 80), "ok", ""),
        (Connections(100, 3, 81), "warning", "db uses 81 of 100 connections (limit 80%)."),
        (Connections(100, 3, 97), "failed", "so applications get no more."),
        (Connections(200, 3, 1), "failed", "max_connections of db is 200 (wanted 100)."),
    ],
)
def test_connections(given: Connections, status: str, told: str) -> None:
    result = judge_connections("db", given, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("pooler", "status", "told"),
    [
        (Pooler("bouncer", 87, 0, 0), "ok", "The pools may reach 97 of 97 connections."),
        (Pooler("bouncer", 88, 0, 0), "failed", "may reach 98 connections, but PostgreSQL has 97 for them"),
        (Pooler("bouncer", 10, 2, 0.4), "warning", "2 clients wait in PgBouncer for a connection."),
        (
            Pooler("bouncer", 10, 2, 1.5),
            "failed",
            "PgBouncer at bouncer has waited 1.5 s for a connection (limit 1 s).",
        ),
    ],
)
def test_pools(pooler: Pooler, status: str, told: str) -> None:
    result = judge_pools([Pool(name="api", size=5, replicas=2)], [pooler], Connections(100, 3, 0))
    assert (result.status, told in result.summary) == (status, True), result


def logging(*settings: tuple[str, str], auto_explain: bool = False) -> Logging:
    return Logging(tuple(Setting(*pair, None, None) for pair in settings), auto_explain, masked=False)


def test_a_value_or_setting_that_is_not_understood_was_not_seen() -> None:
    for given in (
        logging(),
        logging(("log_min_duration_statement", "soon")),
        logging(("log_min_duration_statement", "1 week")),
    ):
        with pytest.raises(ProbeError):
            judge_logging(given, timedelta(seconds=1))


def test_auto_explain_stands_in_only_where_it_logs() -> None:
    off, slow = ("log_min_duration_statement", "-1"), ("auto_explain.log_min_duration", "5min")
    result = judge_logging(logging(off, slow, auto_explain=True), timedelta(seconds=1))
    assert result.summary == "log_min_duration_statement is -1 for the instance: slow queries are not logged."
    assert judge_logging(logging(off, slow, auto_explain=True), timedelta(minutes=5)).status == "ok"
    assert judge_logging(logging(off, slow), timedelta(minutes=5)).status == "failed"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("sample_rate", "1", "ok"),
        ("sample_rate", "1.0", "ok"),
        ("sample_rate", "0.1", "failed"),
        ("log_level", "LOG", "ok"),
        ("log_level", "warning", "ok"),
        ("log_level", "info", "failed"),
    ],
)
def test_auto_explain_stands_in_only_where_it_logs_everything(name: str, value: str, status: str) -> None:
    off, explain = ("log_min_duration_statement", "-1"), ("auto_explain.log_min_duration", "500")
    given = logging(off, explain, (f"auto_explain.{name}", value), auto_explain=True)
    assert judge_logging(given, timedelta(seconds=1)).status == status


LEADER = {"name": "one", "role": "leader", "state": "running", "timeline": 3}
FOLLOWER = {"name": "two", "role": "sync_standby", "state": "streaming", "lag": 0}


@pytest.mark.parametrize(
    ("members", "status", "told"),
    [
        ([LEADER, FOLLOWER], "ok", "Patroni shows leader one and 1 standbys that could take over."),
        ([LEADER, {**FOLLOWER, "role": "replica", "state": "running"}], "ok", ""),
        ([LEADER], "failed", "no standby that could take over."),
        ([FOLLOWER], "failed", "0 running leaders (wanted 1)."),
        ([LEADER, LEADER, FOLLOWER], "failed", "2 running leaders (wanted 1)."),
        ([{**LEADER, "state": "starting"}, FOLLOWER], "failed", "0 running leaders"),
        ([LEADER, {**FOLLOWER, "lag": 10**9}], "failed", "no standby that could take over."),
        ([LEADER, {**FOLLOWER, "lag": "unknown"}], "failed", "no standby that could take over."),
        ([LEADER, {**FOLLOWER, "state": "stopped"}], "failed", "no standby that could take over."),
        ([LEADER, {**FOLLOWER, "tags": {"nofailover": True}}], "failed", "no standby that could take over."),
        ([LEADER, {**FOLLOWER, "role": "standby_leader"}], "failed", "no standby that could take over."),
    ],
)
def test_patroni(members: list[dict[str, Any]], status: str, told: str) -> None:
    cluster = msgspec.convert({"members": members, "system_identifier": CLUSTER}, PatroniCluster)
    result = judge_patroni(cluster, CLUSTER, 64 * 2**20)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(("role", "status"), [("replica", "failed"), ("sync_standby", "ok"), ("quorum_standby", "ok")])
def test_patroni_in_synchronous_mode(role: str, status: str) -> None:
    members = [LEADER, {**FOLLOWER, "role": role}]
    given = {"members": members, "system_identifier": CLUSTER, "synchronous": True}
    result = judge_patroni(msgspec.convert(given, PatroniCluster), CLUSTER, 64 * 2**20)
    assert result.status == status
    assert status == "ok" or "no synchronous standby that could take over" in result.summary


def test_patroni_of_no_cluster() -> None:
    result = judge_patroni(PatroniCluster([]), CLUSTER, 0)
    assert result.summary == f"Patroni speaks of cluster without an identifier, not of {CLUSTER}."
