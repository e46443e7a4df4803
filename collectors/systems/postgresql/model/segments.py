"""Names of WAL segments."""

from __future__ import annotations

import struct

from exporter.words import counted

__all__ = ["segment_flaw", "segment_name", "segment_number"]

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
