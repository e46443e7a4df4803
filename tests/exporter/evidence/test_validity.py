"""Evidence: how long a record holds, for what, and that its signature, links and artefact are looked at."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.evidence.records import parse_records
from exporter.evidence.validity import Evidence, EvidenceRule, MustContain, Refuted, standing
from exporter.http import HttpSettings
from exporter.verdict import Reason, Result, Status
from tests.servers import faults
from tests.servers.pages import Pages
from tests.servers.process import eventually
from tests.servers.signing import Keys
from tests.support import Clock

NOON = datetime(2026, 10, 13, 12, tzinfo=UTC)
RULE = EvidenceRule(valid_for=timedelta(days=30))
RELEASE = EvidenceRule(valid_for=timedelta(days=30), bound_to_release=True)
QA = EvidenceRule(valid_for=timedelta(days=30), signed_by_role="qa_lead", bound_to_release=True)
LOGIN = '<form><INPUT name=p type="password"></form>'


def record(**values: Any) -> dict[str, Any]:
    return {"item": "a.b", "result": "passed", "by": "team@example.com", "on": "2026-10-01"} | values


class Folder:
    """A folder of evidence, and what is made of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock(NOON)
        self.opened: list[Evidence] = []

    def write(self, name: str = "a.yaml", **values: Any) -> Path:
        path = self.path / name
        path.write_text(json.dumps(record(**values)))
        return path

    def evidence(self, **options: Any) -> Evidence:
        standard: dict[str, Any] = {"environment": "production", "release": "1.4.2", "now": self.clock}
        self.opened.append(Evidence(self.path, **standard | options))
        return self.opened[-1]

    async def judge(self, rule: EvidenceRule = RULE, **options: Any) -> Result:
        return await self.evidence(**options).judge("a", "b", rule)


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    made = Folder(tmp_path)
    yield made
    for evidence in made.opened:
        await evidence.close()


def host(url: str, **options: Any) -> tuple[HttpSettings]:
    return (HttpSettings.model_validate_json(json.dumps({"url": url, "timeout": "20s"} | options)),)


# How long


async def test_a_record_holds_until_its_time_is_over(folder: Folder) -> None:
    folder.write()
    result = await folder.judge()
    assert result.status is Status.OK
    assert result.summary == "team@example.com attested a.b on 2026-10-01, valid until 2026-10-30."
    assert result.valid_until == datetime(2026, 10, 31, tzinfo=UTC)
    assert [found.file for found in result.evidence] == ["a.yaml"]


@pytest.mark.parametrize(
    ("now", "status", "summary"),
    [
        ("2026-10-17T00:00:00", Status.OK, "valid until 2026-10-30."),
        ("2026-10-17T00:00:01", Status.WARNING, "expires in 13 days (2026-10-30)."),
        ("2026-10-30T23:59:59", Status.WARNING, "expires in 1 second (2026-10-30)."),
        ("2026-10-31T00:00:00", Status.FAILED, "Evidence for a.b expired 0 seconds ago (2026-10-30)."),
        ("2026-11-12T00:00:00", Status.FAILED, "Evidence for a.b expired 12 days ago (2026-10-30)."),
    ],
)
async def test_it_expires_by_the_clock(folder: Folder, now: str, status: Status, summary: str) -> None:
    folder.write()
    folder.clock.at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    result = await folder.judge()
    assert (result.status, result.summary[-len(summary) :]) == (status, summary)
    assert result.valid_until == datetime(2026, 10, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("on", "valid_until", "expires"),
    [
        ("2026-10-01", "2026-10-20", "2026-10-21T00:00:00"),  # its last day counts
        ("2026-10-01", "2026-10-20T06:00:00-04:00", "2026-10-20T10:00:00"),
        ("2026-10-01", "2027-10-20", "2026-10-31T00:00:00"),  # never longer than the rule allows
        ("2026-10-01", "9999-12-31", "2026-10-31T00:00:00"),
        ("2026-10-02T01:00:00+14:00", None, "2026-10-31T11:00:00"),
        ("2026-10-01T23:00:00-12:00", None, "2026-11-01T11:00:00"),
    ],
)
async def test_valid_until_shortens_and_zones_count(
    folder: Folder, on: str, valid_until: str | None, expires: str
) -> None:
    folder.write(on=on, **({"valid_until": valid_until} if valid_until else {}))
    result = await folder.judge()
    assert result.valid_until == datetime.fromisoformat(expires).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("on", "status"),
    [
        ("2026-10-13T12:04:00Z", Status.OK),  # clocks differ a little
        ("2026-10-13T12:06:00Z", Status.FAILED),
        ("2026-10-14T01:00:00+14:00", Status.OK),
        (
            "2026-10-14",
            Status.OK if NOON + timedelta(hours=14) >= datetime(2026, 10, 14, tzinfo=UTC) else Status.FAILED,
        ),
        ("2026-10-15", Status.FAILED),
        ("2126-10-01", Status.FAILED),
    ],
)
async def test_a_record_from_the_future_is_no_evidence(folder: Folder, on: str, status: Status) -> None:
    folder.write(on=on)
    result = await folder.judge()
    assert result.status is status
    assert ("which is in the future" in result.summary) == (status is Status.FAILED)


async def test_a_placeholder_attests_nothing(folder: Folder) -> None:
    folder.write(by="TBD")
    result = await folder.judge()
    assert (result.status, result.summary) == (Status.FAILED, "Evidence for a.b names nobody: by is TBD.")


async def test_validity_may_be_endless(folder: Folder) -> None:
    folder.write()
    result = await folder.judge(EvidenceRule(valid_for=timedelta(days=900_000_000)))
    assert result.status is Status.OK
    assert result.valid_until == datetime.max.replace(tzinfo=UTC)


# For what


@pytest.mark.parametrize(
    ("values", "rule", "summary"),
    [
        ({"result": "failed", "note": "Two faults."}, RULE, "Evidence for a.b reports failed: Two faults."),
        ({"result": "failed"}, RULE, "Evidence for a.b reports failed: team@example.com found so on 2026-10-01."),
        ({"environment": "staging"}, RULE, "Evidence for a.b is about the environment staging, this is production."),
        ({"release": "1.4.1"}, RELEASE, "team@example.com attested 1.4.1, running 1.4.2."),
        ({"release": "1.4.1"}, QA, "QA lead signed 1.4.1, running 1.4.2."),
        ({}, RELEASE, "Evidence for a.b names no release, but it is valid for one release only."),
        ({"release": "1.4.2"}, QA, "Evidence for a.b is signed without a role (wanted qa_lead)."),
        ({"release": "1.4.2", "role": "dev"}, QA, "Evidence for a.b is signed as dev (wanted qa_lead)."),
        (
            {"links": ["http://x/a", "http://x/a", "http://x/a#b"]},
            EvidenceRule(timedelta(days=30), links=2),
            "Evidence for a.b has 1 link (at least 2 wanted).",
        ),
        ({}, EvidenceRule(timedelta(days=30), artifact=True), "Evidence for a.b names no artifact."),
    ],
)
async def test_what_a_record_says_can_refute_it(
    folder: Folder, values: dict[str, Any], rule: EvidenceRule, summary: str
) -> None:
    folder.write(**values)
    result = await folder.judge(rule)
    assert (result.status, result.summary) == (Status.FAILED, summary)


