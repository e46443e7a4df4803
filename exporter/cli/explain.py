"""`explain` verifies one line now and shows what was asked, answered and decided."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from exporter.cli.once import exit_code
from exporter.cli.shared import ConfigFile, EnableCommands, Refused, load, say
from exporter.logs import LogLevel
from exporter.trace import STEPS_SHOWN, Step, tracing
from exporter.words import counted, one_line

if TYPE_CHECKING:
    from exporter.config import Loaded
    from exporter.evidence.records import Record
    from exporter.plan import Job, PlannedItem
    from exporter.verdict import Status
    from exporter.views import ItemView

__all__ = ["explain"]


def explain(
    line: Annotated[str, typer.Argument(metavar="SECTION.ITEM", help="The line, as `list` names it.")],
    config_file: ConfigFile = None,
    enable_commands: EnableCommands = False,
) -> int:
    """Verify one line now and show what was asked, answered and decided. Exits as `check` does.

    Of replies only the size is shown, as they may contain secrets.
    """
    from exporter import logs
    from exporter.collector import Mode

    loaded = load(config_file)
    planned = _planned(loaded, line)
    logs.configure(LogLevel.ERROR)
    say("\n".join(_about(planned)))
    jobs = [job for job in loaded.plan.jobs if job.section == planned.section and planned.item in job.items]
    if planned.not_applicable or not jobs:
        return exit_code({_conclude(_verified(loaded, [], planned)[0], "")})
    if planned.mode is Mode.DERIVED:
        say("\nIt is computed from the other lines, which are verified first.")
        return exit_code(
            {_conclude(_verified(loaded, list(loaded.plan.jobs), planned, commands=enable_commands)[0], "")}
        )
    statuses = set()
    for job in jobs:
        alone = replace(job, items=(planned.item,))
        view, steps = _verified(loaded, [alone], planned, commands=enable_commands)
        say("\n".join(["", *_asked(job, steps)]))
        statuses.add(_conclude(view, job.target))
    if planned.causes and not all(status.is_ok for status in statuses):
        say("\n".join(["", "It depends on:", *_causes(loaded, planned, commands=enable_commands)]))
    return exit_code(statuses)


def _planned(loaded: Loaded, line: str) -> PlannedItem:
    from exporter.options_reader import nearest

    items = {item.id: item for item in loaded.plan.items}
    if (planned := items.get(line)) is None:
        raise Refused(f"There is no line '{line}'{nearest(line, items) or '.'}")
    return planned


def _about(planned: PlannedItem) -> Iterator[str]:
    """What the line says, and how it is verified."""
    yield f"{planned.id}: {planned.line}"
    mode = f"by {planned.mode.value}" if planned.mode else "by nothing"
    yield f"Severity {planned.severity.value}; verified {mode}, {planned.verified_by or 'no collector'}."
    if (declared := planned.declared) is not None:
        why, _, _ = inspect.cleandoc(declared.description).partition("\n\n")
        yield f"\n{why}"
        if declared.needs:
            yield "\nRequirements:"
            yield from (f"  - {need}" for need in declared.needs)
    if planned.excused:
        yield f"\n{planned.excuses}"
    if planned.waiver is not None:
        yield f"\nWaived until {planned.waiver.until} by {planned.waiver.owner}: {planned.waiver.reason}"


def _verified(
    loaded: Loaded, jobs: list[Job], planned: PlannedItem, *, commands: bool = False
) -> tuple[ItemView, list[Step]]:
    """The line after these jobs ran once, and what they asked."""
    from exporter.engine import check

    names = tuple(dict.fromkeys(job.target for job in jobs if job.section == planned.section))
    items = tuple(replace(item, targets=names) if item is planned and jobs else item for item in loaded.plan.items)
    plan = replace(loaded.plan, jobs=tuple(jobs), items=items)
    with tracing() as steps:
        state = asyncio.run(check(replace(loaded, plan=plan), commands=commands))
    view = state.view(planned.section, planned.item)
    assert view is not None  # it is in the plan
    return view, steps


def _causes(loaded: Loaded, planned: PlannedItem, *, commands: bool) -> Iterator[str]:
    """What the lines that this one depends on are now."""
    wanted = {cause.key for cause in planned.causes}
    for line in (line for line in loaded.plan.items if (line.section, line.item) in wanted):
        jobs = [
            replace(job, items=(line.item,))
            for job in loaded.plan.jobs
            if job.section == line.section and line.item in job.items
        ]
        view, _ = _verified(loaded, jobs, line, commands=commands)
        yield f"  {line.id} is {view.status}: {view.summary}"


def _asked(job: Job, steps: list[Step]) -> Iterator[str]:
    """What is configured for a target, and each question with its answer."""
    yield f"Target {job.target}" if job.target else "Options"
    shown: dict[str, str] = {}
    for options in (
        getattr(job.collector, "options", None),
        job.settings,
        job.target_settings,
    ):  # a line's own come first
        if options is not None:
            shown = {name: one_line(value) for name, value in _set(options).items()} | shown
    yield from (f"  {name}: {value}" for name, value in shown.items())
    for number, step in enumerate(steps[:STEPS_SHOWN], 1):
        yield f"  {number}. {one_line(step.asked)}"
        yield f"     → {one_line(step.answered)} ({step.seconds * 1000:.0f} ms)"
    if len(steps) > STEPS_SHOWN:
        yield f"  … and {counted(len(steps) - STEPS_SHOWN, 'question')} more"
    if not steps:
        yield "  Nothing was asked of a server by a client that can be traced."


def _set(options: Any) -> dict[str, Any]:
    """The options that the configuration sets, but the target's name."""
    shown = options.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in shown.items() if name != "name" and value not in (None, "", [], {})}


def _conclude(view: ItemView, target: str) -> Status:
    """Print the verdict on a target (or on the line) and return its status."""
    seen = next((one for one in view.targets if one.target == target), view) if target else view
    for record in cast("tuple[Record, ...]", view.evidence):
        say(f"  Evidence: {record.file}:{record.line}: {record.result} on {record.on} by {one_line(record.by)}")
    reason = f" ({seen.reason})" if seen.reason else ""
    say(f"  {seen.status}{reason}: {seen.summary}")
    for name, value in sorted(seen.measurements.items()):
        say(f"  {name} = {value:g}")
    if seen.reason:
        say(f"  What to do: {seen.reason.remedy}")
    return seen.status
