"""Evidence records as files: what may stand in one, and how a folder of them is read. `evidence` judges what they are worth."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from exporter.options import Options
from exporter.positioned_yaml import Node, YamlError, load_yaml_all, read_bounded

__all__ = [
    "ADDRESS",
    "MAX_RECORD_BYTES",
    "PRINTABLE",
    "Artifact",
    "Link",
    "Moment",
    "Record",
    "RecordFile",
    "ReportFacts",
    "Statement",
    "Unreadable",
    "Window",
    "end_of",
    "read_records",
    "record_files",
    "start_of",
]

MAX_RECORD_BYTES = 256 * 1024
MAX_FILES = 10_000
_MAX_SCANNED = 16 * 2**20

PRINTABLE = re.compile(r"[!-~]{0,8000}")  # all that may stand in an address
ADDRESS = re.compile(r"^https?://[!-~]{1,1990}$")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)")


def _moment(value: object) -> date | datetime:
    """`2026-10-01`, or a time that says its offset: a time of an unsaid zone would expire hours early or late."""
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # a 31st of February is reported like any other text that is no date
    raise ValueError("expected a date such as 2026-10-01, or a time with its offset")


Moment = Annotated[
    date | datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "title": "date, or time with offset"}),
]
"""A day (UTC), or a moment."""


def start_of(moment: date | datetime) -> datetime:
    """The first moment of a day (UTC); a moment is itself."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min, tzinfo=UTC)


def end_of(moment: date | datetime) -> datetime:
    """The moment after which a day is over (UTC); a moment is itself."""
    if isinstance(moment, datetime):
        return moment
    if moment == date.max:
        return datetime.max.replace(tzinfo=UTC)
    return start_of(moment + timedelta(days=1))


_SHORTEST_TEXT = 2

FileName = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,250}$")]


class Link(Options):
    """A page that shows what the record says."""

    url: str = Field(pattern=ADDRESS.pattern, description="Address of the page.")
    must_contain: str | None = Field(
        None, min_length=1, description="Text that the page must have, so that no other page is taken for it."
    )

    @field_validator("must_contain")
    @classmethod
    def _says_something(cls, text: str | None) -> str | None:
        if text is not None and text.isascii() and sum(map(str.isalnum, text)) < _SHORTEST_TEXT:
            raise ValueError(f"expected a text with at least {_SHORTEST_TEXT} letters or digits")
        return text

    @property
    def page(self) -> str:
        """The address that is asked for; what stands behind # is a place on the same page."""
        return self.url.partition("#")[0]