async def test_a_release_that_is_not_known_leaves_bound_evidence_unknown(folder: Folder) -> None:
    folder.write(release="1.4.2")
    result = await folder.judge(RELEASE, release=None)
    assert result.status is Status.UNKNOWN
    assert result.summary == "team@example.com attested 1.4.2, but which release is running is not configured."
    folder.write()
    result = await folder.judge(RELEASE, release=None)
    assert result.status is Status.FAILED, "neither names a release, which is no agreement"
    assert result.summary == "Evidence for a.b names no release, but it is valid for one release only."
    folder.write(release="1.4.2")
    assert (await folder.judge(RELEASE)).status is Status.OK
    assert (await folder.judge(RULE, release=None)).status is Status.OK


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ([{"on": "2026-10-01", "result": "failed"}, {"on": "2026-10-02"}], Status.OK),
        ([{"on": "2026-10-01"}, {"on": "2026-10-02", "result": "failed"}], Status.FAILED),
        ([{"result": "failed"}, {}], Status.FAILED),  # of one day's, the one that denies
        ([{}, {"result": "failed"}], Status.FAILED),
        ([{"on": "2026-10-01T09:00:00Z"}, {"result": "failed"}], Status.FAILED),
        ([{"on": "2026-10-01T09:00:00Z"}, {"on": "2026-10-01T09:00:00Z", "result": "failed"}], Status.FAILED),
        ([{"on": "2026-10-01T09:00:00Z"}, {"on": "2026-10-01T08:59:59Z", "result": "failed"}], Status.OK),
        ([{}, {"on": "2026-10-05", "environment": "staging"}], Status.OK),
        (
            [{"environment": "production"}, {"on": "2026-10-05", "result": "failed", "environment": "staging"}],
            Status.OK,
        ),
        ([{}, {"on": "2062-01-01"}], Status.OK),  # dated wrongly, so it takes nothing from the other
        ([{"on": "2062-01-01"}, {}], Status.OK),
        ([{}, {"on": "2062-01-01", "result": "failed"}], Status.FAILED),  # but whoever denies it is heard
        ([{"on": "2026-08-01"}, {"on": "2062-01-01"}], Status.FAILED),
        ([{"environment": "staging"}, {"on": "2062-01-01"}], Status.FAILED),
    ],
)
async def test_of_several_records_the_newest_that_applies_counts(
    folder: Folder, written: list[dict[str, Any]], status: Status
) -> None:
    folder.write()
    (folder.path / "a.yaml").write_text(json.dumps([record(**values) for values in written]))
    assert (await folder.judge()).status is status


async def test_going_back_to_a_release_goes_back_to_its_evidence(folder: Folder) -> None:
    folder.write("a.yaml", release="1.4.1", on="2026-10-01")
    folder.write("b.yaml", release="1.4.2", on="2026-10-02")
    for release, status in (("1.4.1", Status.OK), ("1.4.2", Status.OK), ("1.4.3", Status.FAILED)):
        assert (await folder.judge(RELEASE, release=release)).status is status


# Reading


async def test_no_evidence_is_failed_and_no_folder_is_unknown(folder: Folder) -> None:
    result = await folder.judge()
    assert (result.status, result.summary) == (Status.FAILED, "There is no evidence for a.b.")
    unconfigured = Evidence(None, now=folder.clock)
    assert not unconfigured.refresh()
    assert unconfigured.problems == ()
    result = await unconfigured.judge("a", "b", RULE)
    assert (result.status, result.summary) == (Status.UNKNOWN, "No evidence folder is configured.")


