"""Options that are regular expressions."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["Regex", "Regexes"]


def _compiled(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
    return text


def _all_compiled(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for text in texts:
            _compiled(text)
    except ValueError:
        raise ValueError("expected regular expressions") from None
    return texts


Regex = Annotated[str, AfterValidator(_compiled)]
Regexes = Annotated[tuple[str, ...], AfterValidator(_all_compiled)]
