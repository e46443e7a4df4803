"""Quantities of Kubernetes: `250m`, `64Mi`, `1e3`, exactly."""

from __future__ import annotations

import functools
import re
from fractions import Fraction

from exporter.verdict import ProbeError
from exporter.words import format_size

__all__ = ["format_amount", "parse_quantity"]

_SYNTAX = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE])([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")
_SUFFIXES = {
    **{suffix: Fraction(10) ** (3 * power) for power, suffix in enumerate(("n", "u", "m", "", "k", *"MGTPE"), -3)},
    **{f"{suffix}i": Fraction(2) ** (10 * power) for power, suffix in enumerate("KMGTPE", 1)},
}
_MOST_DIGITS = 40  # of an exponent's value: a number beyond is no amount of anything


@functools.lru_cache(maxsize=4096)
def parse_quantity(text: str | int | float) -> Fraction:
    """The number that a quantity stands for: `250m` is 1/4, `1Ki` is 1024. Raises ProbeError for what is no quantity.

    The syntax is that of the API reference for Quantity; custom resources may have plain numbers in its place.
    """
    found = _SYNTAX.fullmatch(str(text))
    if found is None or (found[3] and abs(int(found[3][:9])) > _MOST_DIGITS):
        raise ProbeError(f"{str(text)[:40]!r} is no quantity, such as 250m or 64Mi.")
    scale = Fraction(10) ** int(found[3]) if found[2] else _SUFFIXES[found[4] or ""]
    return Fraction(found[1]) * scale


def format_amount(resource: str, amount: Fraction) -> str:
    """An amount for a sentence: `250m` or `1.5` CPU, `67.1 MB` of memory, else the number."""
    if resource.endswith("cpu"):
        return f"{float(amount * 1000):.0f}m" if amount < 1 else f"{float(amount):.3g}"
    return format_size(float(amount)) if resource.endswith(("memory", "storage")) else f"{float(amount):g}"
