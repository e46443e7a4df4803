"""Which items a line might mean that binds to none: proposals for people, never bound by themselves."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable

from exporter.catalogue import Entry

__all__ = ["Proposals"]

_WORD = re.compile(r"\w+")
_ENDINGS = ("ing", "ed", "es", "s")
_COMMON = frozenset(
    {
        "a", "all", "an", "and", "are", "as", "at", "be", "been", "by", "can", "do", "does",
        "for", "from", "has", "have", "if", "in", "is", "it", "its", "of", "on", "or", "our",
        "that", "the", "their", "there", "they", "this", "to", "was", "we", "were", "will", "with", "your",
        "you",
    }
)  # fmt: skip
_LEAST = 0.28
_CANDIDATES = 12  # compared letter by letter


class Proposals:
    """Finds among named lines those that say nearly the same as a text."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self._words = [_stems(f"{entry.line} {entry.heading}") for entry in self._entries]
        self._having: dict[str, list[int]] = {}
        for index, words in enumerate(self._words):
            for word in words:
                self._having.setdefault(word, []).append(index)
        self._weights = {word: math.log(1 + len(self._entries) / len(found)) for word, found in self._having.items()}
        self._unknown = math.log(1 + len(self._entries))

    def of(self, title: str, heading: str = "", most: int = 3) -> list[Entry]:
        """The nearest named lines, the best first; none when nothing is near. Takes about a millisecond."""
        own = _stems(title)
        words = own | _stems(heading)
        shared: Counter[int] = Counter()
        for word in words:
            for index in self._having.get(word, ()):
                shared[index] += self._weights[word] if word in own else self._weights[word] / 3  # type: ignore[assignment]
        scored = []
        for index, _ in shared.most_common(_CANDIDATES):
            if (score := self._score(title, own, heading, index)) >= _LEAST:
                scored.append((-score, index))
        return [self._entries[index] for _, index in sorted(scored)[:most]]

    def _score(self, title: str, own: frozenset[str], heading: str, index: int) -> float:
        """From 0 to 1: the words that both have, weighed by how rare they are, and how similarly they are spelled."""
        entry = self._entries[index]
        line = _stems(entry.line)
        both = self._weight(own & line) + self._weight((own & self._words[index]) - line) / 2
        either = self._weight(own | line) or 1.0
        spelled = difflib.SequenceMatcher(None, title.casefold(), entry.line.casefold()).ratio()
        under = 0.1 if heading and _stems(heading) & _stems(entry.heading) else 0.0
        return min(1.0, 0.6 * min(1.0, both / either) + 0.4 * spelled + under)

    def _weight(self, words: Iterable[str]) -> float:
        return sum(self._weights.get(word, self._unknown) for word in words)


def _stems(text: str) -> frozenset[str]:
    """The words of a text that mean something, without their commonest endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _COMMON)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
