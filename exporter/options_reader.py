"""Options from YAML: variables and secret files filled in, every problem with its place, secrets never shown."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from exporter.logs import MIN_SECRET
from exporter.options import format_duration
from exporter.positioned_yaml import Node, YamlError, read_bounded

__all__ = ["Problem", "Reader", "Where", "key", "nearest", "option_names", "shapes", "takes_file"]

MAX_SECRET_BYTES = 64 * 1024
_SUGGESTED = 200
# Made once for a kind of options: building one costs a hundred times what reading a line with it does.
_adapter = functools.lru_cache(maxsize=1000)(TypeAdapter)

T = TypeVar("T")
Where = tuple[str | int, ...]
"""The path of keys and indexes that leads to a value."""

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_PASSWORD = re.compile(
    r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&]+))|^(?:Basic|Bearer|Token)\s+(\S+)$", re.IGNORECASE
)
_CREDENTIALS = re.compile(r"//.*@")
_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a file, where it stands, and what was expected. `key` is the dotted path, empty for the file."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.key + ': ' if self.key else ''}{self.message}"


def key(where: Where) -> str:
    """A path as people write it: `sections.postgresql.targets[0].dsn`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest known name, or nothing when none is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def _meant(name: str, options: Mapping[str, FieldInfo]) -> str:
    """What an unknown key was probably meant to be: one of these options, or one below another of them."""
    for above, option in options.items():
        models = (
            shape for shape in shapes(option.annotation) if isinstance(shape, type) and issubclass(shape, BaseModel)
        )
        if any(name in model.model_fields for model in models):
            return f"; did you mean '{above}.{name}'?"
    return nearest(name, option_names(options))