async def test_a_folder_that_cannot_be_read_leaves_everything_unknown(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.path /= "evidence"
    with caplog.at_level(logging.WARNING):
        evidence = folder.evidence()
    result = await evidence.judge("a", "b", RULE)
    assert result.status is Status.UNKNOWN
    assert result.summary == f"Evidence folder {folder.path} cannot be read: No such file or directory."
    assert evidence.problems == (result.summary,)
    assert result.summary in caplog.text
    folder.path.mkdir()
    folder.write()
    assert evidence.refresh()
    assert (await evidence.judge("a", "b", RULE)).status is Status.OK


async def test_files_are_read_again_when_they_change(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    evidence = folder.evidence()
    assert not evidence.refresh()
    path = folder.write()
    assert evidence.refresh()
    assert not evidence.refresh()
    assert (await evidence.judge("a", "b", RULE)).status is Status.OK
    folder.write("b.yaml", item="a.c")
    assert evidence.refresh()
    assert [found.item for found in evidence.records()] == ["a.b", "a.c"]
    assert [found.file for found in evidence.records("a.c")] == ["b.yaml"]
    new = folder.path / "new"
    new.write_text(json.dumps(record(result="failed")))
    new.replace(path)
    assert evidence.refresh()
    assert (await evidence.judge("a", "b", RULE)).status is Status.FAILED
    with caplog.at_level(logging.WARNING):
        path.write_text("item: [")
        assert evidence.refresh()
        os.utime(path, (1, 1))
        evidence.refresh()
    assert caplog.text.count("Evidence cannot be read: a.yaml:") == 1
    path.unlink()
    assert evidence.refresh()
    assert evidence.records("a.b") == ()


async def test_a_file_that_goes_while_it_is_read_is_said(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder.path / "gone.yaml"
    monkeypatch.setattr("exporter.evidence.store.record_files", lambda _: iter([gone]))
    assert folder.evidence().problems == ("gone.yaml: cannot be read: No such file or directory",)


async def test_a_file_that_cannot_be_read_leaves_unknown_what_it_may_be_about(folder: Folder) -> None:
    folder.write()
    bad = folder.path / "bad.yaml"
    evidence = folder.evidence()

    async def judged(content: str, item: str) -> tuple[Status, str]:
        bad.write_text(content)
        evidence.refresh()
        result = await evidence.judge("a", item, RULE)
        return result.status, result.summary

    torn = "item: a.b\nresult: 'fail"
    status, summary = await judged(torn, "b")
    assert status is Status.UNKNOWN
    assert summary.startswith("Evidence for a.b cannot be read: bad.yaml:2:")
    assert evidence.problems[0].startswith("bad.yaml:2:")
    assert await judged("item: a.b\n", "b") == (
        Status.UNKNOWN,
        "Evidence for a.b cannot be read: bad.yaml:1:1: result is missing.",
    )
    assert (await judged("item: x.y\nresult: 'fail", "b"))[0] is Status.OK
    status, summary = await judged("item: x.y\nresult: 'fail", "c")
    assert status is Status.UNKNOWN
    assert summary.startswith("There is no evidence for a.c in what can be read, but bad.yaml:2:")


@given(st.binary(max_size=200))
def test_no_file_makes_judging_crash(content: bytes) -> None:
    read = parse_records(content, "a.yaml")
    for found in read.records:
        standing(found, RULE, "production", "1", NOON)


# Signatures


@pytest.fixture
def signed(folder: Folder, keys: Keys) -> Callable[..., Path]:
    """Write a record and sign it, by default as the QA lead; returns its file."""

    def write(name: str = "qa.yaml", key: str = "quinn", namespace: str = "checklist-exporter", **values: Any) -> Path:
        values = {"by": "quinn@example.com", "role": "qa_lead", "release": "1.4.2"} | values
        path = folder.write(name, **values)
        keys.sign(path, key, namespace)
        return path

    return write


@pytest.fixture
def signers(folder: Folder, keys: Keys) -> Path:
    path = folder.path / "allowed_signers"
    path.write_text(
        f"quinn@example.com,qa_lead {keys.public('quinn')}\ndana@example.com,technical_lead {keys.public('dana')}\n"
    )
    return path


async def test_a_signature_by_the_right_person_in_the_right_role_holds(
    folder: Folder, signed: Callable[..., Path], signers: Path, no_leftovers: None
) -> None:
    signed()
    result = await folder.judge(QA, allowed_signers=signers)
    assert (result.status, result.summary) == (
        Status.OK,
        "quinn@example.com signed 1.4.2 on 2026-10-01, valid until 2026-10-30.",
    )
    key = next(iter(result.evidence)).key
    assert key is not None
    assert key.startswith("SHA256:")


@pytest.mark.parametrize("change", [b" ", b"\n", b"#"])
async def test_an_altered_record_fails(
    folder: Folder, signed: Callable[..., Path], signers: Path, change: bytes
) -> None:
    path = signed()
    path.write_bytes(path.read_bytes() + change)
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert "Signature qa.yaml.sig does not verify for quinn@example.com" in result.summary
    assert result.valid_until is not None


async def test_the_bytes_that_were_read_are_verified_not_those_on_disk(
    folder: Folder, signed: Callable[..., Path], signers: Path
) -> None:
    path = signed(note="This is what was signed.")
    genuine = path.read_bytes()
    path.write_bytes(genuine.replace(b"This is", b"This isn't"))
    evidence = folder.evidence(allowed_signers=signers)
    path.write_bytes(genuine)
    assert (await evidence.judge("a", "b", QA)).status is Status.FAILED


@pytest.mark.parametrize(
    ("values", "summary"),
    [
        ({"key": "mallory"}, "allowed_signers does not list the key of qa.yaml.sig for quinn@example.com."),
        ({"key": "dana"}, "allowed_signers does not list the key of qa.yaml.sig for quinn@example.com."),
        (
            {"key": "dana", "by": "dana@example.com"},
            "allowed_signers does not list the key of qa.yaml.sig for qa_lead.",
        ),
        ({"by": "nobody@example.com"}, "does not list the key of qa.yaml.sig for nobody@example.com."),
        (
            {"namespace": "git"},
            "does not verify for quinn@example.com: Couldn't verify signature: namespace does not match",
        ),
        ({"by": "-Vfoo"}, "does not list the key of qa.yaml.sig for -Vfoo."),
    ],
)
async def test_a_signature_by_another_key_person_role_or_purpose_fails(
    folder: Folder, signed: Callable[..., Path], signers: Path, values: dict[str, Any], summary: str
) -> None:
    signed(**values)
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert summary in result.summary


async def test_a_key_that_is_not_listed_any_more_or_has_expired_fails(
    folder: Folder, signed: Callable[..., Path], signers: Path, keys: Keys
) -> None:
    signed()
    signers.write_text(f'quinn@example.com,qa_lead valid-before="20200101" {keys.public("quinn")}\n')
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert "key has expired" in result.summary
    assert str(folder.path) not in result.summary
    signers.write_text("# nobody\n")
    assert (await folder.judge(QA, allowed_signers=signers)).status is Status.FAILED


async def test_a_key_that_was_not_valid_yet_signed_nothing(
    folder: Folder, signed: Callable[..., Path], signers: Path, keys: Keys
) -> None:
    signed(on="2024-03-01")
    folder.clock.at = datetime(2024, 3, 5, tzinfo=UTC)
    signers.write_text(f'quinn@example.com,qa_lead valid-after="20240303" {keys.public("quinn")}\n')
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert "key is not yet valid" in result.summary
    signers.write_text(f'quinn@example.com,qa_lead valid-after="20240301" {keys.public("quinn")}\n')
    assert (await folder.judge(QA, allowed_signers=signers)).status is Status.OK


@pytest.mark.parametrize(("bits", "status"), [(1024, Status.FAILED), (2048, Status.OK)])
async def test_a_short_key_signs_nothing(
    folder: Folder, signed: Callable[..., Path], signers: Path, keys: Keys, tmp_path: Path, bits: int, status: Status
) -> None:
    path, key = signed(), tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", str(bits), "-N", "", "-f", key], check=True)
    path.with_name("qa.yaml.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "checklist-exporter", path], check=True)
    signers.write_text(f"quinn@example.com,qa_lead {key.with_suffix('.pub').read_text()}")
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is status
    if status is Status.FAILED:
        assert result.summary == (
            "Evidence for a.b is not valid: The key of qa.yaml.sig is an RSA key of 1024 bits (at least 2048 wanted)."
        )


async def test_a_missing_or_broken_signature_fails(folder: Folder, signed: Callable[..., Path], signers: Path) -> None:
    path = signed()
    signature = path.with_name("qa.yaml.sig")
    for content in (b"", b"\x00\xff", signature.read_bytes()[:100]):
        signature.write_bytes(content)
        assert (await folder.judge(QA, allowed_signers=signers)).status is Status.FAILED
    signature.unlink()
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert result.summary == "Evidence for a.b is not valid: Signature file qa.yaml.sig does not exist."


async def test_a_signature_may_be_named_but_only_in_the_folder(
    folder: Folder, signed: Callable[..., Path], signers: Path
) -> None:
    path = signed(signature="signatures.sig")
    path.with_name("qa.yaml.sig").rename(folder.path / "signatures.sig")
    assert (await folder.judge(QA, allowed_signers=signers)).status is Status.OK
    signed(signature="../x.sig")
    result = await folder.judge(QA, allowed_signers=signers)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for a.b is not valid: ../x.sig is outside the evidence folder.",
    )
    signed(signature="loop.sig")
    (folder.path / "loop.sig").symlink_to("loop.sig")
    assert (await folder.judge(QA, allowed_signers=signers)).status is Status.UNKNOWN


async def test_without_allowed_signers_or_ssh_keygen_a_signature_is_unknown(
    folder: Folder, signed: Callable[..., Path], signers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed()
    result = await folder.judge(QA)
    assert result.status is Status.UNKNOWN
    assert "evidence.allowed_signers is not configured" in result.summary
    result = await folder.judge(QA, allowed_signers=folder.path / "missing")
    assert result.status is Status.UNKNOWN
    assert "missing cannot be read, so no signature was verified: No such file or directory." in result.summary
    monkeypatch.setenv("PATH", str(folder.path))
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.UNKNOWN
    assert "ssh-keygen is not installed" in result.summary


async def test_an_ssh_keygen_that_hangs_or_breaks_is_unknown_and_is_ended(
    folder: Folder,
    signed: Callable[..., Path],
    signers: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_leftovers: None,
) -> None:
    signed()
    programs = folder.path / "bin"
    programs.mkdir()
    program = programs / "ssh-keygen"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr("exporter.evidence.signatures.TIMEOUT", timedelta(milliseconds=100))
    result = await folder.judge(QA, allowed_signers=signers)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Evidence for a.b was not checked: ssh-keygen did not finish within 100ms.",
    )
    monkeypatch.setattr("exporter.evidence.signatures.TIMEOUT", timedelta(seconds=60))
    task = asyncio.create_task(folder.judge(QA, allowed_signers=signers))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    program.write_text("#!/bin/sh\necho 'No user exists for uid 4711' >&2\nexit 255\n")
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.UNKNOWN
    assert "ssh-keygen exited with 255 (No user exists for uid 4711)." in result.summary


async def test_a_signature_nobody_asked_for_must_be_right_as_well(
    folder: Folder, signed: Callable[..., Path], signers: Path
) -> None:
    path = signed()
    assert (await folder.judge(RULE, allowed_signers=signers)).status is Status.OK
    path.write_bytes(path.read_bytes() + b" ")
    assert (await folder.judge(RULE, allowed_signers=signers)).status is Status.FAILED
    folder.write("qa.yaml", signature="gone.sig")
    result = await folder.judge(RULE, allowed_signers=signers)
    assert result.summary == "Evidence for a.b is not valid: Signature file gone.sig does not exist."


# Links


async def test_links_that_answer_hold_and_are_asked_once(folder: Folder, pages: Pages) -> None:
    folder.write(links=[pages.add("/a"), f"{pages.url}/a#top", pages.add("/b?c=d")])
    result = await folder.judge(hosts=host(pages.url))
    assert result.status is Status.OK
    assert result.summary.endswith("valid until 2026-10-30. Its 2 links answer.")
    assert sorted(pages.seen) == ["/a", "/b?c=d"]


@pytest.mark.parametrize(
    ("page", "status", "summary"),
    [
        ({"body": "<p>Runbook</p>"}, Status.OK, "{url} answers."),
        ({"body": "<p>Runbook</p>", "must": "Runbook"}, Status.OK, "{url} answers and contains 'Runbook'."),
        ({"body": "<p>Other</p>", "must": "Runbook"}, Status.FAILED, "{url} does not contain 'Runbook'."),
        ({"body": " \n"}, Status.FAILED, "{url} is an empty page."),
        ({"status": 404}, Status.FAILED, "{url} does not exist (404)."),
        ({"status": 410}, Status.FAILED, "{url} does not exist (410)."),
        ({"status": 403}, Status.UNKNOWN, "{url} answered 403 (expected 200), so the document was not checked."),
        ({"status": 500}, Status.UNKNOWN, "{url} answered 500 (expected 200), so the document was not checked."),
        ({"status": 302}, Status.UNKNOWN, "{url} answered 302 (expected 200), so the document was not checked."),
        ({"body": LOGIN}, Status.UNKNOWN, "{url} answers with a login page, so the document was not checked."),
        ({"body": LOGIN, "must": "Runbook"}, Status.UNKNOWN, "{url} answers with a login page"),
        ({"body": LOGIN + "Runbook", "must": "Runbook"}, Status.OK, "{url} answers and contains 'Runbook'."),
        (
            {"body": LOGIN + '<input type=hidden name=destination value="/Runbook">', "must": "Runbook"},
            Status.UNKNOWN,
            "{url} answers with a login page",
        ),
        ({"body": LOGIN, "Content_Type": "text/plain"}, Status.OK, "{url} answers."),
        ({"body": "x" * (5 * 2**20)}, Status.UNKNOWN, "answered more than 4194304 bytes"),
        ({"body": "<input" * 100_000}, Status.FAILED, "{url} is an empty page."),
    ],
    ids=str,
)
async def test_a_link_must_answer_with_its_document(
    folder: Folder, pages: Pages, page: dict[str, Any], status: Status, summary: str
) -> None:
    page = dict(page)
    must = page.pop("must", None)
    url = pages.add("/a", **page)
    folder.write(links=[{"url": url, "must_contain": must}] if must else [url])
    result = await folder.judge(hosts=host(pages.url))
    assert result.status is status
    assert summary.format(url=url) in result.summary


@pytest.mark.parametrize(
    ("to", "status", "summary"),
    [
        ("/b", Status.OK, "/a answers."),
        ("b", Status.OK, "/a answers."),
        ("/login?next=/a", Status.UNKNOWN, "/a redirects to a login page, so the document was not checked."),
        ("/sso/start", Status.UNKNOWN, "redirects to a login page"),
        ("/users/SignIn.aspx", Status.UNKNOWN, "redirects to a login page"),
        ("/users/sign_in", Status.UNKNOWN, "redirects to a login page"),
        ("/log_in", Status.UNKNOWN, "redirects to a login page"),
        ("/Account/LogOn?ReturnUrl=a", Status.UNKNOWN, "redirects to a login page"),
        ("/signing", Status.OK, "/a answers."),
        ("/a", Status.UNKNOWN, "/a was redirected more than three times."),
        ("http://169.254.169.254/latest/meta-data", Status.UNKNOWN, "is not below any of evidence.hosts"),
        ("//[", Status.UNKNOWN, "redirects to an invalid address."),
        ("/\xe9", Status.UNKNOWN, "is not below any of evidence.hosts"),
    ],
)
async def test_redirects_are_followed_to_documents_alone(
    folder: Folder, pages: Pages, to: str, status: Status, summary: str
) -> None:
    pages.add("/b")
    if to.isascii() and to.startswith("/") and not to.startswith(("//", "/a")):
        pages.add(to)
    folder.write(links=[pages.redirect("/a", to)])
    result = await folder.judge(hosts=host(pages.url))
    assert result.status is status
    assert summary in result.summary
    assert (to in pages.seen) == (to in ("/a", "/b", "/signing"))


async def test_a_page_that_is_about_logins_is_no_login_page(folder: Folder, pages: Pages) -> None:
    folder.write(links=[pages.add("/runbooks/login/failures")])
    assert (await folder.judge(hosts=host(pages.url))).status is Status.OK


async def test_nothing_but_the_hosts_is_ever_asked(folder: Folder, pages: Pages) -> None:
    pages.add("/wiki/a")
    pages.add("/wikileak")
    allowed = host(f"{pages.url}/wiki")
    for url in (
        "http://127.0.0.1:1/a",
        f"{pages.url}/admin",
        f"{pages.url}/wikileak",
        f"{pages.url}/wiki/../admin",
        f"{pages.url}/wiki/..",
        f"{pages.url}/wiki/..?a",
        f"{pages.url}/wiki/%2e%2E/admin",
        f"{pages.url}/wiki/..\\admin",
        f"{pages.url}/wiki@example.com/",
        pages.url.replace("http:", "https:") + "/wiki",
    ):
        folder.write(links=[url])
        result = await folder.judge(hosts=allowed)
        assert result.status is Status.UNKNOWN
        assert result.summary == f"{url} is not below any of evidence.hosts, so it was not opened."
    assert pages.seen == []
    folder.write(links=[f"{pages.url}/wiki/a"])
    assert (await folder.judge(hosts=allowed)).status is Status.OK


async def test_hosts_may_take_credentials_which_are_never_told(folder: Folder, pages: Pages) -> None:
    pages.authorization = "Bearer canary"
    folder.write(links=[pages.add("/a")])
    assert (await folder.judge(hosts=host(pages.url, bearer_token="canary"))).status is Status.OK
    result = await folder.judge(hosts=host(pages.url, bearer_token="canary-2"))
    assert result.status is Status.UNKNOWN
    assert "answered 401" in result.summary
    assert "canary" not in repr(result)


@pytest.mark.parametrize("fault", [faults.refused, faults.mute, faults.garbage], ids=lambda fault: fault.__name__)
async def test_a_host_at_fault_is_unknown(folder: Folder, fault: Any, no_leftovers: None) -> None:
    async with fault() as (name, port):
        url = f"http://{name}:{port}"
        folder.write(links=[f"{url}/a"])
        evidence = folder.evidence(hosts=host(url, timeout="500ms"))
        result = await evidence.judge("a", "b", RULE)
        assert result.status is Status.UNKNOWN
        assert f"GET {url}/a" in result.summary
        await evidence.close()


async def test_an_endless_page_is_not_read(folder: Folder, no_leftovers: None) -> None:
    async with faults.endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n") as (name, port):
        folder.write(links=[f"http://{name}:{port}/a"])
        evidence = folder.evidence(hosts=host(f"http://{name}:{port}"))
        result = await evidence.judge("a", "b", RULE)
        assert result.status is Status.UNKNOWN
        assert "answered more than 4194304 bytes" in result.summary
        await evidence.close()


async def test_what_was_known_of_a_folder_that_does_not_answer_counts_no_more(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write()
    evidence = folder.evidence()
    assert (await evidence.judge("a", "b", RULE)).status is Status.OK
    asked, release = threading.Event(), threading.Event()

    def hang(_: Path) -> dict[str, Any]:
        asked.set()
        release.wait(60)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(evidence._store, "_read", hang)
        reading = threading.Thread(target=evidence.refresh)
        reading.start()
        await eventually(asked.is_set, what="the folder is read")
        assert (await evidence.judge("a", "b", RULE)).status is Status.OK
        patch.setattr("exporter.evidence.validity._MOST_PATIENCE", -1.0)
        result = await evidence.judge("a", "b", RULE)
        assert result.status is Status.UNKNOWN
        assert " does not answer: it is being read for " in result.summary
        release.set()
        reading.join()
    assert (await evidence.judge("a", "b", RULE)).summary.endswith("cannot be read: Input/output error.")
    assert evidence.refresh()
    assert (await evidence.judge("a", "b", RULE)).status is Status.OK
    await evidence.close()


async def test_many_links_do_not_spend_each_others_time(folder: Folder, pages: Pages) -> None:
    pages.delay = 0.3
    folder.write(links=[pages.add(f"/{number}") for number in range(40)])
    result = await folder.judge(hosts=host(pages.url, timeout="2500ms"))  # less than all of them take
    assert result.status is Status.OK, result.summary


async def test_one_bad_link_among_good_ones_is_named(folder: Folder, pages: Pages) -> None:
    folder.write(links=[pages.add("/a"), f"{pages.url}/b", pages.add("/c")])
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, result.summary) == (Status.FAILED, f"{pages.url}/b does not exist (404).")


# Artefacts


def artifact(content: bytes, **place: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()} | place


async def test_an_artefact_is_compared_with_its_hash(folder: Folder) -> None:
    report = folder.path / "reports" / "a.xml"
    report.parent.mkdir()
    report.write_bytes(b"<xml/>")
    folder.write(artifact=artifact(b"<xml/>", path="reports/a.xml"))
    evidence = folder.evidence()
    result = await evidence.judge("a", "b", RULE)
    assert result.status is Status.OK
    assert await evidence.artifact(result.evidence[0]) == b"<xml/>"
    report.write_bytes(b"<xml></xml>")
    result = await evidence.judge("a", "b", RULE)
    assert result.status is Status.FAILED
    assert "reports/a.xml has the SHA-256 " in result.summary
    report.unlink()
    result = await evidence.judge("a", "b", RULE)
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Evidence for a.b is not valid: reports/a.xml does not exist.",
    )


async def test_a_file_system_that_hangs_holds_up_nothing_else(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, no_leftovers: None
) -> None:
    asked, release = [], threading.Event()

    def hang(path: Path, _name: str) -> bytes:
        asked.append(path)
        release.wait(60)
        return b"x"

    monkeypatch.setattr("exporter.evidence.store.read_artifact", hang)
    folder.write(artifact=artifact(b"x", path="a.xml"))
    evidence = folder.evidence()
    waiting = [asyncio.create_task(evidence.judge("a", "b", RULE)) for _ in range(20)]
    await eventually(lambda: asked, "the file to be read")
    waiting[0].cancel()
    assert (await evidence.judge("a", "c", RULE)).status is Status.FAILED, "what needs no file is judged meanwhile"
    release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {result.status for result in results[1:] if isinstance(result, Result)} == {Status.OK}
    assert len(asked) == 1


async def test_evidence_that_is_closed_while_it_is_read_was_not_seen(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, no_leftovers: None
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(*_: object) -> bytes:
        asked.set()
        release.wait(60)
        return b"x"

    monkeypatch.setattr("exporter.evidence.store.read_artifact", hang)
    folder.write(artifact=artifact(b"x", path="a.xml"))
    evidence = folder.evidence()
    judging = asyncio.create_task(evidence.judge("a", "b", RULE))
    await eventually(asked.is_set, "the artefact to be read")
    await evidence.close()
    release.set()
    result = await judging
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Evidence for a.b was not checked: The evidence was closed while it was read.",
    )


async def test_a_record_in_a_folder_names_files_beside_it(folder: Folder) -> None:
    (folder.path / "qa").mkdir()
    (folder.path / "qa" / "a.xml").write_bytes(b"x")
    folder.write("qa/a.yaml", artifact=artifact(b"x", path="a.xml"))
    assert (await folder.judge()).status is Status.OK


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "link"])
async def test_an_artefact_outside_the_folder_is_not_looked_at(folder: Folder, path: str) -> None:
    (folder.path / "link").symlink_to("/etc/passwd")
    folder.write(artifact=artifact(Path("/etc/passwd").read_bytes(), path=path))
    result = await folder.judge()
    assert (result.status, result.summary) == (
        Status.FAILED,
        f"Evidence for a.b is not valid: {path} is outside the evidence folder.",
    )


