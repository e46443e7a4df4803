"""Conditions on labels as Alertmanager reads them: `severity="critical"`, `team=~"db|cache"`, `"my label"!="x"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from collectors.shared.re2 import Pattern, anchored

__all__ = ["Matcher", "all_match", "parse_matchers"]

_SPACE = r"[\t\n\f\r ]*"
_CLASSIC = re.compile(rf"{_SPACE}([a-zA-Z_:][a-zA-Z0-9_:]*){_SPACE}(=~|=|!=|!~){_SPACE}(.*?){_SPACE}", re.DOTALL)
_PIECE = re.compile(r'(?:"(?:\\.|[^"\\])*(?:"|$)|\\[^,]|[^",])*', re.DOTALL)
_SPURIOUS = re.compile(r"\\(.)", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<punctuation>[{},])|(?P<operator>=~|!=|!~|=)|(?P<quoted>"(?:\\.|[^"\\])*")|(?P<bare>[^\s{}!=~,"'`\\]+)""",
    re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\\"])|x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))|(?P<text>[^\\\"\n]+)"
)
_PLAIN = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition. `operator` is `=`, `!=`, `=~` or `!~`; a label that is missing has the empty value."""

    name: str
    operator: str
    value: str
    pattern: Pattern | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, operator: str, value: str) -> Self:
        """Raises ValueError when the value should be a regular expression and is none."""
        return cls(name, operator, value, anchored(value) if operator in ("=~", "!~") else None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil the condition."""
        value = labels.get(self.name, "")
        same = self.pattern(value) if self.pattern else value == self.value
        return same is (self.operator in ("=", "=~"))

    def __str__(self) -> str:
        return f'{self.name}{self.operator}"{self.value}"'


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil all conditions."""
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matchers(text: str) -> list[Matcher]:
    """The conditions in one entry of `matchers`. Raises ValueError when it is none.

    Alertmanager has two notations since 0.27. What is valid in the older one means what it always meant; only the rest is
    read in the newer, where names may be quoted.
    """
    try:
        return _classic(text)
    except ValueError:
        return _utf8(text)


def _classic(text: str) -> list[Matcher]:
    inner = text.removeprefix("{").removesuffix("}")
    pieces, at = [], 0
    while at <= len(inner):
        piece = _PIECE.match(inner, at)
        assert piece
        pieces.append(piece[0])
        at = piece.end() + 1
    if not pieces[-1].strip():
        pieces.pop()
    matchers = []
    for piece_text in pieces:
        if not (found := _CLASSIC.fullmatch(piece_text)):
            raise ValueError(f"{text!r} is no matcher")
        matchers.append(Matcher.of(found[1], found[2], _unescaped(found[3])))
    return matchers


def _unescaped(raw: str) -> str:
    """A value of the older notation, quoted or not: backslashes that escape nothing are themselves."""
    if raw.startswith('"'):
        if not re.fullmatch(r'"(?:\\.|[^"\\])*"', raw, re.DOTALL):
            raise ValueError(f"{raw!r} has no closing quote where it should")
        raw = raw[1:-1]
    elif re.search(r'(?<!\\)(?:\\\\)*"', raw):
        raise ValueError(f"{raw!r} has a quote in the middle")
    return _SPURIOUS.sub(lambda found: {"n": "\n", '"': '"', "\\": "\\"}.get(found[1], found[0]), raw)


def _utf8(text: str) -> list[Matcher]:
    tokens = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if not token:
            raise ValueError(f"{text!r} is no matcher")
        at = token.end()
        if token.lastgroup != "space":
            tokens.append((token.lastgroup, token[0]))
    if tokens[:1] == [("punctuation", "{")]:
        if tokens[-1] != ("punctuation", "}"):
            raise ValueError(f"{text!r} has no closing brace")
        tokens = tokens[1:-1]
    matchers = []
    while tokens:
        kinds = [kind for kind, _ in tokens[:3]]
        if len(kinds) < 3 or kinds[1] != "operator" or {kinds[0], kinds[2]} - {"quoted", "bare"}:
            raise ValueError(f"{text!r} is no matcher")
        name, operator, value = (_unquoted(word) if kind == "quoted" else word for kind, word in tokens[:3])
        if not name:
            raise ValueError(f"{text!r} has a matcher without a name")
        matchers.append(Matcher.of(name, operator, value))
        if tokens[3:4] not in ([], [("punctuation", ",")]):
            raise ValueError(f"{text!r} has no comma where one is wanted")
        tokens = tokens[4:]
    return matchers


def _unquoted(word: str) -> str:
    """A string literal of Go."""
    content, at = bytearray(), 1
    while at < len(word) - 1:
        found = _ESCAPE.match(word, at, len(word) - 1)
        if not found:
            raise ValueError(f"{word} is no quoted text")
        at = found.end()
        if found["hex"] or found["octal"]:
            content.append(int(found["hex"], 16) if found["hex"] else int(found["octal"], 8))
        elif code := found["short"] or found["long"]:
            content += _character(int(code, 16)).encode()
        else:
            content += (_PLAIN[found["plain"]] if found["plain"] else found["text"]).encode()
    return content.decode()


def _character(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError(f"{code:#x} is no character")
    return chr(code)
