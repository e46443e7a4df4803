"""What is right and wrong about a PostgreSQL cluster, case by case; where the facts come from is tested on real servers."""

import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collectors.systems.postgresql.judge.backups import (
    archive_of,
    file_problems,
    judge_archive,
    judge_archiver,
    judge_backup,
    restorable_problems,
)
from collectors.systems.postgresql.judge.connections import Capacity, judge_connections, judge_pools
from collectors.systems.postgresql.judge.exporters import judge_exporters
from collectors.systems.postgresql.judge.failover import judge_patroni
from collectors.systems.postgresql.judge.health import judge_writes
from collectors.systems.postgresql.judge.logging import judge_logging
from collectors.systems.postgresql.judge.replication import (
    judge_senders,
    judge_slots,
    judge_standby,
    judge_synchronous,
    relay_slot_problems,
    unsynced_problems,
)
from collectors.systems.postgresql.model.instance import (
    Archiver,
    ConnectionLimit,
    Connections,
    Exported,
    Figures,
    Freeze,
    Identity,
    Instance,
    Receiver,
    Sender,
    Slot,
    Standby,
    Wal,
    Written,
    heard,
)
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.patroni import Configuration, Member, MemberStatus, PatroniCluster, Report
from collectors.systems.postgresql.model.pgbackrest import Segments, Stanza, Stored
from collectors.systems.postgresql.model.pgbouncer import Demand, Endpoint, Pooler
from collectors.systems.postgresql.model.segments import Fork, Lineage, segment_flaw
from collectors.systems.postgresql.model.settings import Setting, Settings
from exporter.verdict import ProbeError
from tests.collectors.systems.postgresql.client.test_pgbackrest import STANZA

LIMITS = ClusterLimits()
NOW = datetime(2026, 11, 24, 21, tzinfo=UTC)
CLUSTER = "7711845448443692536"


END = 10_000_000_000
WAL = Wal(END, 1, END - 1000, 5.0, "", "on")


def standby(**changes: Any) -> Sender:
    given = Sender(
        "db-1",
        "10.0.0.7",
        "streaming",
        "async",
        follows=True,
        flushed=END,
        replayed=END,
        flush_lag=None,
        replay_lag=None,
        slot=None,
    )
    return replace(given, **changes)


def slot(**changes: Any) -> Slot:
    return replace(Slot("db-1", active=True, wal_status="reserved", retained_bytes=5e9), **changes)


def behind(size: float, **changes: Any) -> Sender:
    return standby(replayed=int(END - size), **changes)


@pytest.mark.parametrize(
    ("senders", "status", "told"),
    [
        ([standby()], "ok", "1 standby streams, at most 0 B behind."),
        ([standby(), standby(name="db-2")], "ok", "2 standbys stream, at most 0 B behind."),
        ([], "failed", "0 standbys stream from the primary (wanted 1)."),
        ([standby(state="catchup")], "failed", "also connected: db-1 (catchup)."),
        ([standby(follows=False)], "failed", "also connected: db-1 (streaming)."),
        ([behind(312e6, flushed=END - 312_000_000), standby()], "failed", "is 312 MB behind (limit 67.1 MB)."),
        (
            [behind(312e6), standby(address="::1")],
            "failed",
            "Standby db-1 (10.0.0.7) is 312 MB behind (limit 67.1 MB), though it has received all but 0 B.",
        ),
        ([standby(replay_lag=99)], "ok", "1 standby streams"),
        ([standby(silence=60)], "ok", "1 standby streams"),
        (
            [standby(), standby(name="db-2", silence=61)],
            "failed",
            "Standby db-2 (10.0.0.7) has not replied for 1 minute (limit 1m): the primary keeps a connection",
        ),
        (
            [behind(65_536, replay_lag=40)],
            "failed",
            "Standby db-1 is 40 seconds (65.5 kB) behind (limit 30s); where that is",
        ),
        (
            [behind(65_536, flushed=END - 65_536, flush_lag=40)],
            "failed",
            "lacks 65.5 kB of WAL that the primary wrote 40 seconds",
        ),
        ([behind(5_000_000, replay_lag=0.4)], "ok", "at most 5 MB behind."),
        # Without a measurement of its own, what the primary is known to have written before counts.
        ([behind(2_000)], "ok", "at most 2 kB behind."),
    ],
)
def test_senders(senders: list[Sender], status: str, told: str) -> None:
    result = judge_senders(senders, WAL, Written(((5.0, END - 1000),)), {}, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


def test_what_was_written_long_before_and_is_not_there_is_behind_in_time() -> None:
    written = Written(((300.0, END - 1000), (0.0, END)))
    result = judge_senders([behind(2_000)], WAL, written, {}, LIMITS)
    assert (result.status, "is 5 minutes (2 kB) behind" in result.summary) == ("failed", True)
    assert judge_senders([behind(500)], WAL, written, {}, LIMITS).status == "ok"


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        (behind(1e9, replay_lag=3599), "ok"),
        (behind(1e9, replay_lag=3700), "failed"),
        (behind(1e9, flushed=END - 10**9), "failed"),
    ],
)
def test_a_delay_by_design_is_subtracted(sender: Sender, status: str) -> None:
    result = judge_senders([sender], WAL, Written(), {"db-1": timedelta(hours=1)}, LIMITS)
    assert result.status == status
    assert "by design" in result.summary or "1 GB behind" in result.summary


