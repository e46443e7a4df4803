"""Files: what they are at the moment, and what does not exist only where one can look."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen

OK, FAILED, UNKNOWN, WARNING = Status.OK, Status.FAILED, Status.UNKNOWN, Status.WARNING


def written(file: Path, content: bytes) -> Path:
    """A file that was written a while ago: one that was written just now is looked at twice."""
    file.write_bytes(content)
    os.utime(file, (time.time() - 10,) * 2)
    return file


async def of(*paths: Path, **options: Any) -> Result:
    return await seen(file={"paths": [str(path) for path in paths], **options})


async def test_a_file_that_is_fresh_and_says_the_right_thing_is_ok(tmp_path: Path) -> None:
    file = written(tmp_path / "status.json", b'{"state": "done", "rows": 12}')
    result = await of(
        file,
        conditions=[
            'age < duration("1h")',
            "size < 1000",
            'json.state == "done"',
            "json.rows > 0",
            'text.contains("12")',
        ],
    )
    assert (result.status, result.measurements["size_bytes"]) == (OK, 29.0), result.summary


async def test_one_missing_file_of_two_is_failed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    result = await of(tmp_path / "a", tmp_path / "b")
    assert (result.status, result.reason) == (FAILED, Reason.MISSING)
    assert result.summary == f"{tmp_path / 'b'} does not exist: {tmp_path} has no such file."


@pytest.mark.parametrize(
    ("content", "condition", "status", "words"),
    [
        (b"", 'json.state == "done"', FAILED, "the file is empty"),
        (b'{"state": "do', 'json.state == "done"', FAILED, "its content is not JSON"),
        (b'{"state": null}', 'json.state != "failed"', FAILED, "json.state is null"),
        (b'{"jobs": []}', 'json.jobs.all(job, job.state == "done")', FAILED, "json.jobs is an empty list"),
        (
            b'{"jobs": [{"state": "done"}, {"state": "bad"}]}',
            'json.jobs.all(job, job.state == "done")',
            FAILED,
            "1 of 2",
        ),
        (b'\xef\xbb\xbf{"state": "done"}', 'json.state == "done"', OK, "as wanted"),
        (b"\xff\xfe", 'text.contains("x")', FAILED, "text is"),
        (b"ok\0error", '!text.contains("error")', FAILED, 'text is "ok\N{REPLACEMENT CHARACTER}error"'),
        (b'{"a": "ok\\u0000bad"}', 'json.a == "ok"', FAILED, "json.a is"),
        (b"x" * 100, "size < 50", FAILED, "size is 100"),
        (b'{"at": "2001-01-01T00:00:00Z"}', 'age(json.at) < duration("1h")', FAILED, "json.at is"),
        (b'{"at": "2999-01-01T00:00:00Z"}', 'age(json.at) < duration("1h")', FAILED, "lies in the future"),
        (b'{"at": "2026-01-01T00:00:00"}', 'age(json.at) < duration("1h")', FAILED, "which time zone"),
    ],
)
async def test_content_decides(tmp_path: Path, content: bytes, condition: str, status: Status, words: str) -> None:
    result = await of(written(tmp_path / "file", content), conditions=[condition])
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_file_of_the_future_has_no_age(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (time.time() + 7200,) * 2)
    result = await of(file, conditions=['age < duration("1h")'])
    assert (result.status, result.reason) == (UNKNOWN, Reason.CONTRADICTED)
    assert (await of(file, conditions=["size == 0"])).status is OK


async def test_links_are_followed_to_a_file_that_exists(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "good").symlink_to("file")
    (tmp_path / "bad").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    assert (await of(tmp_path / "good", conditions=["size == 1"])).status is OK
    bad = await of(tmp_path / "bad")
    assert (bad.status, "a symbolic link to a file that does not exist" in bad.summary) == (FAILED, True)
    assert (await of(tmp_path / "circle")).status is UNKNOWN


async def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    folder, pipe = await of(tmp_path), await of(tmp_path / "pipe")
    assert (folder.status, "is a directory" in folder.summary) == (FAILED, True)
    assert (pipe.status, "not a regular file" in pipe.summary) == (UNKNOWN, True)
    assert (await of(Path("/dev/zero"), conditions=['text == ""'])).status is UNKNOWN


async def test_that_nothing_is_there_is_known_only_where_one_can_look(tmp_path: Path) -> None:
    """The volume that is not mounted has no file that says "maintenance", either."""
    absent = await of(tmp_path / "maintenance", conditions=["!exists"])
    nowhere = await of(tmp_path / "volume" / "maintenance", conditions=["!exists"])
    (tmp_path / "file").touch()
    beneath = await of(tmp_path / "file" / "maintenance", conditions=["!exists"])
    assert (absent.status, nowhere.status, beneath.status) == (OK, UNKNOWN, UNKNOWN)
    assert "cannot be looked into: No such file or directory" in nowhere.summary


async def test_what_is_not_there_meets_no_condition_on_its_content(tmp_path: Path) -> None:
    result = await of(tmp_path / "gone", conditions=['!exists || json.state == "done"', 'text != "bad"'])
    assert (result.status, "it does not exist" in result.summary) == (FAILED, True)


async def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    written(tmp_path / "file", b"x" * 2000)
    result = await of(tmp_path / "file", max_bytes=1000, conditions=['!text.contains("error")'])
    assert (result.status, result.reason) == (UNKNOWN, Reason.LIMIT)
    assert (await of(tmp_path / "file", max_bytes=1000, conditions=["size == 2000"])).status is OK


@pytest.mark.parametrize("rate", [0.02, 0.2], ids=["fast", "slow"])
async def test_a_file_that_is_being_written_is_not_judged_by_its_first_half(tmp_path: Path, rate: float) -> None:
    """It has no error in it yet."""
    file, done = tmp_path / "report", threading.Event()

    def write() -> None:
        with file.open("wb", buffering=0) as opened:
            while not done.is_set():
                opened.write(b"row ok\n")
                done.wait(rate)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.01)
        result = await of(file, timeout="3s", max_bytes="4MiB", conditions=['!text.contains("error")'])
    finally:
        done.set()
        writer.join()
    assert (result.status, result.reason in (Reason.UNOBSERVED, Reason.LIMIT)) == (UNKNOWN, True), result.summary
    assert (await of(file, max_bytes="4MiB", conditions=['text.endsWith("ok\\n")'])).status is OK, "it is written now"


async def test_a_file_that_is_replaced_is_whole_each_time(tmp_path: Path) -> None:
    file, done = tmp_path / "report", threading.Event()

    def replace() -> None:
        while not done.is_set():
            (tmp_path / "new").write_text('{"state": "done"}')
            (tmp_path / "new").replace(file)
            done.wait(0.2)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        while not file.exists():
            time.sleep(0.01)
        result = await of(file, timeout="30s", conditions=['json.state == "done"'])
    finally:
        done.set()
        writer.join()
    assert result.status is OK, result.summary


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0)
    assert (await of(tmp_path / "file", conditions=['text == ""'])).reason is Reason.DENIED


async def test_a_list_that_is_too_long_for_its_condition_was_not_judged(tmp_path: Path) -> None:
    """All of them are as wanted."""
    file = written(tmp_path / "file", json.dumps([{"state": "ok"}] * 20_000).encode())
    result = await of(file, conditions=['json.all(one, one.state == "ok")'])
    assert (result.status, result.reason) == (UNKNOWN, Reason.LIMIT), result.summary


async def test_files_that_the_kernel_makes_up() -> None:
    """Their size is 0, or that of a page, whatever is in them."""
    result = await of(Path("/proc/version"), conditions=['text.startsWith("Linux version ")'])
    assert result.status is OK, result.summary


@given(content=st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_content_ends_in_an_error_of_our_own(tmp_path: Path, content: bytes) -> None:
    written(tmp_path / "file", content)
    for condition in ('json.a == "b"', "json.all(x, x.a > 1)", 'json.a.b[0].c != "d"', 'age(json.a) < duration("1h")'):
        result = await of(tmp_path / "file", conditions=[condition])
        assert result.status in (OK, FAILED)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"paths": []}, "at least 1 item"),
        ({"paths": ["/a", "/a"]}, "found /a twice"),
        ({"paths": [f"/{'a' * 200}"]}, "expected paths of at most 128 characters"),
        ({"paths": ["/a"], "conditions": ["age < 5"]}, "found no matching overload"),
        ({"paths": ["/a"], "max_bytes": "1GB"}, "less than or equal to 4194304"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(file=options)
