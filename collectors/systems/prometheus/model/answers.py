"""What the answers of Prometheus's HTTP API hold: samples, rules, targets, metadata."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["Alert", "BuildInfo", "Metadata", "Rule", "RuleGroup", "RuntimeInfo", "Sample", "ScrapeTarget"]


class _Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of a reply: only the fields that sections judge are decoded."""


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant query. `value` may be NaN or infinite; `timestamp` is the evaluation's, in Unix seconds."""

    labels: dict[str, str]
    value: float
    timestamp: float


class Alert(_Struct, frozen=True):
    """One firing or pending alert of a rule."""

    labels: dict[str, str]
    state: str
    active_at: datetime | None = None


class Rule(_Struct, frozen=True):
    """One rule. `type` is `alerting` or `recording`, `health` is `ok`, `err` or `unknown`, `duration` its `for` in seconds."""

    type: str
    name: str
    query: str
    health: str = "unknown"
    last_error: str = ""
    last_evaluation: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    duration: float = 0
    keep_firing_for: float = 0
    state: str = ""
    alerts: list[Alert] = []


class RuleGroup(_Struct, frozen=True):
    """Rules that are evaluated together, every `interval` seconds."""

    name: str
    file: str
    rules: list[Rule]
    interval: float = 0


class ScrapeTarget(_Struct, frozen=True):
    """One active scrape target. `health` is `up`, `down` or `unknown` (not scraped yet)."""

    labels: dict[str, str]
    scrape_pool: str
    scrape_url: str
    health: str
    last_error: str = ""
    last_scrape: datetime | None = None
    last_scrape_duration: float = 0
    scrape_interval: str = ""
    scrape_timeout: str = ""


class RuntimeInfo(_Struct, frozen=True):
    """How one Prometheus server fares. What speaks its API otherwise does not say this."""

    start_time: datetime
    reload_config_success: bool
    last_config_time: datetime | None = None


class BuildInfo(_Struct, frozen=True):
    """What answers: Prometheus's `version` (Debian adds a suffix), or that of another server."""

    version: str = ""
    application: str = ""


class Metadata(_Struct, frozen=True):
    """What a target says about one of its metrics."""

    type: str
    help: str = ""
    unit: str = ""
