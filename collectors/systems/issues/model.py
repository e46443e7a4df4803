"""What trackers answer: which issues are open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        if not isinstance(document, dict) or token not in document:
            raise ProbeError(f"{where} has nothing at {pointer}, so open issues were not counted.", Reason.MALFORMED)
        document = document[token]
    if isinstance(document, list):
        return len(document)
    if isinstance(document, int) and not isinstance(document, bool) and document >= 0:
        return document
    raise ProbeError(f"{where} has neither a number nor a list at {pointer}.", Reason.MALFORMED)
