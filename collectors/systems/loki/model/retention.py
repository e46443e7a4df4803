"""For how long Loki keeps logs, by its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from exporter.options import parse_duration
from exporter.verdict import ProbeError, Reason

__all__ = ["COMPACTOR", "TABLE_MANAGER", "Kept", "Retention", "overrides_file", "parse_retention"]

COMPACTOR, TABLE_MANAGER = "Loki's compactor", "Loki's table manager"

_DELETING_STORES = ("tsdb", "boltdb-shipper")
_YEARS = re.compile(r"^(\d+)y")


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long a part of the logs is kept: `what` begins a sentence that a length ends. A length of 0 is for ever."""

    what: str
    length: timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """Who deletes logs after which period.

    `deleter` is COMPACTOR, TABLE_MANAGER, or empty where nothing deletes and `period` is ignored. `undeletable` is the type of the
    index where the compactor deletes nothing from it. `exceptions` are streams and tenants with a period of their own.
    """

    deleter: str
    period: timedelta
    undeletable: str = ""
    exceptions: tuple[Kept, ...] = ()


def overrides_file(config: Mapping[str, Any]) -> str:
    """The file from which Loki takes what is set for single tenants, retention among it; empty without one.

    The table manager deletes the logs of all tenants after one period. Raises ProbeError when the configuration holds
    something else than Loki's does.
    """
    if not _compacts(config):
        return ""
    return str(
        _section(config, "runtime_config").get("file")
        or _section(config, "limits_config").get("per_tenant_override_config")
        or ""
    )


def parse_retention(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> Retention:
    """What a configuration says, with `overrides` as the runtime configuration.

    Raises ProbeError when one of them holds something else than Loki's does. What has no effect is not read.
    """
    limits = _section(config, "limits_config")
    own = _duration(limits.get("retention_period"), "limits_config.retention_period")
    if _compacts(config):
        store = _store(config)
        if store and store not in _DELETING_STORES:
            return Retention(COMPACTOR, own, undeletable=store)
        return Retention(
            COMPACTOR, own, exceptions=(*_streams(limits, "limits_config.retention_stream"), *_tenants(overrides))
        )
    if (tables := _section(config, "table_manager")).get("retention_deletes_enabled") is True:
        period = _duration(tables.get("retention_period"), "table_manager.retention_period")
        return Retention(
            TABLE_MANAGER,
            period,
            exceptions=(*_streams(limits, "limits_config.retention_stream"), *_tenants(overrides)),
        )
    return Retention("", own)


def _compacts(config: Mapping[str, Any]) -> bool:
    return _section(config, "compactor").get("retention_enabled") is True


def _tenants(overrides: Mapping[str, Any]) -> Iterator[Kept]:
    tenants = _section(overrides, "overrides")
    for tenant in tenants:
        granted = _section(tenants, tenant)
        if "retention_period" in granted:
            length = _duration(granted["retention_period"], f"retention_period of tenant {tenant}")
            yield Kept(f"The override for tenant {tenant} keeps logs", length)
        yield from _streams(granted, f"retention_stream of tenant {tenant}")


def _streams(own: Mapping[str, Any], name: str) -> Iterator[Kept]:
    """Streams with a period of their own."""
    for entry in own.get("retention_stream") or ():
        if not isinstance(entry, dict):
            raise ProbeError(f"{name} of Loki's configuration is no list of streams.", Reason.MALFORMED)
        yield Kept(f"{name} keeps {entry.get('selector', '')}", _duration(entry.get("period"), f"{name}.period"))


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise ProbeError(f"{name} of Loki's configuration is no group of settings.", Reason.MALFORMED)
    return found


def _store(config: Mapping[str, Any]) -> str:
    """The index of the newest schema; empty where it is not shown."""
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
