"""What alerting rules watch, and whether they are evaluated: judged by what they select, not by how they are worded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.systems.prometheus.model.promql import Selection
from collectors.systems.prometheus.model.rules import Evaluated
from exporter.verdict import Result, failed, unknown

__all__ = ["KINDS", "Kind", "evaluation_problem", "watched"]

#: What watches the watchers: its own queues, latencies and errors are none of the product's.
_MONITORING = re.compile(
    r"(?:prometheus|alertmanager|promhttp|scrape|go|grafana|loki|jaeger|thanos|cortex|mimir|checklist)_.*"
)
_STORES = (
    r"(?:pg|postgres\w*|mysql|mariadb|mongodb|neo4j|pgbouncer|cockroachdb|mssql|redis|valkey|memcached|etcd|qdrant)_"
)
_UP = frozenset({"up", "probe_success"})
_ANY_JOB = "\N{REPLACEMENT CHARACTER}"  # a name that no job has, so that only what selects every job selects it
_STATUS = frozenset(
    {"code", "status", "status_code", "http_code", "http_status", "http_status_code", "http_response_status_code",
     "response_code", "grpc_code", "grpc_status", "rpc_grpc_status_code", "outcome", "result", "error"}
)  # fmt: skip
#: Ways in which outcomes are written: the bad ones, and the good ones beside them.
_OUTCOMES = (
    (("500", "503"), ("200",)),
    (("5xx",), ("2xx",)),
    (("5XX",), ("2XX",)),
    (("Internal", "INTERNAL", "Unavailable", "UNAVAILABLE", "13", "14"), ("OK", "0")),
    (("SERVER_ERROR",), ("SUCCESS",)),
    (("error", "failure", "failed"), ("success", "ok")),
    (("true",), ("false",)),
)
_ERRORS = re.compile(r"(?:.*_)?(?:errors?|failures?|failed|exceptions?)(?:_.*)?")
_REQUESTS = re.compile(r"(?:.*_)?(?:http|grpc|rpc|requests?|responses?|api|server|handler)(?:_.*)?")
_DURATION = re.compile(r"(?:.*_)?(?:latency|duration|(?:response|request)_time)(?:_.*)?")
_HISTOGRAM = frozenset({"histogram_quantile", "histogram_avg", "histogram_fraction"})
_DATABASE = re.compile(
    r"(?:pg|postgres\w*|mysql|mariadb|mongodb|neo4j|pgbouncer|cockroachdb|mssql)_(?:.*_)?"
    r"(?:up|\w*conn\w*|activity_count|\w*backends|pools)(?:_.*)?"
    r"|(?:.*_)?(?:db|database|sql|hikaricp|datasource|jdbc|sqlalchemy|prisma)_(?:.*_)?\w*(?:conn|pool)\w*"
)
_CACHE = re.compile(
    r"(?!.*(?:slaves|replicas))(?:.*_)?(?:redis|valkey|memcached|cache)_(?:.*_)?(?:up|\w*conn\w*|rejected|errors?)(?:_.*)?"
)
_QUEUE = re.compile(
    r"(?!" + _STORES + r"|node_|workqueue_)(?:.*_)?(?:\w*pending|queued?|backlog|lag|depth|messages_ready)(?:_.*)?"
)
_DISK = re.compile(
    r"node_filesystem_(?:avail|free|size|files|readonly).*|kubelet_volume_stats_.*|windows_logical_disk_.*"
    r"|(?:.*_)?disk_(?:free|used|avail\w*|usage)(?:_.*)?"
)
_MEMORY = re.compile(r"(?!" + _STORES + r")(?:.*_)?memory_.*")
_CPU = re.compile(r"(?!" + _STORES + r"|kube_)(?:(?:.*_)?cpu_.*|node_load\d+)")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of alert: the item that wants it, what it watches in words, and how it is recognised.

    Each of `wanted` names a part that some rule has to watch, by what it selects.
    """

    item: str
    words: str
    wanted: Mapping[str, Callable[[Selection], bool]]


def _named(pattern: re.Pattern[str]) -> Callable[[Selection], bool]:
    def selects(selection: Selection) -> bool:
        metric = selection.metric or ""
        asked = not metric.endswith("_up") or selection.compared or selection.absent
        return asked and bool(pattern.fullmatch(metric)) and not _MONITORING.fullmatch(metric)

    return selects


