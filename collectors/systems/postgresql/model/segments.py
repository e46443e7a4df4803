"""Names of WAL segments."""

from __future__ import annotations

__all__ = ["segment_name", "segment_number"]


def segment_number(segment: str, size: int) -> int:
    """The place of a segment in the WAL, whatever its timeline; `size` is that of a segment, in bytes."""
    return int(segment[8:16], 16) * (2**32 // size) + int(segment[16:24], 16)


def segment_name(number: int, timeline: int, size: int) -> str:
    """The name of the segment at a place in the WAL."""
    log, part = divmod(number, 2**32 // size)
    return f"{timeline:08X}{log:08X}{part:08X}"
