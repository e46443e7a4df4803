"""Talks with each address of a mail server, and judges what they answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from collectors.shared.addresses import resolve
from collectors.shared.certificate_expiry import expiry_problems
from collectors.shared.verdicts import verdict
from collectors.systems.smtp.client import Conversation, SmtpServer
from collectors.systems.smtp.judge import nobody_problems, session_problems
from collectors.systems.smtp.model import Session
from exporter.http import Unreachable
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason, Result, ok, unobserved, warning

__all__ = ["see_server"]

Blocking = Callable[[Callable[[], Session]], Awaitable[Session]]
"""Runs what blocks in a thread."""
_MOST_ADDRESSES = 8
#: Servers, and what watches them, ban addresses from which many logins are rejected.
_PAUSE = timedelta(days=1)


async def see_server(server: SmtpServer, blocking: Blocking, rejected: dict[str, datetime], now: datetime) -> Result:
    """Whether a server takes the product's mail, at each of its addresses. Raises ProbeError where none of them answers.

    `rejected` outlives a run: when a server last rejected a user that it does not have, who is tried once a day.
    """
    login = "the login, " if server.username else ""
    good = ok(f"{server.where} accepts {login}the sender and the recipient on an encrypted connection.")
    return verdict(await _problems(server, blocking, rejected, now), good)


async def _problems(
    server: SmtpServer, blocking: Blocking, rejected: dict[str, datetime], now: datetime
) -> list[Result]:
    sessions: dict[str, Session] = {}
    errors: dict[str, ProbeError] = {}
    for address in (await resolve(server.host, server.port))[:_MOST_ADDRESSES]:
        conversation = Conversation(server, address)
        try:
            sessions[address] = await _held(server, conversation, conversation.hold, blocking)
        except ProbeError as why:
            errors[address] = why
            continue
        if sessions[address].login_refused:
            break
    if not sessions:
        raise min(errors.values(), key=lambda error: isinstance(error, Unreachable))
    problems = [problem for session in sessions.values() for problem in session_problems(session)]
    for session in sessions.values():
        problems += expiry_problems(session.where, session.expiry, server.certificate_warn, now)
    for address, error in errors.items():
        if not isinstance(error, Unreachable):
            problems.append(unobserved(error))
        elif any((":" in other) is (":" in address) for other in sessions):  # there may be no IPv6 here
            problems.append(warning(str(error)))
    if now < rejected.get(server.where, datetime.min.replace(tzinfo=UTC)) + _PAUSE:
        return problems
    strangers = await _nobody(server, sessions, blocking)
    if strangers == []:
        rejected[server.where] = now
    return [*problems, *(strangers or ())]


async def _nobody(server: SmtpServer, sessions: Mapping[str, Session], blocking: Blocking) -> list[Result] | None:
    """Whether anybody may log in; None where that is not shown, or no login was accepted."""
    address = next((one for one, session in sessions.items() if session.login_accepted), None)
    if server.username is None or address is None:
        return None
    conversation = Conversation(server, address)
    try:
        return list(nobody_problems(await _held(server, conversation, conversation.knock, blocking)))
    except ProbeError:  # servers end connections on which a login was rejected
        return []


async def _held(
    server: SmtpServer, conversation: Conversation, hold: Callable[[], Session], blocking: Blocking
) -> Session:
    try:
        async with asyncio.timeout(server.timeout.total_seconds()):
            return await blocking(hold)
    except TimeoutError:
        raise ProbeError(
            f"The session with {server.where} did not end within {format_duration(server.timeout)}.", Reason.TIMEOUT
        ) from None
    finally:
        conversation.abort()