async def test_an_artefact_that_is_no_file_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder.path / "pipe")
    folder.write(artifact=artifact(b"", path="pipe"))
    assert "pipe is not a regular file." in (await folder.judge()).summary
    (folder.path / "large").write_bytes(b"12345")
    folder.write(artifact=artifact(b"12345", path="large"))
    monkeypatch.setattr("exporter.evidence.store.MAX_ARTIFACT", 4)
    result = await folder.judge()
    assert result.status is Status.UNKNOWN
    assert "large: expected at most 4 bytes, found more." in result.summary


async def test_an_artefact_that_cannot_be_opened_is_unknown(folder: Folder) -> None:
    folder.write(artifact=artifact(b"", path="a.yaml/b"))
    result = await folder.judge()
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Evidence for a.b was not checked: a.yaml/b cannot be read: Not a directory.",
    )


async def test_an_artefact_may_be_a_page(folder: Folder, pages: Pages) -> None:
    url = pages.add("/a.pdf", b"%PDF", Content_Type="application/pdf")
    folder.write(artifact=artifact(b"%PDF", url=url))
    assert (await folder.judge(hosts=host(pages.url))).status is Status.OK
    pages.add("/a.pdf", b"%PDF-2", Content_Type="application/pdf")
    assert (await folder.judge(hosts=host(pages.url))).status is Status.FAILED
    pages.add("/a.pdf", LOGIN)
    result = await folder.judge(hosts=host(pages.url))
    assert result.status is Status.UNKNOWN
    assert "answers with a login page, so the artifact was not checked." in result.summary
    del pages.pages["/a.pdf"]
    assert (await folder.judge(hosts=host(pages.url))).status is Status.FAILED
    assert (await folder.judge()).status is Status.UNKNOWN