def _down(selection: Selection) -> bool:
    return selection.metric in _UP and selection.compared


def _vanished(selection: Selection) -> bool:
    # Whatever has vanished, Prometheus itself has `up`.
    return selection.metric in _UP and selection.absent and (selection.metric != "up" or bool(selection.conditions))


def _fails(selection: Selection) -> bool:
    """Errors are counted apart, or picked out by a label: one that takes bad outcomes and leaves out good ones."""
    metric = selection.metric or ""
    if _MONITORING.fullmatch(metric):
        return False
    if _ERRORS.fullmatch(metric) and _REQUESTS.fullmatch(metric):
        return True
    asked = {condition.name for condition in selection.conditions} & _STATUS
    return any(
        any(selection.allows(label, value) for value in bad)
        and not any(selection.allows(label, value) for value in good)
        for label in asked
        for bad, good in _OUTCOMES
    )


def _slow(selection: Selection) -> bool:
    metric = selection.metric or ""
    if _MONITORING.fullmatch(metric) or re.match(_STORES + r"|node_|kube", metric):
        return False
    return bool(_DURATION.fullmatch(metric)) or not _HISTOGRAM.isdisjoint(selection.functions)


KINDS = {
    kind.item: kind
    for kind in (
        Kind("service_down_alert", "services that are down", {"up is 0": _down, "up is absent": _vanished}),
        Kind("high_error_rate_alert", "the share of failed requests", {"failed requests": _fails}),
        Kind("high_latency_alert", "how long requests take", {"durations": _slow}),
        Kind("database_connection_alert", "connections to databases", {"connections": _named(_DATABASE)}),
        Kind("cache_connection_alert", "connections to caches", {"connections": _named(_CACHE)}),
        Kind("queue_depth_alert", "the depth of queues", {"queues": _named(_QUEUE)}),
        Kind("disk_space_alert", "free disk space", {"file systems": _named(_DISK)}),
        Kind("memory_usage_alert", "memory", {"memory": _named(_MEMORY)}),
        Kind("cpu_usage_alert", "CPU", {"CPU": _named(_CPU)}),
    )
}
"""The kinds of alerts that the checklist wants, by item."""


def watched(
    kind: Kind,
    rule: Evaluated,
    names: Iterable[str] | None,
    jobs: Iterable[str] = (),
    scraped: Iterable[str] = (),
) -> set[tuple[str, str]]:
    """The parts of a kind that a rule watches, with the job of each (or `""` for any).

    `names` are the alerts that the configuration gives for the kind, if it does: each of them counts for all parts. `scraped` are
    the jobs that there are.
    """
    jobs = list(jobs) or [""]
    if names is not None:
        return {(part, job) for part in kind.wanted for job in jobs} if rule.rule.name in names else set()
    return {
        (part, job)
        for part, recognises in kind.wanted.items()
        for selection in rule.underlying
        if not selection.excluding and recognises(selection)
        for job in jobs
        if not job or _watches(selection, job, (*jobs, *scraped, _ANY_JOB))
    }


def _watches(selection: Selection, job: str, jobs: Iterable[str]) -> bool:
    """Whether a selection tells of one of these jobs: absent() is silent while any other job that it selects is there."""
    if not selection.allows("job", job):
        return False
    return not selection.absent or not any(selection.allows("job", other) for other in jobs if other != job)


def evaluation_problem(rule: Evaluated, now: datetime) -> Result | None:
    """What keeps a rule from being evaluated, if anything does."""
    name, health = rule.rule.name, rule.rule.health
    if health == "err":
        return failed(
            f"Alerting rule {name} cannot be evaluated: {' '.join(rule.rule.last_error.split())[:200].rstrip('.')}."
        )
    if health != "ok" or rule.rule.last_evaluation is None:
        return unknown(f"Alerting rule {name} was not evaluated yet (its health is {health}).")
    limit = timedelta(seconds=max(5 * rule.interval, 120))
    if (age := now - rule.rule.last_evaluation) > limit:
        return failed(
            f"Alerting rule {name} was last evaluated {age.total_seconds():.0f} s ago "
            f"(its group shall be every {rule.interval:g} s)."
        )
    return None
