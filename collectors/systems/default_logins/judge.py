"""Whether default logins were let in when they were last tried. `title` is the server's, and `entrant` who came."""

from __future__ import annotations

from datetime import datetime

from collectors.systems.default_logins.model.tries import PAUSE, Outcome, Tried
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["forgotten", "judge_try", "not_yet"]


def judge_try(title: str, entrant: str, tried: Tried) -> Result | None:
    """The verdict on the last try; None where it was refused."""
    when = f"{tried.at:%Y-%m-%d %H:%M} UTC"
    again = f"It is tried again after {tried.at + PAUSE:%Y-%m-%d %H:%M} UTC"
    if tried.outcome is Outcome.ACCEPTED:
        return failed(f"{title} let in {entrant} ({when}). {again}.", reason=Reason.MISCONFIGURED)
    if tried.outcome is Outcome.REFUSED:
        return None
    why = tried.why or f"What became of the default login of {title} is not known ({when})."
    return unknown(f"{why} {again}, at most once a day.", reason=Reason.NOT_VERIFIED)


def forgotten(title: str) -> Result:
    """Nothing outlives the process."""
    return unknown(
        f"The default login of {title} was not tried: without state.file nobody remembers that after a restart, and each "
        "start would try again.",
        reason=Reason.NOT_CONFIGURED,
    )


def not_yet(title: str, at: datetime | None = None) -> Result:
    """A login that is to be tried at a moment, or else at the next run: it is recorded first."""
    if at is None:
        return unknown(f"The default login of {title} is tried at the next run.", reason=Reason.PENDING)
    return unknown(
        f"When the default login of {title} was last tried is not known, and wrong passwords may lock it: it is tried after "
        f"{at:%Y-%m-%d %H:%M} UTC.",
        reason=Reason.PENDING,
    )
