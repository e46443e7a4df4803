"""Whether a restored cluster is the one that was backed up, and holds what it has to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.restore import Restored, RestoreLimits
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok
from exporter.words import counted, format_length

__all__ = ["judge_restored"]


def judge_restored(restored: Restored, name: str, backup: str, cluster: str, limits: RestoreLimits) -> Result:
    """Whether the restore of a backup succeeded; `cluster` is the system identifier that it has to have."""
    took = format_length(timedelta(seconds=restored.seconds))
    good = ok(
        f"Backup {backup} of {name} was restored within {took}, and {counted(len(restored.answers), 'query', 'queries')} passed.",
        restore_seconds=restored.seconds,
    )
    return verdict(_problems(restored, name, backup, cluster, limits), good)


def _problems(restored: Restored, name: str, backup: str, cluster: str, limits: RestoreLimits) -> Iterator[Result]:
    if restored.problem is not None:
        yield failed(
            f"The restore of backup {backup} of {name} failed: {restored.problem.rstrip('.')}.", reason=Reason.DOWN
        )
        return
    for query, answer in zip(limits.queries, restored.answers, strict=True):
        where = f"In the restored {name}, query {limits.queries.index(query) + 1} of database {query.database}"
        if isinstance(answer, str):
            yield failed(f"{where} failed: {answer}.", reason=Reason.MISSING)
        elif not answer >= query.at_least:
            yield failed(f"{where} returned {answer:g} (at least {query.at_least:g} wanted).", reason=Reason.LIMIT)
    if restored.system_identifier and restored.system_identifier != cluster:
        yield failed(f"What was restored as {name} is another cluster.", reason=Reason.CONTRADICTED)
    if limits.objective is not None and timedelta(seconds=restored.seconds) > limits.objective:
        took = format_length(timedelta(seconds=restored.seconds))
        yield failed(
            f"The restore of {name} took {took} (objective {format_duration(limits.objective)}).", reason=Reason.LIMIT
        )
