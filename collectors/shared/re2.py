"""Regular expressions as Prometheus, Alertmanager and Loki understand them: RE2 syntax, anchored at both ends, in linear time.

Python's `re` differs in what a class contains, in what `$` matches, and can take for ever. The engine here is the one in
pydantic (Rust's regex, a relative of RE2), to which what is written differently there is translated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["Pattern", "anchored"]

Pattern = Callable[[str], bool]

_PERL = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}  # of ASCII alone, where Rust's have all of Unicode
_REPEAT = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
_CODE = re.compile(r"\\(?:x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]+\})|[pP](?:[A-Z]|\{\w+\}))")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_AS_THEY_ARE = frozenset("aftnrvAz")


@functools.lru_cache(maxsize=4096)
def anchored(pattern: str, *, dot_all: bool = False) -> Pattern:
    """Whether a whole text matches the pattern. `dot_all` lets a dot match a line feed (in PromQL it does, in Alertmanager not).

    Raises ValueError for what is no such pattern.
    """
    try:
        translated = _Translator(pattern).whole()
        flags = "(?s)" if dot_all else ""
        validator = SchemaValidator(core_schema.str_schema(pattern=f"{flags}^(?:{translated})$"))
    except (SchemaError, IndexError):
        raise ValueError(f"{pattern!r} is no regular expression of RE2") from None
    return validator.isinstance_python


class _Translator:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def whole(self) -> str:
        """The pattern in the other syntax. Raises IndexError when it ends too early."""
        parts = []
        while self._at < len(self._text):
            parts.append(self._outside())
        return "".join(parts)

    def _take(self, found: re.Match[str]) -> str:
        self._at = found.end()
        return found[0]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _outside(self) -> str:
        if self._text.startswith(r"\Q", self._at):
            literal, end, _ = self._text[self._at + 2 :].partition(r"\E")
            self._at += 2 + len(literal) + len(end)
            if not end:
                raise IndexError  # it would quote the end of the group around it
            return "".join(map(_literal, literal))
        if self._text[self._at] == "\\":
            return self._escape()
        if repeat := _REPEAT.match(self._text, self._at):
            return self._take(repeat)
        character = self._next()
        if character == "[":
            return self._class()
        return _literal(character) if character in "{}" else character

    def _escape(self) -> str:
        """What a backslash begins, outside of brackets or (as a nested class) within."""
        if code := _CODE.match(self._text, self._at):
            return self._take(code)
        if octal := _OCTAL.match(self._text, self._at):
            return _literal(chr(int(self._take(octal)[1:], 8)))
        self._next()
        character = self._next()
        if character in "bB":
            return rf"(?-u:\{character})"
        if character.lower() in _PERL:
            return f"[{'^' if character.isupper() else ''}{_PERL[character.lower()]}]"
        if character in _AS_THEY_ARE or character.isalnum():
            return f"\\{character}"  # what is unknown here is refused there
        return _literal(character)

    def _class(self) -> str:
        parts = ["["]
        if self._text.startswith("^", self._at):
            parts.append(self._next())
        first = True
        while first or self._text[self._at] != "]":
            first = False
            if posix := _POSIX.match(self._text, self._at):
                parts.append(self._take(posix))
                continue
            parts.append(self._member())
            if self._text[self._at] == "-" and self._text[self._at + 1] != "]":
                parts.append(self._next())
                parts.append(self._member())
        return "".join([*parts, self._next()])

    def _member(self) -> str:
        return self._escape() if self._text[self._at] == "\\" else _literal(self._next())


def _literal(character: str) -> str:
    """A character that means itself, wherever it stands."""
    return character if character.isalnum() else f"\\x{{{ord(character):x}}}"
