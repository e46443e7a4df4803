"""What trackers answer: which issues are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collectors.shared.pointers import value_at
from exporter.verdict import ProbeError, Reason

__all__ = ["OpenIssues", "count_at"]


@dataclass(frozen=True, slots=True)
class OpenIssues:
    """How many issues are open in a tracker that is called `name`, and how the first ones are numbered there.

    `matched` is whether any issue, open or done, ever met the condition; a condition that is misspelled meets none. `given_up` are
    those that were closed without a fix, each with what the tracker calls that.
    """

    name: str
    count: int
    keys: tuple[str, ...] = ()
    matched: bool = True
    given_up: Mapping[str, str] = field(default_factory=dict)


_PARTIAL: Mapping[str, bool] = {"incomplete_results": True, "has_more": True, "hasMore": True, "isLast": False}
"""By what GitHub's search and others say that an answer is a part."""


def count_at(document: Any, pointer: str, where: str) -> int:
    """The number, or the length of the list, at a JSON pointer of a document.

    Raises ProbeError where there is neither, and where the document says that there is more than it has.
    """
    if isinstance(document, dict) and any(document.get(name) is more for name, more in _PARTIAL.items()):
        raise ProbeError(f"{where} answers that it did not find or send all issues.", Reason.LIMIT)
    try:
        value = value_at(document, pointer)
    except LookupError:
        raise ProbeError(
            f"{where} has nothing at {pointer}, so open issues were not counted.", Reason.MALFORMED
        ) from None
    if isinstance(value, list):
        return len(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ProbeError(f"{where} has neither a number nor a list at {pointer}.", Reason.MALFORMED)
