"""Whether a pod that was evicted answered the request that it had."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.http.model.drill import Drained
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["MARGIN_SECONDS", "drill_problems"]

MARGIN_SECONDS = 3.0
"""How long after its eviction, and after its hooks, a pod surely has its signal."""


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