@pytest.mark.parametrize(
    ("slots", "status", "told"),
    [
        ([slot(), slot(wal_status="extended")], "ok", "2 replication slots are in order."),
        ([slot(active=False)], "failed", "slot db-1 is not active and keeps 5 GB of WAL."),
        ([slot(wal_status="lost")], "failed", "slot db-1 has lost WAL: wal_status is lost."),
        ([slot(wal_status="lost", active=False, retained_bytes=None)], "failed", "has lost WAL: wal_status is lost."),
        ([slot(wal_status="lost", invalidation="wal_removed")], "failed", "wal_status is lost (wal_removed)."),
        ([slot(wal_status="unreserved")], "failed", "wal_status is unreserved."),
        ([slot(active=False, retained_bytes=None, wal_status=None)], "warning", "was never used; it keeps no WAL."),
        ([slot(active=False, slot_name="spare", retained_bytes=5e6)], "ok", "1 replication slot is in order."),
        ([slot(active=False, slot_name="spare")], "failed", "slot spare is not active and keeps 5 GB of WAL."),
    ],
)
def test_slots(slots: list[Slot], status: str, told: str) -> None:
    result = judge_slots(slots, {"spare"}, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({}, None, ""),
        ({"active": False, "retained_bytes": None}, None, ""),
        ({"active": False, "retained_bytes": 5e6}, None, ""),
        (
            {"active": False, "retained_bytes": 99e6},
            "warning",
            "slot db-1 of standby db-1:5432 is not active and keeps",
        ),
        ({"active": False}, "failed", "is not active and keeps 5 GB of WAL (limit 1.07 GB)."),
        ({"active": False, "wal_status": "lost", "synced": True}, None, ""),
        (
            {"active": False, "wal_status": "lost", "invalidation": "rows_removed"},
            "failed",
            "has lost WAL: wal_status is lost (rows_removed).",
        ),
    ],
)
def test_slots_of_a_standby(changes: dict[str, Any], status: str | None, told: str) -> None:
    found = list(relay_slot_problems("db-1:5432", [slot(**changes)], LIMITS))
    assert [result.status for result in found] == ([] if status is None else [status])
    assert all(told in result.summary for result in found), found


@pytest.mark.parametrize(
    ("wanted", "copies", "problems"),
    [
        ({"failover": True}, [[slot(synced=True)], []], 0),
        ({"failover": True}, [[], []], 1),
        ({"failover": True}, [[slot(synced=True, wal_status="lost")]], 1),
        ({"failover": True}, [[slot()]], 1),
        ({"failover": True}, [], 0),
        ({"failover": False}, [[]], 0),
    ],
)
def test_slots_that_are_to_survive_a_failover(wanted: dict[str, Any], copies: list[list[Slot]], problems: int) -> None:
    assert len(list(unsynced_problems([slot(**wanted)], copies))) == problems


@pytest.mark.parametrize(
    ("setting", "state", "commit", "status", "told"),
    [
        ("", "async", "on", "ok", "Replication is asynchronous."),
        ("db-1", "sync", "on", "ok", "Commits wait for 1 standby."),
        ("gone", "async", "on", "failed", "is 'gone', but 0 such standbys stream (wanted 1): every commit waits."),
        ("FIRST 2 (db-1, gone)", "sync", "on", "failed", "but 1 such standby streams (wanted 2): every commit waits."),
        ("any 1 (db-1, gone)", "quorum", "on", "ok", "Commits wait for 1 standby."),
        ("2 (a, b)", "sync", "remote_apply", "failed", "(wanted 2)"),
        ("*", "potential", "on", "failed", "0 such standbys stream"),
        ("gone", "async", "local", "warning", "commits do not wait, as synchronous_commit is local."),
    ],
)
def test_synchronous_standbys(setting: str, state: str, commit: str, status: str, told: str) -> None:
    wal = replace(WAL, synchronous_standby_names=setting, synchronous_commit=commit)
    result = judge_synchronous([standby(sync_state=state)], wal, 0)
    assert (result.status, told in result.summary) == (status, True), result
    waits = judge_synchronous([standby(sync_state=state)], wal, 3)
    assert (waits.status, "3 commits have waited for synchronous standbys" in waits.summary) == ("failed", True)


def receiver(**changes: Any) -> Receiver:
    given = Receiver(
        "streaming", timeline=1, received=END, replayed=END, paused=False, name="db-1", slot=None, sender="db-0:5432",
        address="10.0.0.7", silence=1.0, delay=0.0,
    )  # fmt: skip
    return replace(given, **changes)


