"""Names of WAL segments."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from exporter.words import counted

__all__ = ["Fork", "Lineage", "segment_flaw", "segment_name", "segment_number"]

#: A line of a timeline's history file: the timeline that ended, and where; then why.
_ENDED = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\s|$)", re.MULTILINE)

#: What a segment begins with: magic, flags, timeline, address, the rest of a record, and with that flag the cluster.
_HEAD = "HHIQIIQ"
_LONG_HEAD = 0x0002


def segment_number(segment: str, size: int) -> int:
    """The place of a segment in the WAL, whatever its timeline; `size` is that of a segment, in bytes."""
    return int(segment[8:16], 16) * (2**32 // size) + int(segment[16:24], 16)


def segment_name(number: int, timeline: int, size: int) -> str:
    """The name of the segment at a place in the WAL."""
    log, part = divmod(number, 2**32 // size)
    return f"{timeline:08X}{log:08X}{part:08X}"


class Fork(NamedTuple):
    """Where a timeline ended as a standby was promoted: the position in the WAL, in bytes, at which the next one begins."""

    timeline: int
    position: int


class Lineage(NamedTuple):
    """A timeline, and those that it descends from, the oldest first."""

    timeline: int
    forks: tuple[Fork, ...] = ()

    @classmethod
    def read(cls, timeline: int, history: str) -> Lineage:
        """The lineage of a timeline, by its history file."""
        ends = (Fork(int(ended), int(high, 16) * 2**32 + int(low, 16)) for ended, high, low in _ENDED.findall(history))
        return cls(timeline, tuple(ends))

    def timeline_of(self, number: int, size: int) -> int:
        """The timeline on which the segment at a place in the WAL is restored; `size` is that of a segment, in bytes.

        The segment in which a timeline ends is restored from the next one, which begins with a copy of it.
        """
        return next((fork.timeline for fork in self.forks if number < fork.position // size), self.timeline)


def segment_flaw(name: str, content: bytes, size: int, cluster: str) -> str | None:
    """Why this content is not the segment `name` of the cluster with this system identifier, as the end of a sentence; else None.

    `size` is that of a segment, in bytes. Only its length and its first page are checked: a record may be damaged.
    """
    if len(content) != size:
        return f"has {counted(len(content), 'byte')} (wanted {size})"
    order = "<" if content[1] >> 4 == 0xD else ">"
    magic, flags, timeline, address, _, _, owner = struct.unpack_from(order + _HEAD, content)
    if magic >> 12 != 0xD or not flags & _LONG_HEAD:
        return "does not begin as WAL does"
    if str(owner) != cluster:
        return f"is of cluster {owner}, not of {cluster}"
    # The first segment of a timeline begins with what was written on the one before.
    if timeline > int(name[:8], 16) or address // size != segment_number(name, size):
        return "holds another segment than its name says"
    return None
