"""The types that configuration is made of: strict models, durations, sizes, secrets."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, SecretStr, WithJsonSchema

__all__ = ["Duration", "Options", "Said", "Secret", "Size", "format_duration", "format_seconds", "parse_duration"]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST = timedelta(days=365_000)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(Ki|Mi|Gi|Ti|[kMGT]?)B?")


class Options(BaseModel):
    """Options of the configuration: unknown keys and wrong types are errors, nothing is changed after loading."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
        defer_build=True,
        protected_namespaces=(),
    )


def parse_duration(text: object) -> timedelta:
    """`90s`, `1h30m`, `26h`, `30d` → timedelta. A day is 24 hours. Raises ValueError for anything else.

    None is longer than a thousand years: what is added to today or taken from it must be a date.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 30s, 5m, 26h or 30d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise ValueError("expected a duration of at most a thousand years (365000d)")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this duration: `90s` → `1m30s`."""
    left = round(duration.total_seconds() * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def format_seconds(duration: timedelta) -> str:
    """The same in whole seconds, for what was measured; a negative one is none."""
    return format_duration(timedelta(seconds=max(0, round(duration.total_seconds()))))


def _parse_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        size = float(match[1]) * _SIZES[match[2]]
        if math.isfinite(size):
            return int(size)
    raise ValueError("expected a number of bytes such as 1048576, 64MiB or 50GB")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "x-type": "duration"}),
]
"""A length of time, written `30s`, `5m`, `26h`, `30d`."""


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a text that is not blank")
    return text


Said = Annotated[str, AfterValidator(_said)]
"""A text that says something."""

Size = Annotated[int, BeforeValidator(_parse_size), WithJsonSchema({"type": ["integer", "string"], "x-type": "size"})]
"""A number of bytes, written `64MiB` (binary) or `50GB` (decimal)."""


def _one_line(value: Any) -> Any:
    if isinstance(value, str) and not value:
        raise ValueError("expected a secret, found nothing")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_one_line)]
"""A credential. It never prints; `<key>_file` reads it from a file."""
