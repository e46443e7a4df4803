"""A followed snapshot is what the API server last told, and is unknown as soon as it has told nothing for too long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from collectors.systems.kubernetes.client.cluster import Kubernetes, NotServed
from collectors.systems.kubernetes.model.kind import Kind
from exporter.verdict import ProbeError
from tests.collectors.systems.kubernetes.client.test_api import Thing, asking, names
from tests.servers import faults
from tests.servers.process import eventually

THINGS: Kind[Thing] = Kind("things", Thing, "example.com")

Session = Callable[["Watched", asyncio.StreamWriter, str], object]


def thing(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


class Watched:
    """An API server that lists ``things``, and does with each watch what the next of ``sessions`` says (the last for ever)."""

    def __init__(self, *sessions: Session) -> None:
        self.things = {"a": 1, "b": 2}
        self.sessions = list(sessions)
        self.lists = 0
        self.defined = True
        self.watches: list[str] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async def until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                await self._answer(reader, writer)

        async with faults.serving(until_end) as (host, port):
            yield f"http://{host}:{port}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split()[1]
            if head.startswith("POST"):
                length = next(
                    int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")
                )
                await reader.readexactly(length)
                reply(writer, {"status": {"allowed": True}}, 201)
            elif not self.defined or target == "/apis":
                reply(writer, {"message": "the server could not find the requested resource"}, 404)
            elif "watch=1" in target:
                self.watches.append(target)
                session = self.sessions.pop(0) if len(self.sessions) > 1 else self.sessions[0]
                await session(self, writer, target)  # type: ignore[misc]
                return
            else:
                self.lists += 1
                items = [thing(name, version) for name, version in self.things.items()]
                reply(writer, {"metadata": {"resourceVersion": "10"}, "items": items}, 200)


def reply(writer: asyncio.StreamWriter, body: object, status: int) -> None:
    content = json.dumps(body).encode()
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content))


def begin(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def tell(writer: asyncio.StreamWriter, kind: str, body: object, *, parts: int = 1) -> None:
    line = json.dumps({"type": kind, "object": body}).encode() + b"\n"
    size = len(line) // parts + 1
    for start in range(0, len(line), size):
        piece = line[start : start + size]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))


def end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"0\r\n\r\n")


async def forever(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    begin(writer)
    while True:
        tell(writer, "BOOKMARK", thing("", 50))
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    begin(writer)
    await asyncio.Event().wait()


async def seen(client: Kubernetes) -> list[str]:
    return sorted(names((await client.list(THINGS)).items))


async def complaint(client: Kubernetes) -> str:
    try:
        await client.list(THINGS)
    except ProbeError as why:
        return str(why)
    return ""


async def test_changes_are_followed(tmp_path: Path, no_leftovers: None) -> None:
    async def changes(_server: Watched, writer: asyncio.StreamWriter, target: str) -> None:
        assert "resourceVersion=10" in target
        assert "allowWatchBookmarks=true" in target
        begin(writer)
        tell(writer, "ADDED", thing("c", 11), parts=5)
        tell(writer, "MODIFIED", thing("b", 12))
        tell(writer, "DELETED", thing("a", 13))
        tell(writer, "BOOKMARK", thing("", 20))
        end(writer)
        await writer.drain()

    server = Watched(changes, forever)
    async with server.serving() as url, asking(tmp_path, url, watch=True) as client:
        snapshots = await asyncio.gather(*(client.list(THINGS) for _ in range(5)))
        assert sorted(names(snapshots[0].items)) == ["a", "b"]
        await eventually(lambda: len(server.watches) == 2, "the watch to be taken up again")
        assert await seen(client) == ["b", "c"]
        assert "resourceVersion=20" in server.watches[1]
        assert server.lists == 1


async def test_objects_that_cannot_be_told_apart_are_not_followed(tmp_path: Path, no_leftovers: None) -> None:
    server = Watched(forever)
    server.things = {"": 1}
    async with server.serving() as url, asking(tmp_path, url, watch=True) as client:
        with pytest.raises(
            ProbeError, match="/things listed objects without a uid, so their changes cannot be followed"
        ):
            await client.list(THINGS)


@pytest.mark.parametrize("way", ["status", "event"])
async def test_a_version_that_is_forgotten_starts_with_a_list(tmp_path: Path, way: str) -> None:
    gone = {"kind": "Status", "code": 410, "message": "too old resource version"}

    async def forgotten(server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
        server.things = {"z": 30}
        if way == "status":
            reply(writer, gone, 410)
        else:
            begin(writer)
            tell(writer, "ERROR", gone)
            end(writer)
        await writer.drain()

    server = Watched(forgotten, forever)
    async with server.serving() as url, asking(tmp_path, url, watch=True) as client:
        await client.list(THINGS)
        await eventually(lambda: server.lists == 2, "a new list")

        async def new() -> bool:
            return await seen(client) == ["z"]

        await eventually(new, "what the new list told")


async def test_a_kind_that_is_removed_and_comes_back_is_told(tmp_path: Path, no_leftovers: None) -> None:
    async def removed(server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
        server.defined = False
        begin(writer)
        end(writer)
        await writer.drain()

    server = Watched(removed, forever)
    async with server.serving() as url, asking(tmp_path, url, watch=True) as client:
        await client.list(THINGS)

        async def absent() -> bool:
            try:
                await client.list(THINGS)
            except NotServed:
                return True
            return False

        await eventually(absent, "the kind to be called absent")
        server.defined = True

        async def back() -> bool:
            return await seen(client) == ["a", "b"]

        await eventually(back, "the kind to be back")


async def refusing(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    reply(writer, {"message": "etcdserver: no leader"}, 500)
    await writer.drain()


async def breaking_off(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


async def hanging_up(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    writer.close()


async def ending(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    begin(writer)
    end(writer)
    await writer.drain()


async def talking_nonsense(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    begin(writer)
    writer.write(b"5\r\nnope\n\r\n")
    await writer.drain()
    await asyncio.Event().wait()


async def failing(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
    begin(writer)
    tell(writer, "ERROR", {"code": 500, "message": "the server is on fire"})
    await writer.drain()
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("session", "told"),
    [
        (silent, "so what it last reported is too old."),
        (refusing, "answered 500: etcdserver: no leader)"),
        (hanging_up, "failed:"),
        (breaking_off, "failed: the reply is not HTTP or ended too early)"),
        (ending, "(the API server ended it at once)"),
        (talking_nonsense, "reported a change in an unexpected format"),
        (failing, "ended: the server is on fire)"),
    ],
)
async def test_a_broken_watch_ages_and_is_not_frozen(
    tmp_path: Path, session: Session, told: str, no_leftovers: None
) -> None:
    server = Watched(session)
    async with server.serving() as url, asking(tmp_path, url, watch=True, stale_after="2s") as client:
        assert await seen(client) == ["a", "b"]
        sentence = await eventually(lambda: complaint(client), "it to be too old", 10)
        assert sentence.startswith("The watch of things.example.com has been silent for ")
        assert told in sentence
        assert len(server.watches) < 5
        server.sessions = [forever]

        async def recovered() -> bool:
            return await complaint(client) == ""

        if session is not silent and session is not talking_nonsense:
            await eventually(recovered, "it to recover", 20)


async def test_a_kind_of_which_nothing_changes_stays_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.systems.kubernetes.client.watch._ROUND", timedelta(seconds=0.2))

    async def quiet(_server: Watched, writer: asyncio.StreamWriter, target: str) -> None:
        assert "timeoutSeconds=1" in target
        begin(writer)
        await writer.drain()
        await asyncio.sleep(0.2)
        end(writer)
        await writer.drain()

    server = Watched(quiet)
    async with server.serving() as url, asking(tmp_path, url, watch=True, stale_after="5s") as client:
        first = await client.list(THINGS)
        await eventually(lambda: len(server.watches) > 4, "some rounds")
        assert (await client.list(THINGS)).taken > first.taken
        assert server.lists == 1


async def test_a_clock_that_is_set_is_noticed(tmp_path: Path) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)

    async def set_ahead(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
        date = format_datetime(later, usegmt=True).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nDate: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % date)
        tell(writer, "BOOKMARK", thing("", 50))
        await writer.drain()
        await asyncio.Event().wait()

    async with Watched(set_ahead).serving() as url, asking(tmp_path, url, watch=True) as client:

        async def noticed() -> bool:
            return (await client.list(THINGS)).taken >= later

        await eventually(noticed, "ages to be counted by the clock as it is now")


async def test_an_object_without_end_is_not_kept(tmp_path: Path, no_leftovers: None) -> None:
    async def endless(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
        begin(writer)
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    async with Watched(endless).serving() as url, asking(tmp_path, url, watch=True, stale_after="100ms") as client:
        await complaint(client)  # on a busy machine it is too old already

        async def told() -> bool:
            return "more than 16777216 bytes of one object" in await complaint(client)

        await eventually(told, "the limit to be told")


async def test_after_very_many_changes_it_is_listed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.systems.kubernetes.client.watch._MANY_CHANGES", 10)

    async def many(_server: Watched, writer: asyncio.StreamWriter, _target: str) -> None:
        begin(writer)
        for number in range(50):
            tell(writer, "MODIFIED", thing("a", number))
        end(writer)
        await writer.drain()

    server = Watched(many, forever)
    async with server.serving() as url, asking(tmp_path, url, watch=True) as client:
        await client.list(THINGS)
        await eventually(lambda: server.lists == 2, "a second list")


async def test_what_ends_a_watch_by_mistake_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.systems.kubernetes.client.watch.Follower._apply", lambda *_: 1 // 0)
    async with Watched(forever).serving() as url, asking(tmp_path, url, watch=True) as client:
        await client.list(THINGS)

        async def raised() -> bool:
            try:
                await client.list(THINGS)
            except ZeroDivisionError:
                return True
            return False

        await eventually(raised, "the mistake to be raised")