async def test_a_record_without_artefact_has_none(folder: Folder) -> None:
    folder.write()
    evidence = folder.evidence()
    (found,) = evidence.records()
    with pytest.raises(Refuted, match="names no artifact"):
        await evidence.artifact(found)


# Pages that may not be the document


SHELL = "<title>Runbook</title><div id=app></div><script src=/app.js></script>"


@pytest.mark.parametrize(
    ("page", "must", "status", "summary"),
    [
        # A login page, though it has the text somewhere
        ({"body": f"<script>'Runbook'</script><!-- Runbook -->{LOGIN}"}, "Runbook", Status.UNKNOWN, "a login page"),
        ({"body": f"<title>Runbook</title>{LOGIN}"}, "Runbook", Status.UNKNOWN, "a login page"),
        ({"body": f"<p>Log in to see Runbook</p>{LOGIN}"}, "Runbook", Status.UNKNOWN, "a login page"),
        # Sign-ins without a password field
        ({"body": "<form><input type=email><button>Next</button></form>"}, None, Status.UNKNOWN, "asks for an address"),
        ({"body": "<a href=/saml/start>SSO</a>"}, None, Status.UNKNOWN, "set must_contain to a text of the document."),
        ({"body": "<button>Sign in with Okta</button>Runbook"}, "Runbook", Status.OK, "contains 'Runbook'."),
        ({"body": "<button>Sign in with Okta</button>"}, "Runbook", Status.UNKNOWN, "has a button to sign in and does not"),
        # Drawn by scripts
        ({"body": SHELL}, None, Status.UNKNOWN, "has no text before its scripts run"),
        ({"body": SHELL}, "Runbook", Status.UNKNOWN, "is drawn by scripts and does not contain 'Runbook'"),
        ({"body": f"{SHELL}<p>Loading…"}, None, Status.UNKNOWN, "is drawn by scripts"),
        ({"body": f"{SHELL}<p>{'A long document. ' * 20}"}, None, Status.OK, "answers."),
        # Right pages, however they are written
        ({"body": "<p>Fail<b>over</b>\r\n &amp;\u00a0restore"}, "Failover & restore", Status.OK, "contains"),
        ({"body": b"<p>\xdcber", "Content_Type": "text/html; charset=ISO-8859-1"}, "Über", Status.OK, "contains"),
        ({"body": "<p>restore"}, "Restore", Status.FAILED, "does not contain 'Restore'."),
        ({"body": "<html><body></body></html>"}, None, Status.FAILED, "is an empty page."),
        ({"body": "<img src=diagram.png>"}, None, Status.OK, "answers."),
        ({"body": b"\x89PNG", "Content_Type": "image/png"}, None, Status.OK, "answers."),
        ({"body": b"%PDF Runbook", "Content_Type": "application/pdf"}, "Runbook", Status.UNKNOWN, "cannot be searched for"),
        ({"body": "<h1>404 Not Found</h1>"}, None, Status.UNKNOWN, "is titled '404 Not Found'"),
        # A 200 that reports an error
        ({"body": '{"code":404}', "Content_Type": "application/json"}, None, Status.UNKNOWN, "reports the code 404"),
        ({"body": '{"status":"ok","code":200}', "Content_Type": "application/json"}, None, Status.OK, "answers."),
        ({"body": "404 page not found\n", "Content_Type": "text/plain"}, None, Status.UNKNOWN, "is titled '404 page not found'"),
        ({"body": "<p>Page not found</p>"}, None, Status.UNKNOWN, "is titled 'Page not found'"),
        ({"body": "<title>Wiki</title><h2>Page not found</h2><p>Search."}, None, Status.UNKNOWN, "is titled 'Page not found'"),
        ({"body": "<h1>Oops! That page can&rsquo;t be found.</h1>"}, None, Status.UNKNOWN, "can't be found"),
        ({"body": "<title>Seite nicht gefunden</title>Leider"}, None, Status.UNKNOWN, "is titled 'Seite nicht gefunden'"),
        ({"body": "<h1>This page has been deleted</h1>"}, None, Status.UNKNOWN, "has been deleted"),
        ({"body": "<h1>Failover</h1><p>Where it is not found, promote.<h2>Access denied</h2>"}, None, Status.OK, "answers."),
        ({"body": "<title>Page not found</title><p>Runbook was not found.<p>Search results for Runbook"}, "Runbook", Status.UNKNOWN,
            "is titled 'Page not found' and does not contain 'Runbook'"),
        ({"body": "<h1>503 errors</h1><p>Runbook: restart the gateway."}, "Runbook", Status.OK, "contains"),
        # The word noscript begins nothing in a comment or a script
        ({"body": "<script>document.write('<noscript>')</script><p>Runbook"}, "Runbook", Status.OK, "contains"),
        ({"body": "<!-- no <noscript> here --><p>Runbook"}, "Runbook", Status.OK, "contains"),
        ({"body": "<h1>Wiki</h1><!-- <noscript> --><input type=password>"}, None, Status.UNKNOWN, "a login page"),
        ({"body": "<p>Wiki<noscript>Runbook</noscript>"}, "Runbook", Status.FAILED, "does not contain"),
        # Charsets as browsers know them
        ({"body": '<?xml version="1.0" encoding="windows-1251"?><p>Авария</p>'.encode("cp1251")}, "Авария", Status.OK, "contains"),
        ({"body": "<p>镕".encode("gbk"), "Content_Type": "text/html; charset=gb2312"}, "镕", Status.OK, "contains"),
        ({"body": "<p>手順①".encode("cp932"), "Content_Type": "text/html; charset=Shift_JIS"}, "手順①", Status.OK, "contains"),
        ({"body": "<meta charset=utf-16><p>Über"}, "Über", Status.OK, "contains"),
        ({"body": b"<html><input type=password>", "Content_Type": "application/x"}, None, Status.UNKNOWN, "a login page"),
        # Hidden in other ways, and shown by what is no script
        ({"body": "<p>Wiki<div popover>Runbook</div>"}, "Runbook", Status.FAILED, "does not contain"),
        ({"body": "<p>Wiki<div style='opacity: 0'>Runbook</div>"}, "Runbook", Status.FAILED, "does not contain"),
        ({"body": "<p>Wiki<div style='opacity: 0.9; font-size: 0.8em'>Runbook</div>"}, "Runbook", Status.OK, "contains"),
        ({"body": "<x-x><template shadowrootmode=open>Runbook</template></x-x>"}, "Runbook", Status.UNKNOWN, "drawn by scripts"),
        # Refreshes are redirects
        ({"body": "<meta http-equiv=refresh content='0;url=/login'>Runbook"}, "Runbook", Status.UNKNOWN, "redirects to a login"),
        ({"body": "Runbook", "Refresh": "0; url=/login"}, "Runbook", Status.UNKNOWN, "redirects to a login"),
        ({"body": "<meta http-equiv=refresh content=30><p>Board"}, None, Status.OK, "answers."),
        ({"body": "<meta http-equiv=refresh content='1800;url=/logout'><p>Doc"}, None, Status.OK, "answers."),
        ({"body": "<meta http-equiv=refresh content='0;url=/a/b'>"}, "moved", Status.OK, "contains 'moved'"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_page_is_read_as_a_person_reads_it(
    folder: Folder, pages: Pages, page: dict[str, Any], must: str | None, status: Status, summary: str
) -> None:
    pages.add("/a/b", "<p>It moved here")
    url = pages.add("/a", **page)
    folder.write(links=[{"url": url, "must_contain": must}] if must else [url])
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, summary in result.summary) == (status, True), result.summary


@pytest.mark.parametrize(
    ("to", "status", "summary"),
    [
        ("/", Status.UNKNOWN, "/wiki/a redirects to the front page, so it may be another page than the document"),
        ("/wiki", Status.UNKNOWN, "redirects to /wiki"),
        ("/home", Status.UNKNOWN, "redirects to /home"),
        ("/errors/404.html", Status.UNKNOWN, "redirects to /errors/404.html"),
        ("/enter?continue=%2Fwiki%2Fa", Status.UNKNOWN, "redirects to a login page"),
        ("/x?SAMLRequest=abc", Status.UNKNOWN, "redirects to a login page"),
        ("/oidc/start", Status.UNKNOWN, "redirects to a login page"),
        ("/wiki/a/", Status.OK, "answers"),
        ("/wiki/b", Status.OK, "answers"),
        ("/en/wiki/a", Status.OK, "answers"),
    ],
)
async def test_a_redirect_away_from_the_document_is_not_the_document(
    folder: Folder, pages: Pages, to: str, status: Status, summary: str
) -> None:
    pages.add(to)
    folder.write(links=[pages.redirect("/wiki/a", to)])
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, summary in result.summary) == (status, True), result.summary
    folder.write(links=[{"url": f"{pages.url}/wiki/a", "must_contain": "Here is"}])
    held = await folder.judge(hosts=host(pages.url))
    assert held.status is (Status.UNKNOWN if "login" in summary else Status.OK), "must_contain decides"


async def test_links_that_all_show_one_text_show_no_documents(folder: Folder, pages: Pages) -> None:
    links = [pages.add("/a", "<p>Willkommen</p>"), pages.add("/b", "<div>Willkommen</div>")]
    folder.write(links=links)
    result = await folder.judge(hosts=host(pages.url))
    assert result.status is Status.UNKNOWN
    assert "shows the same text as another link" in result.summary


async def test_a_text_that_the_address_itself_has_proves_nothing(folder: Folder, pages: Pages) -> None:
    """A trap: a page for searching repeats what was searched for, also where there is none."""
    url = pages.add("/search?q=Escalation+Policy", "<p>Nothing for escalation policy, but for rollback</p>")
    folder.write(links=[{"url": url, "must_contain": "escalation policy"}])
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, "has 'escalation policy' in its address" in result.summary) == (Status.UNKNOWN, True)
    folder.write(links=[{"url": url, "must_contain": "rollback"}])
    assert (await folder.judge(hosts=host(pages.url))).status is Status.OK


