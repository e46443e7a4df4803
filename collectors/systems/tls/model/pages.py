"""What an address answers to browsers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.reply import Reply

__all__ = ["Pages", "hsts_directives"]


@dataclass(frozen=True, slots=True)
class Pages:
    """What an address answers to browsers: on its first page, on a page that does not exist, and on both over plain HTTP."""

    first: Reply
    missing: Reply
    plain: tuple[Reply, ...] = ()


def hsts_directives(value: str) -> Mapping[str, str] | None:
    """The directives of a Strict-Transport-Security header by lower-case name; None when it is malformed (RFC 6797 §6.1)."""
    directives: dict[str, str] = {}
    for part in value.split(";"):
        name, _, text = (piece.strip() for piece in part.partition("="))
        if not name and not text:
            continue
        if name.lower() in directives:
            return None
        directives[name.lower()] = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    age = directives.get("max-age", "")
    return directives if re.fullmatch(r"[0-9]{1,100}", age) else None
