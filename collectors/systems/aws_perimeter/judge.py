"""Whether AWS keeps the internet out where it should, and floods away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from collectors.systems.aws_perimeter.model import Group, Protection, SecurityGroups, wide_open
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed

__all__ = ["group_problems", "protection_problems"]


def group_problems(groups: Sequence[Group], options: SecurityGroups) -> Iterator[Result]:
    """Ports that are open to the internet; what no network interface has opens none today."""
    for group in sorted(groups, key=lambda one: not one.used):
        for port in options.ports:
            network = wide_open(tuple(group.networks(port)))
            if network is None or f"{group.id}/{port}" in options.allowed:
                continue
            words = f"Security group {group.id} ({group.name}) lets {network} in on port {port}"
            if group.used:
                yield failed(f"{words}.", reason=Reason.MISCONFIGURED)
            else:
                yield warning(f"{words}; no network interface has it now.")
    if not any(group.used for group in groups):
        yield unknown(
            "No network interface has any of the security groups that were read, so nothing shows what is open.",
            reason=Reason.MISSING,
        )


def protection_problems(found: Protection, now: datetime) -> Iterator[Result]:
    """A resource that neither Shield Advanced nor a rule of its web ACL protects from those who send too much."""
    name = found.resource.rpartition(":")[2]
    if found.shielded:
        if found.until is not None and found.until <= now:
            yield failed(
                f"The subscription to Shield Advanced that protects {name} ended on {found.until:%Y-%m-%d}.",
                reason=Reason.EXPIRED,
            )
        return
    if found.acl is None:
        yield failed(f"Neither a web ACL of AWS WAF nor Shield Advanced protects {name}.", reason=Reason.MISSING)
    elif found.acl.blocking:
        return
    elif found.acl.unclear:
        yield unknown(
            f"Web ACL {found.acl.name} of {name} limits by {listed(found.acl.unclear)} alone: a rule group that was not read, or a "
            "rule for some requests only, by what callers choose, or after one that lets requests through.",
            reason=Reason.NOT_VERIFIED,
        )
    elif found.acl.loose:
        yield failed(
            f"Web ACL {found.acl.name} of {name} blocks only who sends more than a million requests within minutes "
            f"({listed(found.acl.loose)}).",
            reason=Reason.MISCONFIGURED,
        )
    elif found.acl.counting:
        yield failed(
            f"Web ACL {found.acl.name} of {name} only counts who sends too much ({listed(found.acl.counting)}).",
            reason=Reason.MISCONFIGURED,
        )
    else:
        yield failed(f"Web ACL {found.acl.name} of {name} has no rule that blocks by rate.", reason=Reason.MISSING)