async def test_pages_that_differ_by_a_time_alone_are_one(folder: Folder, pages: Pages) -> None:
    links = [pages.add(f"/{n}", f"<p>Wiki home. Generated on 2026-10-0{n} at 12:00:0{n}</p>") for n in range(1, 3)]
    folder.write(links=links)
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, "shows the same text as another link" in result.summary) == (Status.UNKNOWN, True)


async def test_when_a_link_needs_must_contain_is_an_option(folder: Folder, pages: Pages) -> None:
    folder.write(links=[pages.add("/a", "<a href=/login>Sign in</a> Runbook")])
    hosts = host(pages.url)
    for option, status in (("auto", Status.UNKNOWN), ("never", Status.OK), ("always", Status.UNKNOWN)):
        assert (await folder.judge(hosts=hosts, require_must_contain=MustContain(option))).status is status
    folder.write(links=[pages.add("/a", "Runbook")])
    assert (await folder.judge(hosts=hosts, require_must_contain=MustContain.ALWAYS)).status is Status.FAILED
    pages.add("/a", LOGIN)
    assert (await folder.judge(hosts=hosts, require_must_contain=MustContain.NEVER)).status is Status.UNKNOWN


# People and keys


async def test_the_name_of_a_role_signs_nothing(folder: Folder, keys: Keys, signed: Callable[..., Path]) -> None:
    signers = folder.path / "allowed_signers"
    signers.write_text(f"quinn@example.com,qa_lead,technical_lead {keys.public('quinn')}\n")
    for by in ("qa_lead", "technical_lead"):
        signed(by=by)
        result = await folder.judge(QA, allowed_signers=signers, roles=("technical_lead",))
        assert result.status is Status.FAILED
        assert f"{by} is the name of a role" in result.summary
    signed()
    assert (await folder.judge(QA, allowed_signers=signers, roles=("technical_lead",))).status is Status.OK