INSTANCE = Instance("db-1:5432/orders", "checklist_exporter", Identity(True, CLUSTER, NOW, True), 0.01)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (receiver(), "ok", "Standby db-1:5432/orders streams and is 0 B behind the primary."),
        (receiver(status="waiting"), "failed", "its WAL receiver is waiting."),
        (receiver(status=None), "failed", "its WAL receiver is not running."),
        (receiver(paused=True), "failed", "replay is paused."),
        (receiver(timeline=2), "failed", "receives timeline 2, while the primary writes timeline 1."),
        (receiver(received=END + 10**6), "failed", "is 1 MB ahead of the primary: it follows another server."),
        (receiver(received=END - 10**8, replayed=END - 10**8), "failed", "is 100 MB behind (limit 67.1 MB)."),
        (receiver(replayed=END - 10**8), "failed", "though it has received all but 0 B."),
        (receiver(replayed=END - 10**8, delay=60.0), "ok", "is 100 MB behind the primary, 1m of which by design."),
        (receiver(name="other"), "warning", "streams from db-0:5432, which is not among the instances listed"),
        (receiver(address="10.0.0.8"), "warning", "is not among the instances listed"),
    ],
)
def test_standbys(given: Receiver, status: str, told: str) -> None:
    source = standby() if given.is_served_by(standby()) else None
    result = judge_standby(Standby(INSTANCE, given, source), WAL, WAL, Written(), CLUSTER, LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


def test_a_standby_of_another_cluster_follows_nobody() -> None:
    result = judge_standby(Standby(INSTANCE, receiver(), standby()), WAL, WAL, Written(), "42", LIMITS)
    assert (result.status, f"is of cluster {CLUSTER}, not of 42." in result.summary) == ("failed", True)


@pytest.mark.parametrize(
    ("freeze", "settings", "roles", "status", "told"),
    [
        (Freeze("orders", 10**8, 1), {}, (), "ok", "db takes writes."),
        (Freeze("orders", 2**31 - 3_000_000, 1), {}, (), "failed", "database orders holds rows that are 2144483648"),
        (Freeze("orders", 1, 2**31 - 1_000_000), {}, (), "failed", "database orders holds multixacts"),
        (
            Freeze("orders", 2**31 - 30_000_000, 1),
            {},
            (),
            "warning",
            "27000000 transactions from refusing writes; PostgreSQL",
        ),
        (Freeze("orders", 1_700_000_000, 1), {}, (), "warning", "transactions from refusing writes: vacuum it."),
        (
            Freeze("orders", 1, 1),
            {"instance": "on"},
            (),
            "failed",
            "default_transaction_read_only is on for the instance.",
        ),
        (Freeze("orders", 1, 1), {"orders": "on"}, (), "failed", "is on for database orders."),
        (Freeze("orders", 1, 1), {"reports": "on"}, (), "ok", "takes writes"),
    ],
)
def test_writes(freeze: Freeze, settings: dict[str, str], roles: tuple[str, ...], status: str, told: str) -> None:
    name = "default_transaction_read_only"
    instance = {name: settings.get("instance", "off")}
    overrides = tuple(Setting(name, value, database) for database, value in settings.items() if database != "instance")
    result = judge_writes("db", [freeze], Settings("orders", instance, overrides), roles)
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
        (stanza(db=[{"id": 1, "system-id": 1}]), "failed", "holds 1 backup of other clusters"),
        (stanza(backup=[backup(reference=["gone"])]), "failed", "needs backup gone, which is gone."),
        (
            stanza(backup=[backup(), backup(label="later", timestamp={"start": 1, "stop": 1795563946})]),
            "unknown",
            "Backup later is dated 2 hours in the future: a clock is wrong",
        ),
        (
            stanza(
                backup=[
                    backup(label="full", timestamp={"start": 1, "stop": 1793000000}),
                    backup(type="incr", reference=["full"]),
                ]
            ),
            "failed",
            "The newest full backup, full, was complete 29 days ago (limit 8d).",
        ),
        (
            stanza(backup=[backup(archive={"start": f"00000002{'0' * 16}", "stop": f"00000002{'0' * 16}"})]),
            "failed",
            "holds 1 backup of a copy on timeline 2 and none of cluster",
        ),
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
    result = judge_backup(given, CLUSTER, NOW, LIMITS, 1)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("second", "status", "told"),
    [
        (backup(), "ok", "was complete 0.0 h ago."),
        (
            backup(timestamp={"start": 1795460000, "stop": 1795460399}),
            "warning",
            "Backup 20261124-205902F in repository 2 was complete 26.0 h ago (limit 1d2h).",
        ),
        (backup(error=True), "failed", "Backup 20261124-205902F in repository 2 holds pages with wrong checksums."),
    ],
)
def test_backups_in_several_repositories(second: dict[str, Any], status: str, told: str) -> None:
    """Of two repositories one may be late, which the other makes up for; what it holds has to be sound."""
    clusters = [{"id": 1, "repo-key": key, "system-id": int(CLUSTER)} for key in (1, 2)]
    repositories = [{"key": key, "cipher": "none", "status": {"code": 0, "message": "ok"}} for key in (1, 2)]
    held = [backup(), second | {"database": {"id": 1, "repo-key": 2}}]
    given = stanza(backup=held, db=clusters, repo=repositories, status={"code": 4, "message": "different across repos"})
    result = judge_backup(given, CLUSTER, NOW, LIMITS, 1)
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
        oldest_ready=None,
        oldest_ready_age=None,
        timeline=1,
        segment_size=2**24,
    )
    return replace(given, **changes)


