"""Looks at what a line is about, and judges it."""

from __future__ import annotations

from functools import partial
from typing import Any

from collectors.shared.verdicts import verdict
from collectors.systems.custom.client import command, dns, file, kubernetes, sql, tcp, tls
from collectors.systems.custom.judge import good, problems
from collectors.systems.custom.model.command import Command
from collectors.systems.custom.model.dns import Dns
from collectors.systems.custom.model.file import Files
from collectors.systems.custom.model.kubernetes import KubernetesObjects
from collectors.systems.custom.model.probe import Observed, OwnThreads, Probe, Seen
from collectors.systems.custom.model.sql import QueriedDatabase, Sql
from collectors.systems.custom.model.tcp import Tcp
from collectors.systems.custom.model.tls import Tls
from collectors.systems.kubernetes.client.cluster import Kubernetes
from exporter.collector import Collector, Target
from exporter.verdict import Result

__all__ = ["see"]


async def see(collector: Collector[Any, Any], probe: Probe, part: Target | None) -> Result:
    """The verdict on one part of what a line is about, or on all of it where it has no parts. Raises ProbeError."""
    (item,) = collector.items()
    owner = f"{collector.section()}.{item}/{part.name if part else ''}"
    threads = partial(collector.context.threads.run, owner)
    seen = await _looked(collector, probe, part, threads)
    # Conditions on a large document take their time.
    return await threads(partial(_judged, probe, seen))


def _judged(probe: Probe, seen: list[Seen]) -> Result:
    measurements: dict[str, float] = {}
    for one in seen:
        if isinstance(one, Observed):
            for name, value in one.measurements.items():
                measurements[name] = _worse(name, value, measurements.get(name, value))
    return verdict(problems(probe, seen), good(probe, seen, measurements))


def _worse(name: str, one: float, other: float) -> float:
    """Of what is left, the least; of everything else the most."""
    return min(one, other) if name in _LEFT else max(one, other)


_LEFT = ("certificate_expiry_seconds", "ttl_seconds", "records", "objects")


async def _looked(collector: Collector[Any, Any], probe: Probe, part: Target | None, threads: OwnThreads) -> list[Seen]:
    context = collector.context
    name = part.name if part else ""
    match probe:
        case Tcp():
            return await tcp.look(probe, name, threads)
        case Tls():
            return await tls.look(probe, name, threads, context.now)
        case Dns():
            return await dns.look(probe, name)
        case Sql():
            dsn = part.dsn if isinstance(part, QueriedDatabase) else probe.dsn
            assert dsn is not None  # one of both is demanded
            return await sql.look(probe, dsn)
        case KubernetesObjects():
            return await kubernetes.look(probe, collector.client(Kubernetes))
        case Files():
            return await threads(partial(file.look, probe, name))
        case Command():
            return await command.look(probe, enabled=context.may_run_commands)
    raise TypeError(f"{type(probe).__name__} is not checked by anything.")
