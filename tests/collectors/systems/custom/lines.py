"""A line of one's own, verified as the exporter verifies it."""

from __future__ import annotations

import json
from typing import Any

from collectors.custom import Custom, CustomLine
from exporter.verdict import Result, Severity, worst
from tests.support import Run, make_context

__all__ = ["line", "seen"]


def line(**options: Any) -> CustomLine:
    """The line; raises pydantic's ValidationError for options that the exporter would refuse."""
    return CustomLine.model_validate_json(json.dumps({"section": "Shop", "line": "It works", **options}))


async def seen(*, clients: Any = None, commands: bool = False, secrets: tuple[str, ...] = (), **options: Any) -> Result:
    """The verdict on a line, on all its targets."""
    own = line(**options)
    collector = Custom.verifying(own, "shop", "it_works", Severity.CRITICAL)
    context = make_context()
    context.may_run_commands = commands
    results: list[Result] = []
    for part in own.parts or (None,):
        run = Run(collector, target=part, clients=clients, context=context, secrets=secrets)
        results += (await run.results()).values()
    return worst(*results)
