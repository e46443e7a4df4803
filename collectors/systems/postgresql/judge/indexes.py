"""Whether the indexes of a database are valid, used, and enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.settings import Settings
from collectors.systems.postgresql.model.tuning import ForeignKey, Index, TableScans, TuningLimits
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import counted, format_size, listed

__all__ = ["PLANNING", "invalid_indexes", "judge_foreign_keys", "judge_index_use", "judge_indexes", "judge_scans"]

#: With one of them off the planner leaves indexes alone.
PLANNING = ("enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan")


def judge_indexes(
    where: str, indexes: Sequence[Index], scans: Mapping[int, int], observed: float, limits: TuningLimits
) -> Result:
    """Whether the indexes of a database are valid, there, not doubled, and used.

    `scans` is how often each was used on all instances, by its id; `observed` for how many seconds the instance with the youngest
    statistics has counted that.
    """
    long_enough = observed >= limits.min_observation.total_seconds()
    note = (
        "" if long_enough else f"; which are unused shows after {format_duration(limits.min_observation)} of statistics"
    )
    good = ok(
        f"{counted(len(indexes), 'index', 'indexes')} of {where} checked: none is invalid or doubled{note}.",
        indexes=float(len(indexes)),
    )
    return verdict(_index_problems(where, indexes, scans if long_enough else None, limits), good)


def judge_index_use(where: str, settings: Settings) -> Result:
    """Whether queries may use indexes, by settings that somebody switched off for an experiment and forgot."""
    problems = (
        warning(
            f"{setting.name} is off on {where} for {setting.scope('everybody')}, so queries use indexes less or not at all."
        )
        for name in PLANNING
        for setting in settings.everywhere(name)
        if setting.value.lower() in ("off", "false", "no", "0")
    )
    return verdict(problems, ok(f"Queries on {where} may use indexes."))


def invalid_indexes(where: str, indexes: Sequence[Index]) -> Iterator[Result]:
    """A failure for each index that queries cannot use. One that is being built is not valid yet, as it should be."""
    for index in indexes:
        if not index.valid and not index.building:
            yield failed(
                f"Index {index.name} of table {index.table} on {where} is invalid: no query uses it, and each write still pays for "
                "it.",
                reason=Reason.DOWN,
            )


def _index_problems(
    where: str, indexes: Sequence[Index], scans: Mapping[int, int] | None, limits: TuningLimits
) -> Iterator[Result]:
    yield from invalid_indexes(where, indexes)
    names = {index.name: index for index in indexes}
    for required in limits.required_indexes:
        if required in names:
            if not names[required].valid and names[required].building:
                yield unknown(f"Index {required} on {where} is being built or dropped, and not used yet.")
        else:
            yield failed(f"Index {required} does not exist on {where}.", reason=Reason.MISSING)
    yield from _doubled(where, indexes)
    if scans is not None:
        yield from _unused(where, indexes, scans, limits)


def _doubled(where: str, indexes: Sequence[Index]) -> Iterator[Result]:
    """A warning for each index that another one makes needless. Partitions are told by their partitioned index."""
    groups: defaultdict[str, list[Index]] = defaultdict(list)
    for index in indexes:
        if index.valid and not index.partition:
            groups[index.key].append(index)
    for group in groups.values():
        # What must stay comes first: constraints, then unique indexes.
        kept, *others = sorted(group, key=lambda index: (not index.bound, not index.unique, index.id))
        enforced = {index.enforces for index in group if index.bound} | {kept.enforces}
        if needless := [
            index for index in others if not index.bound and not (index.unique and index.enforces not in enforced)
        ]:
            yield warning(
                f"{listed(sorted(index.name for index in needless))} of table {kept.table} on {where} "
                f"{'holds' if len(needless) == 1 else 'hold'} the same as {kept.name}."
            )


def _unused(where: str, indexes: Sequence[Index], scans: Mapping[int, int], limits: TuningLimits) -> Iterator[Result]:
    """A warning for each large index that no instance has used. An index on partitions is used if one of its parts is."""
    used: defaultdict[int, int] = defaultdict(int)
    sizes: defaultdict[int, int] = defaultdict(int)
    kept = {index.root for index in indexes if index.unique or index.bound or not index.valid}
    names = {index.root: index.root_name for index in indexes}
    for index in indexes:
        used[index.root] += scans.get(index.id, 0)
        sizes[index.root] += index.size
    for root, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if not used[root] and size >= limits.unused_index_min_size and root not in kept:
            yield warning(f"Index {names[root]} on {where} has {format_size(size)} and was never used.")


def judge_foreign_keys(where: str, keys: Sequence[ForeignKey], limits: TuningLimits) -> Result:
    """Whether deleting a referenced row finds the rows that reference it by an index."""
    problems = (
        warning(
            f"Foreign key {key.name} of table {key.table} on {where} has no index: each row deleted from {key.references} "
            f"({key.deleted:,} so far) reads all its {key.rows:,.0f} rows."
        )
        for key in sorted(keys, key=lambda key: -key.rows)
        if key.rows >= limits.min_rows and key.deleted
    )
    return verdict(problems, ok(f"Foreign keys of large tables of {where} have indexes."))


def judge_scans(
    where: str,
    tables: Sequence[TableScans],
    growth: Mapping[str, tuple[float, ...]],
    seconds: float,
    limits: TuningLimits,
) -> Result:
    """Whether large tables are read by their indexes. `growth` is whole scans and rows read, by table, within `seconds`."""

    def problems() -> Iterator[Result]:
        for table in sorted(tables, key=lambda table: -table.rows):
            scans, read = growth.get(table.name, (0.0, 0.0))
            hourly = scans * 3600 / seconds
            # A scan that ends early, by LIMIT, reads little.
            if table.rows >= limits.min_rows and hourly > limits.max_scans_per_hour and read / scans >= limits.min_rows:
                yield warning(
                    f"Table {table.name} on {where}, of {table.rows:,.0f} rows, is read whole {hourly:,.0f} times an hour "
                    f"(limit {limits.max_scans_per_hour:g})."
                )

    return verdict(problems(), ok(f"Large tables on {where} are read by their indexes."))
