"""Whether accounts have room in JetStream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from collectors.systems.nats.model import Account, NatsLimits
from exporter.verdict import ProbeError, Reason, Result, failed, warning
from exporter.words import counted, format_size

__all__ = ["account_problems", "distinct_accounts"]

_NO_LIMIT = -1


def distinct_accounts(accounts: Sequence[Account | ProbeError]) -> tuple[Account | ProbeError, ...]:
    """The accounts, each stream in one of them: a leaf may extend the JetStream that it is connected to."""
    known: set[tuple[str, datetime | None]] = set()
    found: list[Account | ProbeError] = []
    for account in accounts:
        if isinstance(account, ProbeError):
            found.append(account)
            continue
        streams = tuple(stream for stream in account.streams if (stream.name, stream.created) not in known)
        known |= {(stream.name, stream.created) for stream in streams}
        found.append(replace(account, streams=streams))
    return tuple(found)


def account_problems(account: Account, limits: NatsLimits) -> Iterator[Result]:
    """Whether the account's own limits (all of them, or those of each tier) leave room for messages, streams and consumers.

    Raises ProbeError for limits in an unexpected format.
    """
    tiers: Mapping[str, Any] = account.info.get("tiers") or {"account": account.info}
    for tier, usage in tiers.items():
        if not isinstance(usage, dict) or not isinstance(allowed := usage.get("limits") or {}, dict):
            raise ProbeError(f"JetStream reports the limits of NATS {tier} in an unexpected format.", Reason.MALFORMED)
        of = "the account" if tier == "account" else f"tier {tier}"
        for what, key in (("storage", "storage"), ("memory", "memory")):
            room, used = _number(allowed, f"max_{key}", _NO_LIMIT), _number(usage, key, 0)
            if what == "storage" and room == 0:
                yield failed(
                    f"NATS {tier} may store nothing in files: max_storage is 0 B.", reason=Reason.MISCONFIGURED
                )
            elif room > 0 and used >= limits.max_usage * room:
                yield failed(
                    f"NATS {tier} uses {format_size(used)} of {format_size(room)} {what} (limit {limits.max_usage:.0%}).",
                    reason=Reason.LIMIT,
                )
        most, used = _number(allowed, "max_consumers", _NO_LIMIT), _number(usage, "consumers", 0)
        if 0 < most <= used:
            yield failed(
                f"JetStream refuses new consumers: {of} has {counted(used, 'consumer')} (limit {most}).",
                reason=Reason.LIMIT,
            )
        most, used = _number(allowed, "max_streams", _NO_LIMIT), _number(usage, "streams", 0)
        if 0 < most <= used:
            yield warning(f"JetStream refuses new streams: {of} has {counted(used, 'stream')} (limit {most}).")


def _number(found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if not isinstance(value, int):
        raise ProbeError(f"JetStream reports {name} of the account as no number.", Reason.MALFORMED)
    return value
