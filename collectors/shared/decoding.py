"""Replies of a known shape."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["UNDECODABLE", "UnixTime", "decode"]

T = TypeVar("T")

UnixTime = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Seconds since 1970, up to the year 9999: milliseconds and nonsense are another format."""

#: What msgspec raises for bytes that are not what was expected: of another shape, not UTF-8, nested too deeply.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode(reply: Reply, kind: type[T]) -> T:
    """The body as JSON of this shape. Raises ProbeError when it is something else: a login page, half a reply, another format."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except UNDECODABLE as error:
        reply.json()  # tells an HTML page or half a reply from JSON of another shape
        raise ProbeError(
            f"{reply.where} answered {reply.status} in an unexpected format: {error}.", Reason.MALFORMED
        ) from None
