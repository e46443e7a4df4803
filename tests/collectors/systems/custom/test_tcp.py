"""TCP: something listens, says what it should, and does not only accept."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.servers import faults
from tests.servers.redis import Node

OK, FAILED, UNKNOWN, WARNING = Status.OK, Status.FAILED, Status.UNKNOWN, Status.WARNING


async def connects(*addresses: tuple[str, int], **options: Any) -> Result:
    given = {"addresses": [f"{host}:{port}" for host, port in addresses], "timeout": "30s", **options}
    return await seen(tcp=given)


def saying(text: bytes, *, ends: bool = False) -> Any:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        if not ends:
            await reader.read()

    return faults.serving(say)


async def test_what_accepts_connections_is_ok() -> None:
    async with faults.mute() as one, faults.mute() as two:
        result = await connects(one, two)
    assert (result.status, "is as wanted" in result.summary, result.measurements["seconds"] < 60) == (OK, True, True)


async def test_one_address_of_two_that_refuses_is_failed() -> None:
    async with faults.mute() as one, faults.refused() as two:
        result = await connects(one, two)
    assert (result.status, result.reason) == (FAILED, Reason.DOWN)
    assert result.summary == f"127.0.0.1:{two[1]} refused the connection."


async def test_an_address_that_drops_everything_was_not_observed() -> None:
    async with faults.unroutable() as address:
        result = await connects(address, timeout="300ms")
    assert (result.status, result.reason) == (UNKNOWN, Reason.TIMEOUT)
    assert "did not accept a connection within 300ms." in result.summary


async def test_a_name_that_does_not_resolve_is_unknown() -> None:
    result = await connects(("no-such-host.invalid", 80), timeout="20s")
    assert (result.status, result.reason) == (UNKNOWN, Reason.UNREACHABLE)


async def test_a_port_that_accepts_and_says_nothing_is_failed() -> None:
    async with faults.mute() as address:
        result = await connects(address, timeout="2s", conditions=['text.startsWith("220")'])
    assert (result.status, result.reason) == (FAILED, Reason.DOWN)
    assert "accepted the connection and sent nothing within 2s" in result.summary


async def test_a_greeting_that_never_ends_its_line_is_failed() -> None:
    async with saying(b"220 mail") as address:
        result = await connects(address, timeout="2s", conditions=['text.startsWith("220")'])
    assert (result.status, "sent 8 bytes within 2s (wanted the end of an answer)" in result.summary) == (
        FAILED,
        True,
    )


@pytest.mark.parametrize(
    ("says", "condition", "status", "words"),
    [
        (b"220 mail ready\r\n", 'text.startsWith("220 ")', OK, 'text is "220 mail ready\\r\\n"'),
        (b"421 too busy\r\n", 'text.startsWith("220 ")', FAILED, 'text is "421 too busy\\r\\n"'),
        (b"220 one\r\n421 two\r\n", '!text.contains("421")', OK, "as wanted"),
        (b"\xff\xfe\r\n", 'text.startsWith("220 ")', FAILED, "text is"),
        (b"", 'text.startsWith("220 ")', FAILED, 'text is ""'),
        (b"220", 'text == "220"', OK, "as wanted"),  # the end of the connection ends an answer, too
    ],
)
async def test_what_is_said_decides(says: bytes, condition: str, status: Status, words: str) -> None:
    async with saying(says, ends=True) as address:
        result = await connects(address, timeout="30s", conditions=[condition])
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_flood_is_not_read_to_its_end() -> None:
    async with faults.endless(b"") as address:
        result = await connects(
            address, timeout="30s", send="go", until="THE END", max_bytes="64KiB", conditions=['text == ""']
        )
    assert (result.status, result.reason) == (UNKNOWN, Reason.LIMIT)


async def test_a_server_that_hangs_up_has_said_nothing() -> None:
    async with faults.hanging_up() as address:
        result = await connects(address, conditions=['text.contains("PONG")'], send="PING\r\n")
    assert result.status is FAILED


async def test_redis_answers_a_ping(any_redis: Node) -> None:
    address = ("127.0.0.1", any_redis.port)
    good = await connects(address, send="PING\r\n", timeout="30s", conditions=['text == "+PONG\\r\\n"'])
    bad = await connects(address, send="NONSENSE\r\n", timeout="30s", conditions=['text == "+PONG\\r\\n"'])
    assert (good.status, bad.status) == (OK, FAILED), (good.summary, bad.summary)


async def test_what_is_only_warned_of_passes() -> None:
    async with faults.mute() as address:
        result = await connects(address, warn_unless=['latency < duration("0s")'])
        both = await connects(
            address, warn_unless=['latency < duration("0s")'], conditions=['latency < duration("0s")']
        )
    assert (result.status, 'does not meet `latency < duration("0s")`: latency is' in result.summary) == (WARNING, True)
    assert both.status is FAILED


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"addresses": []}, "at least 1 item"),
        ({"addresses": ["db"]}, "expected host:port, such as cache-1:6379"),
        ({"addresses": ["db:1", "db:1"]}, "found db:1 twice, expected it once"),
        ({"addresses": ["db:1"], "conditions": ["status == 200"]}, "undeclared reference to 'status'"),
        ({"addresses": ["db:1"], "conditions": ["latency < 5"]}, "found no matching overload for '_<_'"),
        (
            {"addresses": ["db:1"], "conditions": ['latency < duration("1d")']},
            "is no duration (its units are h, m, s and ms",
        ),
        ({"addresses": ["db:1"], "conditions": ['text.matches("(")']}, "is no regular expression"),
        (
            {"addresses": ["db:1"], "conditions": ["1 == 1"]},
            "that names latency or text; this one is the same for every answer",
        ),
        ({"addresses": ["db:1"], "conditions": ["text"]}, "this one is of type string"),
        ({"addresses": ["db:1"], "until": ""}, "at least 1 character"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(tcp=options)


def test_a_line_is_unhurried_where_its_looks_are() -> None:
    assert line(tcp={"addresses": ["db:1"], "timeout": "1m"}).longest.total_seconds() > 60
    assert json.loads(line(tcp={"addresses": ["db:1"]}).model_dump_json())["tcp"]["addresses"] == ["db:1"]
