"""Backups of a real PostgreSQL: by a real barman, and by WAL-G as its documentation has it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from collectors.backup_and_recovery.backups import Backups, BackupsSettings
from collectors.backup_and_recovery.disaster_recovery import DisasterRecovery
from collectors.systems.barman.judge import backup_problems, kept_problems
from collectors.systems.barman.model import Barman as Options
from collectors.systems.barman.model import Base, Catalog, Check, Found, Listed, Shown
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.barman import Barman
from tests.servers.postgresql import PASSWORD, Postgres, create_monitor, postgresql_15, postgresql_18
from tests.servers.process import LOOPBACK, free_port, scratch, unprivileged, wait_until
from tests.support import Run, make_context, sees

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN
CANARY = "canary-of-wal-g-7c2e"
SCHEDULED, RETAINED = "database_backups_scheduled", "retention_policy_configured"

evidence = evidence_of("backups", today=True)


class Backed:
    """A PostgreSQL, its barman, and the backup that this holds."""

    def __init__(self, primary: Postgres, barman: Barman) -> None:
        self.primary, self.barman = primary, barman
        self.backup = barman.back_up()
        shown = json.loads(barman.run("-f", "json", "show-backup", "orders", "latest"))["orders"]
        self.first: str = shown["base_backup_information"]["begin_wal"]

    def options(self, **options: Any) -> dict[str, Any]:
        return {
            "server": "orders",
            "command": self.barman.command,
            "config": str(self.barman.config),
            "timeout": "60s",
            **options,
        }

    def store(self, dsn: str | None = None, **options: Any) -> dict[str, Any]:
        return {"name": "orders", "dsn": dsn or self.primary.dsn(), "barman": self.options(**options), "min_fulls": 1}

    def write(self) -> str:
        """Write, and finish the segment; its name."""
        self.primary.script("CREATE TABLE IF NOT EXISTS paid (n int); INSERT INTO paid VALUES (1)", "orders")
        ((segment,),) = self.primary.query("SELECT pg_walfile_name(pg_switch_wal())")
        return str(segment)

    def switch(self) -> str:
        """The same, and PostgreSQL archives it."""
        segment = self.write()
        wait_until(
            lambda: self.primary.query(f"SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'"),
            f"{segment} to be archived",
        )
        return segment


@pytest.fixture(scope="module")
def backed() -> Iterator[Backed]:
    with scratch("barman", unprivileged()) as directory:
        directory.chmod(0o755)
        barman = Barman(directory)
        primary = Postgres(postgresql_15(), directory, "primary")
        primary.initialize(archive_mode="on", archive_command=barman.archive_command)
        with primary:
            create_monitor(primary)
            barman.configure(primary)
            yield Backed(primary, barman)


@contextmanager
def without(path: Path) -> Iterator[None]:
    """Have a file be gone for a while."""
    kept = path.with_name(f".{path.name}-kept")
    path.rename(kept)
    yield
    kept.rename(path)


def run(evidence: Folder, item: str, memory: dict[str, Any] | None = None, /, **store: Any) -> Run:
    """What one line says; `memory` is what it remembers of verifications."""
    context = make_context(memory=memory, **evidence.context)
    settings = {"databases": [store], "timeout": "300s"}
    return Run(Backups, [item], settings=settings, context=context, secrets=[PASSWORD, CANARY])


see = sees(run)


async def test_a_recent_backup_whose_files_and_wal_are_there(evidence: Folder, backed: Backed) -> None:
    memory: dict[str, Any] = {}
    result = await see(evidence, SCHEDULED, memory, **backed.store())
    assert (result.status, "were verified 0 seconds ago" in result.summary) == (OK, True), result
    result = await see(evidence, SCHEDULED, memory, **backed.store(max_age="1ms"))
    assert (result.status, "old (limit 1ms)" in result.summary) == (FAILED, True), result.summary
    # What cannot be asked.
    nowhere = f"postgresql://checklist_exporter@{LOOPBACK}:{free_port()}/orders"
    for store, words in (
        (backed.store(server="billing"), "knows no server billing"),
        (backed.store(command=["/nowhere/barman"]), "cannot be run"),
        (backed.store(command=["/bin/echo"]), "wrote something else than expected"),
        (backed.store(nowhere), ""),
    ):
        result = await see(evidence, SCHEDULED, memory, **store)
        assert (result.status, words in result.summary) == (UNKNOWN, True), result.summary


async def test_wal_that_is_gone(evidence: Folder, backed: Backed) -> None:
    memory = {"barman verifications": {"orders": (backed.backup, evidence.clock.at)}}
    later = [backed.switch(), backed.switch()]
    backed.barman.run("archive-wal", "orders")
    with without(backed.barman.segment(backed.first)):
        assert "FAILED" not in backed.barman.run("check", "orders")  # and its list of files has it still
        assert backed.first in backed.barman.run("list-files", "--target", "wal", "orders", "latest")
        result = await see(evidence, SCHEDULED, memory, **backed.store())
        assert (result.status, f"needs WAL that is gone: {backed.first}" in result.summary) == (FAILED, True), result
    with without(backed.barman.segment(later[0])):
        result = await see(evidence, SCHEDULED, memory, **backed.store())
        assert (result.status, f"can be restored up to {later[0]} only" in result.summary) == (FAILED, True), result
    assert (await see(evidence, SCHEDULED, memory, **backed.store())).status is OK


async def test_wal_that_is_there_and_damaged(evidence: Folder, backed: Backed) -> None:
    later = [backed.switch(), backed.switch()]
    backed.barman.run("archive-wal", "orders")
    needed, other = (backed.barman.segment(name) for name in (backed.first, later[1]))
    content = needed.read_bytes()
    for path, damaged, words in (
        (needed, b"", f"WAL file {backed.first} of barman's server orders has 0 bytes (wanted 16777216)"),
        (needed, other.read_bytes(), "holds another segment than its name says"),
        (other, gzip.compress(content)[:5000], f"WAL file {later[1]} of barman's server orders cannot be read"),
    ):
        whole = path.read_bytes()
        path.write_bytes(damaged)
        result = await see(evidence, SCHEDULED, **backed.store())
        path.write_bytes(whole)
        assert (result.status, words in result.summary) == (FAILED, True), result.summary


async def test_a_server_that_barman_does_nothing_for(evidence: Folder, backed: Backed) -> None:
    configuration = backed.barman.config.read_text()
    backed.barman.config.write_text(f"{configuration}active = false\n")
    try:
        assert "FAILED" not in backed.barman.run("check", "orders")
        memory = {"barman verifications": {"orders": (backed.backup, evidence.clock.at)}}
        result = await see(evidence, SCHEDULED, memory, **backed.store())
    finally:
        backed.barman.config.write_text(configuration)
    assert (result.status, "Barman's server orders is inactive or disabled" in result.summary) == (FAILED, True), result


async def test_an_incremental_backup_needs_all_that_it_was_made_from(evidence: Folder) -> None:
    with scratch("barman", unprivileged()) as directory:
        directory.chmod(0o755)
        barman = Barman(directory)
        primary = Postgres(postgresql_18(), directory, "primary")
        archive = {"archive_mode": "on", "archive_command": barman.archive_command}
        with primary.initialize(summarize_wal="on", **archive):
            create_monitor(primary)
            barman.configure(primary)
            backed = Backed(primary, barman)
            primary.script("CREATE TABLE paid AS SELECT generate_series(1, 10000)", "orders")
            newest = barman.back_up("--incremental", "latest")
            shown = json.loads(barman.run("-f", "json", "show-backup", "orders", newest))["orders"]
            assert shown["catalog_information"]["parent_backup_id"] == backed.backup
            result = await see(evidence, SCHEDULED, **backed.store())
            assert (result.status, f"backup {newest}, of 1 backup that it needs" in result.summary) == (OK, True), (
                result
            )
            with without(barman.files(backed.backup)):
                assert "successfully" in barman.run("verify-backup", "orders", newest), "barman verifies it alone"
                result = await see(evidence, SCHEDULED, **backed.store())
            words = f"Files of backup {backed.backup} of barman's server orders are damaged or gone"
            assert (result.status, words in result.summary) == (FAILED, True), result.summary
            evidence.clock.at += timedelta(days=9)
            result = await see(evidence, SCHEDULED, **backed.store())
            assert (result.status, "The newest full backup of" in result.summary) == (FAILED, True), result.summary
            result = await see(evidence, RETAINED, **{**backed.store(), "min_fulls": 2})
            assert (result.status, "has 1 full backup (at least 2 wanted)" in result.summary) == (FAILED, True), result


async def test_files_that_are_damaged(evidence: Folder, backed: Backed) -> None:
    files = backed.barman.files(backed.backup)
    largest = max(
        (path for path in (files / "base").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = largest.read_bytes()
    half = len(content) // 2
    largest.write_bytes(content[:half] + bytes([content[half] ^ 0xFF]) + content[half + 1 :])
    try:
        assert "FAILED" not in backed.barman.run("check", "orders")
        result = await see(evidence, SCHEDULED, **backed.store())
        assert (result.status, "are damaged or gone" in result.summary) == (FAILED, True), result
    finally:
        largest.write_bytes(content)
    with without(files):
        assert "FAILED" not in backed.barman.run("check", "orders")
        result = await see(evidence, SCHEDULED, **backed.store())
        assert (result.status, "are damaged or gone" in result.summary) == (FAILED, True), result


async def test_backups_are_retained(evidence: Folder, backed: Backed) -> None:
    result = await see(evidence, RETAINED, **backed.store())
    assert (result.status, "(retention 7d)" in result.summary) == (FAILED, True), result
    assert (await see(evidence, RETAINED, **backed.store(server="billing"))).status is UNKNOWN
    evidence.record("storage_encrypted", on=f"{evidence.clock.at:%Y-%m-%d}")
    assert (await see(evidence, "storage_encrypted", **backed.store())).status is OK  # by its record alone


async def test_wal_that_barman_was_not_given(evidence: Folder, backed: Backed) -> None:
    async def point(at_most: str) -> Status:
        given = {"store": "orders", "at_most": at_most, "dsn": backed.primary.dsn(), "barman": backed.options()}
        settings = {"recovery_points": [given], "timeout": "300s"}
        run = Run(DisasterRecovery, ["rpo_met"], settings=settings, context=make_context(**evidence.context))
        return (await run.results())["rpo_met"].status

    memory = {"barman verifications": {"orders": (backed.backup, evidence.clock.at)}}
    backed.switch()
    with backed.primary.setting(archive_timeout="60s"):
        assert await point("5m") is OK  # whatever waits in barman's own folders can be restored
        with backed.primary.setting(archive_command="false"):
            backed.write()
            wait_until(
                lambda: backed.primary.query(
                    "SELECT 1 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' "
                    "AND modification < clock_timestamp() - interval '1.1 s'"
                ),
                "a segment to wait",
            )
            result = await see(evidence, SCHEDULED, memory, **backed.store(max_lag="1s"))
            assert (result.status, "lacks WAL of orders that was finished" in result.summary) == (FAILED, True), result
            assert await point("1s") is FAILED


NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DONE = Listed("20261130T100000", "DONE", str(int((NOW - timedelta(hours=2)).timestamp())), "VALID")
NEWEST = Shown(
    DONE.backup_id, Base("postgres", "000000010000000000000004", "000000010000000000000005", 1000), system_id="71"
)
SEGMENTS = frozenset(f"0000000100000000000000{number:02X}" for number in range(4, 9))
OPTIONS = Options(server="orders")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found({"wal_archive": Check("FAILED")}, [DONE], NEWEST, SEGMENTS), "fail: wal_archive."),
        (Found({}, [DONE, Listed("20261130T110000", "FAILED")], NEWEST, SEGMENTS), "20261130T110000, is FAILED."),
        (Found({}, [Listed("20261130T110000", "WAITING_FOR_WALS")], None, frozenset()), "has no complete backup"),
        (Found({}, [], None, frozenset()), "has no complete backup."),
        (
            Found({}, [Listed(DONE.backup_id, "DONE", DONE.end_time_timestamp, "OBSOLETE")], None, SEGMENTS),
            "no complete",
        ),
    ],
)
def test_what_barman_reports(found: Found, words: str) -> None:
    problems = [problem.summary for problem in backup_problems(found, OPTIONS, "71", 2**24, NOW)]
    assert any(words in problem for problem in problems), problems


def test_a_backup_of_a_cluster_that_was_emptied() -> None:
    def listed(day: int, size: int, kind: str = "full") -> Listed:
        at = NOW - timedelta(days=day, hours=2)
        return Listed(f"{at:%Y%m%dT%H%M%S}", "DONE", str(int(at.timestamp())), "VALID", kind, size)

    def problems(*backups: Listed) -> list[str]:
        found = Found({}, list(backups), NEWEST, SEGMENTS)
        return [problem.summary for problem in backup_problems(found, OPTIONS, "71", 2**24, NOW)]

    before = [listed(1, 9_000_000), listed(2, 8_000_000)]
    assert problems(listed(0, 7_000_000), *before) == []
    assert problems(listed(0, 10_000, "incremental"), *before) == []
    assert ["has 4 MB, those before it 8.5 MB" in problem for problem in problems(listed(0, 4_000_000), *before)] == [
        True
    ]


def test_backups_of_another_cluster_and_of_older_releases() -> None:
    found = Found({}, [DONE], NEWEST, SEGMENTS)
    assert not list(backup_problems(found, OPTIONS, "71", 2**24, NOW))
    (problem,) = backup_problems(found, OPTIONS, "72", 2**24, NOW)
    assert (problem.status, "is of cluster 71, not of 72" in problem.summary) == (FAILED, True)
    older = Found({}, [DONE], Shown(DONE.backup_id, NEWEST.base_backup_information), SEGMENTS)
    (problem,) = backup_problems(older, OPTIONS, "71", 2**24, NOW)
    assert (problem.status, "does not show of which cluster it is" in problem.summary) == (UNKNOWN, True)
    future = Listed(DONE.backup_id, "DONE", str(int((NOW + timedelta(hours=2)).timestamp())), "VALID")
    (problem,) = backup_problems(Found({}, [future], NEWEST, SEGMENTS), OPTIONS, "71", 2**24, NOW)
    assert problem.status is UNKNOWN


@pytest.mark.parametrize(
    ("backups", "parents", "words"),
    [
        ([], [], "needs backup 20261129T100000, which is gone. It cannot be restored."),
        ([Listed("20261129T100000", "FAILED")], [], "needs backup 20261129T100000, which is FAILED."),
        (
            [Listed("20261129T100000", "DONE", DONE.end_time_timestamp)],
            ["20261128T100000"],
            "20261128T100000, which is gone.",
        ),
        ([Listed("20261129T100000", "DONE", DONE.end_time_timestamp)], [None], ""),
    ],
)
def test_what_an_incremental_backup_was_made_from(backups: list[Listed], parents: list[str | None], words: str) -> None:
    newest = msgspec.structs.replace(NEWEST, catalog_information=Catalog("20261129T100000"))
    chain = tuple(Shown("20261129T100000", catalog_information=Catalog(parent)) for parent in parents)
    found = Found({}, [DONE, *backups], newest, SEGMENTS, chain)
    problems = [problem.summary for problem in backup_problems(found, OPTIONS, "71", 2**24, NOW)]
    assert any(words in problem for problem in problems) if words else not problems, problems


def test_how_far_backups_go_back() -> None:
    def kept(*days: float, least: int = 2) -> list[Status]:
        backups = [Listed(f"{day}", "DONE", str((NOW - timedelta(days=day)).timestamp())) for day in days]
        return [problem.status for problem in kept_problems(backups, OPTIONS, timedelta(days=7), least, NOW)]

    assert kept(8, 6, 3, 1) == [Status.WARNING]  # a gap of three days, by a limit of 26 hours
    assert kept(*range(8)) == []
    assert kept(*range(7)) == [FAILED]
    assert kept(9, 0) == [FAILED]  # a gap
    assert kept(*range(8), least=9) == [FAILED]


@pytest.mark.parametrize(
    "store",
    [
        {"barman": {"server": "orders"}},
        {"dsn": "postgresql://u@h/d", "barman": {"server": "--help"}},
        {"dsn": "postgresql://u@h/d", "barman": {"server": "orders", "command": []}},
        {"dsn": "postgresql://u@h/d", "barman": {"server": "orders", "max_lag": "0s"}},
    ],
)
def test_bad_settings_are_refused(store: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BackupsSettings.model_validate({"databases": [{"name": "orders", **store}]}, strict=False)


# WAL-G: its output as documented and as its sources write it, about a real PostgreSQL. The module proxy has no version of it.


class Documented:
    """A program that answers as WAL-G does; `asked` are its arguments."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        self.folder, self.primary = folder, primary
        program = folder / "wal-g"
        program.write_text(f'#!/bin/sh\ncd {folder}\necho "$@" >> asked\nexport > environment\ncat "$1.json"\n')
        program.chmod(0o755)
        ((identifier,),) = primary.query("SELECT system_identifier FROM pg_control_system()")
        self.cluster = int(identifier)
        self.backups(self.backup(hours=1))
        self.verified()

    @staticmethod
    def backup(
        *, hours: float, segment: str = "000000010000000000000002", delta: str = "", **changes: Any
    ) -> dict[str, Any]:
        at = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "backup_name": f"base_{segment}{f'_D_{delta}' if delta else ''}",
            "time": at,
            "wal_file_name": segment,
            "storage_name": "default",
            "start_time": at,
            "finish_time": at,
            "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
            "hostname": "db-0",
            "data_dir": "/var/lib/postgresql/15/main",
            "pg_version": 150018,
            "start_lsn": 33554472,
            "finish_lsn": 33554736,
            "is_permanent": False,
            "uncompressed_size": 25_000_000,
            "compressed_size": 4_000_000,
        } | changes

    def backups(self, *backups: dict[str, Any]) -> None:
        listed = [{"system_identifier": self.cluster} | backup for backup in backups]
        (self.folder / "backup-list.json").write_text(json.dumps(listed))

    def verified(self, *, lost: bool = False, status: str = "OK", timeline: str = "OK", highest: int = 1) -> None:
        ((last,),) = self.primary.query("SELECT pg_walfile_name(pg_current_wal_lsn())")
        previous = f"{last[:16]}{int(last[16:], 16) - 1:08X}"
        details = [
            {
                "timeline_id": 1,
                "start_segment": "000000010000000000000002",
                "end_segment": previous,
                "segments_count": int(previous[16:], 16) - 1,
                "status": "MISSING_LOST" if lost else "FOUND",
            }
        ]
        written = {
            "integrity": {"status": "FAILURE" if lost else status, "details": details},
            "timeline": {
                "status": timeline,
                "details": {"current_timeline_id": 1, "highest_storage_timeline_id": highest},
            },
        }
        (self.folder / "wal-verify.json").write_text(json.dumps(written))

    def store(self, **options: Any) -> dict[str, Any]:
        walg = {
            "command": [str(self.folder / "wal-g")],
            "environment": {"AWS_SECRET_ACCESS_KEY": CANARY},
            "timeout": "30s",
            **options,
        }
        return {"name": "orders", "dsn": self.primary.dsn(), "walg": walg, "min_fulls": 1}


