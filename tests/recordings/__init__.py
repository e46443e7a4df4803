"""What real servers answered, recorded by the tests themselves: `make recordings` writes the files again.

A test that has set up a state of a real server gives what was answered to the fixture `record`, and other tests read it with
`recorded`. Without `--record` the fixture compares the shape of what was answered (names and types) with the file, so a server that
answers otherwise than it did shows in a diff.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tests.recordings.volatile import ABSENT, VOLATILE

__all__ = ["Record", "drift", "record", "recorded", "recording", "states", "steady"]

T = TypeVar("T")
_FOLDER = Path(__file__).parent
_LINES, _ERROR = "!lines", "!error"
_FIELD = re.compile(r"([A-Za-z_]\w*):(.*)", re.DOTALL)
_ID = re.compile(r"\b(?:(?!0{40})[0-9a-f]{40}|N[A-Z2-7]{55})\b")
_LEAK = re.compile(r"canary|BEGIN \w* ?PRIVATE KEY|/(?:tmp|home|root|var/cache)/|pytest-")

Record = Callable[..., None]


def recorded(system: str, state: str, kind: type[T]) -> T:
    """What a real server answered in a state, as a value of the model's own `kind`."""
    return msgspec.convert(_revived(json.loads(_file(system, state).read_text())), kind)


def states(system: str) -> list[str]:
    """The names of the states that are recorded of a system."""
    return sorted(file.stem for file in (_FOLDER / system).glob("*.json"))


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Write what a real server answered with `--record`, and otherwise compare it with what is recorded: see `recording`."""
    return recording(write=request.config.getoption("--record"))


def recording(*, write: bool) -> Record:
    """What writes answers to the file of their state, or fails the test when their shape is another than the file's.

    ``record(system, state, answers, names={...})``: `names` gives texts and ports of this run, such as a server's port or its
    folder, the ones that the file has for them. What else differs from run to run is listed in `tests.recordings.volatile`.
    """

    def one(system: str, state: str, answers: object, *, names: Mapping[str, str] | None = None) -> None:
        file, seen = _file(system, state), steady(answers, system, names or {})
        text = json.dumps(seen, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if leak := _LEAK.search(text):
            pytest.fail(
                f"{file.name} would show {text[max(0, leak.start() - 60) : leak.end() + 60]!r}: give it a name."
            )
        if write:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        elif not file.exists():
            pytest.fail(f"Nothing is recorded in {file}: run `make recordings`.")
        elif changes := drift(json.loads(file.read_text()), seen):
            pytest.fail(f"{system} does not answer as recorded in {file.name} (`make recordings`):\n{changes}")

    return one


def drift(before: object, now: object) -> str:
    """How the shape of what is answered now (+) differs from before (-), line by line; empty when only values do."""
    old, new = (set(_shape(value)) for value in (before, now))
    return "\n".join([*(f"- {line}" for line in sorted(old - new)), *(f"+ {line}" for line in sorted(new - old))])


def steady(answers: object, system: str, names: Mapping[str, str]) -> Any:
    """The answers as JSON in which nothing differs from run to run."""
    ids: dict[str, str] = {}
    return _steady(_renamed(_plain(answers), names, ids), VOLATILE.get(system, {}))


def _file(system: str, state: str) -> Path:
    return _FOLDER / system / f"{state}.json"


def _plain(value: Any) -> Any:
    """As JSON, error replies too: they are part of an answer. What an instance works out of its own fields is left out."""
    match value:
        case Exception():
            return {_ERROR: [f"{type(value).__module__}.{type(value).__qualname__}", str(value)]}
        case msgspec.Struct():
            return _plain(msgspec.to_builtins(value))
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(_plain(item) for item in value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    return msgspec.to_builtins(value)


def _renamed(value: Any, names: Mapping[str, str], ids: dict[str, str]) -> Any:
    """With the names of this run replaced in texts and numbers, and ids numbered as they come; texts of several lines in lines."""
    match value:
        case dict():
            return {_renamed(key, names, ids): _renamed(item, names, ids) for key, item in value.items()}
        case list():
            return [_renamed(item, names, ids) for item in value]
        case bool() | None | float():
            return value
        case int():
            return int(names.get(str(value), value))
    for name in sorted(names, key=len, reverse=True):
        value = re.sub(rf"(?<!\d){re.escape(name)}(?!\d)", names[name], value)
    value = _ID.sub(lambda found: ids.setdefault(found[0], f"{len(ids) + 1:040x}"), value)
    return {_LINES: value.splitlines(keepends=True)} if "\n" in value else value


def _steady(value: Any, volatile: Mapping[str, object], name: str = "") -> Any:
    """With a fixed value for everything whose name differs from run to run.

    A name is a key, the word before a colon in a line, or the word before its value in a list of pairs.
    """
    for pattern, fixed in volatile.items():
        if name and re.fullmatch(pattern, name):
            return fixed(value) if callable(fixed) else fixed
    match value:
        case {"!lines": [*lines]}:
            return {_LINES: [_line(line, volatile) for line in lines if not _absent(_field_of(line), volatile)]}
        case dict():
            return {key: _steady(item, volatile, key) for key, item in value.items() if not _absent(key, volatile)}
        case list():
            before = ["", *(item if isinstance(item, str) else "" for item in value)]
            return [_steady(item, volatile, last) for last, item in zip(before, value, strict=False)]
    return value


def _line(line: str, volatile: Mapping[str, object]) -> str:
    if not (field := _FIELD.fullmatch(line)):
        return line
    text = field[2].rstrip("\r\n")
    return f"{field[1]}:{_steady(text, volatile, field[1])}{field[2][len(text) :]}"


def _field_of(line: str) -> str:
    field = _FIELD.fullmatch(line)
    return field[1] if field else ""


def _absent(name: str, volatile: Mapping[str, object]) -> bool:
    """Whether what has this name is answered only at times, and is not recorded."""
    return next((fixed is ABSENT for pattern, fixed in volatile.items() if re.fullmatch(pattern, name)), False)


def _revived(value: Any) -> Any:
    match value:
        case {"!lines": [*lines]}:
            return "".join(lines)
        case {"!error": [kind, text]}:
            module, _, name = kind.rpartition(".")
            return getattr(importlib.import_module(module), name)(text)
        case dict():
            return {key: _revived(item) for key, item in value.items()}
        case list():
            return [_revived(item) for item in value]
    return value


def _shape(value: Any, at: str = "") -> Iterator[str]:
    """`path: type` of everything in a document; the entries of a list are of one path."""
    match value:
        case {"!lines": [*lines]}:
            yield f"{at}: lines"
            yield from (f"{at}.{name}: text" for name in map(_field_of, lines) if name)
        case {"!error": [kind, _]}:
            yield f"{at}: {kind}"
        case dict():
            yield f"{at}: object"
            for key, item in value.items():
                yield from _shape(item, f"{at}.{key}")
        case list():
            yield f"{at}: list"
            for item in value:
                yield from _shape(item, f"{at}[]")
        case bool():
            yield f"{at}: boolean"
        case int() | float():
            yield f"{at}: number"
        case None:
            yield f"{at}: null"
        case _:
            yield f"{at}: text"
