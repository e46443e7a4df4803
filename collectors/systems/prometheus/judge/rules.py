"""What alerting rules watch, and whether they can fire: judged by what they compute, and of whose series."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.systems.prometheus.model.firing import (
    always_fires,
    bounds_out_of_reach,
    clock_of,
    equals_of,
    late_by,
    low_quantile_of,
    passing_after,
)
from collectors.systems.prometheus.model.promql import Selection
from collectors.systems.prometheus.model.rules import Alternative, Evaluated, Needed
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import one_line

__all__ = [
    "KINDS",
    "MOST_VALUES",
    "Kind",
    "compared_since_start",
    "compared_totals",
    "doubts",
    "evaluation_problems",
    "filtered_labels",
    "impossibility",
    "unmatched",
    "watched",
]

#: What watches the watchers: its own queues, latencies and errors are none of the product's.
_MONITORING = re.compile(
    r"(?:prometheus|alertmanager|promhttp|scrape|go(?!_sql_)|grafana|loki|tempo|jaeger|otelcol|promtail|thanos|cortex|mimir|checklist)_.*"
)
#: What runs the product, and is none of it.
_PLATFORM = re.compile(
    r"(?:kube|kubelet|kubeproxy|apiserver|aggregator|authentication|authorization|etcd|coredns|scheduler|workqueue|rest_client"
    r"|storage_operation|volume_manager|csi|attachdetach|certmanager|cert_manager|x509|ssl|node|container|machine|cadvisor|argocd"
    r"|gotk|velero|calico|felix|cilium|metallb|external_dns|cluster_autoscaler|karpenter|keda|containerd|crio|windows|cloudprober)_.*"
)
#: Jobs of both, as their usual charts and packages name them.
_PLATFORM_JOBS = re.compile(
    r"(?:.*[-_/])?(?:prometheus|alertmanager|thanos|grafana|loki|tempo|mimir|cortex|jaeger|otel-?col\w*|promtail|pushgateway"
    r"|checklist-exporter|node-?exporter|node|kube-state-metrics|kubelet|kube-\w+|apiserver|kubernetes(?:-\w+)*|etcd|core-?dns"
    r"|cadvisor|cert-manager|argocd|metrics-server)(?:[-_/].*)?"
)
_STORES = (
    r"(?:pg|postgres\w*|cnpg|mysql|mariadb|mongodb|neo4j|pgbouncer|cockroachdb|mssql|redis|valkey|memcached|etcd|qdrant"
    r"|elasticsearch)_"
)  #: Other systems with requests, durations and memory of their own, and what only reports on others.
_SYSTEMS = re.compile(
    r"(?:cassandra|clickhouse|couchdb|solr|opensearch|influxdb|kafka|pulsar|rabbitmq|nats|gnatsd|jetstream|zookeeper|meilisearch|ceph"
    r"|hadoop|spark|metrics_executor|minio|vault|consul|azurerm|cloudwatch|stackdriver_monitoring|mgob|restic|gitlab_ci|openstack"
    r"|\w*exporter|\w*backup)_.*"
)
#: What stands before the product and answers for it, whatever its job is called.
_GATEWAYS = re.compile(
    r"(?:nginx_ingress_controller|istio|linkerd|envoy|traefik|haproxy|kong|apisix|aws_applicationelb|aws_apigateway|aws_cloudfront"
    r"|stackdriver_https_lb\w*|azure_\w*gateway\w*|probe)_.*"
)
_SAMPLES = frozenset({"scrape_samples_scraped", "scrape_samples_post_metric_relabeling"})  # 0 of what is down
_UP = frozenset({"up", "probe_success", *_SAMPLES})
_CHANGES = frozenset(
    {"changes", "resets", "delta", "idelta", "deriv"}
)  # how often, not whether, and over when it goes on
_ANY_JOB = "\N{REPLACEMENT CHARACTER}"  # a name that no job has, so that only what selects every job selects it

#: Labels that tell outcomes apart, and the ways in which these are written: bad ones, and good ones beside them.
_CODES = (
    (("500", "503"), ("200",)),
    (("5xx",), ("2xx",)),
    (("5XX",), ("2XX",)),
    (("Internal", "INTERNAL", "Unavailable", "UNAVAILABLE"), ("OK",)),
    (("SERVER_ERROR",), ("SUCCESS",)),
    (("STATUS_CODE_ERROR", "ERROR"), ("STATUS_CODE_OK", "OK", "STATUS_CODE_UNSET")),
    (("error", "failure", "failed"), ("success",)),
    (("error", "failure", "failed"), ("ok",)),
)
_OUTCOMES: tuple[tuple[re.Pattern[str], Sequence[tuple[Sequence[str], Sequence[str]]]], ...] = (
    (re.compile(r"(?i).*(?:code|status|class|outcome|result|response).*"), _CODES),
    (re.compile(r"(?i).*class.*"), ((("5",), ("2",)),)),
    (re.compile(r"(?i).*grpc.*"), ((("13", "14"), ("0",)),)),
    (
        re.compile(r"(?i).*(?:error|exception|fail).*"),
        (*(((("true", "500", "timeout", "IOException")), (good,)) for good in ("", "none", "None", "false")), *_CODES),
    ),
    (re.compile(r"(?i)(?:is_)?(?:success|successful|ok)"), ((("false",), ("true",)),)),
)
_ERRORS = re.compile(r"(?:.*_)?(?:errors?|failures?|failed|exceptions?|(?:http_?|code_)?5_?xx)(?:_.*)?")
_SUCCESSES = re.compile(r"(?:.*_)?(?:success|successes|successful|succeeded|2_?xx)(?:_.*)?")
_REQUESTS = re.compile(
    r"(?:.*_)?(?:http(?:5xx|code)?|https|grpc|rpc|requests?|responses?|rq|api|apigateway|server|handler|handled|calls?|elb"
    r"|applicationelb|lambda|invocations?)(?:_.*)?"
)
_COUNTER = re.compile(r".*(?:_total|_count|_requests|_responses|_handled|_calls|_xx|_sum)")
_RATES = frozenset({"rate", "irate", "increase", "delta", "idelta"})
_DURATION = re.compile(
    r"(?:.*_)?(?:latency|latencies|duration|responsetime|(?:response|request|handling|handler|processing|rq)_time|handling)(?:_.*)?"
)
_UNIT = re.compile(
    r".*_(?:seconds|milliseconds|millis|ms|microseconds|us|nanoseconds|ns)(?:_(?:bucket|sum|count|max|total))?"
)
#: Durations that are none of answering.
_OTHER_TIMES = re.compile(
    r"(?:.*_)?(?:expir\w*|cert\w*|age|uptime|backup\w*|gc|cpu|locks?|jobs?|cron\w*|batch|lag|replication|sync|reconcile\w*|startup|boot"
    r"|compactions?|queue|pipelines?|icmp|dns|scrape|\w*GCTime|timestamp|interval|timeout|ttl|retention|since|last|build|deploy\w*|session)(?:_.*)?"
)
_HISTOGRAM = frozenset({"histogram_quantile", "histogram_avg", "histogram_fraction"})
_DATABASE = re.compile(
    r"(?!.*max_connections)(?:(?:pg|postgres\w*|cnpg|mysql|mariadb|mongodb|neo4j|pgbouncer|cockroachdb|mssql)_(?:.*_)?"
    r"(?:up|\w*conn\w*|activity_count|\w*backends\w*|pools)(?:_.*)?"
    r"|go_sql_(?:\w*connections?\w*|\w*wait\w*)"
    r"|(?:aws_rds|(?:stackdriver|gcp)_cloudsql\w*|azure_\w*(?:sql|postgres)\w*)_(?:.*_)?\w*(?:conn|backends)\w*(?:_.*)?"
    r"|(?:.*_)?(?:db|database|sql|hikaricp|datasource|jdbc|sqlalchemy|prisma)_(?:.*_)?\w*(?:conn|pool)\w*)"
)
_CACHE = re.compile(
    r"(?!.*(?:slaves|replicas))(?:.*_)?(?:redis|valkey|memcached|elasticache|cache)_(?:.*_)?(?:up|\w*conn\w*|rejected|errors?)(?:_.*)?"
)
_SPARE = re.compile(r".*(?:free|idle|avail|remaining).*")
_NO_DEPTH = re.compile(r".*(?:consumers|deaths|zombies|finalization|sector|compactions?|capacity|limit)(?:_.*)?")
_QUEUE = re.compile(
    r"(?!" + _STORES + r"|node_|workqueue_)(?:.*_)?(?:\w*pending|queued?|backlog|lag|depth|messages_ready|\w*unacked\w*"
    r"|approximate_(?:number_of_messages|age_of_oldest_message)\w*|\w*undelivered_messages|active_?messages)(?:_.*)?"
)
_DISK_FREE = re.compile(
    r"node_filesystem_(?:avail|free)_bytes|kubelet_volume_stats_available_bytes|windows_logical_disk_free_bytes"
    r"|(?:.*_)?(?:disk|volume|filesystem|fs)_(?:.*_)?(?:free|avail\w*)(?:_.*)?|(?:.*_)?free_storage_space(?:_.*)?"
)
_DISK_USED = re.compile(
    r"kubelet_volume_stats_used_bytes"
    r"|(?:.*_)?(?:disk|fs|filesystem|volume|storage)_(?:bytes_)?(?:used|usage|utili[sz]ation|percent)(?:_.*)?"
)
_INODES = re.compile(r".*(?:inodes?|_files(?!ystem)|readonly).*")
_MEMORY = re.compile(r"(?!" + _STORES + r"|go_memstats_)(?:.*_)?(?:freeable_)?memory(?:_.*)?")
_MEMORY_FREE = re.compile(r"(?i).*(?:free|avail|buffers|cached).*")
_MEMORY_SIZE = re.compile(
    r"(?i).*(?:total|limits?|requests?|max|capacity|allocatable|areas|objects|atom|swap\w*|virtual)(?:_.*)?"
)
_OUT_OF_MEMORY = re.compile(r"node_vmstat_oom_kill|container_oom_events_total|(?:.*_)?oom_?kill\w*(?:_.*)?")
_CPU = re.compile(r"(?!" + _STORES + r"|kube_)(?:(?:.*_)?cpu_.*|(?:.*_)?cpu_?utili[sz]ation(?:_.*)?|node_load\d+)")
_CPU_SIZE = re.compile(r".*_(?:quota|period|limits?|cores|count|info)(?:_.*)?")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of alert: the item that wants it, what it watches in words, and how it is recognised.

    Each of `wanted` names a part that some rule has to watch, by what it selects. `of_product` shows that it has to be the product
    that is watched: the platform's and the monitoring's own requests do not count.
    """

    item: str
    words: str
    wanted: Mapping[str, Callable[[Selection], bool]]
    of_product: bool = False


