"""`canary` as it is run in a pod."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from exporter.canary import Path as CanaryPath
from exporter.canary import connect
from exporter.cli import main
from tests.servers.process import LOOPBACK, Server, answers, free_port


def test_it_shows_what_became_of_its_connections(tmp_path: Path) -> None:
    port, closed = free_port(), free_port()
    url = f"http://{LOOPBACK}:{port}"
    program = Path(sys.executable).parent / "checklist-exporter"
    words: list[str | Path] = [
        program,
        "canary",
        f"--web.listen-address={LOOPBACK}:{port}",
        f"--open={LOOPBACK}:{port}",
        f"--closed={LOOPBACK}:{closed}",
        "--closed=no-such-name.invalid:1",
    ]
    with Server("canary", words, directory=tmp_path, ready=lambda: answers(f"{url}/-/healthy"), deadline=60) as server:
        text = urlopen(f"{url}/metrics").read().decode()
        with pytest.raises(HTTPError):
            urlopen(f"{url}/probe?target={LOOPBACK}:{port}")
    assert f'checklist_canary_connection{{target="{LOOPBACK}:{port}",expected="open",outcome="open"}} 1' in text
    assert f'checklist_canary_connection{{target="{LOOPBACK}:{closed}",expected="closed",outcome="refused"}} 1' in text
    assert 'target="no-such-name.invalid:1",expected="closed",outcome="not tried"} 1' in text
    assert (
        f'checklist_canary_as_expected{{target="{LOOPBACK}:{closed}",expected="closed"}} 0' in text
    )  # it arrived there
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Nothing to connect to"),
        (["--open=redis"], "--open takes HOST:PORT, not 'redis'."),
        (["--closed=:6379"], "--closed takes HOST:PORT"),
        (['--closed=a"b:6379'], "--closed takes HOST:PORT"),
        (["--open=redis:6379", "--closed=redis:6379"], "named twice"),
        (["--open=redis:6379", "--web.listen-address=9115"], "--web.listen-address takes HOST:PORT"),
        (["--open=redis:6379", "--web.listen-address=192.0.2.1:1"], "192.0.2.1:1 cannot be listened on"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["canary", *words]) == 3
    assert why in capsys.readouterr().err


def test_what_is_no_name_is_not_tried() -> None:
    assert connect(CanaryPath("a" * 64, 1, "open"), 1) == "not tried"
    assert str(CanaryPath("::1", 1, "open")) == "[::1]:1"
