"""Runs a program, as something that may hang, flood and multiply."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from collectors.shared.cel import Facts, json_of
from collectors.shared.processes import ended
from collectors.systems.custom.model.command import Command
from collectors.systems.custom.model.probe import Observed, Seen
from exporter.trace import step
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["look"]

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}


async def look(probe: Command, *, enabled: bool) -> list[Seen]:
    """How the program ends, where commands are enabled."""
    if not enabled:
        return [
            ProbeError(
                f"`{probe.command[0]}` was not run: start the exporter with --enable-commands to allow commands.",
                Reason.NOT_CONFIGURED,
            )
        ]
    environment = _ENVIRONMENT | {name: value.get_secret_value() for name, value in probe.env.items()}
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        with step(f"the command {probe.command[0]} with {len(probe.command) - 1} arguments") as taken:
            code, output, errors = await ended(
                probe.command, timeout=probe.timeout, max_bytes=probe.max_bytes, environment=environment, folder="/"
            )
            taken.answered = f"status {code}, {len(output)} bytes"
    except ProbeError as error:
        return [error]
    latency = timedelta(seconds=loop.time() - started)
    facts = Facts(
        status=code,
        text=output.decode("utf-8", "replace"),
        errors=errors.decode("utf-8", "replace"),
        latency=latency,
    )
    with suppress(ValueError, RecursionError):
        facts["json"] = json_of(output)
    lines = facts["errors"].strip().splitlines()
    notes = {"status": f"it ended with status {code}" + (f" ({one_line(lines[-1])})" if lines else "")}
    measurements = {"seconds": latency.total_seconds(), "exit_status": float(code)}
    return [
        Observed(
            f"`{probe.command[0]}`", facts, {"json": "its output is not JSON"}, notes=notes, measurements=measurements
        )
    ]
