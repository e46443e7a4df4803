"""Tests of `attest`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import Ended
from tests.servers.pages import Pages
from tests.servers.signing import Keys

Run = Callable[..., Ended]
TODAY = datetime.now(UTC).date()
WINDOW = "final_checklist.launch_window_confirmed"
LINE = "training.support_trained"
GIVEN = ("--result", "passed", "--by", "lead@example.com", "--role", "product_owner")


def test_a_record_is_written_once_and_holds(run: Run, evidence: Path) -> None:
    command = ("attest", WINDOW, "--config.file", evidence, *GIVEN, "--window", f"{TODAY}/{TODAY + timedelta(days=1)}")
    ended = run(*command, "--note", "Agreed with all teams.", "--file", "window.yaml")
    assert ended.code == ExitCode.OK, ended.err
    assert ended.out.startswith("Wrote ")
    record = yaml.safe_load((evidence.parent / "evidence" / "window.yaml").read_text())
    assert (record["item"], record["environment"], record["note"]) == (WINDOW, "staging", "Agreed with all teams.")
    again = run(*command, "--file", "window.yaml")
    assert again.code == ExitCode.CONFIGURATION
    assert yaml.safe_load((evidence.parent / "evidence" / "window.yaml").read_text()) == record


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("training.nobody_trained",), "The checklist has no item 'training.nobody_trained'"),
        (("redis.tls_enabled", *GIVEN), "redis.tls_enabled takes no evidence."),
        ((WINDOW, *GIVEN, "--window", "tomorrow"), "--window takes START/END"),
        ((WINDOW, *GIVEN, "--measured", "rows=many"), "--measured takes NAME=NUMBER"),
    ],
)
def test_what_cannot_be_attested_is_told(run: Run, evidence: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = run("attest", *arguments, "--config.file", evidence)
    assert ended.code == ExitCode.CONFIGURATION
    assert told in ended.err
    assert list((evidence.parent / "evidence").iterdir()) == []


def test_what_is_missing_is_named_where_nobody_can_be_asked(run: Run, evidence: Path) -> None:
    ended = run("attest", WINDOW, "--config.file", evidence, "--by", "lead@example.com")
    assert ended.code == ExitCode.CONFIGURATION
    assert "result" in ended.err


def test_without_a_folder_nothing_is_written(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("environment: staging\n")
    ended = run("attest", WINDOW, "--config.file", config, *GIVEN)
    assert (ended.code, "names no evidence folder" in ended.err) == (ExitCode.CONFIGURATION, True)


@pytest.fixture
def roster(evidence: Path) -> Path:
    """The document that a record about training needs."""
    roster = evidence.parent / "evidence" / "roster.txt"
    roster.write_text("one@example.com\ntwo@example.com\n")
    return roster


@pytest.fixture
def site(evidence: Path, pages: Pages) -> Pages:
    """A site that may be opened."""
    folder = evidence.parent / "evidence"
    options = json.dumps({"folder": str(folder), "hosts": [{"url": pages.url}]})
    evidence.write_text(evidence.read_text().replace(f"evidence: {folder}", f"evidence: {options}"))
    return pages


def trained(site: Pages, *more: object) -> tuple[object, ...]:
    """What a record about training takes."""
    said = ("--result", "passed", "--by", "lead@example.com", "--artifact", "roster.txt", "--link", site.add("/t"))
    return (*said, "--measured", "trained=2", "--measured", "total=2", *more)


def test_what_is_missing_is_asked_for_on_a_terminal(
    run: Run, evidence: Path, roster: Path, site: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"passed\nlead@example.com\n{roster.name}\n2\n2\n{site.add('/t')}\n"))
    ended = run("attest", LINE, "--config.file", evidence, "--on", TODAY.isoformat())
    assert ended.code == 0, ended.err
    assert "result (passed or failed)" in ended.err
    assert yaml.safe_load((roster.parent / f"{LINE}.{TODAY}.yaml").read_text())["by"] == "lead@example.com"


# Judged before it is written, as the daemon judges it


def refused(run: Run, evidence: Path, *arguments: object) -> str:
    """Why nothing was written; with --force it is, and the verdict is the same."""
    before = sorted((evidence.parent / "evidence").iterdir())
    ended = run("attest", *arguments, "--config.file", evidence)
    assert ended.code == ExitCode.CONFIGURATION, ended.out
    assert "Not written, since it would not pass: " in ended.err
    assert sorted((evidence.parent / "evidence").iterdir()) == before
    why = ended.err.partition("would not pass: ")[2].strip()
    forced = run("attest", *arguments, "--config.file", evidence, "--force")
    assert forced.code == ExitCode.OK, forced.err
    assert why.partition(". ")[0] in forced.out
    return why


def test_the_configured_validity_counts_and_an_expired_record_is_not_written(
    run: Run, evidence: Path, roster: Path, site: Pages
) -> None:
    evidence.write_text(evidence.read_text().replace("training: {}", "training: {valid_for: {support_trained: 30d}}"))
    on = TODAY - timedelta(days=61)
    why = refused(run, evidence, LINE, *trained(site, "--on", on.isoformat()))
    assert why == f"Evidence for {LINE} expired 31 days ago ({on + timedelta(days=29)})."


def test_a_link_outside_the_hosts_is_not_written(run: Run, evidence: Path, roster: Path, site: Pages) -> None:
    why = refused(run, evidence, LINE, *trained(site, "--link", "https://example.com/t"))
    assert why == "https://example.com/t is not below any of evidence.hosts, so it was not opened."


def test_a_link_that_does_not_answer_with_its_document_is_not_written(
    run: Run, evidence: Path, roster: Path, site: Pages
) -> None:
    why = refused(run, evidence, LINE, *trained(site, "--link", f"{site.url}/gone"))
    assert why == f"{site.url}/gone does not exist (404)."


def test_what_only_the_section_can_tell_is_judged_too(run: Run, evidence: Path, roster: Path, site: Pages) -> None:
    roster.write_text("one@example.com\nOne <ONE@example.com>\n")
    why = refused(run, evidence, LINE, *trained(site))
    assert why == "The roster names 1 person, the record says that 2 were trained."


def test_a_record_that_denies_is_written_unless_it_is_of_the_future(run: Run, evidence: Path) -> None:
    denied = (WINDOW, "--result", "failed", "--by", "lead@example.com", "--note", "Two teams are away.")
    ended = run("attest", *denied, "--window", f"{TODAY}/{TODAY}", "--config.file", evidence)
    assert ended.code == ExitCode.OK, ended.err
    assert "reports failed: Two teams are away." in ended.out
    ended = run("attest", *denied, "--on", "2062-01-01", "--window", f"{TODAY}/{TODAY}", "--config.file", evidence)
    assert (ended.code, "which is in the future" in ended.err) == (ExitCode.CONFIGURATION, True)


def test_a_sign_off_for_a_second_role_is_not_written(run: Run, evidence: Path, keys: Keys) -> None:
    folder, signers = evidence.parent / "evidence", evidence.parent / "allowed_signers"
    signers.write_text(f"theo@example.com,technical_lead,qa_lead {keys.public('theo')}\n")
    options = json.dumps({"folder": str(folder), "allowed_signers": str(signers)})
    evidence.write_text(evidence.read_text().replace(f"evidence: {folder}", f"evidence: {options}"))
    said = ("--result", "passed", "--by", "theo@example.com", "--key", keys.private("theo"))
    ended = run("attest", "signatories.technical_lead", *said, "--config.file", evidence)
    assert ended.code == ExitCode.OK, ended.err
    assert "theo@example.com signed 1.4.2" in ended.out
    ended = run("attest", "signatories.qa_lead", *said, "--config.file", evidence)
    assert "theo@example.com also signed as technical_lead; each role takes another person." in ended.err
    assert len(list(folder.iterdir())) == 2


def test_a_line_that_nothing_verifies_yet_is_called_so(run: Run, evidence: Path) -> None:
    own = evidence.with_name("own.md")
    own.write_text("# Launch\n- [ ] Nobody verifies this\n")
    evidence.write_text(f"{evidence.read_text().replace('sections: {training: {}}', '')}checklist: {own}\n")
    ended = run("attest", "launch.nobody_verifies_this", *GIVEN, "--config.file", evidence)
    assert (ended.code, "is not verified by any collector yet" in ended.err) == (ExitCode.CONFIGURATION, True)


def test_the_first_of_two_approvals_of_a_line_of_ones_own_is_written(run: Run, evidence: Path, keys: Keys) -> None:
    folder, signers = evidence.parent / "evidence", evidence.parent / "allowed_signers"
    signers.write_text(f"quinn@example.com {keys.public('quinn')}\n")
    options = json.dumps({"folder": str(folder), "allowed_signers": str(signers)})
    line = "{section: Search, line: Index is fresh, evidence: {valid_for: 30d, approvers: 2}}"
    text = evidence.read_text().replace(f"evidence: {folder}", f"evidence: {options}")
    evidence.write_text(f"{text}custom: [{line}]\n")
    said = ("--result", "passed", "--by", "quinn@example.com", "--key", keys.private("quinn"))
    ended = run("attest", "search.index_is_fresh", *said, "--config.file", evidence)
    assert ended.code == ExitCode.OK, ended.err
    assert len(list(folder.iterdir())) == 2, "the record and its signature"


def test_a_report_is_read_and_what_it_lacks_is_given(run: Run, evidence: Path) -> None:
    item = "security_tests.vulnerability_scans_completed"
    scan = {
        "SchemaVersion": 2,
        "CreatedAt": f"{TODAY}T00:00:00Z",
        "ArtifactName": "shop",
        "Results": [{"Target": "app.lock", "Class": "lang-pkgs", "Vulnerabilities": []}],
    }
    (evidence.parent / "evidence" / "scan.json").write_text(json.dumps(scan))
    command = ("attest", item, "--config.file", evidence, *GIVEN, "--artifact", "scan.json", "--file", "scan.yaml")
    ended = run(*command)
    assert ended.code == ExitCode.CONFIGURATION
    assert "does not say its tool, database and filters: give --report tool=…" in ended.err
    assert "--report takes NAME=VALUE" in run(*command, "--report", "tool").err
    said = ("--report", "tool=Trivy 0.59.1", "--report", f"database={TODAY}", "--report", "filters=none")
    ended = run(*command, *said, "--report", "exit_code=0")
    assert ended.code == ExitCode.OK, ended.err
    record = yaml.safe_load((evidence.parent / "evidence" / "scan.yaml").read_text())
    assert (record["report"]["tool"], record["report"]["exit_code"]) == ("Trivy 0.59.1", 0)
    assert record["measured"]["critical_findings"] == 0
