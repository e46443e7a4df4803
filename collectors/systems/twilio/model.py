"""What Twilio's answers mean: accounts, numbers and their capabilities, outcomes of messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from exporter.options import Options

__all__ = ["Account", "Balance", "Number", "Outcomes", "PhoneNumber", "Refusal", "TwilioLimits", "outcomes_of"]

PhoneNumber = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""A number as E.164 writes it: +491234567890."""

_DELIVERED = ("delivered", "read")
_LOST = ("failed", "undelivered")


class TwilioLimits(Options):
    """What is expected of the account."""

    min_balance: float | None = Field(
        None, description="Balance that a prepaid account must have, in its currency. Not checked unless given."
    )
    max_undelivered_ratio: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of the messages since yesterday that may have failed or remained undelivered.",
    )
    min_messages: int = Field(
        5, ge=1, description="How many messages since yesterday must have an outcome for shares to be judged."
    )
    min_tracked_ratio: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of the messages with an outcome whose receipts the product must have recorded.",
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something could not be read: the status and Twilio's own code, 0 where there is none."""

    where: str
    status: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """Its status (active, suspended, closed) and type (Trial, Full)."""

    status: str
    type: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left, and in which currency."""

    amount: float
    currency: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the account: what it is capable of, and what answers its calls: a URL, or an application or trunk (`handled`)."""

    number: str
    sms: bool
    voice: bool
    voice_url: str = ""
    handled: bool = False


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many outgoing messages were delivered, were lost, or have no outcome yet; the same for each number `by_number`."""

    delivered: int = 0
    lost: int = 0
    open: int = 0
    by_number: Mapping[str, Outcomes] = field(default_factory=dict)

    @property
    def final(self) -> int:
        """How many have an outcome."""
        return self.delivered + self.lost


def outcomes_of(messages: Iterable[tuple[str | None, str]]) -> Outcomes:
    """The outcomes of outgoing messages, of each the number (None where it is not known) and the status.

    `sent` is no outcome: the carrier took the message, and nobody knows of the phone.
    """
    by_number: dict[str | None, list[str]] = {}
    for number, status in messages:
        by_number.setdefault(number, []).append(status)
    every = _counted([status for statuses in by_number.values() for status in statuses])
    return replace(every, by_number={number: _counted(found) for number, found in by_number.items() if number})


def _counted(statuses: Sequence[str]) -> Outcomes:
    delivered = sum(status in _DELIVERED for status in statuses)
    lost = sum(status in _LOST for status in statuses)
    return Outcomes(delivered, lost, len(statuses) - delivered - lost)
