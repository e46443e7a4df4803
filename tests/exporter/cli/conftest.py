"""Running commands as a shell would, in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.cli import main
from tests.exporter.logging_state import unchanged_logging
from tests.servers.pages import pages
from tests.servers.process import wait_until
from tests.servers.redis import start_redis
from tests.servers.signing import keys


@dataclass(frozen=True)
class Ended:
    """What a command ended with, and said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ended]]:
    """Run a command line, with nothing on standard input and no terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    # A command that hangs at its end is ended with its process: here that would be the tests'.
    monkeypatch.setattr("exporter.daemon.end_in_time", lambda: None)

    def call(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    with unchanged_logging():
        yield call


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A configuration with an evidence folder: one line attested, the other three of its section not."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(f"environment: staging\nrelease: 1.4.2\nevidence: {folder}\nsections: {{training: {{}}}}\n")
    return config


@pytest.fixture
def until_done(run: Callable[..., Ended]) -> Iterator[Callable[..., Ended]]:
    """Run a command that serves until SIGTERM; meanwhile, in a thread, `act` as soon as it is `ready`, then send that."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # should the command end by itself, the tests must not

    def call(*arguments: str | Path, ready: Callable[[], object], act: Callable[[], object]) -> Ended:
        def beside() -> None:
            try:
                wait_until(ready, "the command to serve", deadline=60)
                act()
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        with ThreadPoolExecutor(1) as threads:
            acting = threads.submit(beside)
            ended = run(*arguments)
            if acting.exception() is not None:
                raise AssertionError(f"While serving: {acting.exception()}\n{ended.err}") from acting.exception()
        return ended

    yield call
    signal.signal(signal.SIGTERM, before)


TODAY = datetime.now(UTC).date()
LINES = (("Replica drilled", "critical", "passed"), ("Restore drilled", "warning", "failed"))


def custom(folder: Path, *lines: tuple[str, str, str]) -> Path:
    """A configuration of lines of its own, each with severity and evidence that is `passed`, `failed` or `unreadable`."""
    folder.joinpath("evidence").mkdir()
    config = [
        "environment: staging",
        f"evidence: {folder / 'evidence'}",
        f"checklist: {folder / 'list.md'}",
        "sections:",
    ]
    config += ["  drill: {every: 1m}", "custom:"]
    boxes = []
    for text, severity, result in lines:
        name = text.lower().replace(" ", "_")
        boxes.append(f"- [ ] {text}\n")
        config.append(f"  - {{section: Drill, line: {text}, severity: {severity}, evidence: {{valid_for: 90d}}}}")
        record = f"item: drill.{name}\nresult: {result}\nby: team@example.com\non: {TODAY - timedelta(days=1)}\n"
        (folder / "evidence" / f"{name}.yaml").write_text(record if result != "unreadable" else f"item: drill.{name}\n")
    folder.joinpath("list.md").write_text(f"# Drill\n\n{''.join(boxes)}")
    file = folder / "config.yaml"
    file.write_text("\n".join(config) + "\n")
    return file
