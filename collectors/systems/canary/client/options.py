"""Where canaries are written, and how long that may take."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from collectors.shared.dsn import Dsn
from collectors.shared.host_port import HostPort
from exporter.http import Trust
from exporter.options import Duration, Options, Secret

__all__ = ["CacheOptions", "DatabaseOptions", "QueueOptions"]


class _Bounds(Options):
    """How long a round trip may take."""

    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="How long one answer may take.")
    max_latency: Duration = Field(
        timedelta(seconds=1),
        gt=timedelta(0),
        description="How long writing and reading back may take, connecting left out for databases and queues.",
    )


class DatabaseOptions(_Bounds):
    """A PostgreSQL database with the table `checklist.canary`."""

    dsn: Dsn = Field(description="Connection string; several hosts are a primary and its standbys.")
    max_lag: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="How soon what was committed must be visible on each standby.",
    )


class CacheOptions(_Bounds):
    """A Redis or Valkey: the address that applications write to."""

    address: HostPort = Field(description="host:port that applications write to; any node of a cluster.")
    username: str | None = Field(None, description="ACL user.")
    password: Secret | None = Field(None, description="Password of the user.")
    tls: Trust | None = Field(None, description="Speak TLS: whom to trust, and who we are.")
    key_prefix: str = Field(
        "checklist:", pattern=r"^[^\s{}]+$", max_length=100, description="What the keys of the canaries begin with."
    )


class QueueOptions(_Bounds):
    """A NATS with JetStream."""

    address: HostPort = Field(description="host:port that applications connect to.")
    username: str | None = Field(None, description="User.")
    password: Secret | None = Field(None, description="Password of the user.")
    token: Secret | None = Field(None, description="Token.")
    nkey_seed: Secret | None = Field(None, description="Seed of an NKey.")
    credentials_file: Path | None = Field(None, description="File with a JWT and its seed.")
    tls: Trust | None = Field(None, description="Speak TLS: whom to trust, and who we are.")
    replicas: int = Field(
        3, ge=1, le=5, description="Copies of the stream `CHECKLIST`: as many as the streams of the applications have."
    )
