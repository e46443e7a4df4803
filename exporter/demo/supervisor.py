"""The process that holds the demo's servers: starts them, breaks and fixes them on request, and outlives nobody.

It is a process of its own so that the exporter may be killed: when its standard input ends, whoever started it is gone, and it
stops every server and removes the folder. On standard output it shows, one JSON object a line, what it starts (`starting`),
that all is up (`ready`, with the configuration for the exporter, the faults, and Prometheus), or why it gives up (`error`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.demo.nats import Nats
from exporter.demo.postgresql import PostgreSQL
from exporter.demo.prometheus import Prometheus
from exporter.demo.records import Records
from exporter.demo.redis import Redis
from exporter.demo.service import Fault, Place, Service, ServiceError
from exporter.demo.shop import Shop
from exporter.demo.website import Website

__all__ = ["main"]


def services_in(place: Place, exporter: str) -> list[Service]:
    """What the demo is made of, in the order of starting. `exporter` is the address that the exporter will listen on."""
    website = Website(place)
    watching = [Prometheus(place, exporter)] if Prometheus.available() else []
    return [PostgreSQL(place), Redis(place), Nats(place), website, Shop(place), Records(place, website), *watching]


def main() -> None:
    """`python -m exporter.demo.supervisor FOLDER ADDRESS`."""
    directory, exporter = Path(sys.argv[1]), sys.argv[2]
    try:
        asyncio.run(_supervise(Place(directory), exporter))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _supervise(place: Place, exporter: str) -> None:
    orphaned = asyncio.ensure_future(_end_of_input())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, orphaned.cancel)
    services = services_in(place, exporter)
    working = asyncio.ensure_future(_serve(place, services))
    try:
        await asyncio.wait({orphaned, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
    finally:
        await asyncio.gather(*(service.stop() for service in services))


async def _serve(place: Place, services: Sequence[Service]) -> None:
    """Start everything, then take requests for ever. Returns after having reported why it cannot."""
    config: dict[str, Any] = {}
    try:
        for service in services:
            _tell(starting=service.name)
            await service.start()
            _merge(config, service.config())
    except (ServiceError, OSError) as error:
        _tell(error=str(error))
        return
    faults = {fault.name: fault for service in services for fault in service.faults()}
    server = await asyncio.start_unix_server(_Requests(faults).answer, place.directory / "control.sock")
    effects = {name: fault.effect for name, fault in faults.items()}
    prometheus = next((service for service in services if isinstance(service, Prometheus)), None)
    shown = {"url": prometheus.url, "trouble": prometheus.trouble} if prometheus else {"url": "", "trouble": ""}
    _tell(ready={"config": config, "faults": effects, "prometheus": shown})
    async with server:
        await server.serve_forever()


class _Requests:
    """Breaks and fixes on request: `break NAME` or `fix NAME` in, one sentence out."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        self._faults = faults
        self._broken: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one reply: `{"ok": …, "text": …}`."""
        with contextlib.suppress(OSError):
            verb, _, name = (await reader.readline()).decode(errors="replace").strip().partition(" ")
            async with self._one_at_a_time:
                try:
                    reply = {"ok": True, "text": await self._perform(verb, name)}
                except (ServiceError, OSError) as error:
                    reply = {"ok": False, "text": str(error)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _perform(self, verb: str, name: str) -> str:
        fault = self._faults.get(name)
        if fault is None:
            raise ServiceError(f"There is no {name!r} to break; choose one of {_enumerate(sorted(self._faults))}.")
        if verb == "break":
            await fault.inflict()
            self._broken.add(name)
            return fault.effect
        if name not in self._broken:
            raise ServiceError(f"{name} is not broken.")
        await fault.fix()
        self._broken.remove(name)
        return f"{name} is fixed."


async def _end_of_input() -> None:
    """Returns when whoever holds the other end of standard input is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


def _tell(**message: object) -> None:
    """One line for the exporter; nobody may be listening any more."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(message), flush=True)  # noqa: T201  # the pipe is the interface


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = [*into[key], *value]
        else:
            into[key] = value


def _enumerate(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


if __name__ == "__main__":
    main()
