"""Whether each exporter reports one of the instances, and each instance is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.instance import Exported, Figures
from exporter.verdict import Reason, Result, failed, ok, warning
from exporter.words import counted, listed

__all__ = ["judge_exporters"]

#: Statistics younger than this many seconds may be newer than what was scraped.
_YOUNG = 60.0
#: By how many seconds a session has to be older than what was scraped, to have been there.
_MARGIN = 10.0
#: What only a member of pg_monitor may list.
_WAL = "wal"
#: Collectors that fail with a newer PostgreSQL than the exporter knows, whatever its role.
_OUTDATED = {"bgwriter"}


def judge_exporters(exported: Sequence[Exported], instances: Mapping[str, Figures], database: str) -> Result:
    """Whether what the exporters report can be of these instances (by where they are), and of each of them.

    The instances have to be asked after Prometheus. `database` is one that they have. An exporter whose series say nothing by which
    a server could be recognised is taken for what it is said to be.
    """
    matches = {
        exporter.exporter: [where for where, figures in instances.items() if _of(exporter, figures, database)]
        for exporter in exported
    }
    good = ok(f"{listed(matches) if matches else 'No exporter'} can be of {listed(instances)}.")
    return verdict([*_problems(matches, instances), *_sight_problems(exported, matches, instances)], good)


def _problems(matches: Mapping[str, Sequence[str]], instances: Mapping[str, Figures]) -> Iterator[Result]:
    for exporter, of in matches.items():
        if not of:
            yield failed(
                f"What exporter {exporter} reports is not of {listed(instances)}: it scrapes another server.",
                reason=Reason.CONTRADICTED,
            )
    if len(matches) >= len(instances):
        for where in instances:
            if not any(where in of for of in matches.values()):
                yield failed(f"No exporter reports {where}: several report the same instance.", reason=Reason.MISSING)


def _sight_problems(
    exported: Sequence[Exported], matches: Mapping[str, Sequence[str]], instances: Mapping[str, Figures]
) -> Iterator[Result]:
    """Whether the exporters' own roles see all there is: a role without pg_monitor gets rows that are empty, and no error."""
    for exporter in exported:
        hidden = [_hidden(exporter, instances[where]) for where in matches[exporter.exporter]]
        what = ""
        if exporter.blind:
            what = "what standbys do is hidden from it"
        elif _WAL in exporter.failing:
            what = f"its collector {_WAL} fails"
        elif hidden and all(hidden):
            what = f"it sees {min(hidden, key=len)}"
        if what:
            yield failed(
                f"The role of exporter {exporter.exporter} does not have the rights of pg_monitor: {what}.",
                reason=Reason.DENIED,
            )
    for exporter in exported:
        if others := sorted({*exporter.failing} - {_WAL} - _OUTDATED):
            yield warning(f"Exporter {exporter.exporter} lacks what its collectors {listed(others)} give: they fail.")


def _hidden(exporter: Exported, figures: Figures) -> str:
    """The database whose sessions an exporter does not see all of, and how many those are; empty where it may see all."""
    for database, seen in exporter.sessions.items():
        there = sum(age > exporter.sessions_age + _MARGIN for age in figures.sessions.get(database, ()))
        if seen < there:
            return f"{seen:.0f} of at least {counted(there, 'session')} of database {database}"
    return ""


def _of(exporter: Exported, figures: Figures, database: str) -> bool:
    """Whether an exporter may report this instance."""
    if exporter.port is not None and exporter.port != figures.port:
        return False
    if exporter.commits and database not in exporter.commits and set(exporter.commits) - set(figures.commits):
        return False
    if figures.reset_age is not None and figures.reset_age < _YOUNG:
        return True
    if exporter.reset_at and figures.reset_at and abs(exporter.reset_at - figures.reset_at) > 2:
        return False
    # Counts only grow, and these were read after those.
    return all(count <= figures.commits[name] for name, count in exporter.commits.items() if name in figures.commits)