FAILED_LATER: dict[str, Any] = {"last_failed_wal": "0" * 24, "last_failed_time": NOW + timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (archiver(), "ok", "WAL is archived, 0 segments wait."),
        (archiver(archive_mode="off"), "failed", "WAL archiving is off (archive_mode)."),
        (archiver(ready=1), "ok", "WAL is archived, 1 segment waits."),
        (
            archiver(ready=1, oldest_ready="000000010000000000000004", oldest_ready_age=7300.0),
            "failed",
            "WAL segment 000000010000000000000004 has waited 2 hours to be archived (limit 10m).",
        ),
        (archiver(ready=11), "failed", "11 WAL segments wait to be archived (limit 10)."),
        (archiver(**FAILED_LATER), "failed", f"Archiving of {'0' * 24} failed at 2026-11-24 21:01:00 UTC."),
        (archiver(**FAILED_LATER, last_archived_time=None), "failed", "Archiving of "),
        (archiver(last_failed_time=NOW - timedelta(days=1)), "ok", "WAL is archived"),
        (archiver(last_archived_time=None), "unknown", "No WAL segment was archived since the statistics were reset."),
        (archiver(archive_command="", archive_library="basic_archive"), "ok", "WAL is archived"),
        (
            archiver(archive_command="cp %p /a/%f || true"),
            "warning",
            "so that segments are lost: 'cp %p /a/%f || true'.",
        ),
        (archiver(archive_command="cp %p /a/%f; exit 0 2>&1"), "warning", "reports success also where it fails"),
        (archiver(archive_command="test -f /a/%f || cp %p /a/%f"), "ok", "WAL is archived"),
    ],
)
def test_archivers(given: Archiver, status: str, told: str) -> None:
    result = judge_archiver(given, LIMITS)
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
    result = judge_archiver(archiver(archive_command=command), LIMITS)
    assert result.status == ("ok" if stores else "failed")
    assert stores or f"archive_command stores nothing: {command!r}." == result.summary


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


NEEDS = {"start": segment(3), "stop": segment(4)}


@pytest.mark.parametrize(
    ("last", "held", "status", "told"),
    [
        (segment(6), [3, 4, 5, 6], "ok", "The repository holds WAL up to 000000010000000000000006."),
        (segment(4), [1, 2, 3, 4, 5], "ok", ""),
        (segment(7), [3, 4, 5, 6], "failed", f"{segment(7)} to be archived, but the repository ends at {segment(6)}."),
        (
            segment(7),
            [5, 6, 7],
            "failed",
            f"needs WAL from {segment(3)} to {segment(4)}, but the repository lacks {segment(3)} and",
        ),
        (segment(9), [3, 4, 5, 9], "failed", "lacks 3 WAL segments after backup"),
        (segment(300), range(3, 301), "ok", ""),
        (f"{segment(4)}.00000028.backup", [3, 4], "ok", ""),
        (f"{segment(5)}.00000028.backup", [3, 4], "failed", f"{segment(5)} to be archived"),
        ("00000002.history", [3, 4], "ok", ""),
        (None, [3, 4], "ok", ""),
        (segment(4), [], "failed", "holds no WAL of timelines up to 1"),
    ],
)
def test_what_the_repository_holds(last: str | None, held: Any, status: str, told: str) -> None:
    given = stanza(backup=[backup(archive=NEEDS)])
    segments = frozenset(segment(number) for number in held)
    archive = archive_of(given, given.backup[0])
    result = judge_archive(archive, Segments(segments, {}), given.backup[0], archiver(last_archived_wal=last), "orders")
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (
            {segment(4): 0},
            f"segment {segment(4)} with 0 B only: backup 20261124-205902F needs it and cannot be restored.",
        ),
        (
            {segment(5): 1000},
            f"{segment(5)} with 1 kB only: after backup 20261124-205902F nothing later can be restored.",
        ),
        ({segment(2): 0}, ""),
    ],
)
def test_segments_that_were_stored_in_part(cut: dict[str, int], told: str) -> None:
    given = stanza(backup=[backup(archive=NEEDS)])
    held = Segments(frozenset(segment(number) for number in (3, 4, 5, 6)) - cut.keys(), cut)
    last = archiver(last_archived_wal=segment(6))
    result = judge_archive(archive_of(given, given.backup[0]), held, given.backup[0], last, "orders")
    assert (result.status, told in result.summary) == ("failed" if told else "ok", True), result


def test_what_a_repository_lists_of_its_wal() -> None:
    names = {
        f"0000000100000000/{segment(3)}-{'a' * 40}": 2**24,
        f"0000000100000000/{segment(4)}-{'a' * 40}.zst": 300,
        f"0000000100000000/{segment(5)}-{'a' * 40}.gz": 0,
        f"0000000100000000/{segment(6)}-{'a' * 40}": 2**24 + 32,  # encrypted
        f"0000000100000000/{segment(7)}-{'a' * 40}": 2**24 - 1,
        f"0000000100000000/{segment(8)}-{'a' * 40}": 0,
        f"0000000100000000/{segment(8)}-{'b' * 40}": 2**24,
        f"{segment(4)}.00000028.backup": 300,
    }
    found = Segments.of({name: Stored("file", size) for name, size in names.items()}, 2**24)
    assert found.whole == {segment(number) for number in (3, 4, 6, 8)}
    assert found.cut == {segment(5): 0, segment(7): 2**24 - 1}


def test_files_and_wal_of_backups_that_are_gone() -> None:
    given = stanza(backup=[backup(archive=NEEDS)]).backup[0]
    data = {".", "backup.manifest", "pg_data"}
    assert not list(file_problems(given, {given.label: data}, "the repository"))
    for held in (set(), {"."}, {".", "backup.manifest", "backup.manifest.copy"}, data - {"backup.manifest"}):
        (problem,) = file_problems(given, {given.label: held}, "the repository")
        assert problem.summary.startswith(
            f"The files of backup {given.label} are gone from the repository, which still lists"
        )
    whole = {segment(3), segment(4)}
    assert not list(restorable_problems([given], {given.label}, whole, 2**24, 1))
    (problem,) = restorable_problems([given], set(), whole, 2**24, 1)
    assert "cannot be restored, as its files are gone: 20261124-205902F." in problem.summary
    (problem,) = restorable_problems([given], {given.label}, {segment(3)}, 2**24, 1)
    assert "1 full backup of repository 1 cannot be restored, as its WAL is gone: " in problem.summary


