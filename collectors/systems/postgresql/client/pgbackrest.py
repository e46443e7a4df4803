"""pgBackRest: what its repositories hold, by `pgbackrest info` and `pgbackrest repo-ls`."""

from __future__ import annotations

import msgspec

from collectors.shared.processes import output_of
from collectors.systems.postgresql.model.pgbackrest import Archive, Backup, PgBackRest, Segments, Stanza, Stored
from collectors.systems.postgresql.model.segments import Lineage
from exporter.verdict import ProbeError, Reason

__all__ = ["read_folder", "read_history", "read_labels", "read_segments", "read_stanza"]

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


async def read_segments(settings: PgBackRest, archive: Archive, size: int) -> Segments:
    """All WAL segments that a repository holds in one archive; `info` names the first and the last alone.

    `size` is that of a segment, in bytes. Raises ProbeError when pgBackRest cannot be run.
    """
    path = f"archive/{settings.stanza}/{archive.id}"
    return Segments.of(await _list(settings, path, archive.database.repo_key, "--recurse"), size)


async def read_history(settings: PgBackRest, archive: Archive, timeline: int) -> Lineage:
    """The timelines that one descends from, by the history file of it that a repository holds.

    Raises ProbeError when pgBackRest cannot be run.
    """
    path = f"archive/{settings.stanza}/{archive.id}/{timeline:08X}.history"
    argv = _command(settings, "repo-get", f"--repo={archive.database.repo_key}", path)
    return Lineage.read(timeline, (await output_of(argv, timeout=settings.timeout)).decode("utf-8", "replace"))


async def read_folder(settings: PgBackRest, backup: Backup, label: str) -> frozenset[str]:
    """What the folder of a backup holds in the repository of another one, which needs it; nothing where it is gone.

    Raises ProbeError when pgBackRest cannot be run.
    """
    return frozenset(await _list(settings, f"backup/{settings.stanza}/{label}", backup.database.repo_key))


async def read_labels(settings: PgBackRest, repository: int) -> frozenset[str]:
    """The backups whose folders a repository holds, by their labels. Raises ProbeError when pgBackRest cannot be run."""
    return frozenset(await _list(settings, f"backup/{settings.stanza}", repository))


async def _list(settings: PgBackRest, path: str, repository: int, *options: str) -> dict[str, Stored]:
    argv = _command(settings, "repo-ls", "--output=json", "--sort=none", *options, f"--repo={repository}", path)
    output = await output_of(argv, timeout=settings.timeout, max_bytes=_LARGEST)
    try:
        return msgspec.json.decode(output, type=dict[str, Stored])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(
            f"{settings.command[0]} repo-ls wrote something else than expected: {error}.", Reason.MALFORMED
        ) from None


def _command(settings: PgBackRest, command: str, *arguments: str) -> list[str]:
    argv = [*settings.command, command, *arguments, f"--stanza={settings.stanza}"]
    if settings.config is not None:
        argv.append(f"--config={settings.config}")
    return argv
