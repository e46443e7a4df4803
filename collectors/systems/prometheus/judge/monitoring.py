"""Whether Prometheus itself works: its configuration, its targets, and the alerts that it sends."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from collectors.systems.prometheus.model.answers import (
    RuntimeInfo,
    Sample,
    ScrapeTarget,
)
from exporter.options import format_duration, parse_duration
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import counted

__all__ = [
    "LEFT",
    "SCRAPED",
    "Stored",
    "collecting",
    "dead",
    "drop_problems",
    "interval_of",
    "key_of",
    "refused_configurations",
    "reloaded",
    "silent",
    "stale",
    "stored",
    "storing",
    "unhealthy",
    "unhealthy_elsewhere",
]

_SCRAPES_LATE = 3
_LEAST_LATE = timedelta(seconds=5)  # a busy Prometheus is late by seconds
_DEFAULT_INTERVAL = timedelta(minutes=1)
_QUERY = re.compile(r"\?[^\s\"']*")


@functools.lru_cache(maxsize=256)
def interval_of(text: str) -> timedelta:
    """A scrape interval as Prometheus writes it; a minute, its default, where a server does not report it."""
    return parse_duration(text) if text else _DEFAULT_INTERVAL


@functools.lru_cache(maxsize=256)
def _latest(interval: str) -> timedelta:
    """How old a target's last scrape may be."""
    return max(_SCRAPES_LATE * interval_of(interval), _LEAST_LATE)


def reloaded(info: RuntimeInfo) -> Iterator[Result]:
    """Whether Prometheus runs with the configuration that it was given."""
    if not info.reload_config_success:
        since = f" since {info.last_config_time:%Y-%m-%d %H:%M} UTC" if info.last_config_time else ""
        yield failed(
            f"Prometheus refused its last configuration and runs with an older one{since}.",
            reason=Reason.MISCONFIGURED,
        )


