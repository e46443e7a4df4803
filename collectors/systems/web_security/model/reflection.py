"""Where in a page a value comes back, and whether it can end what it is in."""

from __future__ import annotations

import re
from enum import Enum

from collectors.systems.web_security.model.pages import is_html
from exporter.reply import Reply

__all__ = ["TAIL", "Context", "reflected"]


class Context(Enum):
    """The place of a value that came back unchanged."""

    TEXT = "the text"
    ATTRIBUTE = "an attribute"
    SCRIPT = "a script"
    HARMLESS = "nowhere that matters"


TAIL = "7cp"
"""What is sent after the characters, so that what came of them is told from what the page has there itself."""

_SCRIPT = re.compile(r"<(/?)script\b", re.IGNORECASE)
_OPENING = re.compile(r"""=\s*(["']?)[^"'>]*$""")
_LONGEST = 80


def reflected(reply: Reply, word: str) -> Context | None:
    """The worst place in which `word<'">TAIL` can be a part of the page's code; None where the word is not in a page at all."""
    if not is_html(reply):
        return None
    text = reply.text
    found = []
    for match in re.finditer(re.escape(word), text):
        came, tail, _ = text[match.end() : match.end() + _LONGEST].partition(TAIL)
        found.append(_context(text[: match.start()], came if tail else came[:1].strip("\"'")))
    return next((context for context in found if context is not Context.HARMLESS), found[0] if found else None)


def _context(before: str, came: str) -> Context:
    """Where the text before a word ends, and whether what came of the characters gets out of there."""
    scripts = _SCRIPT.findall(before)
    if scripts and not scripts[-1]:
        quote = max("\"'`", key=before.rfind)
        inside = before.rfind(quote) > before.lower().rfind("<script")
        escapes = not inside or _has_raw(came, quote)
        return Context.SCRIPT if "<" in came or escapes else Context.HARMLESS
    if before.rfind("<") > before.rfind(">"):
        opening = _OPENING.search(before[before.rfind("<") :])
        quote = opening[1] if opening else ""
        return Context.ATTRIBUTE if not quote or quote in came else Context.HARMLESS
    return Context.TEXT if "<" in came else Context.HARMLESS


def _has_raw(came: str, quote: str) -> bool:
    """Whether a quote is not escaped as scripts do."""
    return re.search(rf"(?<!\\){re.escape(quote)}", came) is not None