def _metric(selection: Selection) -> str:
    """The name, as Prometheus would write one that OTLP gave it (`http.server.request.duration`)."""
    return (selection.metric or "").replace(".", "_")


def _named(pattern: re.Pattern[str]) -> Callable[[Selection], bool]:
    """Whether something is up, or has too many connections or errors, or too few that are free."""

    def selects(selection: Selection) -> bool:
        metric = _metric(selection)
        if not pattern.fullmatch(metric) or _MONITORING.fullmatch(metric):
            return False
        if metric.endswith("_up") or selection.absent:
            # An exporter that is there reports on a system that is not: only its value is about that.
            return selection.compared or (selection.absent and not metric.endswith("_up"))
        return selection.fires_when_high or bool(_SPARE.fullmatch(metric) and selection.fires_when_low)

    return selects


def _down(selection: Selection) -> bool:
    if selection.metric in _SAMPLES and not (selection.fires_when_low and not selection.over and not selection.under):
        return False
    return (
        selection.metric in _UP
        and selection.compared
        and not selection.vanished
        and _CHANGES.isdisjoint(selection.functions)
    )


def _vanished(selection: Selection) -> bool:
    # Whatever has vanished, Prometheus itself has `up`.
    all_of_them = selection.metric in _UP - {"probe_success"} and not selection.conditions
    return selection.metric in _UP and selection.absent and (selection.vanished or not all_of_them)


