"""YAML with positions: every value knows its line and column, and nothing is guessed.

Differs from `yaml.safe_load` where that misleads people: duplicate keys are refused, keys are text (`on:` is not `true`), dates
stay text, only `true` and `false` are booleans, and aliases can neither be cyclic nor explode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from exporter.files import TooLarge, read_file

__all__ = ["Node", "Plain", "Position", "YamlError", "load_yaml", "load_yaml_all", "read_bounded"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000

Plain: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster, but not everywhere
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in its file; both count from 1."""

    line: int
    column: int


class YamlError(ValueError):
    """A text is not the YAML that is wanted. Its text is `file:line:column: what is wrong`."""

    def __init__(self, name: str, position: Position, problem: str) -> None:
        super().__init__(f"{name}:{position.line}:{position.column}: {problem}")
        self.name = name
        self.position = position
        self.problem = problem


@dataclass(slots=True)
class Node:
    """A value and where it stands: a scalar, a list of nodes, or a dict of nodes, whose keys stand at `keys`."""

    value: bool | int | float | str | list[Node] | dict[str, Node] | None
    position: Position
    keys: dict[str, Position] = field(default_factory=dict)

    def plain(self) -> Plain:
        """The value as ordinary dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, loc: Sequence[str | int]) -> Node:
        """The node that a path of keys and indexes (pydantic's `loc`) leads to, or the last one on the way that exists."""
        node = self
        for part in loc:
            if isinstance(node.value, dict) and part in node.value:
                node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
        return node

    def where(self, loc: Sequence[str | int]) -> Position:
        """Where the key (or list entry) that a path leads to stands; where its nearest existing parent does when it is missing."""
        position, node = self.position, self
        for part in loc:
            if isinstance(node.value, dict) and part in node.value:
                position, node = node.keys[str(part)], node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                position = node.position
        return position


def read_bounded(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a small file; raises YamlError when it is larger than `limit` bytes, OSError when it cannot be read."""
    try:
        return read_file(path, limit)
    except TooLarge as error:
        raise YamlError(str(path), Position(1, 1), str(error)) from None


def load_yaml(text: str | bytes, name: str) -> Node:
    """The one document in `text`; an empty text is a null. `name` is what errors call the file. Raises YamlError."""
    documents = load_yaml_all(text, name)
    if len(documents) > 1:
        raise YamlError(name, documents[1].position, "expected one document, found a second one")
    return documents[0] if documents else Node(None, Position(1, 1))


def load_yaml_all(text: str | bytes, name: str) -> list[Node]:
    """Every document in `text`. `name` is what errors call the file. Raises YamlError."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(content) > MAX_BYTES:
        raise YamlError(name, Position(1, 1), f"expected at most {MAX_BYTES} bytes, found {len(content)}")
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = Position(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise YamlError(name, position, "expected UTF-8 text, found other bytes") from None
    if control := yaml.reader.Reader.NON_PRINTABLE.search(decoded):
        line = decoded.count("\n", 0, control.start()) + 1
        position = Position(line, control.start() - decoded.rfind("\n", 0, control.start()))
        raise YamlError(name, position, "expected text, found a control character")
    try:
        return list(_Composer(decoded, name).documents())
    except yaml.MarkedYAMLError as error:
        problem = " ".join(filter(None, (error.context, error.problem)))
        position = _position(error.problem_mark or error.context_mark)
        line_there = "".join(decoded.split("\n")[position.line - 1 : position.line])
        if line_there[position.column - 1 : position.column] == "\t":
            problem = "found a tab, expected spaces: nothing else indents YAML"
        elif error.problem in _UNFIT:
            problem = "this line does not fit the ones above: check its indentation, and the quotes of both"
        raise YamlError(name, position, problem) from None


#: What libyaml says of a line that is indented in another way than its neighbours, and of text behind a closing quote.
_UNFIT = ("did not find expected key", "did not find expected '-' indicator")


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


class _Composer:
    """Turns YAML events into nodes, one level of Python recursion per level of nesting."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._compose(next(self._events), 0)

    def _refuse(self, event: yaml.Event, problem: str) -> YamlError:
        return YamlError(self._name, _position(event.start_mark), problem)

    def _count(self, event: yaml.Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._refuse(
                event, f"expected at most {MAX_NODES} values, found more (aliases count as what they repeat)"
            )

    def _compose(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refuse(
                    event, "an alias has no anchor that ends before it (put a text that begins with * in quotes)"
                )
            node, size = self._anchors[event.anchor]
            self._count(event, size)
            return node
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"expected at most {MAX_DEPTH} levels of nesting, found more")
        before = self._nodes
        self._count(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event), _position(event.start_mark))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (node, self._nodes - before)
        return node

    def _sequence(self, event: yaml.Event, depth: int) -> Node:
        entries = []
        while not isinstance(entry := next(self._events), yaml.SequenceEndEvent):
            entries.append(self._compose(entry, depth + 1))
        return Node(entries, _position(event.start_mark))

    def _mapping(self, event: yaml.Event, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._refuse(key, "expected a key of plain text, found another structure")
            if key.value in values:
                line = keys[key.value].line
                raise self._refuse(key, f"{key.value!r} is given twice, first on line {line}")
            keys[key.value] = _position(key.start_mark)
            values[key.value] = self._compose(next(self._events), depth + 1)
        return Node(values, _position(event.start_mark), keys)

    def _scalar(self, event: yaml.ScalarEvent) -> bool | int | float | str | None:
        text: str = event.value
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise self._refuse(event, "expected a plain value, found a tag (put a text that begins with ! in quotes)")
        if event.style or event.tag:
            return text
        if _NULL.fullmatch(text):
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return int(text)
        if _NOT_A_NUMBER.fullmatch(text):
            raise self._refuse(event, f"expected a finite number, found {text}")
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        return text
