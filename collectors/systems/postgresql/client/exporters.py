"""What Prometheus has of the exporters of a cluster, by which they can be told apart."""

from __future__ import annotations

from collections import defaultdict

from collectors.systems.postgresql.model.instance import Exported
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape

__all__ = ["read_exporters"]

_PORT, _RESET, _COMMITS = "pg_settings_port", "pg_stat_bgwriter_stats_reset_total", "pg_stat_database_xact_commit"
_SESSIONS, _SENDERS, _COLLECTORS = (
    "pg_stat_activity_count",
    "pg_stat_replication_pg_wal_lsn_diff",
    "pg_scrape_collector_success",
)


async def read_exporters(prometheus: Prometheus, scrape: Scrape) -> list[Exported]:
    """The exporters that reach a server, and what they report of it. Raises ProbeError when Prometheus cannot be asked."""
    labels = {"job": scrape.job} | scrape.labels
    values: defaultdict[str, dict[str, float]] = defaultdict(dict)
    commits: defaultdict[str, dict[str, float]] = defaultdict(dict)
    assert scrape.health is not None  # the section has one of its own
    for sample in await prometheus.query(selector(scrape.health, labels)):
        values[sample.labels.get("instance", "")]["health"] = sample.value
    for name in (_PORT, _RESET, _COMMITS):
        for sample in await prometheus.query(selector(name, labels)):
            exporter = sample.labels.get("instance", "")
            if name != _COMMITS:
                values[exporter][name] = sample.value
            elif sample.labels.get("datname"):
                commits[exporter][sample.labels["datname"]] = sample.value
    sessions: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    # A single scrape may miss a session that is there, most often the exporter's own, between two of its states.
    window = round(scrape.stale_after.total_seconds())
    counted = f"sum by (instance, datname) ({selector(_SESSIONS, labels)})"
    for sample in await prometheus.query(f"max_over_time({counted}[{max(2, window)}s:{max(1, window // 300)}s])"):
        sessions[sample.labels.get("instance", "")][sample.labels.get("datname", "")] = sample.value
    ages = await prometheus.query(f"max by (instance) (time() - timestamp({selector(_SESSIONS, labels)}))")
    age = {sample.labels.get("instance", ""): sample.value for sample in ages}
    # A row of a sender always has a state; the role that does not see it gets an empty one.
    blind = {
        sample.labels.get("instance", "")
        for sample in await prometheus.query(selector(_SENDERS, labels))
        if sample.labels.get("state") == ""
    }
    failing: defaultdict[str, list[str]] = defaultdict(list)
    # A collector that runs out of time now and then does not fail.
    for sample in await prometheus.query(f"max_over_time({selector(_COLLECTORS, labels)}[{max(2, window)}s])"):
        if sample.value == 0:
            failing[sample.labels.get("instance", "")].append(sample.labels.get("collector", ""))
    return [
        Exported(
            exporter,
            found.get(_PORT),
            found.get(_RESET),
            commits[exporter],
            sessions=dict(sessions[exporter]),
            sessions_age=age.get(exporter, 0.0),
            blind=exporter in blind,
            failing=tuple(sorted(failing[exporter])),
        )
        for exporter, found in sorted(values.items())
    ]
