"""Tests of exporter.logs: forms, levels, and that no secret gets through."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import logs
from exporter.logs import LogFormat, LogLevel
from tests.exporter.logging_state import unchanged_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with unchanged_logging():
        yield


def test_logfmt_quotes_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("exporter.state").info('postgresql.x is "failed": %s', "lag = 3")
    line = capsys.readouterr().err.rstrip("\n")
    assert line.startswith("ts=2")
    assert line.endswith(r'level=info logger=exporter.state msg="postgresql.x is \"failed\": lag = 3"')


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogLevel.DEBUG, LogFormat.JSON)
    logging.getLogger("collectors.redis").debug("two\nlines")
    record = json.loads(capsys.readouterr().err)
    assert record["level"] == "debug"
    assert record["msg"] == "two\nlines"
    assert record["ts"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "logger", "number", "shown"),
    [
        (LogLevel.INFO, "exporter", logging.INFO, True),
        (LogLevel.INFO, "exporter", logging.DEBUG, False),
        (LogLevel.WARN, "exporter", logging.INFO, False),
        (LogLevel.DEBUG, "httpx", logging.INFO, False),
        (LogLevel.INFO, "httpx", logging.WARNING, True),
        (LogLevel.ERROR, "httpx", logging.WARNING, False),
    ],
)
def test_levels(level: LogLevel, logger: str, number: int, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level)
    logging.getLogger(logger).log(number, "seen")
    assert bool(capsys.readouterr().err) is shown


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old option", stacklevel=1)
    assert "level=warn logger=py.warnings" in capsys.readouterr().err


def test_secrets_never_get_through(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.hide(["s3cr3t/p@ss", "s3cr3t", ""])
    try:
        raise ValueError("no route to postgres://app:s3cr3t%2Fp%40ss@db")
    except ValueError:
        logging.getLogger("exporter").exception("Could not use %s.", "s3cr3t/p@ss")
    written = capsys.readouterr().err
    assert "s3cr3t" not in written
    assert 'msg="Could not use <secret>."' in written
    assert "postgres://app:<secret>@db" in written


@pytest.mark.parametrize("secret", ["two\nlines", 'back\\slash "quoted"', "two words", "caf\u00e9's"])
def test_a_secret_is_known_however_a_message_quotes_it(secret: str) -> None:
    logs.hide([secret])
    assert logs.redact(secret) == "<secret>"
    assert logs.redact(str(KeyError(secret))).strip("'\"") == "<secret>"
    assert logs.redact(json.dumps({"password": secret})) == '{"password": "<secret>"}'
    assert logs.redact(f"?password={quote_plus(secret)}") == "?password=<secret>"


@given(st.text())
def test_logfmt_keeps_one_line(text: str) -> None:
    line = logs._logfmt({"msg": text})
    assert len(line.splitlines()) <= 1 or not any(end in line for end in "\r\n")