def _content(cluster: int = 71, timeline: int = 1, number: int = 3, size: int = 2**20) -> bytes:
    return struct.pack("<HHIQIIQ", 0xD116, 2, timeline, number * size, 0, 0, cluster).ljust(size, b"\0")


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (_content(), None),
        (struct.pack(">HHIQIIQ", 0xD116, 2, 1, 3 * 2**20, 0, 0, 71).ljust(2**20, b"\0"), None),
        (b"", "has 0 bytes (wanted 1048576)"),
        (_content()[:-1], "has 1048575 bytes (wanted 1048576)"),
        (bytes(2**20), "does not begin as WAL does"),
        (_content(cluster=72), "is of cluster 72, not of 71"),
        (_content(number=4), "holds another segment than its name says"),
        (_content(timeline=2), "holds another segment than its name says"),
    ],
)
def test_what_a_segment_holds(content: bytes, flaw: str | None) -> None:
    assert segment_flaw(segment(3), content, 2**20, "71") == flaw


def test_the_first_segment_of_a_timeline_begins_with_the_one_before() -> None:
    assert segment_flaw(segment(3, 2), _content(timeline=1), 2**20, "71") is None


HISTORY = "1\t0/3000148\tno recovery target specified\n\n2\t0/6000000\tbefore 2026-11-24\n# 3\t0/7\tnone\n"


def test_a_history_leads_to_the_timeline_of_each_segment() -> None:
    lineage = Lineage.read(3, HISTORY)
    assert lineage.forks == (Fork(1, 0x3000148), Fork(2, 0x6000000))
    assert [lineage.timeline_of(number, 2**24) for number in range(1, 8)] == [1, 1, 2, 2, 2, 3, 3]
    assert Lineage.read(1, "nonsense").timeline_of(5, 2**24) == 1
    listed = {
        f"15-1/0000000100000000/{name}-{'0' * 40}": Stored("file", 2**24)
        for name in (segment(2), segment(4), segment(4, 2), segment(6, 3), segment(7, 2))
    }
    held = Segments.of({**listed, "15-1/00000003.history": Stored("file", 80)}, 2**24)
    assert held.histories == {3}
    assert held.along(lineage, 2**24).whole == {segment(2), segment(4, 2), segment(6, 3)}


@pytest.mark.parametrize(
    ("lineage", "archived", "told"),
    [
        (Lineage(2, (Fork(1, 5 * 2**24),)), segment(6, 2), ""),
        (None, "00000002.history", "The repository lacks 00000002.history: after backup "),
        (None, f"{segment(5)}.partial", ""),  # promoted a moment ago
        (
            Lineage(2, (Fork(1, 3 * 2**24),)),
            segment(6, 2),
            " is of a copy: timeline 2 does not descend from what timeline 1",
        ),
        (Lineage(2), segment(6, 2), " is of a copy: timeline 2 does not descend from what timeline 1"),
    ],
)
def test_a_backup_of_an_earlier_timeline(lineage: Lineage | None, archived: str, told: str) -> None:
    given = stanza(backup=[backup(archive=NEEDS)])
    segments = Segments(frozenset([segment(3), segment(4), segment(5, 2), segment(6, 2)]), {})
    last = archiver(last_archived_wal=archived, timeline=2)
    result = judge_archive(
        archive_of(given, given.backup[0]), segments, given.backup[0], last, "orders", lineage=lineage
    )
    assert (result.status, told in result.summary) == ("failed" if told else "ok", True), result


def test_replies_of_standbys_are_remembered() -> None:
    memory: dict[int, tuple[float | None, float]] = {}
    first, second = standby(process=7, replied=100.0), standby(process=8, replied=None)
    assert [sender.silence for sender in heard([first, second], memory, 10.0)] == [0.0, 0.0]
    assert [sender.silence for sender in heard([first, second], memory, 40.0)] == [30.0, 30.0]
    later = replace(first, replied=90.0)  # by a clock that was set back
    assert [sender.silence for sender in heard([later], memory, 50.0)] == [0.0]
    assert memory == {7: (90.0, 50.0)}