def _of_product(metric: str) -> bool:
    gateway = _GATEWAYS.fullmatch(metric)
    return bool(gateway) or not (
        _MONITORING.fullmatch(metric)
        or _PLATFORM.fullmatch(metric)
        or _SYSTEMS.fullmatch(metric)
        or re.match(_STORES, metric)
    )


def _fails(selection: Selection) -> bool:
    """Many failed requests, or few good ones of all: counted apart, or picked out by a label."""
    metric = _metric(selection)
    if not _of_product(metric) or not _HISTOGRAM.isdisjoint(selection.functions) or metric.endswith("_bucket"):
        return False
    if "resets" in selection.functions:
        return False
    counts = bool(_COUNTER.fullmatch(metric)) or not _RATES.isdisjoint(selection.functions)
    if metric.endswith("_sum") and _UNIT.fullmatch(metric):
        return False
    bad, good = _picks(selection)
    bad = (bad and counts) or bool(_ERRORS.fullmatch(metric) and _REQUESTS.fullmatch(metric))
    good = (good and counts) or bool(_SUCCESSES.fullmatch(metric) and _REQUESTS.fullmatch(metric))
    if bad:
        return selection.fires_when_high
    return good and bool(selection.over) and selection.fires_when_low


def _picks(selection: Selection) -> tuple[bool, bool]:
    """Whether labels pick out bad outcomes and leave out good ones, and the other way round."""
    picked = [
        (any(selection.allows(label, value) for value in bad), any(selection.allows(label, value) for value in good))
        for label in {condition.name for condition in selection.conditions}
        for labels, outcomes in _OUTCOMES
        if labels.fullmatch(label)
        for bad, good in outcomes
    ]
    return (True, False) in picked, (False, True) in picked