async def test_a_pattern_names_nobody(folder: Folder, keys: Keys, signed: Callable[..., Path]) -> None:
    signers = folder.path / "allowed_signers"
    signers.write_text(f"*@example.com,qa_lead {keys.public('quinn')}\n")
    for by in ("anyone@example.com", "*@example.com"):
        signed(by=by)
        result = await folder.judge(QA, allowed_signers=signers)
        assert result.status is Status.FAILED
        assert "by a pattern alone, expected the person." in result.summary


@pytest.mark.parametrize("form", ["krl", "list"])
async def test_a_revoked_key_signs_nothing(
    folder: Folder, keys: Keys, signed: Callable[..., Path], signers: Path, form: str
) -> None:
    signed()
    revoked = folder.path / "revoked"

    def revoke(name: str) -> None:
        public = keys.private(name).with_suffix(".pub")
        if form == "krl":
            subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(revoked), str(public)], check=True, capture_output=True)
        else:
            revoked.write_text(f"# gone\n{public.read_text()}")

    result = await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)
    assert result.status is Status.UNKNOWN, "a list that is not there revokes nobody, for all that is known"
    assert "revoked cannot be read, so it is not known whether a key is revoked" in result.summary
    revoke("mallory")
    assert (await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)).status is Status.OK
    revoke("quinn")
    result = await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)
    assert (result.status, result.reason) == (Status.FAILED, Reason.EXPIRED)
    assert result.summary == "Evidence for a.b is not valid: The key of qa.yaml.sig is revoked in revoked."
    revoked.write_bytes(revoked.read_bytes()[:40])
    assert (await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)).status is Status.UNKNOWN


async def test_markers_of_known_hosts_are_not_ignored(
    folder: Folder, keys: Keys, signed: Callable[..., Path], signers: Path
) -> None:
    signed()
    listed = signers.read_text()
    signers.write_text(f"@revoked quinn@example.com {keys.public('quinn')}\n{listed}")
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.FAILED
    assert "allowed_signers marks the key of qa.yaml.sig as @revoked." in result.summary
    signers.write_text(f"@revoked * {keys.public('dana')}\n{listed}")
    assert (await folder.judge(QA, allowed_signers=signers)).status is Status.OK
    signers.write_text(f"@revoked quinn@example.com\n{listed}")
    result = await folder.judge(QA, allowed_signers=signers)
    assert result.status is Status.UNKNOWN
    assert "allowed_signers:1: markers such as" in result.summary


