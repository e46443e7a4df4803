"""Runs WAL-G. What it complains about is not shown: it may quote its configuration."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.shared.processes import ended
from collectors.systems.walg.model import Backup, Verified, WalG
from exporter.verdict import ProbeError, Reason

__all__ = ["read_backups", "verify"]

_LARGEST = 64 * 2**20


async def read_backups(walg: WalG) -> list[Backup]:
    """All backups in the storage. Raises ProbeError when they cannot be listed."""
    found: list[Backup] = await _ask(walg, list[Backup], "backup-list", "--detail", "--json")
    return found


async def verify(walg: WalG, backup: str, timeline: int, position: int) -> Verified:
    """What the storage has of the WAL from a backup up to a position, in bytes, of this timeline. Raises ProbeError."""
    lsn = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
    where = (f"--timeline={timeline}", f"--lsn={lsn}", f"--backup-name={backup}")
    found: Verified = await _ask(walg, Verified, "wal-verify", "integrity", "timeline", "--json", *where)
    return found


async def _ask(walg: WalG, wanted: Any, command: str, *arguments: str) -> Any:
    environment = {**os.environ, **{name: value.get_secret_value() for name, value in walg.environment.items()}}
    argv = (*walg.command, command, *arguments)
    found = await ended(argv, timeout=walg.timeout, max_bytes=_LARGEST, environment=environment)
    if found.code != 0:
        raise ProbeError(f"{walg.command[0]} {command} ended with status {found.code}.", Reason.ERROR)
    try:
        return msgspec.json.decode(found.output or b"null", type=wanted)
    except UNDECODABLE:
        raise ProbeError(f"{walg.command[0]} {command} wrote something else than expected.", Reason.MALFORMED) from None
