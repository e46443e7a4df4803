"""Conditions in the Common Expression Language (CEL): type-checked when the configuration is read, explained where not met.

Two things are stricter than CEL has them, so that nothing passes by what it does not have: `all` is false of an empty list, and a
key whose value is null counts as absent unless the expression names `null`. The function `age(t)` is added, for how long ago a time
is.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pydantic_core
from pydantic import AfterValidator

from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import counted, listed, one_line

if TYPE_CHECKING:
    from cel_expr_python import cel

__all__ = ["Facts", "Language", "json_of", "never_vacuous"]

_ERROR = re.compile(r"<input>:(\d+):(\d+): (.*?)(?: \(in container ''\))?$", re.MULTILINE)
_KEY = re.compile(r"NOT_FOUND: Key not found in map : (.*)")
_OVERLOAD = re.compile(r"No matching overloads found : (.*)")
_TOO_MUCH = "Iteration budget exceeded"
_WRONG_TIME = re.compile(r"\bage: (.*)")
_TOKEN = re.compile(
    r'''(?P<space>\s+|//[^\n]*)'''
    r'''|(?P<text>[rRbB]{0,2}(?:"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))'''
    r'''|(?P<word>[A-Za-z_]\w*)|(?P<number>(?:(?<![\w)\]])\.)?\d[\w.]*(?:(?<=[eE])[-+]\d+)?)|(?P<sign>&&|\|\||[=!<>]=|.)''',
    re.DOTALL,
)  # fmt: skip
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_PAIRS = {")": "(", "]": "[", "}": "{"}
_ALL = [".", "all", "("]
_CONSTANTS = ("duration", "timestamp", "matches")
_MOST = 4000
_LONGEST = 60
_SKEW = timedelta(minutes=1)  # of a clock that is right
_INT64 = 2**63


class Facts(dict[str, Any]):
    """The values of variables. Made once for all conditions on a thing: what is derived from them is, too."""

    @functools.cached_property
    def whole(self) -> Mapping[str, Any]:
        """Them as CEL takes them."""
        return {name: _for_cel(value, nulls=True) for name, value in self.items()}

    @functools.cached_property
    def without_nulls(self) -> Mapping[str, Any]:
        """Them without keys whose value is null, at any depth."""
        return {name: _for_cel(value, nulls=False) for name, value in self.items() if value is not None}


class Language:
    """What conditions on one kind of thing may name: its variables, each with its type as CEL writes it."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables
        self._known = listed(variables, most=20).replace(" and ", " or ")
        # Kept for each language: the same text means something else in another one.
        self._compiled = functools.lru_cache(maxsize=1024)(self._compile)
        self._evaluable = functools.lru_cache(maxsize=1024)(lambda text: self._compile(never_vacuous(text)))
        self.names = functools.lru_cache(maxsize=1024)(self._names)

    def _compile(self, text: str, without: str = "") -> cel.Expression:
        """Raises RuntimeError for what is no expression."""
        return _environment(tuple(item for item in self._variables.items() if item[0] != without)).compile(text)

    def _names(self, text: str) -> frozenset[str]:
        """Which variables an expression names: without them it does not compile."""
        found = set()
        for name in self._variables:
            try:
                self._compile(text, without=name)
            except RuntimeError:
                found.add(name)
        return frozenset(found)

    def reads(self, kind: str, *types: str) -> AfterValidator:
        """Accepts an expression of one of these types that names a variable; `kind` is what it is called, such as `a condition`."""

        def read(text: str) -> str:
            if len(text) > _MOST:
                raise ValueError(f"expected {kind} in CEL of at most {_MOST} characters")
            try:
                type_ = self._compiled(text).return_type().name()
                self._evaluable(text)
            except RuntimeError as error:
                raise ValueError(f"expected {kind} in CEL: {_where(str(error))}") from None
            if type_ not in types:
                raise ValueError(f"expected {kind} in CEL; this one is of type {type_.lower()}")
            if not self.names(text):
                raise ValueError(f"expected {kind} that names {self._known}; this one is the same for every answer")
            if wrong := next(_wrong_constants(text), None):
                raise ValueError(f"expected {kind} in CEL: {wrong}")
            return text

        return AfterValidator(read)

    @property
    def condition(self) -> AfterValidator:
        """Accepts a condition."""
        return self.reads("a condition", "BOOL", "DYN")

    def value_of(self, expression: str, facts: Mapping[str, Any]) -> Any:
        """The value of an expression; None where there is none."""
        value, error = self._evaluated(expression, facts)
        return None if error else value

    def _evaluated(self, expression: str, facts: Mapping[str, Any]) -> tuple[Any, str]:
        """The value, or what is wrong in CEL's words."""
        known = facts if isinstance(facts, Facts) else Facts(facts)
        data = known.whole if _names_null(expression) else known.without_nulls
        try:
            value = self._evaluable(expression).eval(data=dict(data))
        except RuntimeError as error:  # too many iterations
            return None, str(error)
        return (None, str(value.value())) if value.type().name() == "ERROR" else (value.plain_value(), "")

    def unmet(
        self,
        condition: str,
        facts: Mapping[str, Any],
        absent: Mapping[str, str] | None = None,
        *,
        show_texts: bool = True,
    ) -> str | None:
        """What was observed instead, as a clause; None where the condition is true.

        `absent` says why a variable has no value, as a clause. Without `show_texts` none is shown: answers to a login have tokens.

        Raises ProbeError for a condition that looks at more than can be evaluated.
        """
        value, error = self._evaluated(condition, facts)
        if value is True:
            return None
        if _TOO_MUCH in error:
            raise ProbeError(f"`{condition}` was not evaluated: what it looks at has too many elements.", Reason.LIMIT)
        for name, why in (absent or {}).items():
            if name not in facts and name in self.names(condition):
                return why
        if error:
            return self._explained(condition, error, facts)
        seen = [*self.seen(condition, facts, show_texts=show_texts), *self._exceptions(condition, facts)]
        return ", ".join(seen) or "it is false"

    def _explained(self, condition: str, error: str, facts: Mapping[str, Any]) -> str:
        if nulls := [path for path in self._paths(condition) if self._is_null(path, facts)]:
            return f"{listed(nulls)} {'is' if len(nulls) == 1 else 'are'} null"
        if key := _KEY.search(error):
            missing = key[1].strip('"')
            return f"it has no key {missing}" if missing in condition else "it has no such key"
        if wrong := _WRONG_TIME.search(error):
            return wrong[1]
        if overload := _OVERLOAD.search(error):
            return f"types do not match in {overload[1]}"
        return "it cannot be evaluated on this answer"

    def _is_null(self, path: str, facts: Mapping[str, Any]) -> bool:
        value = self._evaluable(path).eval(data=dict(Facts(facts).whole))
        return bool(value.type().name() == "NULL")

    def seen(self, condition: str, facts: Mapping[str, Any], *, show_texts: bool = True) -> list[str]:
        """What the parts that a condition reads are, as clauses such as `json.status is "down"`."""
        return [
            f"{path} is {_shown(self.value_of(path, facts), show_texts)}"
            for path in self._paths(condition)
            if path.partition(".")[0] in facts or path.partition("[")[0] in facts
        ]

    def _exceptions(self, condition: str, facts: Mapping[str, Any]) -> Iterator[str]:
        """Of how many elements what `all` says is not true, where that can be counted."""
        for receiver, arguments in _alls(condition):
            variable, comma, predicate = arguments.partition(",")
            if not comma:
                continue
            try:
                count = self.value_of(f"size({receiver}.filter({variable}, !({predicate})))", facts)
                total = self.value_of(f"size({receiver})", facts)
            except RuntimeError:
                continue
            if isinstance(count, int) and count:
                yield f"it is not true of {count} of {total}"

    def _paths(self, condition: str) -> Iterator[str]:
        """The parts of the facts that a condition reads, as they are written in it."""
        for path in dict.fromkeys(_paths(condition, self._variables)):
            try:
                self._compiled(path)
            except RuntimeError:
                continue
            yield path


