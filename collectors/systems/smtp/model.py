"""What a session with a mail server showed: its answers step by step, and what it offered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Answer", "Session", "Step"]


class Step(StrEnum):
    """What the server was asked, as sentences name it."""

    GREETING = "the connection"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    LOGIN = "AUTH"
    SENDER = "MAIL FROM"
    RECIPIENT = "RCPT TO"


@dataclass(frozen=True, slots=True)
class Answer:
    """The code of the last answer, and to what. `blocked`: our address or name was refused, not what we asked.

    `unrelayed`: the server says that it relays nothing to this recipient.
    """

    step: Step
    code: int
    blocked: bool = False
    unrelayed: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.code < 300


@dataclass(frozen=True, slots=True)
class Session:
    """How far a session came. `last` is the answer at which it ended: to the recipient, or the first refusal.

    `mechanisms` are those of AUTH that were offered once encrypted, `clear_mechanisms` those before; `untrusted` is why the
    certificate was not accepted; `anonymous` is the answer to the recipient before the login, None where that was not tried.
    `encrypted` is whether it came so far that logins are accepted, and `expiry` that of the certificate.
    """

    where: str
    last: Answer
    clear_mechanisms: frozenset[str] = frozenset()
    mechanisms: frozenset[str] = frozenset()
    untrusted: str | None = None
    anonymous: Answer | None = None
    encrypted: bool = False
    expiry: datetime | None = None

    @property
    def login_refused(self) -> bool:
        """Whether the server did not accept the login: to try again may lock the account."""
        return self.last.step is Step.LOGIN and not self.last.accepted

    @property
    def login_accepted(self) -> bool:
        """Whether it did."""
        return self.last.step in (Step.SENDER, Step.RECIPIENT) or (self.last.step is Step.LOGIN and self.last.accepted)
