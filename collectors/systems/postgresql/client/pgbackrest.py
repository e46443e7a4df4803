"""pgBackRest: what its repositories hold, by `pgbackrest info` and `pgbackrest repo-ls`."""

from __future__ import annotations

import re

import msgspec

from collectors.shared.processes import output_of
from collectors.systems.postgresql.model.pgbackrest import Archive, PgBackRest, Stanza
from exporter.verdict import ProbeError, Reason

__all__ = ["read_segments", "read_stanza"]

_SEGMENT = re.compile(rb"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}", re.MULTILINE)
_LARGEST = 64 * 2**20


async def read_stanza(settings: PgBackRest) -> Stanza:
    """What the repositories hold of the stanza. Raises ProbeError when pgBackRest cannot be run or knows no such stanza."""
    output = await output_of(_command(settings, "info", "--output=json"), timeout=settings.timeout)
    try:
        stanzas = msgspec.json.decode(output, type=list[Stanza])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(
            f"{settings.command[0]} info wrote something else than expected: {error}.", Reason.MALFORMED
        ) from None
    for stanza in stanzas:
        if stanza.name == settings.stanza:
            return stanza
    raise ProbeError(f"{settings.command[0]} knows no stanza {settings.stanza}.")


async def read_segments(settings: PgBackRest, archive: Archive) -> frozenset[str]:
    """The names of all WAL segments that a repository holds in one archive; `info` names the first and the last alone.

    Raises ProbeError when pgBackRest cannot be run.
    """
    path = f"archive/{settings.stanza}/{archive.id}"
    argv = _command(settings, "repo-ls", "--recurse", "--sort=none", f"--repo={archive.database.repo_key}", path)
    output = await output_of(argv, timeout=settings.timeout, max_bytes=_LARGEST)
    return frozenset(found.decode() for found in _SEGMENT.findall(output))


def _command(settings: PgBackRest, command: str, *arguments: str) -> list[str]:
    argv = [*settings.command, command, *arguments, f"--stanza={settings.stanza}"]
    if settings.config is not None:
        argv.append(f"--config={settings.config}")
    return argv
