"""Tests of what the demo's services stand on: processes, folders, users, and what is said when something cannot be had."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any, ClassVar

import pytest

from exporter.demo import nats, postgresql, redis, supervisor
from exporter.demo.ports import free_port
from exporter.demo.service import Fault, Place, Process, Service, ServiceError
from tests.servers.process import eventually, scratch


@pytest.fixture
def place() -> Iterator[Place]:
    with scratch("place") as folder:
        yield Place(folder)


def process(place: Place, *argv: str) -> Process:
    return Process(place, argv, place.directory / "log")


async def test_a_program_that_fails_is_told_with_its_last_words(place: Place) -> None:
    with pytest.raises(ServiceError, match=r"^sh ended with 3: no such locale$"):
        await process(place, "sh", "-c", "echo starting; echo no such locale >&2; exit 3").run()
    with pytest.raises(ServiceError, match=r"^false ended with 1: "):
        await process(place, "false").run()


async def test_a_program_that_does_not_end_is_stopped(place: Place) -> None:
    endless = process(place, "sleep", "1000")
    with pytest.raises(ServiceError, match=r"^sleep did not end within 0 s\.$"):
        await endless.run(deadline=0.1)
    assert not endless.running


async def test_a_program_that_does_not_listen_is_killed(place: Place) -> None:
    deaf = process(place, "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    await deaf.start()
    await eventually(lambda: deaf.last_words() == "deaf", "the program to be deaf")
    await deaf.stop(deadline=0.2)
    assert not deaf.running
    await deaf.stop()  # harmless


def test_ports_are_given_once_and_are_none_of_the_kernels() -> None:
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == 300
    assert max(ports) < 32_768


async def test_a_program_that_is_missing(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        await process(place, "/nowhere/postgres").start()


def test_root_hands_servers_to_another_user(place: Place) -> None:
    user = place.user
    assert (user is None) == (os.geteuid() != 0)
    owner = user.pw_uid if user else os.geteuid()
    assert place.folder("servers").stat().st_uid == owner
    secret = place.give(place.directory / "secret", "x")
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (owner, 0o600)


def test_without_another_user_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ServiceError, match="PostgreSQL does not run as root"):
        _ = place.user


def test_everybody_else_runs_servers_as_themselves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert place.user is None
    assert place.readable(Path("/opt/programs")) == Path("/opt")
    folder = place.folder("servers")
    assert place.give(folder / "secret", "x").read_text() == "x"
    assert nats.Nats(place)._program(folder).parent.name == "bin"


def test_programs_that_the_other_user_cannot_read_are_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "user", property(lambda self: pwd.getpwuid(os.getuid())))
    closed = place.directory / "closed"
    program = closed / "package" / "bin" / "server"
    program.parent.mkdir(parents=True, mode=0o700)
    program.touch(mode=0o700)
    (program.parent / "link").symlink_to("server")
    closed.chmod(0o700)
    assert place.readable(closed / "package") == place.directory
    copy = place.directory / "package" / "bin"
    assert copy.stat().st_mode & 0o777 == 0o755
    assert (copy / "server").stat().st_mode & 0o777 == 0o755
    assert (copy / "link").readlink() == Path("server")


@pytest.mark.parametrize("module", [postgresql, redis], ids=["postgresql", "redis"])
async def test_without_its_wheel_a_service_names_the_extra(
    place: Place, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    service = {postgresql: postgresql.PostgreSQL, redis: redis.Redis}[module](place)
    with pytest.raises(ServiceError, match=r"requires its extra: pip install 'checklist-exporter\[demo\]'"):
        await service.start()
    await service.stop()


async def test_without_its_wheel_nats_names_the_extra(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(nats, "distribution", missing)
    with pytest.raises(ServiceError, match="requires its extra"):
        await nats.Nats(place).start()


async def test_a_postgresql_that_ends_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql._SETTINGS, "wal_level", "minimal")  # with max_wal_senders it refuses to start
    service = postgresql.PostgreSQL(place)
    with pytest.raises(ServiceError, match=r"^PostgreSQL primary ended: .*WAL"):
        await service.start()
    await service.stop()
    monkeypatch.undo()


async def test_a_statement_to_a_stopped_postgresql_is_refused(place: Place) -> None:
    service = postgresql.PostgreSQL(place)
    with pytest.raises(ServiceError, match="does not take the demo's statement"):
        await service._execute("SELECT 1")


async def test_a_redis_that_ends_is_told(place: Place) -> None:
    service = redis.Redis(place)
    await service.start()
    try:
        await service._servers["master"].stop(signal.SIGKILL)
        with pytest.raises(ServiceError, match=r"^Redis master ended: "):
            await service._until("master", "an answer", lambda info: True)
        (aof,) = (fault for fault in service.faults() if fault.name == "redis-aof")
        with pytest.raises(ServiceError, match=r"^Redis master does not do what the demo asks: "):
            await aof.inflict()
        with pytest.raises(ServiceError, match=r"^After 0 s still waiting for the moon\.$"):
            await service._until("replica", "the moon", lambda info: False, deadline=0)
    finally:
        await service.stop()


async def test_a_replica_that_is_fixed_is_as_it_was_before(place: Place) -> None:
    service = redis.Redis(place)
    await service.start()
    try:
        (replica,) = (fault for fault in service.faults() if fault.name == "redis-replica")
        await replica.inflict()
        await replica.fix()
        # It follows, and its snapshot is not that of an earlier life: of a new one Redis says that it went well.
        await service._until("replica", "the replica to follow", lambda info: info["master_link_status"] == "up")
        await service._until("replica", "a snapshot", lambda info: info["rdb_last_bgsave_time_sec"] >= 0)
    finally:
        await service.stop()


class Faulty(Service):
    """A service that cannot start."""

    name: ClassVar[str] = "something that cannot start"

    async def start(self) -> None:
        raise ServiceError("There is no room.")

    async def stop(self) -> None:
        pass

    def config(self) -> Mapping[str, Any]:
        return {}


async def test_what_cannot_start_is_told_to_the_exporter(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await supervisor._serve(place, [Faulty(place)])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [{"starting": Faulty.name}, {"error": "There is no room."}]
    assert Faulty(place).faults() == ()


async def test_what_cannot_be_broken_is_told_and_can_be_tried_again(place: Place) -> None:
    async def refuse() -> None:
        raise ServiceError("It does not break.")

    requests = supervisor._Requests(
        {"a": Fault("a", "It is broken.", refuse, refuse), "b": Fault("b", "x", refuse, refuse)}
    )
    server = await asyncio.start_unix_server(requests.answer, place.directory / "control.sock")
    async with server:
        for request, text in (
            (b"break a\n", "It does not break."),
            (b"fix a\n", "a is not broken."),
            (b"\n", "There is no ''"),
        ):
            reader, writer = await asyncio.open_unix_connection(place.directory / "control.sock")
            writer.write(request)
            reply = json.loads(await reader.readline())
            writer.close()
            assert not reply["ok"]
            assert reply["text"].startswith(text)


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
async def test_a_server_on_the_path_comes_before_the_wheel(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = redis.Redis(place)
    with scratch("path") as folder:
        folder.chmod(0o755)
        installed = folder / name
        installed.write_text("#!/bin/sh\necho this is $0\nexit 1\n")
        installed.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with pytest.raises(ServiceError, match=f"Redis master ended: this is {installed}"):
            await service.start()
    await service.stop()