def _slow(selection: Selection) -> bool:
    """A quantile or mean of the durations of answering, or the share of the fast ones, compared with a bound."""
    metric = _metric(selection)
    if not _of_product(metric) or selection.bound is None or _OTHER_TIMES.fullmatch(metric):
        return False
    named = bool(_DURATION.fullmatch(metric))
    if not _HISTOGRAM.isdisjoint(selection.functions):
        return (named or bool(_UNIT.fullmatch(metric))) and selection.fires_when_high
    if metric.endswith("_count"):
        return False
    if metric.endswith("_bucket"):
        return (named or bool(_UNIT.fullmatch(metric))) and bool(selection.over) and selection.fires_when_low
    if metric.endswith(("_sum", "_total")):
        return (named or bool(_UNIT.fullmatch(metric))) and bool(selection.over) and selection.fires_when_high
    named = named or (metric.endswith("_max") and bool(_UNIT.fullmatch(metric) and _REQUESTS.fullmatch(metric)))
    return named and _RATES.isdisjoint(selection.functions) and selection.fires_when_high


def _full(selection: Selection) -> bool:
    metric = _metric(selection)
    if metric == "kube_node_status_condition":
        return _condition(selection, "DiskPressure")
    if _INODES.fullmatch(metric) or _MONITORING.fullmatch(metric):
        return False
    if _DISK_FREE.fullmatch(metric):
        return selection.fires_when_low
    return bool(_DISK_USED.fullmatch(metric)) and selection.fires_when_high


def _memory(selection: Selection) -> bool:
    metric = _metric(selection)
    if metric == "kube_node_status_condition":
        return _condition(selection, "MemoryPressure")
    if "terminated_reason" in metric:
        return selection.allows("reason", "OOMKilled") and not selection.allows("reason", "Completed")
    if _OUT_OF_MEMORY.fullmatch(metric):
        return selection.fires_when_high
    inside = _MONITORING.fullmatch(metric) or _SYSTEMS.fullmatch(metric) or "swap" in metric.lower()
    if not _MEMORY.fullmatch(metric) or inside:
        return False
    if _MEMORY_FREE.fullmatch(metric):
        return selection.fires_when_low
    return not _MEMORY_SIZE.fullmatch(metric) and selection.fires_when_high


def _condition(selection: Selection, name: str) -> bool:
    return selection.allows("condition", name) and not selection.allows("condition", "Ready")


