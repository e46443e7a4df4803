"""Conditions on an answer, in the Common Expression Language (CEL): compiled when the configuration is read."""

from __future__ import annotations

import codecs
import functools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Annotated, Any

import pydantic_core
from pydantic import AfterValidator

from exporter.options import format_duration
from exporter.reply import Reply

if TYPE_CHECKING:
    from cel_expr_python import cel

__all__ = ["Condition", "Expression", "Quantity", "names", "observed", "unmet", "value_of"]

_VARIABLES = ("status", "headers", "cookies", "json", "text", "latency")
_KNOWN = "status, headers, cookies, json, text or latency"
_ERROR = re.compile(r"<input>:\d+:(\d+): (.*?)(?: \(in container ''\))?$", re.MULTILINE)
_KEY = re.compile(r"NOT_FOUND: Key not found in map : (.*)")
_OVERLOAD = re.compile(r"No matching overloads found : (.*)")
#: Texts are consumed first: a variable's name may stand in one.
_PATHS = re.compile(
    r"""'[^']*'|"[^"]*"|(?<![.\w])("""
    r"""status|latency|(?:headers|cookies)\[(?:'[^']*'|"[^"]*")\]|json(?:\.[A-Za-z_]\w*+(?!\s*\()|\[(?:\d+|'[^']*'|"[^"]*")\])*)(?!\w)"""
)
_CHARSET = re.compile(r'(?i)charset="?([\w-]+)')
_CHARSETS = frozenset(
    {"iso-8859-1", "iso-8859-15", "windows-1252", "windows-1251", "utf-16", "shift_jis", "gb18030", "euc-kr"}
)
_LONGEST = 60
_INT64 = 2**63


@functools.cache
def _environment(*variables: str) -> cel.Env:
    from cel_expr_python import cel

    texts = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
    types = {
        "status": cel.Type.INT,
        "headers": texts,
        "cookies": texts,
        "json": cel.Type.DYN,
        "text": cel.Type.STRING,
        "latency": cel.Type.DURATION,
    }
    return cel.NewEnv(variables={name: types[name] for name in variables})


@functools.lru_cache(maxsize=1024)
def _compiled(text: str) -> cel.Expression:
    """Raises RuntimeError for what is no expression."""
    return _environment(*_VARIABLES).compile(text)


def _expression(kind: str, *types: str) -> AfterValidator:
    """Accepts an expression that has one of these types, and names some part of the answer."""

    def read(text: str) -> str:
        try:
            type_ = _compiled(text).return_type().name()
        except RuntimeError as error:
            where, what = found.groups() if (found := _ERROR.search(str(error))) else ("1", "it cannot be compiled")
            raise ValueError(f"expected {kind} in CEL: at character {where}, {what}") from None
        if type_ not in types:
            raise ValueError(f"expected {kind} in CEL; this one is of type {type_.lower()}")
        if not names(text):
            raise ValueError(f"expected {kind} that names {_KNOWN}; this one is the same for every answer")
        return text

    return AfterValidator(read)


Condition = Annotated[str, _expression("a condition", "BOOL", "DYN")]
"""What must be true of an answer, such as `json.status == "up"`."""

Expression = Annotated[str, _expression("a text", "STRING", "DYN")]
"""A text to take out of an answer, such as `json.access_token`."""

Quantity = Annotated[str, _expression("a number", "INT", "UINT", "DOUBLE", "DYN")]
"""A number to take out of an answer, such as `json.usage.total_tokens`."""


@functools.lru_cache(maxsize=1024)
def names(text: str) -> frozenset[str]:
    """Which parts of the answer an expression is about: without them it does not compile."""
    found = set()
    for name in _VARIABLES:
        try:
            _environment(*(other for other in _VARIABLES if other != name)).compile(text)
        except RuntimeError:
            found.add(name)
    return frozenset(found)


def observed(reply: Reply, seconds: float) -> Mapping[str, Any]:
    """The values of the variables for an answer; `json` is left out where the body is none."""
    facts = {
        "status": reply.status,
        "headers": dict(reply.headers.items()),
        "cookies": dict(_cookies(reply)),
        "text": _text(reply),
        "latency": timedelta(seconds=seconds),
    }
    body = reply.body.removeprefix(codecs.BOM_UTF8)  # browsers ignore it
    try:
        pydantic_core.from_json(body, allow_inf_nan=False)  # refuses lone surrogates, which CEL's texts cannot have
        facts["json"] = json.loads(body, parse_int=_number)
    except (ValueError, RecursionError):
        pass
    return facts


def _text(reply: Reply) -> str:
    """The body in the character set that it names, where that is one of those that pages have; else as UTF-8."""
    found = _CHARSET.search(reply.headers.get("content-type", ""))
    if found is None or found[1].lower() not in _CHARSETS:
        return reply.text
    return reply.body.decode(found[1], "replace")


def _number(digits: str) -> int | float:
    """CEL has integers of 64 bits."""
    number = int(digits)
    return number if -_INT64 <= number < _INT64 else float(digits)


def _cookies(reply: Reply) -> Iterator[tuple[str, str]]:
    for header in reply.headers.get_list("set-cookie"):
        try:
            cookie = SimpleCookie(header)
        except CookieError:
            continue
        yield from ((name, morsel.value) for name, morsel in cookie.items())


def value_of(expression: str, facts: Mapping[str, Any]) -> Any:
    """The value that an expression takes out of an answer; None where the answer has none."""
    value, error = _evaluated(expression, facts)
    return None if error else value


def _evaluated(expression: str, facts: Mapping[str, Any]) -> tuple[Any, str]:
    """The value, or what is wrong in CEL's words."""
    try:
        value = _compiled(expression).eval(data=facts)
    except RuntimeError as error:  # too many iterations
        return None, str(error)
    return (None, str(value.value())) if value.type().name() == "ERROR" else (value.plain_value(), "")


def unmet(condition: str, reply: Reply, facts: Mapping[str, Any], *, show_texts: bool = True) -> str | None:
    """What was observed instead, as a clause; None where the condition is true.

    Without `show_texts` no text of the answer is in it: answers to a login have tokens.
    """
    value, error = _evaluated(condition, facts)
    if value is True:
        return None
    if "json" not in facts and "json" in names(condition):
        return f"the body is {reply.kind}"
    if key := _KEY.search(error):
        missing = key[1].strip('"')
        return f"there is no {missing} in it" if missing in condition else "there is no such key in it"
    if overload := _OVERLOAD.search(error):
        return f"types do not match in {overload[1]}"
    if error:
        return "it cannot be evaluated on this answer"
    seen = [f"{path} is {_shown(value_of(path, facts), show_texts)}" for path in _paths(condition)]
    return ", ".join(seen) or "it is false"


def _paths(condition: str) -> Iterator[str]:
    """The parts of the answer that a condition reads, as they are written in it."""
    for path in dict.fromkeys(match[1] for match in _PATHS.finditer(condition) if match[1]):
        try:
            _compiled(path)
        except RuntimeError:
            continue
        yield path


def _shown(value: Any, show_texts: bool) -> str:
    match value:
        case None:
            return "null or absent"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case timedelta():
            return format_duration(value)
        case str() if show_texts and len(value) <= _LONGEST:
            return json.dumps(value, ensure_ascii=False)
        case str():
            return f"a text of {len(value)} characters"
        case list():
            return f"a list of {len(value)}"
    return "a mapping"
