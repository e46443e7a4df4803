"""Whether enough space is free on a volume."""

from __future__ import annotations

from dataclasses import replace

from collectors.systems.prometheus.model.volumes import Space, Volume
from exporter.verdict import Reason, Result, failed, ok
from exporter.words import format_size

__all__ = ["MIN_FREE_INODES_RATIO", "judge_space"]

MIN_FREE_INODES_RATIO = 0.05


def judge_space(volume: Volume, space: Space) -> Result:
    """Whether enough is free: bytes, share of the volume, and at least 5 % of the inodes."""
    prefix = "" if volume.name == "data" else f"{volume.name}_"
    ratio = space.free / space.size if space.size > 0 else 0.0
    measured = {f"{prefix}free_bytes": space.free, f"{prefix}free_ratio": ratio}
    return replace(_judged(volume, space, ratio), measurements=measured)


def _judged(volume: Volume, space: Space, ratio: float) -> Result:
    wanted = format_size(volume.min_free)
    if space.size < volume.min_free:
        return failed(
            f"Volume {volume.name} holds {format_size(space.size)} in all: {wanted} can never be free on it.",
            reason=Reason.LIMIT,
        )
    seen = f"Volume {volume.name} has {format_size(space.free)} free of {format_size(space.size)}"
    if space.free < volume.min_free:
        return failed(f"{seen} (limit {wanted}).", reason=Reason.LIMIT)
    if ratio < volume.min_free_ratio:
        return failed(f"{seen}: {ratio:.1%} (limit {volume.min_free_ratio:.0%}).", reason=Reason.LIMIT)
    if space.inodes > 0 and (inodes := space.free_inodes / space.inodes) < MIN_FREE_INODES_RATIO:
        return failed(
            f"Volume {volume.name} has {inodes:.1%} of its inodes free (limit {MIN_FREE_INODES_RATIO:.0%}).",
            reason=Reason.LIMIT,
        )
    return ok(f"{seen} ({ratio:.0%}, limit {wanted}).")
