"""The text that Gatling 3.11 and later print at the end: three columns, all requests, those that succeeded, those that failed."""

from __future__ import annotations

import re

from collectors.systems.reports.model.report import Kind, Load, Report, malformed

__all__ = ["FIRST_LINE", "read_gatling"]

FIRST_LINE = "Global Information"
_COUNT = re.compile(r"^> request count +\|? *([\d,]+) *\| *([\d,-]+) *\| *([\d,-]+) *$", re.MULTILINE)
_P95 = re.compile(r"^> response time 95th percentile \(ms\) *\|? *([\d,-]+) *\| *([\d,-]+) *\|", re.MULTILINE)
_ASSERTION = re.compile(r"^(\S.{0,300}?) : (true|false) \(actual : ", re.MULTILINE)


def read_gatling(content: bytes) -> Report:
    """Counts, the percentile of what succeeded, and assertions. Neither times nor a target are in it.

    Raises ProbeError for another format.
    """
    text = content.decode("utf-8", "replace")
    found = list(_COUNT.finditer(text))
    if not found:
        raise malformed("Gatling", "it has no request count in three columns")
    if len(found) > 1:
        raise malformed("Gatling", "it has the results of several runs")
    counted = found[0]
    requests, errors = _number(counted[1]) or 0, _number(counted[3]) or 0
    percentile = _P95.search(text)
    p95 = _number(percentile[2]) if percentile else None
    assertions = _ASSERTION.findall(text)
    return Report(
        "Gatling",
        Kind.LOAD,
        examined=requests,
        load=Load(
            requests,
            min(errors, requests),
            p95=None if p95 is None else p95 / 1000,
            broken=tuple(name for name, held in assertions if held == "false") if assertions else None,
        ),
    )


def _number(text: str) -> int | None:
    digits = text.replace(",", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 15 else None
