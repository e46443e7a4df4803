"""What servers answer, as the judges see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collectors.systems.nats import model
from exporter.verdict import Result


def monitor(
    name: str,
    *,
    routes: tuple[str, ...] = (),
    meta: dict[str, Any] | None = None,
    store_dir: str = "/data",
    gateways: tuple[str, ...] | None = None,
    core: bool = False,
    **varz: Any,
) -> model.Monitor:
    """What a server of this name answers; its id is its name, its routes lead to servers of these names."""
    said = {"server_id": name, "server_name": name, "slow_consumers": 0, "cluster": {"name": "c1"}} | varz
    others = [{"remote_id": other, "remote_name": other} for other in routes]
    config = {"store_dir": store_dir, "max_storage": 1000}
    return model.Monitor(
        f"http://{name}:8222",
        model.parsed("/varz", said, model.Varz),
        model.parsed("/jsz", {"server_id": name, "config": config, "meta_cluster": meta}, model.Jsz),
        model.parsed("/routez", {"server_id": name, "routes": others}, model.Routez),
        None if gateways is None else model.Gatewayz(name, {other: {} for other in gateways}),
        core=core,
    )


def led(by: str, size: int, *others: str) -> dict[str, Any]:
    """JetStream's group, as the server `by`, its leader, reports it."""
    replicas = [{"name": name, "current": True, "active": 1000} for name in others]
    return {"leader": by, "cluster_size": size, "replicas": replicas}


def summaries(problems: Iterable[Result]) -> list[str]:
    return [problem.summary for problem in problems]
