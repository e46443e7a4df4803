"""Whether a firewall or a policy keeps connections out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collectors.systems.blackbox.model import Canary, CanaryPods, Knock, Outcome, Tried
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed, one_line

__all__ = [
    "egress_problems",
    "firewall_problems",
    "origin_problems",
    "pair_problems",
    "policy_problems",
    "untried_egress_problems",
]


def firewall_problems(opened: Iterable[Knock], closed: Iterable[Knock], host: str) -> Iterator[Result]:
    """Ports that are open and should not be; without an open port of the same host, closed ones show nothing."""
    opened, closed = list(opened), list(closed)
    for knock in closed:
        if knock.outcome is Outcome.OPEN:
            yield failed(f"{knock.target} is open from outside.", reason=Reason.UNMET)
    if all(knock.outcome is not Outcome.OPEN for knock in opened):
        yield unknown(
            f"None of the ports of {host} that should be open is: it may be gone, so that others are closed shows nothing.",
            reason=Reason.UNREACHABLE,
        )
    for knock in opened:
        if knock.outcome not in (Outcome.OPEN, Outcome.OTHER):
            yield failed(
                f"{knock.target} is {_how(knock)} from outside, but should be open.", reason=Reason.MISCONFIGURED
            )
    for knock in dict.fromkeys((*opened, *closed)):
        if knock.outcome is Outcome.OTHER:
            yield unknown(
                f"{knock.target} was not checked from outside ({one_line(knock.error)}).", reason=Reason.MALFORMED
            )
    for knock in closed:
        if knock.outcome is Outcome.REFUSED:
            yield warning(
                f"{knock.target} refuses connections from outside: a packet arrives there, so either nothing listens now or a "
                "firewall answers for it."
            )


def egress_problems(control: Iterable[Knock]) -> Iterator[Result]:
    """Ports that the network of the exporter outside does not let out, so that they look closed everywhere."""
    for knock in control:
        if knock.outcome not in (Outcome.OPEN, Outcome.REFUSED):
            yield unknown(
                f"The control {knock.target} is {_how(knock)} too: the network outside may not let this port out, so that it is "
                "closed elsewhere shows nothing.",
                reason=Reason.NOT_VERIFIED,
            )


def untried_egress_problems(closed: Iterable[Knock], host: str) -> Iterator[Result]:
    """Closed ports of a host without a control: that nothing came back may be the doing of the network outside."""
    silent = [knock.target for knock in closed if knock.outcome in (Outcome.DROPPED, Outcome.REJECTED)]
    if silent:
        yield unknown(
            f"Whether the network outside lets connections to {listed(silent)} out was not checked (option control of {host}), so "
            "that they look closed shows nothing.",
            reason=Reason.NOT_CONFIGURED,
        )


def origin_problems(knock: Knock) -> Iterator[Result]:
    """An origin that should take no connection from outside."""
    if knock.outcome is Outcome.OPEN:
        yield failed(
            f"Origin {knock.target} takes connections from outside, though none from the exporter's own network.",
            reason=Reason.MISCONFIGURED,
        )
    elif knock.outcome is Outcome.OTHER:
        yield unknown(
            f"Origin {knock.target} was not checked from outside ({one_line(knock.error)}).", reason=Reason.MALFORMED
        )


def policy_problems(canary: Canary, allowed: Knock, denied: Knock, control: Knock) -> Iterator[Result]:
    """A path that should be closed and is not. The two others show that the service and the canary work."""
    if denied.outcome is Outcome.OPEN:
        yield failed(f"The canary at {canary.denied} can connect to {canary.target}, which policies should deny.")
    if allowed.outcome is not Outcome.OPEN:
        yield unknown(
            f"The canary at {canary.allowed}, which may, cannot connect to {canary.target} ({_how(allowed)}), so it may be down.",
            reason=Reason.UNREACHABLE,
        )
    if control.outcome is not Outcome.OPEN:
        yield unknown(
            f"The canary at {canary.denied} cannot connect to {canary.denied_control} ({_how(control)}), which it may, "
            "so it shows nothing.",
            reason=Reason.UNREACHABLE,
        )
    if denied.outcome in (Outcome.REFUSED, Outcome.OTHER):
        yield unknown(
            f"From the canary at {canary.denied}, {canary.target} is {_how(denied)}, which is not how a policy denies.",
            reason=Reason.MALFORMED,
        )


def pair_problems(pair: CanaryPods, allowed: Sequence[Tried], denied: Sequence[tuple[str, Tried]]) -> Iterator[Result]:
    """Paths of a pair that should be closed and are not, by what all pods of both show; `denied` are with their addresses."""
    blocked = {one.target: one for pod in allowed for one in pod.open if one.outcome is not Outcome.OPEN}
    for target, knock in blocked.items():
        if any(one.target == target and one.outcome is Outcome.OPEN for pod in allowed for one in pod.open):
            yield warning(
                f"One canary at {pair.allowed} cannot connect to {target} ({_how(knock)}), while another one can: what lets them "
                "through is not the same on every node."
            )
    for where, tried in denied:
        control = next((one for one in tried.open if one.outcome is Outcome.OPEN), next(iter(tried.open), None))
        if not tried.closed or control is None:
            yield unknown(
                f"The canary at {where} has no port that it {'must not reach' if not tried.closed else 'may reach'}, so it shows "
                "nothing.",
                reason=Reason.NOT_CONFIGURED,
            )
            continue
        for knock in tried.closed:
            seen = [one for pod in allowed for one in pod.open if one.target == knock.target]
            up = next((one for one in seen if one.outcome is Outcome.OPEN), next(iter(seen), None))
            path = Canary(target=knock.target, allowed=pair.allowed, denied=where, denied_control=control.target)
            yield from policy_problems(path, up or Knock(knock.target, Outcome.OTHER), knock, control)


def _how(knock: Knock) -> str:
    return f"{knock.outcome.value}{f': {one_line(knock.error)}' if knock.error else ''}"
