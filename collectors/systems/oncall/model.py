"""Who is on call at which level. People are opaque names here: they are counted and never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from collectors.shared.pointers import value_at
from exporter.options import Duration, Options
from exporter.verdict import ProbeError, Reason

__all__ = ["OnCallLimits", "Roster", "Shift", "people_at"]


class OnCallLimits(Options):
    """What a roster has to have."""

    min_levels: int = Field(2, ge=1, description="Minimum number of levels of an escalation path.")
    min_people: int = Field(2, ge=1, description="Minimum number of different people on call at all levels together.")
    look_ahead: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        le=timedelta(days=60),
        description="How far ahead the shifts of PagerDuty have to be staffed; a gap, or too few people, later than now is a "
        "warning.",
    )


#: What stands where nobody does.
_NOBODY = frozenset(
    {
        *("", "-", "–", "—", "?", "[]", "{}", "n/a", "nil", "nobody", "none", "null", "tba", "tbd", "todo"),
        *("no one", "no-one", "noone", "no one on call", "nobody on call", "open", "unassigned", "unfilled", "vacant"),
        *("to be announced", "to be decided", "to be defined", "to be determined", "unknown"),
        *("empty", "false", "nan", "placeholder", "undefined"),
    }
)
#: How texts begin that say so at more length, such as `TBD (hiring)`.
_NOBODY_YET = re.compile(
    r"(nobody|no[- ]one|none|n/a|tba|tbd|todo|unassigned|undefined|vacant|not (yet )?(assigned|filled|set|staffed))\b"
)
#: What texts are put in that stand for something else, such as `<none>`.
_BRACKETS = "<>()[]{}"


@dataclass(frozen=True, slots=True)
class Shift:
    """One person at one level (from 1). None as start or end is for ever; `reachable` is None where that is not shown."""

    level: int
    person: str
    start: datetime | None = None
    end: datetime | None = None
    reachable: bool | None = None

    def covers(self, moment: datetime) -> bool:
        """Whether the shift lasts at this moment."""
        return (self.start is None or self.start <= moment) and (self.end is None or self.end > moment)


@dataclass(frozen=True, slots=True)
class Roster:
    """One path of escalation and its shifts from `since` to `until`; the two are equal where only now was asked.

    `services` are the states of those that escalate along it, None where that is not shown.
    """

    name: str
    levels: int
    shifts: tuple[Shift, ...]
    since: datetime
    until: datetime
    services: tuple[str, ...] | None = None


def people_at(document: Any, pointer: str, where: str) -> set[str]:
    """Who stands at a JSON pointer of a document; empty texts, objects and lists are nobody.

    Raises ProbeError when there is no such place, or there is something that is nobody's name.
    """
    try:
        found = value_at(document, pointer)
    except LookupError:
        raise ProbeError(
            f"{where} has nothing at {pointer}, so who is on call was not read.", Reason.MALFORMED
        ) from None
    if found is None:
        return set()
    people: set[str] = set()
    for person in found if isinstance(found, list) else [found]:
        if not isinstance(person, str | dict):
            raise ProbeError(f"{where} has something at {pointer} that names no person.", Reason.MALFORMED)
        if _is_somebody(person):
            people.add(str(person).strip().casefold())
    return people


def _is_somebody(named: Any) -> bool:
    """Whether anything in it, however deep, may be a name or a number: one letter or sign alone is none."""
    if isinstance(named, dict | list):
        return any(map(_is_somebody, named.values() if isinstance(named, dict) else named))
    text = str("" if named is None else named).strip().strip(_BRACKETS).strip().casefold()
    says_nobody = text in _NOBODY or _NOBODY_YET.match(text) is not None
    number = isinstance(named, int) and not isinstance(named, bool)
    return not says_nobody and (number or len(re.findall(r"\w", text)) > 1)
