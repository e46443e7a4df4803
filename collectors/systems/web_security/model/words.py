"""Words that nobody else sends."""

from __future__ import annotations

import secrets
import string

__all__ = ["word"]


def word(length: int = 8) -> str:
    """A random word of small letters."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(length))
