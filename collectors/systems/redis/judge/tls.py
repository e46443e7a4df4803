"""Encryption: towards clients and between the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from collectors.systems.redis.model import (
    Answers,
    Handshake,
    Look,
    NodeAddress,
    RedisLimits,
    Untrusted,
    doors,
    plain_port,
    role,
)
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, failed, unknown, unobserved, warning

__all__ = ["address_problems", "door_problems", "peer_encryption_problems"]


_PROTOCOLS = ("TLSv1.2", "TLSv1.3")


def door_problems(
    node: Look,
    answered: Mapping[NodeAddress, NodeAddress | ProbeError | None],
    usual: int | None,
    limits: RedisLimits,
    now: datetime,
) -> Iterator[Result]:
    """The certificate was accepted and is valid for long enough, the protocol is recent, and nothing answers in plaintext.

    `answered` has for each door where a plaintext PING was answered, None where it was refused.
    """
    plain = plain_port(node) if isinstance(node, Answers) else None
    opened = set()
    for door in sorted(doors(node, usual)):
        if isinstance(answer := answered[door], NodeAddress):
            opened.add(door.port)
            where = str(door) if answer == door else f"{door} ({answer})"
            yield failed(f"{where} still answers in plaintext.", reason=Reason.MISCONFIGURED)
    if isinstance(node, Answers):
        if plain and plain not in opened:
            yield failed(
                f"{node.address} also listens on port {plain} in plaintext, though that is not open from here "
                f"(port is {plain}, wanted 0).",
                reason=Reason.MISCONFIGURED,
            )
        if node.tls_version not in _PROTOCOLS:
            yield failed(
                f"{node.address} speaks {node.tls_version or 'no TLS'} (wanted TLS 1.2 or later).",
                reason=Reason.MISCONFIGURED,
            )
    elif isinstance(node.why, Untrusted):
        yield failed(str(node.why), reason=node.why.reason)
    else:
        yield unobserved(node.why)
    if plain != 0:  # a port that Redis says it does not listen on may be filtered
        for door in sorted(doors(node, usual)):
            if isinstance(answer := answered[door], ProbeError):
                yield unobserved(answer)
        shown = node.info.get("tcp_port") if isinstance(node, Answers) and plain is None and not opened else None
        if shown not in (None, str(node.address.port)):
            yield unknown(
                f"{node.address} shows port {shown} in INFO and not whether that is its TLS port: grant +config|get.",
                reason=Reason.DENIED,
            )
    yield from _expiry_problems(
        node.address, node.certificate_expiry if isinstance(node, Answers) else None, limits, now
    )


def address_problems(answers: Iterable[Handshake], limits: RedisLimits, now: datetime) -> Iterator[Result]:
    """Each address of a name has a certificate that is accepted for that name, and valid for long enough."""
    for answer in answers:
        if isinstance(answer.why, Untrusted):
            yield failed(str(answer.why), reason=answer.why.reason)
        elif answer.why is not None:
            yield unobserved(answer.why)
        elif answer.version not in _PROTOCOLS:
            yield failed(
                f"{answer.where} speaks {answer.version or 'no TLS'} (wanted TLS 1.2 or later).",
                reason=Reason.MISCONFIGURED,
            )
        else:
            yield from _expiry_problems(answer.where, answer.expiry, limits, now)


def _expiry_problems(where: object, expiry: datetime | None, limits: RedisLimits, now: datetime) -> Iterator[Result]:
    if expiry is not None and expiry - now <= limits.certificate_warn:
        left = format_duration(timedelta(seconds=max(0, int((expiry - now).total_seconds()))))
        yield warning(
            f"The certificate of {where} expires in {left} (limit {format_duration(limits.certificate_warn)})."
        )


def peer_encryption_problems(node: Answers, *, cluster: bool) -> Iterator[Result]:
    """What goes to replicas and over the cluster's bus is encrypted, which CONFIG alone shows; no outdated protocol is offered."""
    replicates = cluster or not (its := role(node)).master or its.replicas > 0
    wanted = {"tls-replication": replicates, "tls-cluster": cluster}
    for name in (name for name, want in wanted.items() if want):
        if node.setting(name) != "yes":
            yield failed(
                f"{name} of {node.address} is not yes: its data leaves it unencrypted.", reason=Reason.MISCONFIGURED
            )
    protocols = "" if node.error("CONFIG GET tls-protocols") else node.setting("tls-protocols") or ""
    if outdated := {"SSLv3", "TLSv1", "TLSv1.1"} & set(protocols.split()):
        yield failed(
            f"{node.address} also offers {', '.join(sorted(outdated))} (wanted TLS 1.2 or later).",
            reason=Reason.MISCONFIGURED,
        )