def _busy(selection: Selection) -> bool:
    metric = _metric(selection)
    if not _CPU.fullmatch(metric) or _MONITORING.fullmatch(metric) or _CPU_SIZE.fullmatch(metric):
        return False
    if "count" in selection.functions:  # of CPUs
        return False
    idle = metric.endswith("_idle") or (selection.allows("mode", "idle") and not selection.allows("mode", "user"))
    if idle:
        return selection.fires_when_low
    used = selection.allows("mode", "user") or selection.allows("mode", "system")
    return used and selection.fires_when_high


def _waiting(selection: Selection) -> bool:
    metric = _metric(selection)
    outside = _MONITORING.fullmatch(metric) or _PLATFORM.fullmatch(metric)
    outside = outside or _NO_DEPTH.fullmatch(metric)
    return bool(_QUEUE.fullmatch(metric)) and not outside and selection.fires_when_high


def _cached(selection: Selection) -> bool:
    return _named(_CACHE)(selection) and not _PLATFORM.fullmatch(_metric(selection))


KINDS = {
    kind.item: kind
    for kind in (
        Kind(
            "service_down_alert",
            "services that are down",
            {"up is 0": _down, "up is absent": _vanished},
            of_product=True,
        ),
        Kind("high_error_rate_alert", "the share of failed requests", {"failed requests": _fails}, of_product=True),
        Kind("high_latency_alert", "how long requests take", {"durations": _slow}, of_product=True),
        Kind("database_connection_alert", "connections to databases", {"connections": _named(_DATABASE)}),
        Kind("cache_connection_alert", "connections to caches", {"connections": _cached}),
        Kind("queue_depth_alert", "the depth of queues", {"queues": _waiting}),
        Kind("disk_space_alert", "free disk space", {"file systems": _full}),
        Kind("memory_usage_alert", "memory", {"memory": _memory}),
        Kind("cpu_usage_alert", "CPU", {"CPU": _busy}),
    )
}
"""The kinds of alerts that the checklist wants, by item."""


def watched(
    kind: Kind,
    rule: Evaluated,
    names: Iterable[str] | None,
    jobs: Iterable[str] = (),
    scraped: Iterable[str] = (),
    *,
    live: Collection[Alternative] | None = None,
    jobs_of: Mapping[str, Collection[str]] | None = None,
) -> set[tuple[str, str]]:
    """The parts of a kind that a rule watches, with the job of each (or `""` for any).

    `names` are the alerts that the configuration gives for the kind, if it does: each of them counts for all parts. `jobs` are
    those that are to be watched, `scraped` those that there are. Of the rule's alternatives the `live` ones count (all by default).
    `jobs_of` gives the jobs that have series of a metric: where it is given, a metric of other jobs than these does not count,
    nor one that only the platform or the monitoring has.
    """
    jobs = list(jobs) or [""]
    if names is not None:
        return {(part, job) for part in kind.wanted for job in jobs} if rule.rule.name in names else set()
    return {
        (part, job)
        for part, recognises in kind.wanted.items()
        for alternative in (rule.alternatives if live is None else live)
        for selection in alternative.underlying
        if not selection.excluding and selection.metric not in rule.recorded and recognises(selection)
        for job in jobs
        if _watches(kind, selection, job, (*jobs, *scraped, _ANY_JOB))
        and (jobs_of is None or not kind.of_product or _owned(selection, job, jobs_of))
    }


def _watches(kind: Kind, selection: Selection, job: str, jobs: Iterable[str]) -> bool:
    """Whether a selection reports on one of these jobs: absent() is silent while any other job that it selects is there."""
    if not job or (kind.of_product and _GATEWAYS.fullmatch(_metric(selection)) and selection.metric not in _UP):
        return True
    if not selection.allows("job", job):
        return False
    return (
        selection.vanished
        or not selection.absent
        or not any(selection.allows("job", other) for other in jobs if other != job)
    )


def _owned(selection: Selection, job: str, jobs_of: Mapping[str, Collection[str]]) -> bool:
    """Whether the selected series are the product's: those of this job, or where none is named, of any but the platform."""
    metric = selection.metric or ""
    if metric == "probe_success" or (_GATEWAYS.fullmatch(_metric(selection)) and metric not in _UP):
        return True
    if selection.absent:
        named = [condition.value for condition in selection.conditions if condition.name == "job"]
        return bool(job) or not named or not all(map(_PLATFORM_JOBS.fullmatch, named))
    having = {one for one in jobs_of.get(metric, ()) if selection.allows("job", one)}
    if job:
        return not having or job in having or "" in having or metric in _UP
    return not having or not all(map(_PLATFORM_JOBS.fullmatch, having))