@pytest.fixture
def documented(tmp_path: Path, backed: Backed) -> Documented:
    backed.switch()
    return Documented(tmp_path, backed.primary)


async def test_what_wal_g_stores(evidence: Folder, documented: Documented) -> None:
    result = await see(evidence, SCHEDULED, **documented.store())
    assert (result.status, "old and has 4 MB" in result.summary) == (OK, True), result
    asked = (documented.folder / "asked").read_text()
    assert "wal-verify integrity timeline --json --timeline=1 --lsn=0/" in asked
    assert "--backup-name=base_000000010000000000000002" in asked
    assert CANARY in (documented.folder / "environment").read_text()
    assert (await see(evidence, SCHEDULED, **documented.store(max_age="30m"))).status is FAILED
    settings = {"recovery_points": [{"store": "orders", "at_most": "1h", **_without_name(documented.store())}]}
    run = Run(DisasterRecovery, ["rpo_met"], settings=settings, context=make_context(**evidence.context))
    assert (await run.results())["rpo_met"].status.is_ok
    documented.verified(lost=True)
    assert (await run.results())["rpo_met"].status is FAILED


def _without_name(store: dict[str, Any]) -> dict[str, Any]:
    return {"dsn": store["dsn"], "walg": store["walg"]}


async def test_what_wal_g_lacks(evidence: Folder, documented: Documented) -> None:
    for changed, words, status in (
        ({"lost": True}, "from 000000010000000000000002 on: nothing later can be restored", FAILED),
        ({"status": "FAILURE"}, "ended with FAILURE", FAILED),
        ({"timeline": "FAILURE", "highest": 3}, "has WAL of timeline 3, but orders is on 1", FAILED),
        ({"timeline": "WARNING", "highest": 0}, "was not found out", UNKNOWN),
        ({"status": "WARNING"}, "old and has 4 MB", OK),  # what is missing is on its way, or was not handed over yet
    ):
        documented.verified(**changed)
        result = await see(evidence, SCHEDULED, **documented.store())
        assert (result.status, words in result.summary) == (status, True), result.summary
    documented.verified()
    later = "000000010000000000000003"
    for backups, words, status in (
        ((), "has no backup of orders.", FAILED),
        ((documented.backup(hours=1, system_identifier=71),), "it has 1 backup of other clusters", FAILED),
        ((documented.backup(hours=1, system_identifier=None),), "does not show of which cluster it is", UNKNOWN),
        ((documented.backup(hours=-2),), "in the future", UNKNOWN),
        (
            (documented.backup(hours=1, uncompressed_size=1_000_000), documented.backup(hours=25, segment=later)),
            "has 1 MB, those before it 25 MB",
            Status.WARNING,
        ),
        (
            (documented.backup(hours=1, segment=later, delta="000000010000000000000001"),),
            "needs an earlier backup, which is gone",
            FAILED,
        ),
        (
            (
                documented.backup(hours=1, segment=later, delta="000000010000000000000001"),
                documented.backup(hours=24 * 30),
            ),
            "WAL-G's newest full backup of orders",
            FAILED,
        ),
    ):
        documented.backups(*backups)
        result = await see(evidence, SCHEDULED, **documented.store())
        assert (result.status, words in result.summary) == (status, True), result.summary


async def test_what_wal_g_retains(evidence: Folder, documented: Documented) -> None:
    assert (await see(evidence, RETAINED, **documented.store())).status is FAILED
    documented.backups(*(documented.backup(hours=24 * day + 1) for day in range(8)))
    assert (await see(evidence, RETAINED, **documented.store())).status is OK
    assert (await see(evidence, RETAINED, **documented.store() | {"min_fulls": 9})).status is FAILED
    documented.backups()
    assert (await see(evidence, RETAINED, **documented.store())).status is FAILED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "has no backup"),
        ("null", "something else"),
        ("", "something else"),
        ('[{"backup_name": 3}]', "something else"),
    ],
)
async def test_answers_of_wal_g_that_are_none(evidence: Folder, documented: Documented, text: str, words: str) -> None:
    (documented.folder / "backup-list.json").write_text(text)
    result = await see(evidence, SCHEDULED, **documented.store())
    assert (not result.status.is_ok, words in result.summary) == (True, True), result.summary
