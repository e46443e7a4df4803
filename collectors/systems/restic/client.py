"""Runs restic. What it complains about is not shown: it may quote the repository with its credentials."""

from __future__ import annotations

import os
from datetime import timedelta

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.shared.processes import Ended, ended
from collectors.systems.restic.model import Checked, Restic, Snapshot
from exporter.verdict import ProbeError, Reason

__all__ = ["NoRepository", "check", "read_snapshots"]

_NO_REPOSITORY, _WRONG_PASSWORD = 10, 12
_LARGEST = 64 * 2**20


class NoRepository(ProbeError):
    """There is no repository at this address: nothing is backed up there."""


class _Message(msgspec.Struct):
    message_type: str


async def read_snapshots(restic: Restic) -> list[Snapshot]:
    """All snapshots of the repository. Raises NoRepository, or ProbeError when they cannot be listed."""
    found = await _run(restic, "snapshots", timeout=restic.timeout)
    if found.code != 0:
        raise ProbeError(f"{restic.command[0]} snapshots ended with status {found.code}.", Reason.ERROR)
    try:
        return msgspec.json.decode(found.output, type=list[Snapshot])
    except UNDECODABLE:
        raise ProbeError(f"{restic.command[0]} snapshots wrote no list of snapshots.", Reason.MALFORMED) from None


async def check(restic: Restic) -> Checked:
    """What a check of the repository finds, which reads part of its data. Raises NoRepository, or ProbeError without a result."""
    found = await _run(restic, "check", f"--read-data-subset={restic.read_data}", timeout=restic.check_timeout)
    for line in reversed(found.output.splitlines()):
        try:
            if msgspec.json.decode(line, type=_Message).message_type == "summary":
                return msgspec.json.decode(line, type=Checked)
        except UNDECODABLE:
            continue
    raise ProbeError(
        f"{restic.command[0]} check ended with status {found.code} and without a summary (which takes version 0.18).",
        Reason.ERROR,
    )


async def _run(restic: Restic, command: str, *arguments: str, timeout: timedelta) -> Ended:
    secrets = {name: value.get_secret_value() for name, value in restic.environment.items()}
    environment = {
        **os.environ,
        **secrets,
        "RESTIC_REPOSITORY": restic.repository.get_secret_value(),
        "RESTIC_PASSWORD": restic.password.get_secret_value(),
    }
    for other in ("RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"):
        environment.pop(other, None)
    argv = (*restic.command, command, "--json", "--no-lock", "--no-cache", *arguments)
    found = await ended(argv, timeout=timeout, max_bytes=_LARGEST, environment=environment)
    if found.code == _NO_REPOSITORY:
        raise NoRepository(f"{restic.command[0]} finds no repository.", Reason.MISSING)
    if found.code == _WRONG_PASSWORD:
        raise ProbeError(
            f"{restic.command[0]} cannot open the repository: the password is wrong, or its keys are gone.",
            Reason.DENIED,
        )
    return found
