"""Where in a page a value comes back, and whether it can end what it is in."""

from __future__ import annotations

import re
from enum import Enum

from collectors.systems.web_security.model.pages import is_html
from exporter.reply import Reply

__all__ = ["Context", "reflected"]


class Context(Enum):
    """The place of a value that came back unchanged."""

    TEXT = "the text"
    ATTRIBUTE = "an attribute"
    SCRIPT = "a script"
    HARMLESS = "nowhere that matters"


_SCRIPT = re.compile(r"<(/?)script\b", re.IGNORECASE)
_OPENING = re.compile(r"""=\s*(["']?)[^"'>]*$""")


def reflected(reply: Reply, word: str) -> Context | None:
    """The worst place in which `word<'">` can be a part of the page's code; None where the word is not in a page at all."""
    if not is_html(reply):
        return None
    text = reply.text
    found = [
        _context(text[: match.start()], text[match.end() : match.end() + 4])
        for match in re.finditer(re.escape(word), text)
    ]
    return next((context for context in found if context is not Context.HARMLESS), found[0] if found else None)


def _context(before: str, after: str) -> Context:
    """`after` is what came of the characters that follow the word."""
    scripts = _SCRIPT.findall(before)
    if scripts and not scripts[-1]:
        return Context.SCRIPT if after[:1] == "<" or "'" in after[:2] or '"' in after[:3] else Context.HARMLESS
    if before.rfind("<") > before.rfind(">"):
        opening = _OPENING.search(before[before.rfind("<") :])
        quote = opening[1] if opening else ""
        escaped_lt = "<" not in after[:1]
        rest = after if not escaped_lt else ""
        return Context.ATTRIBUTE if not quote or quote in rest else Context.HARMLESS
    return Context.TEXT if after[:1] == "<" else Context.HARMLESS
