"""Attesting: what is written is what is read, signed when it must be, and nothing is ever written over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.evidence.attest import NotAttested, Situation, _lines, attest
from exporter.evidence.records import parse_records
from exporter.evidence.rules import ReportSummary
from exporter.evidence.validity import Evidence, EvidenceRule
from exporter.verdict import ProbeError, Status
from tests.servers.signing import Keys

NOON = datetime(2026, 10, 13, 12, tzinfo=UTC)
PLAIN = EvidenceRule(valid_for=timedelta(days=30))
QA = EvidenceRule(valid_for=timedelta(days=30), signed_by_role="qa_lead", bound_to_release=True)
GIVEN = {"result": "passed", "by": "quinn@example.com"}


@pytest.fixture
def situation(tmp_path: Path) -> Situation:
    return Situation(tmp_path / "evidence", NOON, environment="production", release="1.4.2")


class Terminal:
    """A person who answers what was prepared."""

    def __init__(self, answers: Mapping[str, list[str]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def __call__(self, key: str, wanted: str) -> str:
        self.asked.append((key, wanted))
        return self.answers[key].pop(0)


def files(situation: Situation) -> list[str]:
    return sorted(path.name for path in situation.folder.rglob("*"))


async def test_a_record_is_written_as_a_person_would_and_read_back(situation: Situation) -> None:
    given = GIVEN | {
        "note": 'He said: "go" — #1',
        "measured": {"levels": 2},
        "links": ["https://wiki.example.com/a"],
        "valid_until": None,
    }
    attested = await attest(situation, "a.b", PLAIN, given)
    assert attested.path.name == "a.b.2026-10-13.yaml"
    assert attested.path.read_text() == (
        "item: a.b\n"
        "result: passed\n"
        "by: quinn@example.com\n"
        'note: "He said: \\"go\\" — #1"\n'
        "measured:\n"
        "  levels: 2\n"
        "links:\n"
        "  - https://wiki.example.com/a\n"
        "on: 2026-10-13T12:00:00Z\n"
        "environment: production\n"
    )
    assert attested.signature is None
    assert attested.standing.status is Status.OK
    (record,) = Evidence(situation.folder, now=lambda: NOON).records("a.b")
    assert record.note == given["note"]
    assert files(situation) == ["a.b.2026-10-13.yaml"]


async def test_what_is_missing_is_asked_for(situation: Situation) -> None:
    (situation.folder).mkdir()
    (situation.folder / "roster").write_bytes(b"alice\n")
    rule = EvidenceRule(
        timedelta(days=30), bound_to_release=True, links=2, measured=("a", "b", "c"), artifact=True, window=True
    )
    answers = {
        "result": ["passed"],
        "by": [" quinn@example.com "],
        "release": ["1.4.2"],
        "artifact": ["roster"],
        "window.start": ["2026-10-20"],
        "window.end": ["2026-10-21"],
        "measured.b": ["3"],
        "measured.c": ["0.5"],
        "links": ["https://wiki.example.com/b"],
    }
    terminal = Terminal(answers)
    unreleased = Situation(situation.folder, NOON)
    given = {"links": ["https://wiki.example.com/a"], "measured": {"a": 1}}
    attested = await attest(unreleased, "a.b", rule, given, ask=terminal)
    assert [key for key, _ in terminal.asked] == list(answers)
    assert attested.record.measured == {"a": 1, "b": 3, "c": 0.5}
    assert "  b: 3\n" in attested.path.read_text()
    assert str(attested.record.window) == "start=datetime.date(2026, 10, 20) end=datetime.date(2026, 10, 21)"
    assert terminal.asked[-1][1] == "address of a page that shows it (2 of 2)"
    assert attested.record.by == "quinn@example.com"
    assert attested.record.environment is None
    assert attested.record.artifact is not None
    assert attested.record.artifact.sha256.startswith("f87165e3")
    assert [link.url[-1] for link in attested.record.links] == ["a", "b"]


@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        (PLAIN, {}, "result is missing: passed or failed."),
        (PLAIN, {"result": "passed"}, "by is missing: who attests it, as in allowed_signers when signed."),
        (EvidenceRule(timedelta(1), links=1), GIVEN, "links is missing: address of a page that shows it (1 of 1)."),
        (EvidenceRule(timedelta(1), artifact=True), GIVEN, "artifact is missing: path of the document"),
        (EvidenceRule(timedelta(1), measured=("levels",)), GIVEN, "measured.levels is missing: a number."),
        (EvidenceRule(timedelta(1), window=True), GIVEN, "window.start is missing: when the period begins"),
        (PLAIN, GIVEN | {"artifact": "/etc/passwd"}, "Artifact /etc/passwd is not in the evidence folder."),
        (PLAIN, GIVEN | {"artifact": "missing"}, "Artifact missing does not exist."),
        (
            PLAIN,
            GIVEN | {"on": "yesterday"},
            "The record would not be valid: a.b.yesterday.yaml:4:1: on: expected a date",
        ),
        (PLAIN, GIVEN | {"measured": {"a": "b"}}, "measured.a: expected a number"),
        (PLAIN, GIVEN | {"by": "a\nresult: passed"}, "The record would not be valid: "),
        (QA, GIVEN, "Evidence for a.b must be signed: give the private key with --key."),
    ],
)
async def test_without_what_it_takes_nothing_is_written(
    situation: Situation, rule: EvidenceRule, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotAttested) as raised:
        await attest(situation, "a.b", rule, given)
    assert message in str(raised.value)
    assert files(situation) == []
    with pytest.raises(NotAttested):
        await attest(situation, "a.b", rule, given, ask=lambda key, wanted: " ")


async def test_a_record_that_says_failed_lacks_nothing_but_who_found_it(situation: Situation) -> None:
    rule = EvidenceRule(timedelta(1), measured=("levels",), links=1, artifact=True, window=True)
    attested = await attest(situation, "a.b", rule, {"result": "failed", "by": "quinn@example.com", "note": "No."})
    assert "reports failed: No." in attested.standing.summary
    with pytest.raises(NotAttested, match="by is missing"):
        await attest(situation, "a.b", rule, {"result": "failed"}, file="again.yaml")


async def test_an_artefact_that_could_not_be_seen_later_is_not_attested(
    situation: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.evidence.store.MAX_ARTIFACT", 10)
    situation.folder.mkdir()
    (situation.folder / "large").write_bytes(bytes(11))
    os.mkfifo(situation.folder / "pipe")
    for name, message in (("large", "Artifact large: "), ("pipe", "Artifact pipe is not a regular file.")):
        with pytest.raises(NotAttested, match=message):
            await attest(situation, "a.b", PLAIN, GIVEN | {"artifact": name})
    assert files(situation) == ["large", "pipe"]


async def test_an_answer_that_is_no_number_is_refused(situation: Situation) -> None:
    rule = EvidenceRule(timedelta(1), measured=("levels",))
    with pytest.raises(NotAttested, match=r"measured\.levels is 'two', a number was wanted"):
        await attest(situation, "a.b", rule, GIVEN, ask=lambda key, wanted: "two")


@pytest.mark.parametrize("file", ["../a.yaml", "/tmp/a.yaml", "a.txt", ".a.yaml", ".drafts/a.yaml"])
async def test_records_are_written_into_the_folder_alone(situation: Situation, file: str) -> None:
    with pytest.raises(NotAttested, match=r"is not a \.yaml file in the evidence folder"):
        await attest(situation, "a.b", PLAIN, GIVEN, file=file)


async def test_nothing_is_written_over(situation: Situation, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    attested = await attest(situation, "a.b", PLAIN, GIVEN, file="qa/a.yaml")
    before = attested.path.read_bytes()
    with pytest.raises(NotAttested, match="exists already and was left as it is"):
        await attest(situation, "a.b", PLAIN, GIVEN | {"result": "failed"}, file="qa/a.yaml")
    assert attested.path.read_bytes() == before
    key = keys.private("quinn")
    # Somebody else writes it at the same moment: the look before sees nothing.
    monkeypatch.setattr(Path, "exists", lambda self: self.suffix == ".sig")
    with pytest.raises(NotAttested, match="exists already"):
        await attest(situation, "a.b", PLAIN, GIVEN, file="qa/a.yaml", key=key)
    assert attested.path.read_bytes() == before
    assert files(situation) == ["a.yaml", "qa"]


async def test_a_folder_that_cannot_be_written_is_said(situation: Situation) -> None:
    situation.folder.write_text("a file")
    with pytest.raises(NotAttested, match="was not written: "):
        await attest(situation, "a.b", PLAIN, GIVEN)


async def test_a_signed_record_holds(situation: Situation, keys: Keys) -> None:
    signers = situation.folder.parent / "allowed_signers"
    signers.write_text(f"quinn@example.com,qa_lead {keys.public('quinn')}\n")
    situation = Situation(situation.folder, NOON, "production", "1.4.2", signers)
    attested = await attest(situation, "a.b", QA, GIVEN, key=keys.private("quinn"))
    assert attested.record.role == "qa_lead"
    assert attested.record.release == "1.4.2"
    assert files(situation) == ["a.b.2026-10-13.yaml", "a.b.2026-10-13.yaml.sig"]
    evidence = Evidence(
        situation.folder, now=lambda: NOON, environment="production", release="1.4.2", allowed_signers=signers
    )
    assert (await evidence.judge("a", "b", QA)).status is Status.OK


async def test_a_key_that_would_not_be_accepted_writes_nothing(situation: Situation, keys: Keys) -> None:
    signers = situation.folder.parent / "allowed_signers"
    signers.write_text(f"quinn@example.com {keys.public('quinn')}\n")
    listed = Situation(situation.folder, NOON, "production", "1.4.2", signers)
    with pytest.raises(NotAttested, match=r"does not list the key of .* for qa_lead"):
        await attest(listed, "a.b", QA, GIVEN, key=keys.private("quinn"))
    with pytest.raises(NotAttested, match="was not signed: ssh-keygen exited with"):
        await attest(listed, "a.b", QA, GIVEN, key=situation.folder / "missing")
    assert files(situation) == []


@given(
    st.text(max_size=40)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["1e5", "yes", "null", "~", "- a", "a: b", "0x1", "2026-10-01", "x #y", "'", "*a", "&a", "%", "{}"]
    )
)
def test_every_note_that_is_written_is_read_back(value: object) -> None:
    content = "".join(_lines(GIVEN | {"item": "a.b", "on": "2026-10-01", "note": value})).encode("utf-8", "replace")
    read = parse_records(content, "a.yaml")
    if isinstance(value, str) and value.isprintable():
        assert read.records[0].note == value
    else:
        assert len(read.records) + len(read.unreadable) == 1
    assert json.dumps(str(read)) is not None


REPORT = EvidenceRule(
    valid_for=timedelta(days=30),
    artifact=True,
    reads=lambda content: ReportSummary(
        "Locust", NOON - timedelta(hours=2), {"requests": 19.0}, ("target", "exit_code")
    ),
)


async def test_a_report_fills_what_it_says_and_what_it_lacks_is_named(situation: Situation) -> None:
    situation.folder.mkdir()
    (situation.folder / "load.json").write_text("[]")
    given = GIVEN | {"artifact": "load.json"}
    with pytest.raises(
        NotAttested, match=r"does not say its target and exit_code: give --report target=… --report exit_c"
    ):
        await attest(situation, "a.b", REPORT, given)
    with pytest.raises(NotAttested, match=r"report\.host is not a key of a record"):
        await attest(situation, "a.b", REPORT, given | {"report": {"target": "a", "exit_code": 0, "host": "b"}})
    terminal = Terminal({"report.exit_code": ["0"]})
    attested = await attest(situation, "a.b", REPORT, given | {"report": {"target": "http://a"}}, ask=terminal)
    assert [key for key, _ in terminal.asked] == ["report.exit_code"]
    record = attested.record
    assert record.report
    assert (record.report.target, record.report.exit_code) == ("http://a", 0)
    assert record.measured == {"requests": 19}
    assert record.on == NOON - timedelta(hours=2)


async def test_a_report_of_no_known_format_is_not_attested(situation: Situation) -> None:
    def unreadable(content: bytes) -> ReportSummary:
        raise ProbeError("The report is empty: the tool did not finish.")

    situation.folder.mkdir()
    (situation.folder / "load.json").write_text("")
    rule = EvidenceRule(valid_for=timedelta(days=30), artifact=True, reads=unreadable)
    with pytest.raises(NotAttested, match=r"load\.json: The report is empty"):
        await attest(situation, "a.b", rule, GIVEN | {"artifact": "load.json"})
