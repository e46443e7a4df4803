"""What the headers of a reply say of rate limits, in the forms that servers give them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.reply import Reply

__all__ = ["remaining"]

_NAMED = re.compile(r"^(?:x-)?rate-?limit-remaining(.*)$")
_STRUCTURED = re.compile(r'"([^"]*)"\s*;[^,]*?\br=(\d+)')
_OLDER = re.compile(r"(?:^|[\s,;])remaining=(\d+)")


def remaining(reply: Reply) -> Mapping[str, float]:
    """How many requests are left, by the name of the limit ("" for one without).

    Read are `X-RateLimit-Remaining` and `RateLimit-Remaining` with the suffixes of named throttlers, and `RateLimit` of the drafts.
    """
    found: dict[str, float] = {}
    for name, value in reply.headers.items():
        if named := _NAMED.match(name):
            try:
                found[named[1].lstrip("-")] = float(value)
            except ValueError:
                continue
        elif name == "ratelimit":
            found |= {policy: float(left) for policy, left in _STRUCTURED.findall(value)}
            if older := _OLDER.search(value):
                found[""] = float(older[1])
    return found