def json_of(body: bytes) -> Any:
    """The value of a JSON text, whole numbers as CEL has them. Raises ValueError or RecursionError where it is none."""
    pydantic_core.from_json(body, allow_inf_nan=False)  # refuses lone surrogates, which CEL's texts cannot have
    return json.loads(body, parse_int=_number)


def _number(digits: str) -> int | float:
    """CEL has integers of 64 bits."""
    number = int(digits)
    return number if -_INT64 <= number < _INT64 else float(digits)


@functools.cache
def _environment(variables: tuple[tuple[str, str], ...]) -> cel.Env:
    from cel_expr_python import cel

    types = {
        "bool": cel.Type.BOOL,
        "int": cel.Type.INT,
        "string": cel.Type.STRING,
        "dyn": cel.Type.DYN,
        "duration": cel.Type.DURATION,
        "timestamp": cel.Type.TIMESTAMP,
        "list(string)": cel.Type.List(cel.Type.STRING),
        "list(dyn)": cel.Type.List(cel.Type.DYN),
        "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    }
    ages = [
        cel.Overload(f"age_{kind.name().lower()}", cel.Type.DURATION, [kind], False, _age)
        for kind in (cel.Type.STRING, cel.Type.TIMESTAMP)
    ]
    return cel.NewEnv(
        variables={name: types[type_] for name, type_ in variables}, functions=[cel.FunctionDecl("age", ages)]
    )


def _age(moment: str | datetime) -> timedelta:
    """The function `age`: how long ago a moment is. One in the future has no age, so that it satisfies no limit."""
    if isinstance(moment, str):
        try:
            text, moment = moment, datetime.fromisoformat(moment)
        except ValueError:
            raise ValueError(f"age: {json.dumps(one_line(moment, _LONGEST))} is no time") from None
        if moment.tzinfo is None:
            raise ValueError(f"age: {json.dumps(text)} does not say in which time zone it is")
    passed = datetime.now(UTC) - moment
    if passed < -_SKEW:
        raise ValueError(f"age: {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC lies in the future")
    return max(passed, timedelta(0))


def _where(error: str) -> str:
    """What is wrong with an expression, and where in it."""
    if (found := _ERROR.search(error)) is None:
        return "at character 1, it cannot be compiled"
    line, column, what = found.groups()
    place = f"at character {column}" if line == "1" else f"in its line {line}, at character {column}"
    return f"{place}, {what}"


def _wrong_constants(text: str) -> Iterator[str]:
    """Durations, times and patterns that are no such, which CEL itself would only find when they are used."""
    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space"]
    for index, token in enumerate(tokens[:-3]):
        name, opening, literal, closing = (one[0] for one in tokens[index : index + 4])
        if name not in _CONSTANTS or opening != "(" or tokens[index + 2].lastgroup != "text" or closing != ")":
            continue
        value = _environment(()).compile(f'"".matches({literal})' if name == "matches" else f"{name}({literal})").eval()
        if value.type().name() == "ERROR":
            hint = " (its units are h, m, s and ms: 21 days are 504h)" if name == "duration" else ""
            kind = {"duration": "duration", "timestamp": "time", "matches": "regular expression"}[name]
            yield f"at character {token.start() + 1}, {literal} is no {kind}{hint}"


def _names_null(text: str) -> bool:
    return any(match[0] in ("null", "null_type") for match in _TOKEN.finditer(text) if match.lastgroup == "word")


def _for_cel(value: Any, *, nulls: bool) -> Any:
    """The value, with or without the keys whose value is null, and without null characters, at which the library ends a text."""
    match value:
        case dict():
            return {
                _for_cel(key, nulls=nulls): _for_cel(one, nulls=nulls)
                for key, one in value.items()
                if nulls or one is not None
            }
        case list():
            return [_for_cel(one, nulls=nulls) for one in value]
        case str():
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value


def never_vacuous(text: str) -> str:
    """A valid expression in which `all` is false of an empty list or map, and which is otherwise the same."""
    tokens = _tokens(text)
    return " ".join(_guarded(tokens)) if "all" in tokens else text


def _guarded(tokens: Sequence[str]) -> list[str]:
    guarded: list[str] = []
    index = 0
    while index < len(tokens):
        if tokens[index : index + 3] == _ALL:
            end = _closing(tokens, index + 2)
            start = _receiver(guarded)
            receiver = guarded[start:]
            guarded[start:] = ["(", "size", "(", *receiver, ")", ">", "0", "&&", *receiver, *_ALL]
            guarded += [*_guarded(tokens[index + 3 : end]), ")", ")"]
            index = end + 1
        else:
            guarded.append(tokens[index])
            index += 1
    return guarded


def _alls(text: str) -> Iterator[tuple[str, str]]:
    """What `all` is called on in an expression, and with which arguments."""
    tokens = _tokens(text)
    for index in range(len(tokens)):
        if tokens[index : index + 3] == _ALL:
            end = _closing(tokens, index + 2)
            yield "".join(tokens[_receiver(tokens[:index]) : index]), " ".join(tokens[index + 3 : end])


def _paths(text: str, variables: Container[str]) -> Iterator[str]:
    """The variables of an expression, each with the keys and places in it that are read."""
    tokens = _tokens(text)
    bound = {
        tokens[index + 2]
        for index, token in enumerate(tokens[:-2])
        if token in _MACROS and tokens[index - 1] == "." and tokens[index + 1] == "("
    }
    for index, token in enumerate(tokens):
        if token in variables and token not in bound and (index == 0 or tokens[index - 1] != "."):
            if tokens[index + 1 : index + 2] == ["("]:  # a function of the same name
                continue
            end = index + 1
            while length := _suffix(tokens[end : end + 3]):
                end += length
            yield "".join(tokens[index:end])


def _suffix(tokens: Sequence[str]) -> int:
    """Of how many tokens the key or place is that comes first in these; 0 where none does."""
    if tokens[:1] == ["."] and len(tokens) > 1 and tokens[2:] != ["("]:
        return 2
    if tokens[:1] == ["["] and tokens[2:] == ["]"] and tokens[1][0] in "'\"0123456789":
        return 3
    return 0


def _tokens(text: str) -> list[str]:
    return [match[0] for match in _TOKEN.finditer(text) if match.lastgroup != "space"]


def _closing(tokens: Sequence[str], opening: int) -> int:
    """Where the bracket that opens there is closed."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index] in _PAIRS.values()) - (tokens[index] in _PAIRS)
        if depth == 0:
            return index
    raise ValueError("the brackets of the expression do not match")


def _receiver(tokens: Sequence[str]) -> int:
    """Where the operand begins that ends with the last of these tokens: `a.b(c)[0]`."""
    index = len(tokens)
    while index > 0:
        index -= 1
        if tokens[index] in _PAIRS:
            depth = 1
            while depth:
                index -= 1
                depth += (tokens[index] in _PAIRS) - (tokens[index] in _PAIRS.values())
            before = tokens[index - 1] if index else ""
            if before in _PAIRS or (before.isidentifier() and before != "in"):
                continue
        if index > 1 and tokens[index - 1] == ".":
            index -= 1
            continue
        return index
    return 0


def _shown(value: Any, show_texts: bool) -> str:
    match value:
        case None:
            return "null or absent"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case timedelta():
            length = abs(value)
            exact = length if length < timedelta(seconds=10) else timedelta(seconds=int(length.total_seconds()))
            return f"{'-' if value < timedelta(0) else ''}{format_duration(exact)}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        case str() if show_texts and len(value) <= _LONGEST:
            return json.dumps(value, ensure_ascii=False)
        case str():
            return f"a text of {counted(len(value), 'character')}"
        case list() if show_texts and value and all(isinstance(one, str) for one in value):
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 2 * _LONGEST else f"a list of {len(value)}"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
    return "a mapping"