def evaluation_problems(rule: Evaluated, now: datetime, longest_wait: timedelta) -> Iterator[Result]:
    """What keeps a rule from being evaluated, or its alert from becoming one that is sent."""
    name, health = rule.rule.name, rule.rule.health
    if health == "err":
        cause = one_line(rule.rule.last_error, 200)
        yield failed(f"Alerting rule {name} cannot be evaluated: {cause}.", reason=Reason.MISCONFIGURED)
    elif health != "ok" or rule.rule.last_evaluation is None:
        yield unknown(f"Alerting rule {name} was not evaluated yet (its health is {health}).", reason=Reason.PENDING)
    elif (age := now - rule.rule.last_evaluation) > timedelta(seconds=max(5 * rule.interval, 120)):
        yield failed(
            f"Alerting rule {name} was last evaluated {age.total_seconds():.0f} s ago "
            f"(its group shall be every {rule.interval:g} s).",
            reason=Reason.DOWN,
        )
    if (wait := timedelta(seconds=rule.rule.duration)) > longest_wait:
        yield failed(
            f"Alerting rule {name} waits {format_duration(wait)} before it fires (limit {format_duration(longest_wait)}).",
            reason=Reason.LIMIT,
        )
    if rule.rule.duration and (
        changing := sorted(label for label, text in rule.rule.labels.items() if _VALUE.search(text))
    ):
        yield failed(
            f"Alerting rule {name} can never fire: its label {changing[0]} has the value in it, so with each change of the value "
            f"another alert begins to wait for {format_duration(wait)}.",
            reason=Reason.MISCONFIGURED,
        )
    if (lasts := passing_after(rule.rule.query)) is not None and wait >= lasts:
        yield failed(
            f"Alerting rule {name} can never fire: what was there {format_duration(lasts)} ago and is gone is so for no longer "
            f"than that, and the rule waits {format_duration(wait)}.",
            reason=Reason.MISCONFIGURED,
        )
    if quantile := low_quantile_of(rule.rule.query):
        yield failed(
            f"Alerting rule {name} asks for the quantile {quantile}, which is that of the fastest: slow ones do not change it.",
            reason=Reason.MISCONFIGURED,
        )
    if why := always_fires(rule.rule.query):
        yield failed(f"Alerting rule {name} fires whatever is measured: {why}.", reason=Reason.MISCONFIGURED)


def compared_totals(rule: Evaluated) -> list[str]:
    """Metrics that may be counters by their name, and are compared as they are: neither how fast they grow, nor how many there are.

    What is selected twice is compared with itself.
    """
    selected = [found for found in rule.underlying if found.metric not in rule.recorded]
    number = Counter(found.metric for found in selected)
    return [
        found.metric
        for found in selected
        if found.metric is not None
        and found.metric.endswith("_total")
        and number[found.metric] == 1
        and found.bound is not None
        and not found.absent
        and _NO_VALUE.isdisjoint(found.functions)
    ]


def doubts(
    rule: Evaluated,
    counters: Iterable[str] = (),
    longest_wait: timedelta = timedelta.max,
    since_start: Iterable[str] = (),
) -> Iterator[Result]:
    """What makes an alert come at other times than its kind asks for, though it may come; `counters` are compared as they are.

    `since_start` are parts of histograms and summaries that are compared so. What is asked for should not have to last for longer
    than `longest_wait`.
    """
    name = rule.rule.name
    if (late := late_by(rule.rule.query)) > longest_wait:
        yield warning(
            f"Alerting rule {name} fires {format_duration(late)} late, as it looks that far back (limit "
            f"{format_duration(longest_wait)})."
        )
    for happened in bounds_out_of_reach(rule.rule.query):
        yield warning(f"Alerting rule {name} fires only once {happened}.")
    if number := equals_of(rule.rule.query):
        yield warning(f"Alerting rule {name} fires only when a rate is exactly {number}: compare with > or <.")
    for metric in since_start:
        yield warning(
            f"Alerting rule {name} compares {metric} since the start of its process, so that it comes late and stays: rate() shows "
            "what is new."
        )
    if function := clock_of(rule.rule.query):
        yield warning(f"Alerting rule {name} can fire at some times only, as its expression asks for {function}().")
    for metric in counters:
        yield warning(
            f"Alerting rule {name} compares the counter {metric} itself, which only grows, so once it fires it never stops: "
            "rate() or increase() shows what is new."
        )


