"""Running commands as a shell would, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.cli import main
from tests.exporter.logging_state import unchanged_logging


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
