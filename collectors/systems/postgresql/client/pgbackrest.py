"""pgBackRest: what its repositories hold, by `pgbackrest info`."""

from __future__ import annotations

import msgspec

from collectors.shared.processes import output_of
from collectors.systems.postgresql.model.pgbackrest import PgBackRest, Stanza
from exporter.verdict import ProbeError

__all__ = ["read_stanza"]


async def read_stanza(settings: PgBackRest) -> Stanza:
    """What the repositories hold of the stanza. Raises ProbeError when pgBackRest cannot be run or knows no such stanza."""
    argv = [*settings.command, "info", "--output=json", f"--stanza={settings.stanza}"]
    if settings.config is not None:
        argv.append(f"--config={settings.config}")
    output = await output_of(argv, timeout=settings.timeout)
    try:
        stanzas = msgspec.json.decode(output, type=list[Stanza])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProbeError(f"{settings.command[0]} info wrote something else than expected: {error}.") from None
    for stanza in stanzas:
        if stanza.name == settings.stanza:
            return stanza
    raise ProbeError(f"{settings.command[0]} knows no stanza {settings.stanza}.")
