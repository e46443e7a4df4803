"""Tests of exporter.logs: forms, levels, and that no secret gets through."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
import timeit
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote, quote_plus

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


@pytest.mark.parametrize(
    "secret", ["two\nlines", 'back\\slash "quoted"', "p&ss<w>ord's", "a/b?c=d&e", "s3cr\u00e9t\u2713"]
)
def test_a_secret_is_known_in_every_encoding_that_servers_and_libraries_use(secret: str) -> None:
    logs.hide([secret])
    assert logs.redact(html.escape(secret)) == "<secret>"
    assert logs.redact(json.dumps(secret, ensure_ascii=False)[1:-1]) == "<secret>"
    assert logs.redact(re.sub("%..", lambda match: match[0].lower(), quote(secret, safe=""))) == "<secret>"
    for user in ("", "a", "sre", "someone"):
        pair = base64.b64encode(f"{user}:{secret}!".encode()).decode()
        shown = logs.redact(f"Authorization: Basic {pair}")
        assert "<secret>" in shown
        rest = shown.removeprefix("Authorization: Basic ").partition("<secret>")
        assert len(rest[0]) <= (len(user) + 1) * 4 // 3 + 2
        assert len(rest[2]) <= 4


@given(st.binary(min_size=8, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_the_base64_of_a_secret_is_found_wherever_it_stands(secret: bytes, before: bytes, after: bytes) -> None:
    redactor = logs._Redactor()
    redactor.add(logs._forms(secret.decode("latin-1")))
    whole = base64.b64encode(before + secret.decode("latin-1").encode() + after).decode()
    assert "<secret>" in redactor.redact(whole)


def test_secrets_that_overlap_show_no_part_of_each_other() -> None:
    logs.hide(["abcdef", "defghi", "secret"])
    assert logs.redact("x abcdefghi y") == "x <secret> y"
    assert logs.redact("abcdefabcdef") == "<secret><secret>"
    assert logs.redact("a secret") == "a <secret>"


def test_a_short_secret_is_not_hidden_since_no_sentence_would_be_left() -> None:
    logs.hide(["a", "123"])
    assert logs.redact("a table of 123 rows") == "a table of 123 rows"


def test_half_characters_pass() -> None:
    logs.hide(["hunter2-hunter2"])
    assert logs.redact("\udcff hunter2-hunter2 \ud800") == "\udcff <secret> \ud800"


def test_thousands_of_secrets_cost_a_sentence_no_more_than_one() -> None:
    sentence = "word " * 100 + "canary-0-canary"

    def cost(secrets: int) -> float:
        redactor = logs._Redactor()
        redactor.add(f"canary-{number}-canary" for number in range(secrets))
        assert redactor.redact(sentence).endswith("word <secret>")
        return min(timeit.repeat(lambda: redactor.redact(sentence), number=200, repeat=5))

    assert cost(5000) < 20 * cost(1)


def test_uncaught_exceptions_are_logged_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.hide(["hunter2-hunter2"])

    def fails() -> None:
        raise RuntimeError("no route to hunter2-hunter2")

    thread = threading.Thread(target=fails, name="probe")
    thread.start()
    thread.join()
    try:
        fails()
    except RuntimeError:
        kind, error, trace = sys.exc_info()
        assert kind is not None
        assert error is not None
        sys.excepthook(kind, error, trace)
        sys.unraisablehook(_Unraisable(kind, error, trace, None, fails))
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 3
    assert 'msg="Uncaught RuntimeError in probe."' in written
    assert written.count("RuntimeError: no route to <secret>") == 3
    assert "hunter2" not in written


@dataclass
class _Unraisable:
    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: object


def test_a_record_that_cannot_be_written_shows_no_argument(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.hide(["hunter2-hunter2"])
    logging.getLogger("exporter").error("%d rows", "hunter2-hunter2")
    written = capsys.readouterr().err
    assert written == 'level=error logger=exporter.logs msg="A record of exporter could not be logged."\n'


def test_what_a_library_repeats_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    for number in range(1000):
        logging.getLogger("asyncio").error("accept() failed: %d", number)
        logging.getLogger("exporter").error("seen %d", number)
    lines = capsys.readouterr().err.splitlines()
    asyncio_lines = [line for line in lines if "logger=asyncio" in line]
    assert len(asyncio_lines) == logs.REPEATS
    assert "Similar messages are left out" in asyncio_lines[-1]
    assert len(lines) - len(asyncio_lines) == 1000


def test_a_secret_that_two_threads_hide_is_hidden_for_both_when_they_go_on() -> None:
    many = [f"secret-number-{number}" for number in range(20_000)]  # what takes a moment to prepare
    shown: list[str] = []
    redactor = logs._Redactor()  # one of its own: what is hidden stays hidden

    def hide_and_show() -> None:
        redactor.add(many)
        shown.append(redactor.redact(f"token {many[-1]} refused"))

    threads = [threading.Thread(target=hide_and_show) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown == ["token <secret> refused"] * 4
