"""Where in a page a value comes back, and whether it can end what it is in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from collectors.systems.web_security.model.pages import is_html
from exporter.reply import Reply

__all__ = ["CHARACTERS", "TAIL", "Context", "begins_link", "decodes", "encodings", "reflected"]


class Context(Enum):
    """The place of a value that came back unchanged."""

    TEXT = "the text"
    ATTRIBUTE = "an attribute"
    SCRIPT = "a script"
    HARMLESS = "nowhere that matters"


CHARACTERS = "<'\">`\\'\\\" "
"""What is sent after a word: what begins tags, and what ends attributes and strings, the quotes also after a backslash."""

TAIL = "7cp"
"""What is sent after the characters, so that what came of them is told from what the page has there itself."""

_LONGEST = 200
_MARKUP = re.compile(r"<(?:!--|(/?)([a-zA-Z][^\s/>]*))")
_REST_OF_TAG = re.compile(r"""(?:=\s*"[^"]*"|=\s*'[^']*'|=(?!\s*["'])|[^>=])*+>""")
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)\s*=\s*(["']?)([^"']*)$""")
_TEXT_ONLY = ("script", "style", "title", "textarea")
_LINKS = ("href", "src", "action", "formaction", "data", "xlink:href")
_WHOLE_STRINGS = re.compile(
    r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|//[^\n]*|/\*.*?\*/""", re.DOTALL
)


def encodings(sent: str) -> str:
    """The word with `<` after it as an entity, percent-encoded, and of full width: pages that decode too late make `<` of them."""
    return "".join(f"{sent}{less}{TAIL}" for less in ("&lt;", "%3C", "\N{FULLWIDTH LESS-THAN SIGN}"))


class _Place(NamedTuple):
    """The element whose text a value is in, or `<` for a tag and `<!--` for a comment, and what is before it there."""

    name: str
    before: str


def reflected(reply: Reply, word: str) -> Context | None:
    """The worst place in which `word`, CHARACTERS and TAIL can be a part of the page's code; None where no page has the word."""
    found = []
    for place, after in _places(reply, word):
        came, tail, _ = after[:_LONGEST].partition(TAIL)
        found.append(_context(place, came if tail else came[:1].strip("\"'")))
    return next((context for context in found if context is not Context.HARMLESS), found[0] if found else None)


def begins_link(reply: Reply, value: str) -> bool:
    """Whether a page has a link, or another address that browsers follow, that begins with the value."""
    for place, _ in _places(reply, value):
        attribute = _ATTRIBUTE.search(place.before) if place.name == "<" else None
        if attribute and attribute[1].lower() in _LINKS and not attribute[3].strip():
            return True
    return False


def decodes(reply: Reply, word: str) -> bool:
    """Whether one of `encodings` came back as `<` where that begins a tag."""
    return any(after.startswith("<") and place.name not in ("<", "<!--") for place, after in _places(reply, word))


def _places(reply: Reply, word: str) -> Iterator[tuple[_Place, str]]:
    """Every place of a word in a page, and the text that comes after it."""
    if is_html(reply) and not str(reply.headers.get("content-disposition", "")).strip().lower().startswith(
        "attachment"
    ):
        text = reply.text
        for match in re.finditer(re.escape(word), text):
            yield _place(text[: match.start()]), text[match.end() :]


def _place(before: str) -> _Place:
    """Where a text ends, as a browser reads it: values of attributes may have `>`, and `<` without a letter is text."""
    at = 0
    while start := _MARKUP.search(before, at):
        if start[2] is None:
            if (end := before.find("-->", start.end())) < 0:
                return _Place("<!--", "")
            at = end
            continue
        if (rest := _REST_OF_TAG.match(before, start.end())) is None:
            return _Place("<", before[start.start() :])
        at, name = rest.end(), start[2].lower()
        if name in _TEXT_ONLY and not start[1]:
            close = re.compile(rf"</{name}\b", re.IGNORECASE).search(before, at)
            if close is None:
                return _Place(name, before[at:])
            at = close.start()
    return _Place("", "")


def _context(place: _Place, came: str) -> Context:
    """Whether what came of the characters gets out of its place."""
    match place.name:
        case "script":
            return Context.SCRIPT if "<" in came or _leaves_string(place.before, came) else Context.HARMLESS
        case "<":
            return _in_tag(place.before, came)
        case "<!--":
            return Context.TEXT if ">" in came else Context.HARMLESS
        case _:
            return Context.TEXT if "<" in came else Context.HARMLESS


def _in_tag(tag: str, came: str) -> Context:
    attribute = _ATTRIBUTE.search(tag)
    quote = attribute[2] if attribute else ""
    if attribute is not None and not quote:
        return Context.ATTRIBUTE if came else Context.HARMLESS  # a space is enough
    if attribute is None or quote in came:
        return Context.ATTRIBUTE
    name, inside = attribute[1].lower(), html.unescape(attribute[3])
    # Browsers resolve &quot; before they read an attribute as code.
    if (name.startswith("on") or inside.lower().startswith("javascript:")) and _leaves_string(
        inside, html.unescape(came)
    ):
        return Context.SCRIPT
    return Context.TEXT if name == "srcdoc" and "<" in html.unescape(came) else Context.HARMLESS


def _leaves_string(code: str, came: str) -> bool:
    """Whether characters get out of the string that the code before them has begun; outside of strings they are code."""
    begun = re.search("[\"'`]", _WHOLE_STRINGS.sub("", code))
    return begun is None or re.search(rf"(?:^|[^\\])(?:\\\\)*{begun[0]}", came) is not None
