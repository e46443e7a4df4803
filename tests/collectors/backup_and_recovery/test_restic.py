"""Backups in a real repository of restic."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.backup_and_recovery.backups import Backups, BackupsSettings
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.process import scratch
from tests.servers.restic import PASSWORD, Repository
from tests.support import Run, make_context, sees

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN
SCHEDULED, RETAINED = "database_backups_scheduled", "retention_policy_configured"


evidence = evidence_of("backups", today=True)


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    return Run(Backups, [item], settings=settings, context=make_context(**evidence.context))


seen = sees(run)


@pytest.fixture(scope="module")
def made() -> Iterator[Repository]:
    """A repository with snapshots of a week, the newest of a minute ago."""
    with scratch("restic") as directory:
        repository = Repository(directory)
        for days in (8, 6, 4, 2, 0):
            (repository.source / "orders.dump").write_bytes(os.urandom(100_000))
            repository.back_up(datetime.now(UTC) - timedelta(days=days, minutes=1))
        yield repository


@pytest.fixture
def repository(made: Repository) -> Iterator[Repository]:
    """The same, put back afterwards."""
    with scratch("restic") as directory:
        copy = directory / "copy"
        shutil.copytree(made.path, copy)
        yield made
        shutil.rmtree(made.path)
        shutil.copytree(copy, made.path)


def run_restic(evidence: Folder, made: Repository, item: str = SCHEDULED, /, **options: Any) -> Run:
    store = {"name": "orders", "restic": {**made.options, **options}}
    return replace(run(evidence, item, databases=[store], timeout="120s"), secrets=[PASSWORD])


see = sees(run_restic)


async def test_a_recent_snapshot_in_a_sound_repository(evidence: Folder, made: Repository) -> None:
    before = sorted(made.path.rglob("*"))
    result = await see(evidence, made)
    assert (result.status, "A check 0 seconds ago found its repository sound" in result.summary) == (OK, True), result
    assert result.measurements["backup_size_bytes"] == 100_000
    assert sorted(made.path.rglob("*")) == before  # neither locks nor anything else
    for options, words in (
        ({"host": "db-1"}, "no snapshot of host db-1 with"),
        ({"paths": ["/var/lib/orders"]}, "with /var/lib/orders: it has 5 snapshots, of db-0"),
        ({"tags": ["nightly"]}, "and tag nightly"),
        ({"min_size": "1MB"}, "has 100 kB (at least 1 MB wanted)"),
        ({"max_age": "30s"}, "old (limit 30s)"),
        ({"repository": str(made.path / "nowhere")}, "The repository of orders does not exist."),
    ):
        result = await see(evidence, made, **options)
        assert (result.status, words in result.summary) == (FAILED, True), result.summary
    for options, words in (
        ({"password": "wrong"}, "the password is wrong"),
        ({"command": ["/nowhere/restic"]}, "cannot be run"),
        ({"command": ["/bin/echo"]}, "wrote no list of snapshots"),
        ({"timeout": "1ms", "check_timeout": "1ms"}, "did not end within 1ms"),
    ):
        result = await see(evidence, made, **options)
        assert (result.status, words in result.summary) == (UNKNOWN, True), result.summary
    evidence.clock.at -= timedelta(hours=1)
    assert (await see(evidence, made)).status is UNKNOWN  # dated in the future


async def test_a_dump_that_fails_leaves_the_last_one_behind(evidence: Folder, repository: Repository) -> None:
    for minutes in (40, 20):
        repository.back_up(datetime.now(UTC) - timedelta(minutes=minutes))  # of what is there: nothing was dumped since
    repository.run("forget", "--quiet", "latest")
    result = await see(evidence, repository)
    assert (result.status, "same content as 1 backup before it" in result.summary) == (WARNING, True), result.summary


async def test_files_that_are_deleted_are_a_change(evidence: Folder, repository: Repository) -> None:
    uploads = [repository.source / f"upload-{number}" for number in range(3)]
    try:
        for upload in uploads:
            upload.write_bytes(b"picture")
        repository.back_up(datetime.now(UTC) - timedelta(seconds=40))
        for number, upload in enumerate(uploads):
            upload.unlink()
            repository.back_up(datetime.now(UTC) - timedelta(seconds=30 - number))
        result = await see(evidence, repository)
        assert (result.status, "has 100 kB" in result.summary) == (OK, True), result.summary
        repository.back_up(datetime.now(UTC))
        result = await see(evidence, repository)
        assert (result.status, "same content as 1 backup before it" in result.summary) == (WARNING, True)
    finally:
        for upload in uploads:
            upload.unlink(missing_ok=True)


async def test_what_cannot_be_read_is_no_backup(evidence: Folder, repository: Repository) -> None:
    pack = repository.pack()
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0xFF
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert repository.errors() == 0  # so says a check that reads no data
    result = await see(evidence, repository)
    assert (result.status, "and 1 pack cannot be read" in result.summary) == (FAILED, True), result.summary
    pack.unlink()
    result = await see(evidence, repository)
    assert (result.status, "restic check found" in result.summary) == (FAILED, True), result.summary


async def test_an_emptied_source_makes_recent_snapshots(evidence: Folder, repository: Repository) -> None:
    dump = repository.source / "orders.dump"
    content = dump.read_bytes()
    try:
        dump.write_bytes(content[:1000])
        repository.back_up(datetime.now(UTC))
        result = await see(evidence, repository)
        assert (result.status, "has 1 kB, those before it 100 kB" in result.summary) == (WARNING, True), result.summary
        dump.unlink()
        repository.back_up(datetime.now(UTC) + timedelta(seconds=1))
        result = await see(evidence, repository)
        assert (result.status, "has 0 B (at least 1 B wanted)" in result.summary) == (FAILED, True), result.summary
    finally:
        dump.write_bytes(content)


async def test_snapshots_go_back_as_far_as_they_have_to(evidence: Folder, repository: Repository) -> None:
    result = await see(evidence, repository, RETAINED)
    assert (result.status, "the oldest of 8 days ago" in result.summary) == (OK, True), result.summary
    assert (await see(evidence, repository, RETAINED, max_age="20h")).status is WARNING  # a gap of two days
    assert (await see(evidence, repository, RETAINED, host="db-1")).status is FAILED
    repository.run("forget", "--keep-last", "2")
    result = await see(evidence, repository, RETAINED)
    assert (result.status, "is 2 days old (retention 7d)" in result.summary) == (FAILED, True), result.summary


async def test_its_own_encryption_takes_a_record_of_who_may_write(evidence: Folder, made: Repository) -> None:
    assert (await see(evidence, made, "storage_encrypted")).status is FAILED
    evidence.record("storage_encrypted", on=f"{evidence.clock.at:%Y-%m-%d}")
    result = await see(evidence, made, "storage_encrypted")
    assert (result.status, "restic encrypts the repository of orders" in result.summary) == (OK, True), result.summary


@pytest.mark.parametrize(
    "options",
    [
        {"paths": []},
        {"paths": ["relative"]},
        {"host": ""},
        {"read_data": "all"},
        {"read_data": "0%"},
        {"read_data": "101%"},
        {"min_size": 0},
        {"password": ""},
        {"command": []},
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any]) -> None:
    restic = {"repository": "/r", "password": PASSWORD, "host": "a", "paths": ["/a"], **options}
    with pytest.raises(ValidationError) as refused:
        BackupsSettings.model_validate({"databases": [{"name": "orders", "restic": restic}]}, strict=False)
    assert PASSWORD not in str(refused.value)
