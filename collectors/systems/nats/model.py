"""What a NATS server answers, what its answers mean, and the limits that are put on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import Field

from exporter.options import Duration, Options

__all__ = ["Account", "Monitor", "NatsLimits"]


class NatsLimits(Options):
    """Limits of the section."""

    min_replicas: int = Field(3, ge=1, le=5, description="Copies that every stream shall have.")
    max_lag: int = Field(1000, ge=0, description="Operations by which a replica may be behind its leader.")
    max_silence: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        description="How long a replica may be silent; it is called current for as long after it died.",
    )
    max_usage: float = Field(0.8, gt=0, le=1, description="Share of the storage that may be used (0 to 1).")
    store_volume: str | None = Field(
        None, description="Folder where the persistent volume is mounted; store_dir shall be below it."
    )
    single_copy: dict[str, str] = Field(
        default_factory=dict, description="Streams that may have fewer copies, each with the reason."
    )
    in_memory: dict[str, str] = Field(
        default_factory=dict, description="Streams that may be kept in memory, each with the reason."
    )


@dataclass(frozen=True, slots=True)
class Monitor:
    """What the monitoring endpoint of one server answers: /varz, /jsz, /routez, and why /healthz is not 200 (None when it is)."""

    varz: Mapping[str, Any]
    jsz: Mapping[str, Any]
    routez: Mapping[str, Any]
    ill: str | None

    @property
    def name(self) -> str:
        """The server's name."""
        return str(self.varz.get("server_name") or self.varz.get("server_id"))


@dataclass(frozen=True, slots=True)
class Account:
    """What JetStream's API tells an account. `missing` are streams that nobody could tell the state of."""

    info: Mapping[str, Any]
    streams: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...]
