"""What all kinds of things have in common: their conditions, and what was observed of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Protocol, TypeVar

from pydantic import Field

from collectors.shared.cel import Facts, Language
from exporter.collector import Target
from exporter.options import Duration, Options
from exporter.verdict import ProbeError, Reason

__all__ = ["Demand", "Observed", "OwnThreads", "Probe", "Refuted", "Seen", "named_once"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Demand:
    """What must be true of a variable unless a condition names it; `otherwise` is the end of a sentence where it is not."""

    condition: str
    reason: Reason
    otherwise: str


class Probe(Options):
    """Something to look at, and what must be true of it."""

    language: ClassVar[Language]
    demands: ClassVar[Mapping[str, Demand]] = {}
    client: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()

    conditions: tuple[str, ...] = ()
    warn_unless: tuple[str, ...] = ()
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="How long each look may take.")

    @property
    def parts(self) -> tuple[Target, ...]:
        """What is checked, each by itself and under its own name; none where there is only one thing without a name."""
        return ()

    @property
    def longest(self) -> timedelta:
        """How long one part may take in all."""
        return self.timeout

    @property
    def subject(self) -> str:
        """What must be true of what is checked, as a clause for the line's page."""
        return "what is observed is as wanted"

    @property
    def demanded(self) -> Mapping[str, Demand]:
        """What must be true by itself, by variable: of those that no condition names."""
        named = self.named
        return {name: demand for name, demand in self.demands.items() if name not in named}

    @property
    def named(self) -> frozenset[str]:
        """The variables that its conditions name."""
        return frozenset(name for text in (*self.conditions, *self.warn_unless) for name in self.language.names(text))


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one thing. `absent` says why a variable has no value, as a clause; `unseen` what kept it from being seen.

    `notes` say more of a variable, where what is demanded of it is not true.
    """

    what: str
    facts: Facts
    absent: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, ProbeError] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)

    def shows(self, variables: Iterable[str]) -> bool:
        """Whether a condition that names these variables is about this."""
        return all(name in self.facts or name in self.absent or name in self.unseen for name in variables)


class Refuted(ProbeError):
    """What was seen proves the line false, whatever its conditions are."""


Seen = Observed | ProbeError


class OwnThreads(Protocol):
    """Runs blocking calls in threads that belong to one target of one line, so that no other waits for them."""

    async def __call__(self, call: Callable[[], T]) -> T:
        """What the call returns; raises what it raises."""


def named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, none of which may be there twice. Raises ValueError for one that is."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"found {twice} twice, expected it once")
    return names
