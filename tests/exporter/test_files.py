"""Files that may be anything: bounded in size and time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from exporter import files
from exporter.files import TooLarge, read_file
from tests.servers.process import wait_until


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(TooLarge, match="expected at most 4 bytes"):
        read_file(path, 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 5)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 5)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    with pytest.raises(OSError, match="not a regular file"):
        read_file(tmp_path / path, 5)
    assert time.monotonic() - started < 3


def test_a_disk_that_hangs_costs_one_thread_and_its_deadline_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    path = tmp_path / "file"
    path.write_bytes(b"1")
    real = files._read

    def hang(path: Path, limit: int) -> bytes:
        release.wait(30)
        return real(path, limit)

    monkeypatch.setattr(files, "_read", hang)
    before = threading.active_count()
    with pytest.raises(OSError, match=r"does not answer within 0\.1 s"):
        read_file(path, 5, seconds=0.1)
    started = time.monotonic()
    for _ in range(5):
        with pytest.raises(OSError, match="does not answer"):
            read_file(path, 5, seconds=0.1)
    assert time.monotonic() - started < 0.1
    assert threading.active_count() == before + 1
    release.set()
    wait_until(lambda: threading.active_count() == before, what="the disk answers")
    assert read_file(path, 5, seconds=5) == b"1"