def test_wal_of_a_later_timeline_is_of_a_copy() -> None:
    given = stanza(backup=[backup(archive=NEEDS)])
    segments = frozenset([segment(3), segment(4), segment(5, 2), segment(6, 2)])
    last = archiver(last_archived_wal=segment(6))
    result = judge_archive(archive_of(given, given.backup[0]), Segments(segments, {}), given.backup[0], last, "orders")
    assert (result.status, f"the repository ends at {segment(4)}." in result.summary) == ("failed", True)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (Connections(100, 3, 20), "ok", "db uses 20 of 100 connections."),
        (Connections(100, 3, 77), "ok", ""),
        (
            Connections(100, 3, 78),
            "warning",
            "db uses 78 of the 97 connections that applications can get (limit 80%; max_c",
        ),
        (Connections(100, 53, 45), "warning", "db uses 45 of the 47 connections that applications can get"),
        (Connections(100, 3, 97), "failed", "so applications get no more."),
        (Connections(200, 3, 1), "failed", "max_connections of db is 200 (wanted 100)."),
    ],
)
def test_connections(given: Connections, status: str, told: str) -> None:
    result = judge_connections("db", given, [], LIMITS)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("bound", "status", "told"),
    [
        (
            ConnectionLimit("database", "orders", 20, 20),
            "failed",
            "Database orders of db has 20 of 20 connections in use",
        ),
        (ConnectionLimit("role", "app", 1, 1), "failed", "Role app of db has 1 of 1 connection in use"),
        (
            ConnectionLimit("role", "app", 20, 17),
            "warning",
            "Role app of db has 17 of 20 connections in use (limit 80%",
        ),
        (ConnectionLimit("role", "app", 20, 3), "ok", ""),
        # Nobody is meant to come in any more, but for a role that applications use.
        (ConnectionLimit("role", "retired", 0, 0), "ok", ""),
        (ConnectionLimit("database", "retired", 0, 0), "ok", ""),
        (ConnectionLimit("role", "api", 0, 0), "failed", "Role api of db has 0 of 0 connections in use"),
    ],
)
def test_connections_of_a_database_or_role(bound: ConnectionLimit, status: str, told: str) -> None:
    result = judge_connections("db", Connections(100, 3, 20), [bound], LIMITS, ["api"])
    assert (result.status, told in result.summary) == (status, True), result


def pooler(size: int, waiting: int = 0, wait: float = 0.0, host: str = "db-0", **more: Any) -> Pooler:
    demand = Demand("orders", "orders", (Endpoint(host, 5432),), size, {"app": size})
    return Pooler("bouncer", (demand,), waiting, wait, **more)


def capacity(host: str = "db-0", most: int = 100) -> Capacity:
    instance = replace(INSTANCE, where=f"{host}:5432/orders", endpoints=frozenset({(host, 5432)}))
    return Capacity(instance, Connections(most, 3, 0))


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (pooler(87), "ok", "The pools may reach 97 of 97 connections."),
        (pooler(87, host="elsewhere"), "ok", "The pools may reach 97 of 97 connections."),
        (pooler(88), "failed", "may reach 98 connections, but PostgreSQL has 97 for them"),
        (
            pooler(40, further=60),
            "failed",
            "may reach 110 connections, but PostgreSQL has 97 for them (max_connections 100, 3",
        ),
        (pooler(10, 2, 0.4), "warning", "2 clients wait in PgBouncer for a connection."),
        (pooler(10, 1, 0.4), "warning", "1 client waits in PgBouncer for a connection."),
        (pooler(10, 2, 1.5), "failed", "PgBouncer at bouncer has waited 1.5 s for a connection (limit 1 s)."),
        (
            pooler(10, clients=100, most_clients=100),
            "failed",
            "has 100 clients and takes no more (max_client_conn 100).",
        ),
        (pooler(10, clients=90, most_clients=100), "warning", "has 90 clients (limit 80% of max_client_conn 100)."),
        (pooler(10, stopped=("orders",)), "failed", "has paused or disabled orders: its clients wait."),
        (pooler(10, shared_port=True), "unknown", "set option pgbouncer_processes to how many there are."),
    ],
)
def test_pools(given: Pooler, status: str, told: str) -> None:
    pools = [Pool(name="api", size=5, replicas=2)]
    result = judge_pools(pools, [given], [capacity()], [], LIMITS, database="orders")
    assert (result.status, told in result.summary) == (status, True), result


def test_processes_that_share_a_port_are_counted() -> None:
    given = pooler(40, shared_port=True)
    for processes, status in ((2, "ok"), (3, "failed")):
        result = judge_pools([], [given], [capacity()], [], LIMITS, database="orders", processes=processes)
        assert (result.status, result.measurements["pool_connections"]) == (status, 40 * processes)


def test_pools_to_several_servers_are_held_against_each() -> None:
    both = [pooler(50), pooler(60, host="db-1")]
    result = judge_pools([], both, [capacity(), capacity("db-1")], [], LIMITS, database="orders")
    assert result.summary == "The pools may reach 50 of 97 connections, and 60 of 97 of db-1:5432/orders."
    small = judge_pools([], both, [capacity(), capacity("db-1", 20)], [], LIMITS, database="orders")
    assert (small.status, "to db-1:5432/orders may reach 60 connections, but it has 17" in small.summary) == (
        "failed",
        True,
    )
    unlisted = judge_pools([], both, [capacity()], [], LIMITS, database="orders")
    assert (unlisted.status, "if db-1 leads to the primary" in unlisted.summary) == ("unknown", True)


def test_pools_are_held_against_the_limits_of_their_database_and_role() -> None:
    for bound in (ConnectionLimit("database", "orders", 20, 1), ConnectionLimit("role", "app", 20, 1)):
        result = judge_pools([], [pooler(60)], [capacity()], [bound], LIMITS, database="orders")
        told = f"The pools of {bound.kind} {bound.name} may reach 60 connections, but its CONNECTION LIMIT is 20."
        assert (result.status, result.summary) == ("failed", told)
    bounds = [ConnectionLimit("database", "orders", 20, 1)]
    direct = judge_pools([Pool(name="api", size=21)], [], [capacity()], bounds, LIMITS, database="orders")
    assert direct.status == "failed"


def logging(*settings: tuple[str, str], **more: Any) -> Settings:
    return Settings("orders", dict(settings), **more)


