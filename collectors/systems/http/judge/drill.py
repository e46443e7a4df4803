"""Whether a pod that was evicted answered the request that it had."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.http.model.drill import Drained
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["MARGIN_SECONDS", "drill_problems"]

MARGIN_SECONDS = 3.0
"""How long after its eviction, and after its hooks, a pod surely has its signal."""

_LATE_SECONDS = 1.0


def drill_problems(drained: Drained, hooks: float) -> Iterator[Result]:
    """What a drill showed of a pod whose preStop hooks take so many seconds."""
    pod = drained.pod
    if drained.broken:
        yield failed(
            f"Pod {pod} did not finish the request that it had when it was evicted: {drained.broken} {drained.after:.1f} s after "
            f"that, where the same request took {drained.usual:.1f} s before.",
            reason=Reason.UNMET,
        )
    elif not 200 <= drained.status < 300:
        yield failed(
            f"Pod {pod} answered {drained.status} to the request that it had when it was evicted, and 2xx to the same request "
            "before.",
            reason=Reason.UNMET,
        )
    elif drained.after < hooks + MARGIN_SECONDS:
        yield unknown(
            f"Pod {pod} was evicted and answered the request that it had {drained.after:.1f} s later, when it may not have been "
            f"asked to stop yet: drill.path has to take {hooks + MARGIN_SECONDS:g} s longer.",
            reason=Reason.NOT_VERIFIED,
        )
    elif drained.ended is None:
        yield unknown(
            f"Pod {pod} answered the request that it had when it was evicted, and still ran {drained.looked:.0f} s after that: "
            f"whether it ends before its {drained.grace:.0f} s are over was not observed, as the section's `timeout` is shorter.",
            reason=Reason.TIMEOUT,
        )
    elif drained.ended >= drained.grace - _LATE_SECONDS:
        yield failed(
            f"Pod {pod} answered the request that it had when it was evicted, and ended only when its {drained.grace:.0f} s were "
            "over: it did not stop when it was asked to.",
            reason=Reason.UNMET,
        )
