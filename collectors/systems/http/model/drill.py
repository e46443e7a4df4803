"""A drill: a pod is evicted while it answers a slow request. What may be set for it, and what it showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from collectors.systems.http.model.paths import Path
from exporter.options import Duration, Options

__all__ = ["Drained", "Drill", "Made"]


class Drill(Options):
    """How a pod is drained."""

    path: Path = Field(
        description="Path to GET that takes a pod some seconds to answer: three more than its preStop hooks take."
    )
    port: int = Field(ge=1, le=65535, description="Port of the pods that answers it.")
    every: Duration = Field(
        timedelta(days=30), ge=timedelta(days=1), description="How much time lies between two drills, at the least."
    )
    hook: Duration | None = Field(
        None,
        ge=timedelta(0),
        description="How long preStop hooks of the pods take that are commands or requests; how long they sleep is known.",
    )


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drill showed: the slow request of before, and the one during which the pod was evicted.

    Times are in seconds. `after` is how long after the eviction the answer came, or the connection ended; `broken` says how, and
    is empty where there was an answer, of this `status`. `ended` is how long after the eviction no container ran any more, None
    where one still did when it was last looked at, `looked` after the eviction; `grace` is how long the pod had for that.
    """

    pod: str
    usual: float
    after: float
    broken: str = ""
    status: int = 0
    grace: float = 30.0
    ended: float | None = None
    looked: float = 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """When a pod was last evicted, and whether its request was answered, or not; kept as measurements.

    With neither nothing was shown, as where the drill was cut short.
    """

    at: datetime
    passed: bool = False
    failed: bool = False

    def measurements(self) -> dict[str, float]:
        """What outlives the process."""
        return {
            "last_drill_timestamp_seconds": self.at.timestamp(),
            "last_drill_passed": float(self.passed),
            "last_drill_failed": float(self.failed),
        }

    @classmethod
    def recalled(cls, measured: Mapping[str, float], now: datetime) -> Made | None:
        """What measurements show; None where there are none."""
        if "last_drill_timestamp_seconds" not in measured:
            return None
        at = datetime.fromtimestamp(measured["last_drill_timestamp_seconds"], now.tzinfo)
        passed, failed = (bool(measured.get(f"last_drill_{how}")) for how in ("passed", "failed"))
        return cls(min(at, now), passed, failed)