class Artifact(Options):
    """The document itself, pinned by its hash."""

    path: FileName | None = Field(None, description="File, relative to the record's folder.")
    url: str | None = Field(
        None,
        pattern=rf"{ADDRESS.pattern}|^s3://[!-~]{{3,1990}}$",
        description="Address of the file, below one of `evidence.hosts`; s3://bucket/key in a bucket of `evidence.s3`.",
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its bytes, in lower-case hexadecimal.")
    kind: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$", description="What it is, such as roster.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("expected either path or url")
        return self


class ReportFacts(Options):
    """What an artifact that is a report does not say itself."""

    target: str | None = Field(None, min_length=1, max_length=500, description="What was tested or scanned.")
    started: Moment | None = Field(None, description="When the run began.")
    finished: Moment | None = Field(None, description="When the run ended.")
    tool: str | None = Field(None, min_length=1, max_length=200, description="Tool and version.")
    database: Moment | None = Field(None, description="Date of the scanner's database.")
    filters: str | None = Field(
        None, min_length=1, max_length=500, description="What limited the scan; `none` where nothing did."
    )
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = Field(None, description="Exit code of the tool.")
    examined: Annotated[int, Field(ge=0)] | None = Field(
        None, description="How many packages, files or addresses were scanned."
    )
    scenario: str | None = Field(None, min_length=1, max_length=500, description="Name of the load scenario.")


class Window(Options):
    """A period that the record is about, such as a launch window."""

    start: Moment = Field(description="When it begins.")
    end: Moment = Field(description="When it ends; a date counts to the end of the day.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if end_of(self.end) <= start_of(self.start):
            raise ValueError("expected an end after the start")
        return self


def _link(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class Statement(Options):
    """What may stand in a record file: somebody says that a line is true, or that it is not."""

    item: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", description="`section.item` that it is about.")
    result: Literal["passed", "failed"] = Field(description="What was found.")
    by: str = Field(
        pattern=r"^[^\s,]([^\n,]{0,252}[^\s,])?$",
        description="Who attests it; in signed records as in allowed_signers.",
    )
    role: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$", description="In which role, such as qa_lead.")
    on: Moment = Field(description="When it was found: a date (UTC), or a time with its offset.")
    valid_until: Moment | None = Field(
        None, description="Last day on which it is valid; never longer than the item allows."
    )
    release: str | None = Field(None, min_length=1, max_length=200, description="Release that it is about.")
    environment: str | None = Field(None, min_length=1, description="Environment that it is about; any when left out.")
    links: tuple[Annotated[Link, BeforeValidator(_link)], ...] = Field(
        (), max_length=50, description="Pages that show it: addresses, or url with must_contain."
    )
    artifact: Artifact | None = Field(None, description="The document itself.")
    report: ReportFacts | None = Field(None, description="What the artifact, a report, does not say itself.")
    measured: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict, description="Numbers, named with their unit."
    )
    window: Window | None = Field(None, description="Period that it is about.")
    note: str | None = Field(None, description="Anything a reader should know.")
    signature: FileName | None = Field(
        None, description="File of the signature, beside the record file; its name with .sig by default."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_until is not None and end_of(self.valid_until) <= start_of(self.on):
            raise ValueError("expected valid_until after on")
        return self


class Record(Statement):
    """A statement and where it was read: `file`, relative to the evidence folder, and its first `line`.

    `key` is the fingerprint of the key whose signature was verified, None when none was; `names` are all the names that
    allowed_signers lists for it.
    """

    file: str
    line: int
    key: str | None = None
    names: tuple[str, ...] = Field((), exclude=True)

    def __hash__(self) -> int:
        return hash((self.file, self.line, self.item))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record, or a whole file, that could not be read: `problem` is `file:line:column: what is wrong`."""

    problem: str
    item: str | None
    content: bytes | None

    def may_concern(self, item: str) -> bool:
        """Whether this is, or may hold, a record about `item`; where it cannot be known, its name in the file decides.

        A file of which nothing is known (`content` is None) may be about any.
        """
        if self.item:
            return self.item == item
        return self.content is None or item.encode() in self.content


@dataclass(frozen=True, slots=True)
class RecordFile:
    """One file as read. `content` is kept for verifying its signature."""

    records: tuple[Record, ...]
    unreadable: tuple[Unreadable, ...]
    content: bytes


def record_files(folder: Path) -> Iterator[Path]:
    """Every .yaml and .yml file in the folder and below, in order of name, also by symbolic links; hidden ones are skipped.

    (A mounted Kubernetes ConfigMap keeps its files twice, once in a hidden folder.) Raises OSError when a folder cannot be listed,
    ValueError when there are too many files.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen = 0
    entered = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and _enters(Path(parent, name), entered)
        )
        seen += len(files)
        if seen > MAX_FILES:
            raise ValueError(f"it contains more than {MAX_FILES} files")
        for name in sorted(files):
            path = Path(parent, name)
            if (
                path.suffix.lower() in (".yaml", ".yml")
                and not name.startswith(".")
                and (path.is_file() or _dangles(path))
            ):
                yield path


def _enters(folder: Path, entered: set[str]) -> bool:
    """Whether a folder was not entered before, by another link."""
    real = os.path.realpath(folder)
    new = real not in entered
    entered.add(real)
    return new


def _dangles(path: Path) -> bool:
    """Whether it is a symbolic link to a file that does not exist: a record may be there, and cannot be read."""
    try:
        path.stat()
    except FileNotFoundError:
        return path.is_symlink()
    except OSError:
        return False
    return False


def read_records(path: Path, name: str) -> RecordFile:
    """The records of one file, as YAML documents or as a list; `name` is what errors call it. Never raises: see `unreadable`."""
    try:
        content = read_bounded(path, MAX_RECORD_BYTES)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and not path.is_symlink()
        problem = f"{name}: cannot be read: {error.strerror}"
        return RecordFile((), (Unreadable(problem, None, b"" if gone else None),), b"")
    except YamlError as error:
        return RecordFile((), (Unreadable(f"{name}: {error.problem}", None, _scanned(path)),), b"")
    return parse_records(content, name)


def _scanned(path: Path) -> bytes | None:
    """What a file holds that is too large for a record, such as a report: only which lines it names matters."""
    try:
        return read_bounded(path, _MAX_SCANNED)
    except (OSError, YamlError):
        return None


def parse_records(content: bytes, name: str) -> RecordFile:
    """The records in the content of a file."""
    try:
        nodes = load_yaml_all(content, name)
    except YamlError as error:
        return RecordFile((), (Unreadable(str(error), None, content),), content)
    records: list[Record] = []
    unreadable: list[Unreadable] = []
    found = [entry for node in nodes for entry in (node.value if isinstance(node.value, list) else [node])]
    if not found:
        unreadable.append(Unreadable(f"{name}:1:1: expected a record, found an empty file", None, content))
    for node in found:
        read = _record(node, name)
        if isinstance(read, Record):
            records.append(read)
        else:
            item = node.value.get("item") if isinstance(node.value, dict) else None
            about = item.value if item and isinstance(item.value, str) else None
            unreadable.append(Unreadable(read, about, content))
    return RecordFile(tuple(records), tuple(unreadable), content)


def _record(node: Node, name: str) -> Record | str:
    """The record that a node is, or what is wrong with it."""
    if not isinstance(node.value, dict):
        return f"{name}:{node.position.line}:{node.position.column}: expected a record, found {_found(node.plain())}"
    try:
        statement = Statement.model_validate_json(msgspec.json.encode(node.plain()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        position = node.where(first["loc"])
        return f"{name}:{position.line}:{position.column}: {_told(first)}"
    return Record(**dict(statement), file=name, line=node.position.line)


def _told(error: Any) -> str:
    """One of pydantic's errors in words: key, what was expected, what was found."""
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not a key of a record"
    expected = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    expected = expected[:1].lower() + expected[1:].replace("a valid string", "text").replace("a valid", "a")
    if not key:
        return str(expected)
    hint = "; put it in quotes" if error["type"] == "string_type" and isinstance(error["input"], int | float) else ""
    return f"{key}: {expected}, found {_found(error['input'])}{hint}"


def _found(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