def shapes(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, one by one: `Annotated[str, ...] | None` gives `str` and `None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from shapes(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from shapes(member)
    else:
        yield annotation


def takes_file(option: FieldInfo) -> bool:
    """Whether `<key>_file` may give the option: it is a secret, or `json_schema_extra` says so with `from_file`."""
    extra = option.json_schema_extra
    return SecretStr in shapes(option.annotation) or (isinstance(extra, dict) and "from_file" in extra)


def option_names(options: Mapping[str, FieldInfo]) -> Iterator[str]:
    """The keys that may be written for these options."""
    for name, option in options.items():
        yield name
        if takes_file(option):
            yield f"{name}_file"


class Reader:
    """Reads options from the nodes of one file. What is wrong is collected in `problems`, what should be changed in `warnings`.

    Relative paths are relative to the file. `files` are the other files that were read, `secrets` the secret texts that were found.
    """

    def __init__(self, file: Path, root: Node, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._told: set[Problem] = set()
        self.files: set[Path] = set()
        self.secrets: set[str] = set()
        self._file = file
        self._root = root
        self._environ = environ
        self._origins: dict[Where, Where] = {}
        self._secret: set[Where] = set()
        self._broken: set[Where] = set()

    @property
    def file(self) -> str:
        """The file that is read."""
        return str(self._file)

    def complain(self, where: Where, message: str) -> None:
        """Note a problem with the value at a path (or with its nearest parent, where it is missing)."""
        problem = self._problem(where, message)
        if problem not in self._told:  # an option that targets inherit is wrong once
            self._told.add(problem)
            self.problems.append(problem)

    def warn(self, where: Where, message: str) -> None:
        """Note what does not keep the options from being used, but should be changed."""
        self.warnings.append(self._problem(where, message))

    def _problem(self, where: Where, message: str) -> Problem:
        where = self._origin(where)
        position = self._root.where(where)
        for secret in self.secrets:
            message = message.replace(secret, "***") if len(secret) >= MIN_SECRET else message
        return Problem(str(self._file), position.line, position.column, key(where), message)

    def read(self, annotation: Any, where: Where = (), node: Node | None = None) -> Any:
        """The value at a path as the type that `annotation` says; None when there is a problem with it."""
        return self.validate(annotation, self.plain(annotation, where, node), where)

    def plain(self, annotation: Any, where: Where = (), node: Node | None = None) -> Any:
        """The value at a path (or `node`), with variables and secret files filled in, ready to be validated."""
        return self._plain(annotation, node or self._root.find(where), where)

    def inherit(self, where: Where, source: Where) -> None:
        """Tell that the value at a path was taken over from another one, where its problems belong."""
        self._origins[where] = source

    def validate(self, annotation: Any, plain: Any, where: Where = ()) -> Any:
        """A plain value as the type that `annotation` says; None when there is a problem with it."""
        try:
            return _adapter(annotation).validate_json(json.dumps(plain))
        except ValidationError as error:
            self._explain(error, plain, where)
            return None

    # Filling in

    def _plain(self, annotation: Any, node: Node, where: Where) -> Any:
        allowed = tuple(shapes(annotation))
        if SecretStr in allowed:
            self._secret.add(where)
        if isinstance(node.value, dict):
            models = [shape for shape in allowed if isinstance(shape, type) and issubclass(shape, BaseModel)]
            if models:
                return self._options(models, node, where)
            values = next((get_args(shape)[1] for shape in allowed if get_origin(shape) in (dict, Mapping)), Any)
            return {name: self._plain(values, child, (*where, name)) for name, child in node.value.items()}
        if isinstance(node.value, list):
            entries = next((get_args(shape)[0] for shape in allowed if get_origin(shape) in _LISTS), Any)
            return [self._plain(entries, child, (*where, index)) for index, child in enumerate(node.value)]
        if isinstance(node.value, str):
            return self._text(allowed, node.value, where)
        return node.value

    def _text(self, allowed: tuple[Any, ...], source: str, where: Where) -> str:
        text = self._expanded(source, where)
        if SecretStr in allowed:
            self._found_secret(text, where)
        if Path not in allowed:
            return text
        if not text and where not in self._broken:
            self.complain(where, "found nothing, expected a path")
        return str(self.resolved(text))

    def resolved(self, path: str) -> Path:
        """A path as the file means it: relative to its own folder."""
        return self._file.parent / path

    def _options(self, models: list[type[BaseModel]], node: Node, where: Where) -> dict[str, Any]:
        options = {field.alias or name: field for model in models for name, field in model.model_fields.items()}
        values = cast("dict[str, Node]", node.value)
        plain: dict[str, Any] = {}
        for name, child in values.items():
            base = name.removesuffix("_file")
            if name in options:
                plain[name] = self._plain(options[name].annotation, child, (*where, name))
            elif base != name and base in options and takes_file(options[base]):
                if base in values:
                    self.complain((*where, name), f"found beside {base}, expected only one of both")
                else:
                    self.inherit((*where, base), (*where, name))
                    plain[base] = self._from_file(options[base], child, (*where, name))
            else:
                # Who has hundreds of them took another file for this one, and waits for no suggestions.
                hint = _meant(name, options) if len(self.problems) < _SUGGESTED else ""
                self.complain((*where, name), f"unknown key{hint}")
        return plain

    def _from_file(self, option: FieldInfo, node: Node, where: Where) -> str:
        """The text in the file that a `<key>_file` names, without the newline at its end."""
        if not isinstance(node.value, str):
            self._broken.add(where)
            found = f"found {_shown(node.value)}, " if isinstance(node.value, dict | list | None) else ""
            self.complain(where, f"{found}expected the path of a file")
            return ""
        path = self.resolved(self._expanded(node.value, where))
        if where in self._broken:
            return ""
        self.files.add(path)
        # What is no file may be the secret itself, put under the wrong key.
        text, problem = _content(path, str(path) if os.path.lexists(path) else "the file that it names")
        if problem:
            self._broken.add(where)
            self.complain(where, problem)
        elif SecretStr in shapes(option.annotation):
            self._secret.add(where)
            self._found_secret(text, where)
        return text

    def _found_secret(self, text: str, where: Where) -> None:
        found = _secrets(text)
        self.secrets.update(found)
        if any(len(secret) < MIN_SECRET for secret in found):
            self.warn(
                where,
                f"a secret of fewer than {MIN_SECRET} characters is not hidden in sentences and logs: use a longer one",
            )

    def _expanded(self, text: str, where: Where) -> str:
        def fill(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if match[0] == "$${":
                return "${"
            value = self._environ.get(name) if name else None
            if default is not None and "${" not in default and not value:
                return default
            problem = None
            if not name:
                problem = "found '${' without a variable's name and '}', expected ${NAME} (write $${ for the characters themselves)"
            elif "${" in (default or ""):
                problem = f"the default of ${{{name}}} contains a variable, expected a text without"
            elif value is None:
                problem = f"the environment variable {name} is not set"
            elif not _is_text(value):
                problem = f"the environment variable {name} is not UTF-8 text"
            if problem:
                self._broken.add(where)
                self.complain(where, problem)
            return value or "" if problem is None else ""

        return _VARIABLE.sub(fill, text)

    # Explaining

    def _origin(self, where: Where) -> Where:
        for length in range(len(where), 0, -1):
            if (origin := self._origins.get(where[:length])) is not None:
                return self._origin(origin) + where[length:]
        return where

    def _explain(self, error: ValidationError, plain: Any, base: Where) -> None:
        """Turn pydantic's errors into problems: one for each place, naming all that would have been right there."""
        found: dict[Where, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False, include_input=False):
            where = _followed(plain, detail["loc"], missing=detail["type"] == "missing")
            found.setdefault(where, []).append(detail)
        for where, details in found.items():
            if any(other[: len(where)] == where and other != where for other in found):
                continue  # a union: another member went further
            origin = self._origin(base + where)
            if not _inside(origin, self._broken):
                self.complain(base + where, self._sentence(origin, _value(plain, where), details))

    def _sentence(self, origin: Where, value: Any, details: Sequence[ErrorDetails]) -> str:
        kinds = {detail["type"] for detail in details}
        wanted = dict.fromkeys(_expectation(detail) for detail in details)
        if kinds == {"missing"}:
            return "missing, it is required"
        if not all(text.startswith("expected ") for text in wanted):
            return "; ".join(wanted)
        expected = "expected " + " or ".join(text.removeprefix("expected ") for text in wanted)
        if kinds == {"string_type"} and isinstance(value, int | float):
            expected += " (put it in quotes)"
        if _inside(origin, self._secret) or (kinds == {"value_error"} and isinstance(value, dict)):
            return expected
        source = self._root.find(origin).value
        structure = any(text in ("expected a mapping", "expected a list") for text in wanted)
        return f"found {_shown(source if isinstance(source, str) else value, closed=structure)}, {expected}"


_LISTS = (list, tuple, set, frozenset, Sequence)


def _followed(plain: Any, loc: tuple[str | int, ...], *, missing: bool) -> Where:
    """The part of pydantic's path that exists in the value: it also names members of unions. A missing key ends it."""
    where: list[str | int] = []
    part: Any
    for part in loc:
        if (isinstance(plain, dict) and part in plain) or (
            isinstance(plain, list) and isinstance(part, int) and part < len(plain)
        ):
            plain = plain[part]
            where.append(part)
    return (*where, loc[-1]) if missing else tuple(where)


def _value(plain: Any, where: Where) -> Any:
    for part in cast("tuple[Any, ...]", where):
        if isinstance(plain, dict) and part not in plain:
            return None
        plain = plain[part]
    return plain


def _inside(where: Where, places: set[Where]) -> bool:
    return any(where[:length] in places for length in range(len(where) + 1))


def _expectation(detail: ErrorDetails) -> str:
    """What would have been right, as `expected …`, or the sentence of a validator that says it otherwise."""
    kind, message = detail["type"], detail["msg"].removeprefix("Value error, ").partition(", input")[0]
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    if kind == "greater_than" and isinstance(detail["ctx"]["gt"], timedelta):
        return f"expected a duration longer than {format_duration(detail['ctx']['gt'])}"
    if kind == "too_short":
        return f"expected {detail['ctx']['min_length']} or more entries"
    if message.startswith("Input should be "):
        wanted = message.removeprefix("Input should be ").replace("a valid ", "a ")
        return f"expected {'a value ' if wanted.startswith(('greater', 'less')) else ''}{wanted}"
    what, should, wanted = message.partition(" should ")
    return f"expected the {what.lower()} to {wanted}" if should else message


def _shown(value: Any, *, closed: bool = False) -> str:
    """A value for a message: what it is and itself, shortened, without credentials in an address.

    `closed` leaves the value out: a text where a structure belongs may be a misplaced secret.
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} of type boolean"
        case int():
            return f"{value} of type integer"
        case float():
            return f"{value} of type number"
        case str():
            text = _CREDENTIALS.sub("//***@", value)
            return "a string" if closed else f"{text if len(text) <= 80 else text[:77] + '...'!r} of type string"
        case list():
            return "a list"
    return "a mapping"


def _is_text(value: str) -> bool:
    """Whether a variable holds text; bytes that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _content(path: Path, name: str) -> tuple[str, str]:
    """The text of a file that holds one value, and what is wrong with it. `name` is what sentences call the file."""
    try:
        text = read_bounded(path, MAX_SECRET_BYTES).decode()
    except OSError as error:
        return "", f"{name} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", f"{name} is not UTF-8 text"
    except YamlError:
        return "", f"{name} is larger than {MAX_SECRET_BYTES} bytes"
    except ValueError:
        return "", "found something other than a path, expected the path of a file"
    text = text.removesuffix("\n").removesuffix("\r")
    return text, "" if text else f"{name} is empty"


def _secrets(text: str) -> set[str]:
    """A secret and the passwords inside it: a connection string's password may be shown without the rest."""
    found = {text, *(match[match.lastindex or 0] for match in _PASSWORD.finditer(text))}
    with suppress(ValueError):  # it only looks like an address
        password = urlsplit(text).password or ""
        found |= {password, unquote(password)}
    return found - {""}
