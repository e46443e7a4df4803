"""Asks JetStream's API, as an account, for its streams and their consumers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

from collectors.systems.nats.client.connection import Connection
from collectors.systems.nats.model import Account, Consumer, Consumers, StreamInfo, parsed
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["ask_account", "ask_consumers"]

#: How long JetStream waits for the leaders of streams before it calls those missing that it has not heard of.
_PATIENCE = timedelta(seconds=4)
#: What JetStream answers while it has no leader. Its streams may well be kept in files: nobody can tell.
_UNAVAILABLE = 10008
#: Streams whose consumers are asked for at once.
_AT_ONCE = 8
_STREAMS = "$JS.API.STREAM.LIST"


class _RefusedError(Exception):
    """JetStream answers something else than what was asked for: `answer`, None where nobody does."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__()
        self.answer = answer

    @property
    def code(self) -> object:
        error = self.answer.get("error") if self.answer else None
        return error.get("err_code") if isinstance(error, dict) else None

    @property
    def why(self) -> str:
        """What JetStream says instead, as the end of a sentence."""
        if self.answer is None:
            return ": nobody answers, as JetStream is not enabled"
        error = self.answer.get("error")
        if not isinstance(error, dict):
            return f": {one_line(error)}"
        return f": {one_line(error.get('description', 'no reason given'))} (code {error.get('err_code')})"


async def ask_account(connection: Connection, number: int) -> Account:
    """What JetStream reports to the account of a connection to the server with this number. Streams are reported by their leaders.

    `refused` of the account is the end of a sentence, which its caller begins. Raises ProbeError where nothing is reported.
    """
    where = f"{_STREAMS} of NATS {connection.address}"
    streams: list[StreamInfo] = []
    missing: set[str] = set()
    offline: dict[str, str] = {}
    try:
        info = await _answer(connection, "$JS.API.INFO")
        async for page in _pages(connection, _STREAMS, where):
            streams += (parsed(where, stream, StreamInfo) for stream in _list(where, page, "streams"))
            missing.update(map(str, _list(where, page, "missing")))
            offline |= _reasons(where, page)
    except _RefusedError as refused:
        return Account(number, {}, (), (), f"{refused.why}.", unavailable=refused.code == _UNAVAILABLE)
    return Account(number, info, tuple(streams), tuple(sorted(missing - offline.keys())), offline=offline)


async def ask_consumers(connection: Connection, account: Account) -> Consumers:
    """The consumers of the streams of an account. Raises ProbeError where those of a stream are not listed."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def of(stream: str) -> tuple[list[Consumer], Mapping[str, str | None]]:
        async with turns:
            return await _consumers(connection, stream)

    names = [stream.name for stream in account.streams if stream.state.consumer_count]
    found = dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))
    silent = {(stream, name): why for stream, (_, lacking) in found.items() for name, why in sorted(lacking.items())}
    return Consumers({stream: tuple(known) for stream, (known, _) in found.items()}, silent)


async def _consumers(connection: Connection, stream: str) -> tuple[list[Consumer], Mapping[str, str | None]]:
    """The consumers of a stream; and by name those that are not shown, with the reason why one is offline."""
    subject = f"$JS.API.CONSUMER.LIST.{stream}"
    where = f"{subject} of NATS {connection.address}"
    found: list[Consumer] = []
    missing: dict[str, str | None] = {}
    try:
        async for page in _pages(connection, subject, where):
            found += (parsed(where, consumer, Consumer) for consumer in _list(where, page, "consumers"))
            missing |= dict.fromkeys(map(str, _list(where, page, "missing")))
            missing |= _reasons(where, page)
    except _RefusedError as refused:
        raise ProbeError(
            f"NATS {connection.address} does not list the consumers of stream {stream}{refused.why}."
        ) from None
    return found, missing


async def _answer(
    connection: Connection, subject: str, body: Mapping[str, int] | None = None, patience: timedelta = timedelta(0)
) -> dict[str, Any]:
    answer = await connection.request(subject, body, patience=patience)
    if answer is None or answer.get("error"):
        raise _RefusedError(answer)
    return answer


async def _pages(connection: Connection, subject: str, where: str) -> AsyncIterator[dict[str, Any]]:
    """All pages of a list."""
    offset = 0
    while True:
        page = await _answer(connection, subject, {"offset": offset}, _PATIENCE)
        yield page
        offset += (limit := _int(where, page, "limit"))  # not by what was found: a page leaves out what is missing
        if not limit or offset >= _int(where, page, "total"):
            return


def _list(where: str, page: dict[str, Any], name: str) -> list[Any]:
    found = page.get(name) or []
    if not isinstance(found, list):
        raise ProbeError(f"{where} was answered in an unexpected format: {name} is no list.", Reason.MALFORMED)
    return found


def _reasons(where: str, page: dict[str, Any]) -> dict[str, str]:
    """Why streams or consumers are offline, by their names: what a newer release stored, an older one does not understand."""
    found = page.get("offline") or {}
    if not isinstance(found, dict):
        raise ProbeError(f"{where} was answered in an unexpected format: offline is no object.", Reason.MALFORMED)
    return {str(name): one_line(why).rstrip(".") for name, why in found.items()}


def _int(where: str, page: dict[str, Any], name: str) -> int:
    found = page.get(name, 0)
    if not isinstance(found, int):
        raise ProbeError(f"{where} was answered in an unexpected format: {name} is no number.", Reason.MALFORMED)
    return found