def compared_since_start(rule: Evaluated) -> list[str]:
    """Metrics that may be parts of histograms or summaries by their name, and are compared without rate()."""
    return list(
        dict.fromkeys(
            found.metric
            for found in rule.underlying
            if found.metric is not None
            and found.metric not in rule.recorded
            and found.metric.endswith(("_bucket", "_sum", "_count"))
            and found.bound is not None
            and not found.absent
            and _NO_VALUE.isdisjoint(found.functions)
        )
    )


#: Labels that show where something is measured. What is there has them at all times, other than those that show what has happened.
_PLACES = re.compile(
    r"instance|mountpoint|device|fstype|mode|cpu|cluster|env|environment|region|zone|datacenter|dc|nodename|(?:exported_)?namespace"
)
#: Labels that series have only once something has gone wrong.
_OF_TROUBLE = re.compile(r"(?i).*(?:error|exception|fail|reason).*")
#: Ways to write the status of HTTP, and all that may be written so.
_STYLES = tuple(
    (re.compile(rf"[1-5]{rest}"), tuple(f"{first}{second}" for first in "12345" for second in ends))
    for rest, ends in ((r"\d\d", [f"{number:02}" for number in range(100)]), ("xx", ["xx"]), ("XX", ["XX"]))
)
MOST_VALUES = 1000
"""How many values of a label are asked for; of one with as many, others may be there."""


def filtered_labels(selections: Iterable[Selection]) -> set[tuple[str, str]]:
    """The labels by which a metric is filtered so that a series has to have them, each with the metric. The job is left out."""
    return {
        (found.metric, condition.name)
        for found in selections
        if found.metric and not found.absent and not found.excluding
        for condition in found.conditions
        if condition.name not in ("__name__", "job", "le", "quantile") and not condition.allows("")
    }


def unmatched(selection: Selection, values: Mapping[tuple[str, str], Collection[str]]) -> str:
    """Why no series of a metric can be one that is selected, as the end of a sentence; empty where one may come.

    `values` are those that its labels have, by metric and label ("" where a series lacks it). What happens only sometimes (a status
    of 500) may come; what no series has a label for, or what is written in another way, may not.
    """
    metric = selection.metric or ""
    for condition in selection.conditions:
        found = values.get((metric, condition.name))
        if not found or selection.absent or selection.excluding or condition.allows(""):
            continue
        having = set(found) - {""}
        if not having and not _OF_TROUBLE.fullmatch(condition.name):
            return f"no series of {metric} has the label {condition.name}"
        if any(selection.allows(condition.name, value) for value in having) or len(found) >= MOST_VALUES:
            continue
        if having and _PLACES.fullmatch(condition.name):
            return f"no series of {metric} has {condition.name}{condition.operator}{condition.value}"
        for style, ways in _STYLES:
            if (
                having
                and all(map(style.fullmatch, having))
                and not any(selection.allows(condition.name, way) for way in ways)
            ):
                example = min(having)
                return (
                    f"{metric} has values such as {example} in the label {condition.name}, of which "
                    f"{condition.name}{condition.operator}{condition.value} selects none"
                )
    return ""


#: What makes something else of a counter's value.
_NO_VALUE = frozenset(
    ["rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets", "predict_linear", "count", "group", "timestamp"]
)  # fmt: skip


_VALUE = re.compile(r"\{\{[^}]*(?:\$value|\.Value)\b")


def impossibility(rule: Evaluated, part: Alternative, missing: Collection[Needed]) -> str:
    """Why a part of a rule can never be true, as the end of a sentence."""
    if missing:
        return f"there are no series of {', '.join(sorted(map(str, missing)))}"
    text = one_line(part.expr, 120)
    return f"{text} selects nothing even without its comparison: its sides never join, or its labels are those of other series"