def collecting(
    targets: Sequence[ScrapeTarget],
    pools: Iterable[str],
    jobs: Iterable[str],
    now: datetime,
    *,
    settled: bool,
    received: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[Result]:
    """Which jobs and scrape configurations give nothing, and which targets are scraped no more.

    `pools` are the scrape configurations that must have targets, `jobs` the jobs that are expected, `received` the highest `up` of
    jobs that other servers scrape, `now` is by Prometheus's clock. A target that was never scraped is left to `unhealthy`. While
    discovery has not `settled`, what is missing may still come: it is unknown.
    """
    missing, reason = (failed, Reason.MISSING) if settled else (unknown, Reason.PENDING)
    found_pools = Counter(target.scrape_pool for target in targets)
    found_jobs = Counter(target.labels.get("job", "") for target in targets)
    living = Counter(target.labels.get("job", "") for target in targets if target.health != "down")
    for job in jobs:
        if job in received and not found_jobs[job]:
            if received[job] != 1:
                yield failed(
                    f"Prometheus collects nothing from job {job}: another server scrapes it, and all its targets are down.",
                    reason=Reason.DOWN,
                )
        elif not found_jobs[job] and not found_pools[job]:
            yield missing(f"Prometheus has no target of job {job}.", reason=reason)
        elif job in found_jobs and not living[job]:
            yield failed(
                f"Prometheus collects nothing from job {job}: {_none_up(found_jobs[job])}.",
                reason=Reason.DOWN,
            )
    for pool in sorted(set(pools) - found_pools.keys()):
        yield missing(f"Scrape configuration {pool} has no target: its discovery found nothing.", reason=reason)
    bounds = {text: now - _latest(text) for text in {target.scrape_interval for target in targets}}
    for target in targets:
        scraped = target.last_scrape
        if scraped is not None and scraped < bounds[target.scrape_interval] and target.health != "unknown":
            age = format_duration(timedelta(seconds=int((now - scraped).total_seconds())))
            yield failed(
                f"Target {_name(target)} was last scraped {age} ago (every {_interval(target)} wanted).",
                reason=Reason.STALE,
            )


def _none_up(targets: int) -> str:
    return "its target is down" if targets == 1 else f"all its {targets} targets are down"


@dataclass(frozen=True, slots=True)
class Stored:
    """What Prometheus stored of a target's last scrape: samples that the target gave, those left by relabelling, their age."""

    given: float = 0
    left: float = 0
    age: timedelta = timedelta(0)


def stored(samples: Iterable[Sample], taken: Iterable[Sample]) -> dict[frozenset[tuple[str, str]], Stored]:
    """By all labels of the target, from the series `scrape_samples_*` and from the timestamps of those after relabelling."""
    ages = {key_of(sample.labels): timedelta(seconds=sample.timestamp - sample.value) for sample in taken}
    numbers: dict[frozenset[tuple[str, str]], dict[str, float]] = {}
    for sample in samples:
        numbers.setdefault(key_of(sample.labels), {})[sample.labels.get("__name__", "")] = sample.value
    return {
        key: Stored(found.get(SCRAPED, 0), found.get(LEFT, 0), ages[key])
        for key, found in numbers.items()
        if key in ages
    }


SCRAPED, LEFT = "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"


def key_of(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """What a target is known by: paths of one address may have the same job and instance."""
    return frozenset((name, value) for name, value in labels.items() if name != "__name__" and value)


def storing(targets: Iterable[ScrapeTarget], seen: Mapping[frozenset[tuple[str, str]], Stored]) -> Iterator[Result]:
    """The targets that answer, and of which Prometheus has no samples: `up` says nothing of what was stored."""
    for target in targets:
        if target.health != "up":
            continue
        found = seen.get(key_of(target.labels))
        if found is None or found.age > _latest(target.scrape_interval):
            age = f" since {format_duration(timedelta(seconds=int(found.age.total_seconds())))}" if found else ""
            yield failed(
                f"Target {_name(target)} answers, but Prometheus has stored none of its samples{age}: see its log for a full disk "
                "or refused samples.",
                reason=Reason.DOWN,
            )
        elif not found.given:
            yield failed(f"Target {_name(target)} answers with a page without samples.", reason=Reason.MISSING)
        elif not found.left:
            yield failed(
                f"Target {_name(target)} gives {counted(int(found.given), 'sample')}, of which metric_relabel_configs leave none.",
                reason=Reason.MISCONFIGURED,
            )


def unhealthy_elsewhere(up: Iterable[Sample]) -> Iterator[Result]:
    """The targets of other servers, by the series `up` that those send, that are down."""
    for sample in up:
        if sample.value != 1:
            instance, job = sample.labels.get("instance", "?"), sample.labels.get("job", "?")
            yield failed(f"Target {instance} of job {job}, which another server scrapes, is down.", reason=Reason.DOWN)


def stale(job: str, instance: str) -> Result:
    """The verdict on a job of which one target was checked, and has no fresh sample though it gives some."""
    return failed(
        f"Target {instance} of job {job} gives samples, but Prometheus has none that is fresh: their timestamps are of long ago, "
        "or of the future.",
        reason=Reason.MISSING,
    )


def unhealthy(
    targets: Iterable[ScrapeTarget], ignored: Collection[str], unscraped: dict[str, datetime], now: datetime
) -> Iterator[Result]:
    """The targets that are down, or not scraped for longer than their interval.

    `unscraped` remembers since when a target was seen unscraped; it is brought up to date.
    """
    waiting: dict[str, datetime] = {}
    for target in targets:
        if target.health == "up" or _ignored(target, ignored):
            continue
        if target.health == "down":
            reason = _QUERY.sub("?…", " ".join(target.last_error.split()))[:160].rstrip(".") or "no reason given"
            yield failed(f"Target {_name(target)} is down: {reason}.", reason=Reason.DOWN)
            continue
        since = waiting[target.scrape_url] = unscraped.get(target.scrape_url, now)
        if now - since > interval_of(target.scrape_interval):
            yield failed(
                f"Target {_name(target)} is not scraped (every {_interval(target)} wanted).", reason=Reason.STALE
            )
        else:
            yield warning(f"Target {_name(target)} is not scraped yet.")
    unscraped.clear()
    unscraped.update(waiting)


def _ignored(target: ScrapeTarget, ignored: Collection[str]) -> bool:
    labels = target.labels
    return not {target.scrape_pool, labels.get("job", ""), labels.get("instance", "")}.isdisjoint(ignored)


def _interval(target: ScrapeTarget) -> str:
    return format_duration(interval_of(target.scrape_interval))


def _name(target: ScrapeTarget) -> str:
    return f"{target.labels.get('instance', '?')} of job {target.labels.get('job', target.scrape_pool)}"


def dead(errors: Iterable[Sample], window: timedelta) -> Iterator[Result]:
    """Where Prometheus could not send alerts to within the window, by its own counters.

    An Alertmanager that was killed stays in the list of those that are active: only the errors show it.
    """
    for sample in errors:
        if sample.value > 0:
            to = sample.labels.get("alertmanager", "Alertmanager")
            unsent = counted(_count(sample.value), "alert")
            yield failed(
                f"Prometheus failed to send {unsent} to {to} in the last {format_duration(window)}.",
                reason=Reason.DOWN,
                notification_errors=sample.value,
            )


def refused_configurations(refused: Iterable[Sample], addresses: Iterable[str]) -> Iterator[Result]:
    """Which of the Alertmanagers that Prometheus sends to run with an older configuration than they were given.

    `refused` are the series of those that refused their last one, `addresses` those that Prometheus sends to.
    """
    places = {urlsplit(address).netloc for address in addresses}
    for sample in refused:
        if (instance := sample.labels.get("instance", "")) in places:
            yield failed(
                f"Alertmanager {instance} refused its last configuration and runs with an older one, until it is restarted.",
                reason=Reason.MISCONFIGURED,
            )


def silent(
    sent: Iterable[Sample], firing: Sequence[Sample], lasting: Sequence[Sample], window: timedelta
) -> Iterator[Result]:
    """Whether Prometheus sent no alert within the window; of those that are `firing`, the `lasting` ones have been for a while."""
    if any(sample.value > 0 for sample in sent):
        return
    nothing = f"Prometheus has sent no alert in the last {format_duration(window)}"
    if lasting:
        name = lasting[0].labels.get("alertname", "an alert")
        yield failed(
            f"{nothing}, though {name} fires: alert_relabel_configs may drop it.",
            reason=Reason.MISCONFIGURED,
        )
    elif not firing:
        yield warning(f"{nothing}, as none fires in it: what arrives comes from another server.")


def drop_problems(lost: float, window: timedelta, *, configured_anew: bool) -> Iterator[Result]:
    """What Prometheus had nobody to send to within the window, by its own counter.

    While it loads a new configuration (`configured_anew`, and none was dropped since), a Prometheus before 3.1 knows no
    Alertmanager for some seconds: what it drops then, it sends again a minute later.
    """
    if lost <= 0:
        return
    dropped = f"Prometheus dropped {counted(_count(lost), 'alert')} in the last {format_duration(window)}"
    if configured_anew:
        yield warning(f"{dropped}, while it loaded a new configuration: they come late.")
        return
    yield failed(f"{dropped}: its queue was full, or no Alertmanager took them.", reason=Reason.DOWN)


def _count(increase: float) -> int:
    """A number for a sentence: an increase is extrapolated, so one event may be 0.4."""
    return max(1, round(increase))
