"""Record files: what may stand in one, what is said about the others, and that none hides another."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.evidence import records
from exporter.evidence.records import MAX_RECORD_BYTES, end_of, parse_records, read_records, record_files, start_of

GOOD = b"""\
item: signatories.qa_lead
result: passed
by: quinn@example.com
role: qa_lead
on: 2026-10-01T14:00:00+02:00
valid_until: 2026-10-31
release: "1.4"
environment: production
links: ["https://wiki.example.com/a", {url: "https://wiki.example.com/b", must_contain: Runbook}]
artifact: {path: report.xml, sha256: abababababababababababababababababababababababababababababababab, kind: junit}
measured: {trained: 9, ratio: 0.9}
window: {start: 2026-10-02, end: 2026-10-02}
note: Tested by hand.
signature: qa.sig
"""


def problem(content: str | bytes) -> str:
    read = parse_records(content.encode() if isinstance(content, str) else content, "qa.yaml")
    assert not read.records
    return read.unreadable[0].problem


def test_a_whole_record_is_read() -> None:
    (record,) = parse_records(GOOD, "qa.yaml").records
    assert (record.item, record.result, record.by, record.role) == (
        "signatories.qa_lead",
        "passed",
        "quinn@example.com",
        "qa_lead",
    )
    assert record.on == datetime(2026, 10, 1, 12, tzinfo=UTC)
    assert record.valid_until == date(2026, 10, 31)
    assert [(link.url[-1], link.must_contain) for link in record.links] == [("a", None), ("b", "Runbook")]
    assert record.measured == {"trained": 9, "ratio": 0.9}
    assert (record.file, record.line, record.key) == ("qa.yaml", 1, None)
    assert len({record, record.model_copy()}) == 1
    assert '"on":"2026-10-01T12:00:00+00:00"' in record.model_dump_json()


def test_several_records_may_stand_in_one_file_as_documents_or_as_a_list() -> None:
    one = "{item: a.b, result: passed, by: team, on: 2026-10-01}"
    read = parse_records(f"--- {one}\n---\n- {one}\n- {one}\n".encode(), "a.yaml")
    assert [record.line for record in read.records] == [1, 3, 4]


def test_a_bad_record_does_not_hide_the_others() -> None:
    one = "{item: a.b, result: passed, by: team, on: 2026-10-01}"
    read = parse_records(f"- {one}\n- {{item: a.c}}\n- 3\n- {one}\n".encode(), "a.yaml")
    assert [record.line for record in read.records] == [1, 4]
    assert [unreadable.problem for unreadable in read.unreadable] == [
        "a.yaml:2:3: result is missing",
        "a.yaml:3:3: expected a record, found 3",
    ]
    bad, nameless = read.unreadable
    assert bad.may_concern("a.c")
    assert not bad.may_concern("a.b")
    assert nameless.may_concern("a.b")
    assert not nameless.may_concern("x.y")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("result: passd", "qa.yaml:2:1: result: expected 'passed' or 'failed', found \"passd\""),
        (
            "on: yesterday",
            'qa.yaml:2:1: on: expected a date such as 2026-10-01, or a time with its offset, found "yesterday"',
        ),
        ("on: 2026-02-30", "expected a date such as"),
        ("on: 2026-10-01T12:00:00", "a time with its offset"),
        ("on: 20261001", "expected a date such as"),
        ("on: 0001-01-01T00:00:00+14:00", "expected a date such as"),
        ("release: 1.4", "qa.yaml:2:1: release: expected text, found 1.4; put it in quotes"),
        ("releas: x", "qa.yaml:2:1: releas is not a key of a record"),
        ("file: x", "file is not a key of a record"),
        ("key: x", "key is not a key of a record"),
        ("measured: {people: many}", 'qa.yaml:2:12: measured.people: expected a number, found "many"'),
        ("links: [ftp://example.com]", "links.0.url: "),
        ("links: ['https://example.com/a b']", "links.0.url: "),
        ("artifact: {path: x}", "artifact.sha256 is missing"),
        (f"artifact: {{sha256: {'ab' * 32}, path: x, url: 'https://x'}}", "artifact: expected either path or url"),
        (f'artifact: {{sha256: {"ab" * 32}, path: "a\\0b"}}', "artifact.path: "),
        ("window: {start: 2026-10-02, end: 2026-10-01}", "window: expected an end after the start"),
        ("valid_until: 2020-01-01", "qa.yaml:1:1: expected valid_until after on"),
        ("by: ''", "by: "),
        ("role: QA Lead", "role: "),
        ("result: passed\nresult: passed", "'result' is given twice"),
        ("on: 2026-10-01\n  torn", "qa.yaml:"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(line: str, message: str) -> None:
    key = line.partition(":")[0]
    rest = [text for text in ("item: a.b", "result: passed", "by: team", "on: 2026-10-01") if not text.startswith(key)]
    first = ["item: a.b"]
    assert message in problem("\n".join([*first, line, *(text for text in rest if text not in first)]))


def test_long_values_are_cut_in_messages() -> None:
    assert problem(f"item: a.b\nresult: {'x' * 1000}").endswith("...")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "qa.yaml:1:1: expected a record, found an empty file"),
        (b"# nothing\n", "expected a record, found an empty file"),
        (b"null", "expected a record, found null"),
        (b"\x00\xff\x1f", "qa.yaml:1:2: expected UTF-8 text, found other bytes"),
        (b"a: &a [*a]", "an alias has no anchor"),
        (GOOD[:100] + b'"', "qa.yaml:"),
        (GOOD[:40], "qa.yaml:1:1: by is missing"),
    ],
)
def test_files_that_are_no_records_are_said(content: bytes, message: str) -> None:
    assert message in problem(content)


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (MAX_RECORD_BYTES + 1))
    assert "a.yaml: expected at most 262144 bytes, found more" in read_records(path, "a.yaml").unreadable[0].problem
    path.unlink()
    assert "a.yaml: cannot be read: No such file" in read_records(path, "a.yaml").unreadable[0].problem


def test_a_folder_is_read_in_order_and_without_hidden_copies(tmp_path: Path) -> None:
    data = tmp_path / "..2026_10_01"  # as Kubernetes mounts a ConfigMap
    data.mkdir()
    (data / "b.yaml").write_bytes(GOOD)
    (tmp_path / "..data").symlink_to(data)
    (tmp_path / "b.yaml").symlink_to("..data/b.yaml")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.yml").write_bytes(GOOD)
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / ".b.yaml.swp.yaml").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert [str(path.relative_to(tmp_path)) for path in record_files(tmp_path)] == ["b.yaml", "a/c.yml"]


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="more than 2 files"):
        list(record_files(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        list(record_files(tmp_path / "missing"))


def test_days_are_utc_and_count_to_their_end() -> None:
    assert start_of(date(2026, 10, 1)) == datetime(2026, 10, 1, tzinfo=UTC)
    assert end_of(date(2026, 10, 1)) == datetime(2026, 10, 2, tzinfo=UTC)
    moment = datetime(2026, 10, 1, 5, tzinfo=UTC)
    assert start_of(moment) == end_of(moment) == moment
    assert end_of(date.max) == datetime.max.replace(tzinfo=UTC)


@given(st.binary(max_size=300) | st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]))
def test_no_file_makes_it_crash(content: bytes) -> None:
    read = parse_records(content, "a.yaml")
    assert read.records or read.unreadable or content.strip() == b"[]"
    assert all(unreadable.problem.startswith("a.yaml:") for unreadable in read.unreadable)


@given(
    st.dictionaries(
        st.sampled_from(
            ["item", "result", "by", "on", "valid_until", "links", "artifact", "measured", "window", "release", "note"]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.dates().map(str)
        | st.text(max_size=20)
        | st.just([{}]),
    )
)
def test_no_values_make_it_crash(values: dict[str, object]) -> None:
    read = parse_records(yaml.safe_dump(values).encode(), "a.yaml")
    assert len(read.records) + len(read.unreadable) == 1
