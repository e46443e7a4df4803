"""What a cluster may be configured to be held against: limits and the pools that connect to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from exporter.options import Duration, Options, Size

__all__ = ["ClusterLimits", "Pool"]


class Pool(Options):
    """One application's pool of connections."""

    name: str = Field(min_length=1, description="Whose pool it is.")
    size: int = Field(ge=1, description="Maximum number of connections of one replica, overflow included.")
    replicas: int = Field(1, ge=1, description="Maximum number of replicas, such as the autoscaler's maximum.")
    database: str | None = Field(
        None, description="The database that it connects to; that of the connection string if not given."
    )
    role: str | None = Field(None, description="The role that it connects as, for the role's CONNECTION LIMIT.")


class ClusterLimits(Options):
    """Limits, for the section or for one target."""

    query_timeout: Duration = Field(
        timedelta(seconds=3), ge=timedelta(milliseconds=1), description="How long connecting, and each query, may take."
    )
    max_latency: Duration = Field(
        timedelta(seconds=1), description="How long connecting and the first answer may take."
    )
    expected_replicas: int = Field(1, ge=1, description="Minimum number of standbys that stream from the primary.")
    max_lag_bytes: Size = Field(64 * 2**20, description="Maximum lag of a standby, in WAL.")
    max_lag: Duration = Field(timedelta(seconds=30), description="Maximum lag of a standby, in time.")
    max_detection: Duration = Field(
        timedelta(minutes=2),
        gt=timedelta(0),
        description="How long a leader that is gone may keep Patroni's lock (ttl).",
    )
    max_prepared_age: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="How long a transaction may be prepared."
    )
    backup_max_age: Duration = Field(timedelta(hours=26), description="Maximum age of the newest complete backup.")
    full_backup_max_age: Duration = Field(
        timedelta(days=8), description="Maximum age of the newest full backup; restoring the others requires it."
    )
    max_ready_age: Duration = Field(
        timedelta(minutes=10), description="How long a WAL segment may wait to be archived."
    )
    max_ready: int = Field(10, ge=0, description="WAL segments that may wait to be archived.")
    max_connections: Annotated[int, Field(ge=1)] | tuple[int, int] = Field(
        100, description="Required max_connections: a number, or a range: [100, 500]."
    )
    connections_warning_ratio: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of the connections available to applications from which their use is a warning.",
    )
    slow_query: Duration = Field(
        timedelta(seconds=1), description="Queries that take this long must be logged; faster ones may be."
    )
