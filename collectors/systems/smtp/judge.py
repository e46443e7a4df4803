"""Whether a mail server takes the product's messages, on an encrypted connection to the right server."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.smtp.model import Session, Step
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["nobody_problems", "session_problems"]

_DENIED = (525, 530, 534, 535)


def session_problems(session: Session) -> Iterator[Result]:
    """Why mail would not be accepted, or that was not shown."""
    where, last = session.where, session.last
    if session.untrusted:
        yield failed(f"The certificate of {where} was not accepted: {session.untrusted}.", reason=Reason.INVALID)
        return
    if not last.accepted or last.step is not Step.RECIPIENT:
        yield _refused(session)
    control = session.anonymous if last.step is not Step.LOGIN else None
    if control is not None and control.accepted:
        yield unknown(
            f"{where} accepts the recipient without a login too, so it does not show that the login may send: the recipient "
            "has to be in a domain that is not the server's.",
            reason=Reason.CONTRADICTED,
        )
    elif control is not None and not 500 <= control.code < 600 and not control.unrelayed:
        yield unknown(
            f"{where} answered {control.code} to {control.step} without a login, which is no refusal for good, so it does not show "
            "that the login may send.",
            reason=Reason.REFUSED,
        )
    if session.clear_mechanisms:
        yield warning(f"{where} offers a login before the connection is encrypted.")


def nobody_problems(session: Session) -> Iterator[Result]:
    """Whether a server accepts the login of a user that it does not have, as servers for tests do that catch all messages."""
    if session.login_accepted:
        yield unknown(
            f"{session.where} accepts any login, so it does not show that this one may send: servers do so that deliver nothing.",
            reason=Reason.CONTRADICTED,
        )


def _refused(session: Session) -> Result:
    where, step, code = session.where, session.last.step, session.last.code
    answered = f"{where} answered {code} to {step}"
    if step is Step.HELLO and session.last.accepted:
        return failed(f"{where} does not offer STARTTLS, so nothing was sent to it.", reason=Reason.MISCONFIGURED)
    if step is Step.LOGIN and not code:
        names = ", ".join(sorted(session.mechanisms)[:5])
        if not names:
            return failed(f"{where} offers no login on the encrypted connection.", reason=Reason.MISCONFIGURED)
        return unknown(
            f"{where} offers a login by {names} (PLAIN and LOGIN are supported).", reason=Reason.MISCONFIGURED
        )
    if not 500 <= code < 600:
        return unknown(f"{answered}, so it was not observed whether it accepts mail.", reason=Reason.REFUSED)
    if session.last.blocked:
        return unknown(
            f"{answered}: it refuses the exporter's address or name (hello), so it was not observed whether it accepts mail of the "
            "product.",
            reason=Reason.DENIED,
        )
    match step:
        case Step.LOGIN if code in _DENIED:
            return failed(f"{answered}: the login was rejected.", reason=Reason.DENIED)
        case Step.SENDER | Step.RECIPIENT:
            who = "sender" if step is Step.SENDER else "recipient"
            return failed(f"{answered}: mail from the sender is not accepted ({who} rejected).", reason=Reason.DENIED)
        case Step.STARTTLS:
            return failed(f"{answered}: it does not encrypt the connection.", reason=Reason.MISCONFIGURED)
        case _:
            return unknown(f"{answered}, so it was not observed whether it accepts mail.", reason=Reason.REFUSED)
