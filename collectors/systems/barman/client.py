"""Runs barman. Its commands that change what it knows of a backup, such as `check-backup`, are not used."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.shared.processes import Ended, ended
from collectors.systems.barman.model import Barman, Check, Found, Listed, Shown, State, Verified
from collectors.systems.postgresql.model.instance import Archiver
from collectors.systems.postgresql.model.segments import segment_flaw, segment_name, segment_number
from exporter.verdict import ProbeError, Reason

__all__ = ["read_backups", "read_server", "read_wal", "verify"]

_SEGMENT = re.compile(rb'"([0-9A-F]{24})"')
_VERIFIED, _DAMAGED = b"successfully verified", b"verify backup failure"
_NO_MANIFEST = b'backup_manifest\\": No such file'
_LARGEST = 64 * 2**20
_MOST_READ = 8
_LONGEST_CHAIN = 1000


async def read_backups(barman: Barman) -> list[Listed]:
    """The backups of the server. Raises ProbeError when barman cannot be run, or knows no such server."""
    found: list[Listed] = await _ask(barman, list[Listed], "list-backups")
    return found


async def read_server(barman: Barman, archiver: Archiver, position: int) -> Found:
    """All that shows whether the server can be restored up to `position` in its WAL. Raises ProbeError."""
    checks, states = await asyncio.gather(_ask(barman, dict[str, Check], "check", codes=(0, 1)), _states(barman))
    inactive = any(states.get(name, on).message != on.message for name, on in _AT_WORK.items())
    found = Found(checks, await read_backups(barman), None, frozenset(), inactive=inactive)
    if not found.done:
        return found
    newest: Shown = await _ask(barman, Shown, "show-backup", after=(found.done[0].backup_id,))
    return msgspec.structs.replace(
        found,
        newest=newest,
        segments=await _segments(barman, newest, archiver, position),
        parents=await _parents(barman, newest, found.backups),
    )


async def _states(barman: Barman) -> Mapping[str, State]:
    """What the status of the server says; nothing where that cannot be had, as its checks say why."""
    try:
        found: dict[str, State] = await _ask(barman, dict[str, State], "status", codes=(0, 1))
    except ProbeError:
        return {}
    return found


#: What the status of a server says that barman works for.
_AT_WORK = {"active": State("True"), "disabled": State("False")}


async def _parents(barman: Barman, newest: Shown, backups: Iterable[Listed]) -> tuple[Shown, ...]:
    """The complete backups that an incremental one needs, the next one first."""
    done = {one.backup_id for one in backups if one.is_done}
    found: list[Shown] = []
    wanted = newest.parent
    while wanted in done and len(found) < _LONGEST_CHAIN:
        found.append(await _ask(barman, Shown, "show-backup", after=(wanted,)))
        wanted = found[-1].parent
    return tuple(found)


async def _segments(barman: Barman, newest: Shown, archiver: Archiver, position: int) -> frozenset[str]:
    """The WAL files that barman has from the start of a backup on, up to the first that is missing, over a change of timeline."""
    first = newest.first_segment
    if first is None or not _SEGMENT.fullmatch(f'"{first}"'.encode()):
        return frozenset()
    size = archiver.segment_size
    most = max(1, position // size - segment_number(first, size) + 2)
    held = await _peek(barman, first, most)
    if held and int(first[:8], 16) < archiver.timeline:
        last = segment_number(max(held), size)
        for number in (last + 1, last):
            held |= await _peek(barman, segment_name(number, archiver.timeline, size), most)
    return frozenset(held)


async def _peek(barman: Barman, first: str, most: int) -> set[str]:
    found = await _run(barman, "get-wal", (f"--peek={most}",), (first,))
    if found.code != 0:
        raise ProbeError(f"{barman.command[0]} get-wal ended with status {found.code}.", Reason.ERROR)
    return {name.decode() for name in _SEGMENT.findall(found.output)}


async def verify(barman: Barman, backup: Shown) -> Verified:
    """What reading all files of a backup and comparing them with its manifest finds. Raises ProbeError when it cannot be run."""
    argv = _argv(barman, "verify-backup", (), (backup.backup_id,), _JSON)
    found = await ended(argv, timeout=barman.verify_timeout, max_bytes=_LARGEST)
    if found.code == 0 and _VERIFIED in found.output:
        return Verified.SOUND
    if _DAMAGED in found.output and (backup.has_manifest or _NO_MANIFEST not in found.output):
        return Verified.DAMAGED
    return Verified.NO_MANIFEST if _NO_MANIFEST in found.output else Verified.NOT_RUN


async def read_wal(barman: Barman, found: Found, size: int, cluster: str) -> Mapping[str, str]:
    """What is wrong with WAL files that barman lists, by their name: of those since the newest backup a few are read.

    `size` is that of a segment, in bytes; larger ones than are read into memory are not looked at. Raises ProbeError.
    """
    names = sorted(found.segments)
    if not names or size > _LARGEST:
        return {}
    step = max(1, -(-len(names) // (_MOST_READ - 1)))
    flaws: dict[str, str] = {}
    for name in dict.fromkeys((*names[::step], names[-1])):
        got = await ended(_argv(barman, "get-wal", (), (name,)), timeout=barman.timeout, max_bytes=_LARGEST)
        flaw = "cannot be read" if got.code else segment_flaw(name, got.output, size, cluster)
        if flaw is not None:
            flaws[name] = flaw
    return flaws


async def _ask(
    barman: Barman, wanted: Any, command: str, *, after: tuple[str, ...] = (), codes: tuple[int, ...] = (0,)
) -> Any:
    found = await _run(barman, command, (), after)
    try:
        answer = msgspec.json.decode(found.output, type=dict[str, msgspec.Raw])
        if found.code in codes and barman.server in answer:
            return msgspec.json.decode(answer[barman.server], type=wanted)
    except UNDECODABLE:
        raise ProbeError(
            f"{barman.command[0]} {command} wrote something else than expected.", Reason.MALFORMED
        ) from None
    if b"Unknown server" in found.output:
        raise ProbeError(f"{barman.command[0]} knows no server {barman.server}.", Reason.MISSING)
    raise ProbeError(f"{barman.command[0]} {command} ended with status {found.code}.", Reason.ERROR)


async def _run(barman: Barman, command: str, options: tuple[str, ...], after: tuple[str, ...]) -> Ended:
    return await ended(_argv(barman, command, options, after, _JSON), timeout=barman.timeout, max_bytes=_LARGEST)


_JSON = ("-f", "json")


def _argv(
    barman: Barman, command: str, options: tuple[str, ...], after: tuple[str, ...], form: tuple[str, ...] = ()
) -> list[str]:
    config = [] if barman.config is None else ["-c", str(barman.config)]
    return [*barman.command, *config, *form, command, *options, barman.server, *after]
