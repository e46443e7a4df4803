"""Whether the metrics of a source are there, fresh, and counting while there is something to count."""

from __future__ import annotations

import re
from dataclasses import replace

from collectors.systems.prometheus.model.series import SeriesFacts, SeriesLimits, Source
from exporter.options import format_duration
from exporter.verdict import Reason, Result, Status, failed, ok, unknown, warning
from exporter.words import counted, listed

__all__ = ["judge_series"]

_STATUS = re.compile(r"[1-5](?:\d\d|xx|XX)")
_CLASS = re.compile(r"[1-5]")
#: The codes of gRPC but UNKNOWN, without underscores.
_GRPC = re.compile(
    "ok|cancell?ed|invalidargument|deadlineexceeded|notfound|alreadyexists|permissiondenied|resourceexhausted|failedprecondition"
    "|aborted|outofrange|unimplemented|internal|unavailable|dataloss|unauthenticated|[0-9]|1[0-6]"
)


def judge_series(source: Source, seen: SeriesFacts, limits: SeriesLimits, *, responses: bool = False) -> Result:
    """Whether what was seen of a source is all there, fresh and counting; with `responses`, whether a status can be known."""
    where = f"{source.name} ({source.selector})"
    if lacking := [names for names in (*source.counters, *source.gauges) if names not in seen.found]:
        return failed(f"Prometheus has no series {' and '.join(lacking)} of {where}.", reason=Reason.MISSING)
    oldest = max(seen.ages, key=seen.ages.__getitem__)
    age, limit = seen.ages[oldest], limits.max_sample_age
    if not age <= limit.total_seconds():
        return failed(
            f"The newest sample of {oldest} of {where} is {age:.0f} s old (limit {format_duration(limit)}).",
            reason=Reason.LIMIT,
        )
    if seen.healthy is False:
        return failed(
            f"{source.health} of {where} is not 1: the exporter does not reach what it reports on.", reason=Reason.DOWN
        )
    if empty := [name for name, count in seen.numbers.items() if not count]:
        return failed(f"{' and '.join(empty)} of {where} is no number.", reason=Reason.DOWN)
    if responses and not any(_is_status(label, value) for label, value in seen.statuses):
        labels = ", ".join(limits.status_labels)
        return failed(
            f"{oldest} of {where} has no status in any of its labels ({labels}): errors cannot be counted by it.",
            reason=Reason.MISCONFIGURED,
        )
    for name, times in seen.fallen.items():
        return failed(
            f"{name} of {where} fell {counted(round(times), 'time')} within {format_duration(limits.window)}, as no counter does: "
            "several processes answer the scrapes in turn, two targets have the same labels, or it is a gauge.",
            reason=Reason.MISCONFIGURED,
        )
    result = _counting(source, seen, limits)
    if result.status is not Status.OK:
        return result
    if seen.without:
        few = f"{listed(seen.without)} of {where} gives no {' or '.join(seen.found.values())}, though others do."
        return replace(warning(few), measurements=result.measurements)
    for name, count in seen.no_numbers.items():
        few = f"{name} of {where} is no number in {counted(round(count), 'series', 'series')}."
        return replace(warning(few), measurements=result.measurements)
    return result


def _is_status(label: str, value: str) -> bool:
    if "grpc" in label:
        return bool(_GRPC.fullmatch(value.lower().replace("_", "")))
    return bool(_STATUS.fullmatch(value) or ("class" in label and _CLASS.fullmatch(value)))


def _counting(source: Source, seen: SeriesFacts, limits: SeriesLimits) -> Result:
    series, window, age = ", ".join(seen.found.values()), format_duration(limits.window), max(seen.ages.values())
    if seen.growth is None:
        return ok(f"{source.name}: {series} is {age:.0f} s old.", sample_age_seconds=age)
    if seen.growth > 0:
        grown = f"grew by {seen.growth:.0f} within {window}"
        return ok(f"{source.name}: {series} is {age:.0f} s old and {grown}.", sample_age_seconds=age)
    still = f"{series} of {source.name} did not grow within {window}"
    if seen.scraped:
        still += " but by requests of its page of metrics"
    if seen.marked:
        return failed(
            f"{still}, nor by a marker request that was answered.", reason=Reason.DOWN, sample_age_seconds=age
        )
    if seen.traffic is None:
        return unknown(
            f"{still}; whether there was anything to count was not seen, as option traffic is not set.",
            reason=Reason.NOT_CONFIGURED,
            sample_age_seconds=age,
        )
    if seen.traffic and seen.beginning:
        return unknown(
            f"{still}; {source.traffic} shows traffic that may not have been scraped yet.",
            reason=Reason.PENDING,
            sample_age_seconds=age,
        )
    if seen.traffic:
        return failed(f"{still}, while {source.traffic} shows traffic.", reason=Reason.DOWN, sample_age_seconds=age)
    return ok(
        f"{source.name}: {series} is {age:.0f} s old; there was no traffic within {window}.", sample_age_seconds=age
    )