def test_a_value_or_setting_that_is_not_understood_was_not_seen() -> None:
    for given in (
        logging(),
        logging(("log_min_duration_statement", "soon")),
        logging(("log_min_duration_statement", "1 week")),
    ):
        with pytest.raises(ProbeError):
            judge_logging(given, (), timedelta(seconds=1))


LOADED = ("shared_preload_libraries", "pg_stat_statements, auto_explain")


def test_auto_explain_stands_in_only_where_it_logs() -> None:
    off, slow = ("log_min_duration_statement", "-1"), ("auto_explain.log_min_duration", "5min")
    result = judge_logging(logging(off, slow, LOADED), (), timedelta(seconds=1))
    assert result.summary == "log_min_duration_statement is -1 for the instance: slow queries are not logged."
    assert judge_logging(logging(off, slow, LOADED), (), timedelta(minutes=5)).status == "ok"
    assert judge_logging(logging(off, slow), (), timedelta(minutes=5)).status == "failed"


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
    given = logging(off, explain, (f"auto_explain.{name}", value), LOADED)
    assert judge_logging(given, (), timedelta(seconds=1)).status == status


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ((("log_min_duration_sample", "500"), ("log_statement_sample_rate", "1")), "ok"),
        ((("log_min_duration_sample", "500"), ("log_statement_sample_rate", "0.1")), "failed"),
        ((("log_transaction_sample_rate", "1"),), "warning"),
        ((("log_statement", "all"), ("log_duration", "on")), "warning"),
        ((("log_statement", "all"), ("log_duration", "off")), "failed"),
        ((("log_min_duration_statement", "500"), ("log_destination", "")), "failed"),
    ],
)
def test_other_ways_to_log(settings: tuple[tuple[str, str], ...], status: str) -> None:
    given = logging(("log_min_duration_statement", "-1"), *settings)
    assert judge_logging(given, (), timedelta(seconds=1)).status == status


def test_a_role_goes_before_a_database() -> None:
    name = "log_min_duration_statement"
    overrides = (Setting(name, "-1", "orders"), Setting(name, "500", None, "app"))
    given = logging((name, "500"), overrides=overrides)
    assert judge_logging(given, (), timedelta(seconds=1)).status == "failed"
    assert judge_logging(given, ("app",), timedelta(seconds=1)).status == "ok"


FIGURES = Figures(5432, 1000.0, 9000.0, {"orders": 50, "postgres": 5})


@pytest.mark.parametrize(
    ("exported", "status"),
    [
        (Exported("e", 5432.0, 1000.4, {"orders": 50.0}), "ok"),
        (Exported("e", None, None, {}), "ok"),
        (Exported("e", 5433.0, 1000.0, {"orders": 5.0}), "failed"),
        (Exported("e", 5432.0, 1500.0, {"orders": 5.0}), "failed"),
        (Exported("e", None, None, {"orders": 51.0}), "failed"),
        (Exported("e", None, None, {"billing": 5.0, "postgres": 5.0}), "failed"),
        (Exported("e", None, None, {"postgres": 5.0}), "ok"),
    ],
)
def test_an_exporter_is_recognised(exported: Exported, status: str) -> None:
    assert judge_exporters([exported], {"db": FIGURES}, "orders").status == status


@pytest.mark.parametrize(
    ("seen", "status", "told"),
    [
        ({"blind": True}, "failed", "does not have the rights of pg_monitor: what standbys do is hidden from it."),
        ({"failing": ("wal",)}, "failed", "does not have the rights of pg_monitor: its collector wal fails."),
        ({"failing": ("bgwriter",)}, "ok", "e can be of db."),
        ({"failing": ("bgwriter", "locks")}, "warning", "Exporter e lacks what its collectors locks give: they fail."),
        (
            {"sessions": {"orders": 1.0}, "sessions_age": 5.0},
            "failed",
            "it sees 1 of at least 2 sessions of database orders.",
        ),
        ({"sessions": {"orders": 1.0}, "sessions_age": 60.0}, "ok", "e can be of db."),
        ({"sessions": {"orders": 3.0}}, "ok", "e can be of db."),
        ({"sessions": {"orders": 2.0, "excluded": 0.0}}, "ok", "e can be of db."),
    ],
)
def test_an_exporter_sees_all_that_its_role_may_see(seen: dict[str, Any], status: str, told: str) -> None:
    figures = replace(FIGURES, sessions={"orders": [100.0, 62.0, 1.0], "other": [900.0]})
    result = judge_exporters([Exported("e", 5432.0, 1000.0, {"orders": 50.0}, **seen)], {"db": figures}, "orders")
    assert (result.status, told in result.summary) == (status, True), result


def test_two_exporters_of_one_instance_are_one() -> None:
    other = replace(FIGURES, reset_at=2000.0)
    both = [Exported("a", 5432.0, 1000.0, {}), Exported("b", 5432.0, 1000.0, {})]
    result = judge_exporters(both, {"db-0": FIGURES, "db-1": other}, "orders")
    assert (result.status, "No exporter reports db-1" in result.summary) == ("failed", True)


LEADER = {"name": "one", "role": "leader", "state": "running", "timeline": 3}
FOLLOWER = {"name": "two", "role": "sync_standby", "state": "streaming", "lag": 0}


