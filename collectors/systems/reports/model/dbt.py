"""dbt: `run_results.json` of `dbt test` or `dbt build`, and the `manifest.json` beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from collectors.systems.reports.model.report import Checks, Kind, Report, decoded, malformed, moment

__all__ = ["read_dbt", "with_manifest"]


_KNOWN = ("pass", "warn", "fail", "skipped")
"""What became of a test; any other status, such as error, or the success of `dbt compile`, is no verdict on data."""


class _Metadata(msgspec.Struct):
    generated_at: str = ""
    dbt_version: str = ""


class _Result(msgspec.Struct):
    unique_id: str
    status: str
    failures: int | None = None


class _Arguments(msgspec.Struct):
    target: str | None = None
    select: Any = None
    exclude: Any = None
    selector: Any = None
    resource_types: Any = None
    exclude_resource_types: Any = None
    empty: bool | None = None
    sample: Any = None
    defer: bool | None = None
    command: str = msgspec.field(name="invocation_command", default="")


class _Dbt(msgspec.Struct):
    metadata: _Metadata
    results: list[_Result]
    args: _Arguments


def read_dbt(content: bytes) -> Report:
    """Tests of data alone are checks: what `dbt compile` only rendered, models and unit tests are not. Rows are not counted in it.

    Raises ProbeError for another format.
    """
    read = decoded(content, _Dbt, "dbt", "run_results.json")
    tests = [result for result in read.results if result.unique_id.startswith("test.")]
    others = [result for result in read.results if not result.unique_id.startswith("test.")]

    def named(*statuses: str) -> tuple[str, ...]:
        return tuple(_name(test.unique_id) for test in tests if test.status in statuses)

    broken = [_name(other.unique_id) for other in others if other.status in ("error", "fail", "partial success")]
    return Report(
        "dbt",
        Kind.DATA,
        tool=f"dbt {read.metadata.dbt_version}".strip(),
        finished=moment(read.metadata.generated_at),
        target=read.args.target,
        problems=tuple(_limits(read.args)),
        checks=Checks(
            passed=named("pass", "warn"),
            failed=named("fail"),
            warned=named("warn"),
            errors=(*(_name(test.unique_id) for test in tests if test.status not in _KNOWN), *broken),
            skipped=named("skipped"),
            loose=tuple(_name(test.unique_id) for test in tests if test.status == "pass" and test.failures),
            selection=", ".join(_selection(read.args)),
            ran=frozenset(test.unique_id for test in tests),
        ),
    )


def _name(unique_id: str) -> str:
    return [*unique_id.split("."), "", "", ""][2] or unique_id


def _selection(args: _Arguments) -> Iterator[str]:
    if args.command.split()[1:2] == ["retry"]:
        yield "dbt retry"
    for name in ("select", "exclude", "selector", "resource_types", "exclude_resource_types"):
        # Of the kinds of nodes only whether tests are among them matters.
        kinds = getattr(args, name) if name.endswith("resource_types") else None
        if isinstance(kinds, list) and ("test" in kinds) == (name == "resource_types"):
            continue
        if given := getattr(args, name):
            yield f"--{name.replace('_', '-')} {' '.join(map(str, given)) if isinstance(given, list) else given}"[:200]


def _limits(args: _Arguments) -> Iterator[str]:
    if args.empty:
        yield "it ran with --empty, so the models had no rows"
    if args.sample:
        yield "it ran with --sample, so the models had a part of their rows"
    if args.defer:
        yield "it ran with --defer, so some tables were those of another environment"


class _Node(msgspec.Struct):
    resource_type: str = ""


class _Manifest(msgspec.Struct):
    nodes: dict[str, _Node]
    disabled: dict[str, list[_Node]] = {}


def with_manifest(report: Report, content: bytes) -> Report:
    """The report, with the tests of the project that it has no result for as skipped; a selection then needs no words of its own.

    Raises ProbeError where it is no manifest, or one of another project.
    """
    read = decoded(content, _Manifest, "dbt", "manifest.json")
    checks = report.checks
    if report.format != "dbt" or checks is None:
        raise malformed(report.format, "only a report of dbt has a manifest")
    wanted = {name for name, node in read.nodes.items() if node.resource_type == "test"}
    if foreign := checks.ran - wanted:
        raise malformed("dbt", f"its manifest has no test {_name(min(foreign))}")
    left = tuple(_name(name) for name in sorted(wanted - checks.ran))
    off = tuple(
        _name(name) for name, nodes in read.disabled.items() if any(node.resource_type == "test" for node in nodes)
    )
    skipped = tuple(dict.fromkeys((*checks.skipped, *left)))
    return replace(report, checks=replace(checks, skipped=skipped, disabled=off, selection=""))
