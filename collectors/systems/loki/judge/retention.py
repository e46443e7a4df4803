"""Whether logs are kept for as long as they should be, and no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from collectors.systems.loki.model.limits import LogLimits
from exporter.options import format_duration, parse_duration
from exporter.verdict import ProbeError, Reason, Result, failed, ok

__all__ = ["judge_retention", "overrides_file"]

_DELETING_STORES = ("tsdb", "boltdb-shipper")
_YEARS = re.compile(r"^(\d+)y")


def overrides_file(config: Mapping[str, Any]) -> str:
    """The file from which Loki takes what is set for single tenants, retention among it; empty without one.

    The table manager deletes the logs of all tenants alike.
    """
    if _section(config, "compactor").get("retention_enabled") is not True:
        return ""
    return str(
        _section(config, "runtime_config").get("file")
        or _section(config, "limits_config").get("per_tenant_override_config")
        or ""
    )


def judge_retention(
    config: Mapping[str, Any], overrides: Mapping[str, Any], limits: LogLimits, source: str
) -> list[Result]:
    """What is wrong with how long logs are kept; one ok when nothing is.

    `overrides` is the runtime configuration, `source` says where the configuration was read. Raises ProbeError when one of them
    holds something else than Loki's does.
    """
    own = _duration(_section(config, "limits_config").get("retention_period"), "limits_config.retention_period")
    if _section(config, "compactor").get("retention_enabled") is True:
        who, period = "Loki's compactor", own
        store = _store(config)
        if store and store not in _DELETING_STORES:
            return [
                failed(
                    f"The compactor deletes nothing from an index of the type {store} ({source}).",
                    reason=Reason.MISCONFIGURED,
                )
            ]
    elif (tables := _section(config, "table_manager")).get("retention_deletes_enabled") is True:
        who, period = (
            "Loki's table manager",
            _duration(tables.get("retention_period"), "table_manager.retention_period"),
        )
    else:
        ignored = f": limits_config.retention_period ({format_duration(own)}) is ignored" if own else ""
        return [
            failed(
                f"Loki deletes no logs, as compactor.retention_enabled is not true{ignored} ({source}).",
                reason=Reason.MISCONFIGURED,
            )
        ]
    problems = [*_outside(f"{who} keeps logs", period, limits, source)]
    problems += _streams(_section(config, "limits_config"), "limits_config.retention_stream", limits, source)
    tenants = _section(overrides, "overrides")
    for tenant in tenants:
        granted = _section(tenants, tenant)
        if "retention_period" in granted:
            its_period = _duration(granted["retention_period"], f"retention_period of tenant {tenant}")
            problems += _outside(f"The override for tenant {tenant} keeps logs", its_period, limits, source)
        problems += _streams(granted, f"retention_stream of tenant {tenant}", limits, source)
    wanted = f"{format_duration(limits.min_retention)} to {format_duration(limits.max_retention)}"
    good = ok(
        f"{who} deletes logs after {format_duration(period)} (wanted {wanted}; {source}).",
        retention_seconds=period.total_seconds(),
    )
    return problems or [good]


def _outside(what: str, period: timedelta, limits: LogLimits, source: str) -> Iterator[Result]:
    if not period:
        yield failed(f"{what} for ever, as its period is 0 ({source}).", reason=Reason.MISCONFIGURED)
    elif period < limits.min_retention:
        yield failed(
            f"{what} for {format_duration(period)} (wanted {format_duration(limits.min_retention)} at least; {source}).",
            reason=Reason.LIMIT,
        )
    elif period > limits.max_retention:
        yield failed(
            f"{what} for {format_duration(period)} (limit {format_duration(limits.max_retention)}; {source}).",
            reason=Reason.LIMIT,
        )


def _streams(own: Mapping[str, Any], name: str, limits: LogLimits, source: str) -> Iterator[Result]:
    """What is wrong with streams that are kept for a time of their own."""
    for entry in own.get("retention_stream") or ():
        if not isinstance(entry, dict):
            raise ProbeError(f"{name} of Loki's configuration is no list of streams.", Reason.MALFORMED)
        period = _duration(entry.get("period"), f"{name}.period")
        yield from _outside(f"{name} keeps {entry.get('selector', '')}", period, limits, source)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise ProbeError(f"{name} of Loki's configuration is no group of settings.", Reason.MALFORMED)
    return found


def _store(config: Mapping[str, Any]) -> str:
    """The index of the newest schema; empty where it is not told."""
    schemas = _section(config, "schema_config").get("configs") or [{}]
    newest = max(schemas, key=lambda schema: str(schema.get("from", "")))
    return str(newest.get("store") or "")


def _duration(value: object, name: str) -> timedelta:
    """A duration as Loki writes it: `31d`, `744h0m0s`, `1y`, `0s`; nothing is 0."""
    text = "0s" if value in (None, 0, "0", "") else str(value)
    years = _YEARS.match(text)
    rest = text[years.end() :] if years else text
    try:
        return timedelta(days=365 * int(years[1]) if years else 0) + (parse_duration(rest) if rest else timedelta(0))
    except ValueError:
        raise ProbeError(f"{name} of Loki's configuration is no duration.", Reason.MALFORMED) from None
