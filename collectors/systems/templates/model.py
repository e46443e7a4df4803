"""What an API of templates answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collectors.shared.pointers import value_at
from exporter.verdict import ProbeError, Reason

__all__ = ["Template", "is_filled"]


@dataclass(frozen=True, slots=True)
class Template:
    """The answer for one name: its status, and which of its contents are empty."""

    name: str
    where: str
    status: int
    empty: tuple[str, ...] = ()


def is_filled(document: Any, pointer: str) -> bool:
    """Whether there is something at a JSON pointer of a document: neither nothing, nor an empty text, list or object.

    Raises ProbeError where the document is no object or list.
    """
    if not isinstance(document, dict | list):
        raise ProbeError("The template is neither an object nor a list.", Reason.MALFORMED)
    try:
        found = value_at(document, pointer)
    except LookupError:
        return False
    return bool(found.strip() if isinstance(found, str) else found)
