"""What may be set for how pods shut down."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from exporter.options import Duration, Options

__all__ = ["ShutdownLimits"]


class ShutdownLimits(Options):
    """How long pods have to shut down, and for how long a kill counts."""

    min_grace_period: Duration = Field(
        timedelta(seconds=30),
        gt=timedelta(0),
        description="Least `terminationGracePeriodSeconds` of the pods; longer than the longest request takes.",
    )
    kill_window: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="How long ago a container that was killed (exit code 137) still counts.",
    )
