"""A mail server that takes messages for submission, by aiosmtpd: it answers each step as a test says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.process import LOOPBACK, free_port

USER, PASSWORD = "shop", "canary-of-smtp-5b7e"


@dataclass
class Submission:
    """What it answers: to a right and a wrong login, sender and recipient. `asked` is every command in its order."""

    port: int = field(default_factory=free_port)
    login: str = ""
    wrong_login: str = "535 5.7.8 Error: authentication failed"
    sender: str = "250 2.1.0 Ok"
    recipient: str = "250 2.1.5 Ok"
    anonymous: str = "554 5.7.1 Relay access denied"
    any_login: bool = False
    asked: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        """Accept the one user, unless the password store is to be broken."""
        assert isinstance(data, LoginPassword)
        self.users.append(data.login.decode())
        right = self.any_login or (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        if right and not self.login:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=self.login if right else self.wrong_login)

    async def handle_MAIL(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        """Postfix accepts any sender without a login."""
        self.asked.append("MAIL")
        envelope.mail_from = address
        return self.sender

    async def handle_RCPT(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        """Only the recipient shows whether the login may send."""
        self.asked.append("RCPT")
        answer = self.recipient if session.authenticated else self.anonymous
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_RSET(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:
        """Take the recipient back."""
        self.asked.append("RSET")
        return "250 2.0.0 Ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:
        """Nobody may get here."""
        self.asked.append("DATA")
        return "250 2.0.0 Ok: queued"


@contextmanager
def submission(
    files: tuple[Path, Path] | None, *, tls: bool = False, host: str = LOOPBACK, port: int | None = None, **options: Any
) -> Iterator[Submission]:
    """A server with a certificate, which encrypts on request, or from the start with `tls`; `options` are aiosmtpd's."""
    state, context = Submission() if port is None else Submission(port), None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    settings: dict[str, Any] = {"tls_context": None if tls else context, "ssl_context": context if tls else None}
    controller = Controller(
        state, hostname=host, port=state.port, authenticator=state.authenticate, **settings, **options
    )
    controller.start()
    try:
        yield state
    finally:
        controller.stop()