@pytest.mark.parametrize(
    ("members", "status", "told"),
    [
        ([LEADER, FOLLOWER], "ok", "Patroni shows leader one and 1 standby that could take over."),
        ([LEADER, {**FOLLOWER, "role": "replica", "state": "running"}], "ok", ""),
        ([LEADER], "failed", "no standby that could take over"),
        ([FOLLOWER], "failed", "0 running leaders (wanted 1)."),
        ([LEADER, LEADER, FOLLOWER], "failed", "2 running leaders (wanted 1)."),
        ([{**LEADER, "state": "starting"}, FOLLOWER], "failed", "0 running leaders"),
        ([LEADER, {**FOLLOWER, "lag": 10**9}], "failed", "no standby that could take over"),
        ([LEADER, {**FOLLOWER, "lag": "unknown"}], "failed", "no standby that could take over"),
        ([LEADER, {**FOLLOWER, "state": "stopped"}], "failed", "no standby that could take over"),
        ([LEADER, {**FOLLOWER, "tags": {"nofailover": True}}], "failed", "no standby that could take over"),
        ([LEADER, {**FOLLOWER, "tags": {"failover_priority": 0}}], "failed", "no standby that could take over"),
        ([LEADER, {**FOLLOWER, "tags": {"failover_priority": 2}}], "ok", ""),
        ([LEADER, {**FOLLOWER, "tags": {"failover_priority": 0, "nofailover": False}}], "ok", ""),
        ([LEADER, {**FOLLOWER, "lag": 12_000_000}], "failed", "two is 12000000 bytes behind (maximum_lag_on_failover"),
        ([LEADER, {**FOLLOWER, "timeline": 2}], "failed", "two is on timeline 2, the leader on 3"),
        ([LEADER, {**FOLLOWER, "role": "standby_leader"}], "failed", "no standby that could take over"),
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


@pytest.mark.parametrize(
    ("reports", "status", "told"),
    [
        ({"b": Report(MemberStatus(state="running"), 2.0)}, "ok", "1 standby that could take over"),
        ({"b": Report(MemberStatus(state="stopped"), 2.0)}, "failed", "b reports itself as stopped"),
        (
            {"b": Report(MemberStatus(state="running", watchdog_failed=True), 2.0)},
            "failed",
            "b requires a watchdog and has none that works (watchdog_failed)",
        ),
        (
            {"b": Report(MemberStatus(state="running"), 90.0)},
            "failed",
            "b has not reached the consensus store for 90 seconds",
        ),
        ({"b": Report()}, "warning", "Patroni of b (http://10.0.0.2:8008/patroni) does not answer"),
        ({}, "ok", "1 standby that could take over"),
    ],
)
def test_what_standbys_report_of_themselves(reports: dict[str, Report], status: str, told: str) -> None:
    members = [
        Member("a", "leader", "running"),
        Member("b", "replica", "streaming", api_url="http://10.0.0.2:8008/patroni"),
    ]
    cluster = PatroniCluster(members, system_identifier=CLUSTER, reports=reports)
    result = judge_patroni(cluster, CLUSTER, 2**20)
    assert (result.status, told in result.summary) == (status, True), result


@pytest.mark.parametrize(
    ("given", "start", "lag", "lock"),
    [
        ({}, 300, 1_048_576, 30),
        ({"primary_start_timeout": "60", "maximum_lag_on_failover": "2097152", "ttl": "40"}, 60, 2_097_152, 40),
        ({"master_start_timeout": 0, "maximum_lag_on_failover": "1MB", "ttl": "inf"}, 0, 1_048_576, 30),
        ({"primary_start_timeout": "1h"}, 300, 1_048_576, 30),
    ],
)
def test_numbers_of_patronis_configuration(given: dict[str, Any], start: float, lag: int, lock: float) -> None:
    configuration = msgspec.convert(given, Configuration)
    assert (configuration.start_timeout, configuration.maximum_lag, configuration.lock) == (start, lag, lock)


def test_a_standby_cluster_of_patroni() -> None:
    for state, status in (("streaming", "unknown"), ("stopped", "failed")):
        cluster = PatroniCluster([Member("dr", "standby_leader", state)], system_identifier=CLUSTER)
        assert judge_patroni(cluster, CLUSTER, 0).status == status


def test_patroni_in_failsafe_mode() -> None:
    asked = MemberStatus(failsafe_mode_is_active=True, cluster_unlocked=True)
    result = judge_patroni(PatroniCluster([], system_identifier=CLUSTER, silence=5.0, asked=asked), CLUSTER, 0)
    assert result.summary == "Patroni is in failsafe mode: its consensus store is not reached, so nobody can take over."


def test_patroni_of_no_cluster() -> None:
    result = judge_patroni(PatroniCluster([]), CLUSTER, 0)
    assert result.summary == f"Patroni reports cluster without an identifier, not {CLUSTER}."


def test_patroni_that_lost_its_consensus_store() -> None:
    given = msgspec.convert({"members": [LEADER, FOLLOWER], "system_identifier": CLUSTER}, PatroniCluster)
    for silence, status in ((None, "ok"), (20.0, "ok"), (30.0, "failed")):
        result = judge_patroni(msgspec.structs.replace(given, silence=silence), CLUSTER, 2**20)
        assert result.status == status
    assert "last reached its consensus store 30 seconds ago (limit 20 seconds)" in result.summary


def test_the_slot_that_patroni_makes_for_a_member() -> None:
    assert Member("Orders-0.b", "replica", "streaming").slot == "orders_0_b"
