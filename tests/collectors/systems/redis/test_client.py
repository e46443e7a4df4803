"""What Redis's client makes of addresses and of answers; the connections are tested with the section."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import BusyLoadingError, NoPermissionError, ResponseError

from collectors.systems.redis.model import Answers, NodeAddress
from exporter.verdict import ProbeError

WHERE = NodeAddress("cache-1", 6379)


def answers(**replies: object) -> Answers:
    """Answers to commands whose spaces are written as underscores."""
    return Answers(WHERE, None, {command.replace("_", " "): reply for command, reply in replies.items()})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cache-1:6379", ("cache-1", 6379)),
        ("10.0.0.7:1", ("10.0.0.7", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses_are_read_and_written(text: str, address: tuple[str, int]) -> None:
    assert NodeAddress.parse(text) == NodeAddress(*address)
    assert str(NodeAddress.parse(text)) == text
    assert str(NodeAddress(*address, "10.0.0.8")) == f"{text} (10.0.0.8)"


@pytest.mark.parametrize(
    "text", ["", "cache", "cache:", ":6379", "cache:0", "cache:65536", "cache:-1", "cache:²", "a:b"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        NodeAddress.parse(text)


def test_info_is_read_line_by_line() -> None:
    found = answers(INFO="# Server\r\nredis_version:7.0.15\r\nexecutable:/usr/bin/redis:server\r\nnonsense\r\n")
    assert found.info == {"redis_version": "7.0.15", "executable": "/usr/bin/redis:server"}
    assert found.text("redis_version") == "7.0.15"
    with pytest.raises(ProbeError, match=r"^cache-1:6379 does not show loading in INFO\.$"):
        found.number("loading")
    with pytest.raises(
        ProbeError, match=r"^cache-1:6379 shows redis_version as '7\.0\.15', where a number was expected\.$"
    ):
        found.number("redis_version")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            NoPermissionError("no"),
            "cache-1:6379 does not let this user run CONFIG GET: the right +config|get is missing.",
        ),
        (ResponseError("unknown command 'CONFIG'. "), "cache-1:6379 refuses CONFIG GET: unknown command 'CONFIG'."),
        (BusyLoadingError("loading"), "cache-1:6379 is loading its data and does not answer CONFIG GET yet."),
        ("save", "cache-1:6379 answered CONFIG GET with something else than Redis does."),
        (7, "cache-1:6379 answered CONFIG GET with something else than Redis does."),
    ],
)
def test_replies_that_tell_nothing(reply: object, told: str) -> None:
    found = answers(CONFIG_GET_save=reply)
    assert (found.error("CONFIG GET save") is not None) == isinstance(reply, Exception)
    with pytest.raises(ProbeError) as raised:
        found.setting("save")
    assert str(raised.value) == told


def test_a_setting_that_a_server_does_not_have() -> None:
    assert answers(**{"CONFIG_GET_tls-port": []}).setting("tls-port") is None
    assert answers(**{"CONFIG_GET_tls-port": ["port", "1", "tls-port", "2"]}).setting("tls-port") == "2"
    assert answers(**{"CONFIG_GET_tls-port": [["tls-port"], "1", "tls-port"]}).setting("tls-port") is None


@given(st.text(), st.text(max_size=5))
def test_whatever_info_says_is_read_or_refused(text: str, name: str) -> None:
    found = answers(INFO=text)
    try:
        value: Any = found.number(name)
    except ProbeError:
        return
    assert isinstance(value, int)
