"""Which format a file has, by its content: names of files prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from collectors.systems.reports.model.junit import read_junit
from collectors.systems.reports.model.locust import read_locust
from collectors.systems.reports.model.report import Report
from collectors.systems.reports.model.sarif import read_sarif
from collectors.systems.reports.model.trivy import read_trivy
from exporter.verdict import ProbeError, Reason
from exporter.words import listed

__all__ = ["FORMATS", "Format", "Shape", "read_report"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a look at a file shows: the keys of its outermost JSON object, or those at the beginning of a list or a stream.

    For XML its root, for text its first line.
    """

    keys: frozenset[str] = frozenset()
    is_list: bool = False
    is_empty_list: bool = False
    root: str = ""
    first_line: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read. `documented`: its shape is known from its documentation alone, no real file was read."""

    name: str
    fits: Callable[[Shape], bool]
    read: Callable[[bytes], Report]
    documented: bool = False


FORMATS: tuple[Format, ...] = (
    Format("JUnit", lambda shape: shape.root in ("testsuites", "testsuite"), read_junit),
    Format(
        "Locust",
        lambda shape: shape.is_empty_list or (shape.is_list and {"num_requests", "response_times"} <= shape.keys),
        read_locust,
    ),
    Format("Trivy", lambda shape: {"SchemaVersion", "ArtifactName"} <= shape.keys and not shape.is_list, read_trivy),
    Format("SARIF", lambda shape: {"runs", "version"} <= shape.keys and not shape.is_list, read_sarif),
)


def read_report(content: bytes) -> Report:
    """The report that a file holds.

    Raises ProbeError when it is empty (what many tools leave when they fail), has no format that is known, or cannot be read.
    """
    if not content.strip():
        raise ProbeError("The report is empty: the tool did not finish.", Reason.MALFORMED)
    shape = _shape(content)
    for known in FORMATS:
        if known.fits(shape):
            return known.read(content)
    names = listed((known.name for known in FORMATS), most=40)
    raise ProbeError(f"The report has none of the formats that are read ({names}).", Reason.MALFORMED)


_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL)
_HEAD = 64 * 1024


def _shape(content: bytes) -> Shape:
    head = content[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<"):
        found = _ROOT.match(head)
        return Shape(root=found[1].decode("ascii", "replace") if found else "")
    if head.startswith((b"{", b"[")):
        return _json_shape(content, head)
    return Shape(first_line=head.partition(b"\n")[0].decode("utf-8", "replace").strip())


def _json_shape(content: bytes, head: bytes) -> Shape:
    if content.count(b"{") > _MOST_OBJECTS or content.count(b",") > _MOST_VALUES:
        raise ProbeError(f"The report has more than {_MOST_OBJECTS} objects, which are not read.", Reason.LIMIT)
    first_line = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    keys = frozenset(key.decode() for key in _KEY.findall(head))
    if head.startswith(b"["):
        return Shape(keys, is_list=True, is_empty_list=not head[1:].strip().removeprefix(b"]").strip())
    try:
        return Shape(frozenset(msgspec.json.decode(content, type=dict[str, msgspec.Raw])))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Shape(keys, first_line=first_line)  # several objects, one after the other, or a file that was cut off


_MOST_OBJECTS = 1_000_000
_MOST_VALUES = 6_000_000
_KEY = re.compile(rb'"([\w$@.-]{1,80})"\s*:')
