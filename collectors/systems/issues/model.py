"""What trackers answer: which issues are open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collectors.shared.pointers import value_at
from exporter.verdict import ProbeError, Reason

__all__ = ["OpenIssues", "count_at"]


@dataclass(frozen=True, slots=True)
class OpenIssues:
    """How many issues are open in a tracker that is called `name`, and how the first ones are numbered there.

    `matched` is whether any issue, open or done, ever met the condition; a condition that is misspelled meets none.
    """

    name: str
    count: int
    keys: tuple[str, ...] = ()
    matched: bool = True


def count_at(document: Any, pointer: str, where: str) -> int:
    """The number, or the length of the list, at a JSON pointer of a document. Raises ProbeError where there is neither."""
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