async def test_two_approvers_are_two_people(folder: Folder, keys: Keys, signed: Callable[..., Path]) -> None:
    signers = folder.path / "allowed_signers"
    signers.write_text(
        f"quinn@example.com,Quinn {keys.public('quinn')}\nQuinn@example.com {keys.public('sam')}\n"
        f"dana@example.com {keys.public('dana')}\n"
    )
    two = EvidenceRule(timedelta(days=30), approvers=2)

    async def seen() -> tuple[Status, str]:
        result = await folder.judge(two, allowed_signers=signers)
        return result.status, result.summary

    signed("1.yaml", on="2026-10-01", role=None)
    status, summary = await seen()
    assert status is Status.FAILED
    assert "has 1 of 2 approvals, by quinn@example.com; each takes another person's signed record." in summary
    signed("2.yaml", key="sam", by="Quinn@example.com", on="2026-10-02", role=None)
    signed("3.yaml", by="Quinn", on="2026-10-02", role=None)
    assert "has 1 of 2 approvals" in (await seen())[1], "one person in several spellings"
    folder.write("4.yaml", by="dana@example.com", on="2026-10-03")
    assert (await seen())[0] is Status.FAILED, "unsigned"
    signed("4.yaml", key="dana", by="dana@example.com", on="2026-10-03", role=None)
    result = await folder.judge(two, allowed_signers=signers)
    assert (result.status, len(result.evidence)) == (Status.OK, 2)
    assert result.valid_until == datetime(2026, 11, 1, tzinfo=UTC)
    signed("5.yaml", by="Quinn", result="failed", on="2026-10-02", role=None)
    assert "has 1 of 2 approvals, by dana@example.com" in (await seen())[1], "whoever denied it after the first"
    assert (await folder.judge(two)).status is Status.UNKNOWN, "signatures that nobody can verify"


async def test_a_document_about_logins_may_move(folder: Folder, pages: Pages) -> None:
    """Sites answer /wiki/auth by a redirect to /wiki/auth/: its name is no login."""
    for asked, to, status in (
        ("/wiki/auth", "/wiki/auth/", Status.OK),
        ("/wiki/sso", "/wiki/sso/index.html", Status.OK),
        ("/auth/runbook", "/auth/login", Status.UNKNOWN),
        ("/wiki/a", "/session/new", Status.UNKNOWN),
    ):
        pages.add(to, "<p>Some page.")
        folder.write(links=[pages.redirect(asked, to)])
        result = await folder.judge(hosts=host(pages.url))
        assert (asked, result.status) == (asked, status), result.summary


async def test_one_document_under_five_addresses_is_one(folder: Folder, pages: Pages) -> None:
    links = [{"url": pages.add(f"/kb?v={number}", "<p>Runbook"), "must_contain": "Runbook"} for number in range(5)]
    folder.write(links=links)
    result = await folder.judge(hosts=host(pages.url))
    assert (result.status, "shows the same text as another link" in result.summary) == (Status.UNKNOWN, True)
    folder.write(links=links[:1])
    assert (await folder.judge(hosts=host(pages.url))).status is Status.OK


@pytest.mark.parametrize(
    ("denial", "status"),
    [
        ({}, Status.FAILED),
        ({"release": "1.4.2", "environment": "Production"}, Status.FAILED),
        ({"release": "1.4.1"}, Status.OK),
        ({"release": "1.4.2", "environment": "staging"}, Status.OK),
    ],
)
async def test_a_denial_counts_unless_it_is_about_something_else(
    folder: Folder, denial: dict[str, str], status: Status
) -> None:
    folder.write("1.yaml", release="1.4.2")
    folder.write("2.yaml", result="failed", on="2026-10-05", **denial)
    assert (await folder.judge(RELEASE)).status is status


async def test_a_record_that_cannot_be_read_may_deny(folder: Folder) -> None:
    """A newer record is there, and only its name is known: what it says may be that the line is false."""
    folder.write("1.yaml")
    bad = folder.path / "2.yaml"
    bad.symlink_to("not-checked-out.yaml")
    result = await folder.judge()
    assert (result.status, "2.yaml: cannot be read: No such file" in result.summary) == (Status.UNKNOWN, True)
    bad.unlink()
    bad.write_text("# " + "x" * 300_000)
    assert (await folder.judge()).status is Status.OK, "it is too large to be read, but does not name the line"
    bad.write_text("# " + "x" * 300_000 + "\n- item: a.b\n")
    assert (await folder.judge()).status is Status.UNKNOWN
    bad.unlink()
    folder.write("2.YAML", result="failed", on="2026-10-05")
    assert (await folder.judge()).status is Status.FAILED
    (folder.path / "2.YAML").unlink()
    apart = folder.path.with_name("apart")
    apart.mkdir()
    folder.write("../apart/2.yaml", result="failed", on="2026-10-05")
    (folder.path / "linked").symlink_to(apart)
    (apart / "round").symlink_to(apart)
    assert (await folder.judge()).status is Status.FAILED


async def test_an_empty_artefact_shows_nothing(folder: Folder) -> None:
    (folder.path / "scan.txt").write_bytes(b"\n")
    folder.write(artifact=artifact(b"\n", path="scan.txt"))
    result = await folder.judge()
    assert (result.status, "scan.txt is empty." in result.summary) == (Status.FAILED, True)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
async def test_a_certificate_is_revoked_by_its_key_itself_or_its_authority(
    folder: Folder, keys: Keys, kind: str
) -> None:
    """As sshd reads the same lists; the serial and the identity are matters of a KRL."""
    authority, key = keys.private("authority"), keys.directory / f"certified-{kind}"

    def run(*arguments: str) -> None:
        subprocess.run(["ssh-keygen", "-q", *arguments], check=True, capture_output=True)

    run("-t", kind, "-N", "", "-C", "", "-f", str(key))
    public, certificate = key.with_suffix(".pub"), key.with_name(f"{key.name}-cert.pub")
    run("-s", str(authority), "-I", "quinn", "-z", "7", "-n", "quinn@example.com,qa_lead", str(public))
    path = folder.write("qa.yaml", by="quinn@example.com", role="qa_lead", release="1.4.2")
    run("-Y", "sign", "-f", str(certificate), "-n", "checklist-exporter", str(path))
    signers, revoked = folder.path / "allowed_signers", folder.path / "revoked"
    listed = f"*@example.com,qa_lead cert-authority {keys.public('authority')}\n"
    signers.write_text(listed)
    revoked.write_text(keys.public("mallory"))
    assert (await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)).status is Status.OK
    for lines in (keys.public("authority"), public.read_text(), certificate.read_text()):
        revoked.write_text(lines)
        result = await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)
        assert (result.status, result.reason) == (Status.FAILED, Reason.EXPIRED), lines
        signers.write_text(f"{listed}@revoked * {lines}\n")
        assert (await folder.judge(QA, allowed_signers=signers)).status is Status.FAILED, lines
        signers.write_text(listed)
    spec = folder.path / "spec"
    spec.write_text("serial: 7\n")
    revoked.unlink()
    run("-k", "-f", str(revoked), "-s", str(authority.with_suffix(".pub")), str(spec))
    assert (await folder.judge(QA, allowed_signers=signers, revoked_keys=revoked)).status is Status.FAILED
