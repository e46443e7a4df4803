"""JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["value_at"]

_INDEX = re.compile(r"[0-9]{1,6}")


def value_at(document: Any, pointer: str) -> Any:
    """What stands at a pointer of a document. Raises LookupError where there is no such place."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document[key]
        elif isinstance(document, list) and _INDEX.fullmatch(key):
            document = document[int(key)]
        else:
            raise LookupError(pointer)
    return document
