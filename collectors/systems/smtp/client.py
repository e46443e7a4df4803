"""Talks with a mail server until it has accepted a recipient, and never sends anything. What it writes is never shown."""

from __future__ import annotations

import base64
import re
import secrets
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from collectors.shared.addresses import address_and_port
from collectors.systems.smtp.model import Answer, Session, Step
from exporter.http import Trust, Unanswered, Unreachable
from exporter.options import Duration, Options, Secret
from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

__all__ = ["Conversation", "Security", "SmtpServer"]

_BLOCKED = re.compile(
    rb"client host|blocked using|block ?list|black ?list|banned|(?:ip|network) address|reputation|helo (?:command|name)",
    re.IGNORECASE,
)
"""How servers say that they refuse the address of their client, or its name: by the same codes as a sender or recipient."""
_UNRELAYED = re.compile(rb"relay(?:ing)? (?:access )?(?:denied|not (?:allowed|permitted))", re.IGNORECASE)
"""How servers say that they relay nothing without a login: Postfix by a code for the moment (454), unless it is set otherwise."""
_NOBODY = "checklist-exporter-nobody"
"""A user that no server has: wrong passwords of one that it has may lock that out."""
_ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}$"


class Security(StrEnum):
    """How the connection is encrypted: on request, or from its start."""

    STARTTLS = "starttls"
    TLS = "tls"


class SmtpServer(Options):
    """The server through which the product sends e-mail, as the product uses it."""

    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$", description="Its name or address.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Security = Field(
        Security.STARTTLS,
        description="`starttls`: encrypted on request (ports 587 and 25); `tls`: from the start (465).",
    )
    username: str | None = Field(None, min_length=1, description="User of the login, where the server wants one.")
    password: Secret | None = Field(None, description="Password of the login.")
    sender: str = Field(pattern=_ADDRESS, description="Address in whose name the product sends.")
    recipient: str = Field(
        pattern=_ADDRESS,
        description="A mailbox of your own that the server has to relay to: in a domain that is not the server's. Nothing is "
        "sent to it.",
    )
    hello: str = Field(
        "checklist-exporter.invalid", pattern=r"^[A-Za-z0-9.-]{1,253}$", description="Name given in EHLO."
    )
    tls: Trust = Field(Trust(), description="TLS: trusted authorities and client certificate.")
    certificate_warn: Duration = Field(
        timedelta(days=14), description="Time before the certificate's expiry from which to warn."
    )
    timeout: Duration = Field(timedelta(seconds=20), gt=timedelta(0), description="Timeout of the entire session.")

    @field_validator("security", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return Security(value) if value in list(Security) else value

    @model_validator(mode="after")
    def _whole(self) -> SmtpServer:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password, or neither")
        return self

    @property
    def where(self) -> str:
        """Host and port, as sentences name them."""
        return address_and_port(self.host, self.port)


class _Client(smtplib.SMTP):
    """smtplib's client, which verifies a certificate against the name that is to be expected in it."""

    def __init__(self, server: SmtpServer, context: ssl.SSLContext, timeout: float) -> None:
        self._server = server
        self._context = context
        super().__init__(local_hostname=server.hello, timeout=timeout)
        self._host = server.tls.server_name or server.host  # what starttls() verifies
        self.ended = False

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        if self.ended:
            plain.close()
            raise TimeoutError
        self.sock = plain  # so that abort() finds it during the handshake
        if self._server.security is Security.TLS:
            return self._context.wrap_socket(plain, server_hostname=self._host)
        return plain


class Conversation:
    """One session with one address of the server. `hold` and `knock` block; `abort` ends it from another thread."""

    def __init__(self, server: SmtpServer, address: str | None = None) -> None:
        self._server = server
        self._address = address or server.host
        self._where = server.where if address in (None, server.host) else f"{server.where} at {address}"
        self._smtp: _Client | None = None
        self._step = Step.GREETING

    def abort(self) -> None:
        """End the session at once, whatever the server does: `hold` then raises."""
        if self._smtp is None:
            return
        self._smtp.ended = True
        if (sock := self._smtp.sock) is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of SSLSocket, which changes what hold() uses

    def hold(self) -> Session:
        """Greet, encrypt, log in, name sender and recipient, and take them back; nothing is sent.

        Raises ProbeError when the server cannot be reached, or does not answer as a mail server does.
        """
        return self._held(self._talk)

    def knock(self) -> Session:
        """Greet, encrypt and log in as nobody, which the server has to reject. Raises ProbeError as `hold` does."""
        return self._held(self._try_nobody)

    def _held(self, talk: Callable[[_Client, ssl.SSLContext], Session]) -> Session:
        context = self._server.tls.context
        try:
            return talk(self._client(context), context)
        except ssl.SSLCertVerificationError as error:
            why = (error.verify_message or "it cannot be verified").rstrip(".")
            return Session(self._where, Answer(Step.STARTTLS, 220), untrusted=why)
        except ssl.SSLError as error:
            raise ProbeError(
                f"The TLS handshake with {self._where} failed ({error.reason or 'no reason given'}).", Reason.REFUSED
            ) from None
        except TimeoutError:
            raise Unanswered(f"{self._where} did not answer {self._step} in time.", Reason.TIMEOUT) from None
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, TimeoutError):
                raise Unanswered(f"{self._where} did not answer {self._step} in time.", Reason.TIMEOUT) from None
            raise self._broken_off() from None
        except (smtplib.SMTPException, ValueError):
            raise Unanswered(
                f"{self._where} did not answer {self._step} as a mail server does.", Reason.MALFORMED
            ) from None
        except OSError as error:
            if self._smtp is None or self._smtp.sock is None:
                raise Unreachable(f"{self._where} cannot be reached: {os_reason(error)}.", Reason.UNREACHABLE) from None
            raise self._broken_off() from None
        finally:
            if self._smtp is not None:
                self._smtp.close()

    def _client(self, context: ssl.SSLContext) -> _Client:
        """A client that is not connected yet, in place of the one before it. Raises TimeoutError once that was aborted."""
        if self._smtp is not None:
            self._smtp.close()
            if self._smtp.ended:
                raise TimeoutError
        self._smtp = _Client(self._server, context, self._server.timeout.total_seconds())
        return self._smtp

    def _broken_off(self) -> ProbeError:
        return Unanswered(f"{self._where} ended the connection instead of answering {self._step}.", Reason.REFUSED)

    def _talk(self, smtp: _Client, context: ssl.SSLContext) -> Session:
        server = self._server
        session = self._encrypted(smtp, context)
        last = session.last
        if last.step is not Step.HELLO or not last.accepted or not session.encrypted:
            return session
        anonymous = None
        if server.username is not None:
            anonymous = self._envelope(smtp)
            if not _goes_on(smtp):
                smtp = self._client(context)
                session = self._encrypted(smtp, context)
                if not session.encrypted or not session.last.accepted:
                    return session
            last = self._login(smtp, session.mechanisms, server.username, server.password)
        last = self._envelope(smtp) if last.accepted else last
        with suppress(smtplib.SMTPException, OSError):
            smtp.rset()
            smtp.quit()
        return replace(session, last=last, anonymous=anonymous)

    def _try_nobody(self, smtp: _Client, context: ssl.SSLContext) -> Session:
        session = self._encrypted(smtp, context)
        if not session.encrypted or not session.last.accepted:
            return session
        last = self._login(smtp, session.mechanisms, _NOBODY, SecretStr(secrets.token_hex(16)))
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()
        return replace(session, last=last)

    def _encrypted(self, smtp: _Client, context: ssl.SSLContext) -> Session:
        """The session up to the server's hello on an encrypted connection, or the first refusal."""
        server, where = self._server, self._where
        code, _ = smtp.connect(self._address, server.port)
        if code != 220:
            return Session(where, _answer(Step.GREETING, code))
        hello = self._hello(smtp)
        clear = frozenset[str]()
        if not hello.accepted:
            return Session(where, hello)
        if server.security is Security.STARTTLS:
            clear = _mechanisms(smtp)
            if not smtp.has_extn("starttls"):
                return Session(where, hello, clear_mechanisms=clear)
            self._step = Step.STARTTLS
            code, _ = smtp.starttls(context=context)
            if code != 220:
                return Session(where, _answer(Step.STARTTLS, code))
            hello = self._hello(smtp)
        found = frozenset[str]() if not hello.accepted else _mechanisms(smtp)
        return Session(where, hello, clear, found, encrypted=True, expiry=_expiry(smtp))

    def _hello(self, smtp: _Client) -> Answer:
        self._step = Step.HELLO
        return _answer(Step.HELLO, smtp.ehlo()[0])

    def _login(self, smtp: _Client, offered: frozenset[str], user: str, secret: SecretStr | None) -> Answer:
        """The answer to a login: by PLAIN or LOGIN, which any server has that is encrypted; code 0 where it has neither."""
        self._step = Step.LOGIN
        password = secret.get_secret_value() if secret else ""
        plain = "\0".join(("", user, password))
        if "PLAIN" in offered:
            return _answer(Step.LOGIN, smtp.docmd("AUTH", f"PLAIN {_encoded(plain)}")[0])
        if "LOGIN" not in offered:
            return Answer(Step.LOGIN, 0)
        code, _ = smtp.docmd("AUTH", "LOGIN")
        for part in (user, password):
            if code == 334:
                code, _ = smtp.docmd(_encoded(part))
        return _answer(Step.LOGIN, code)

    def _envelope(self, smtp: _Client) -> Answer:
        """The answer to the recipient, or to the sender where that was refused."""
        self._step = Step.SENDER
        code, text = smtp.mail(self._server.sender)
        if not 200 <= code < 300:
            return _answer(Step.SENDER, code, text)
        self._step = Step.RECIPIENT
        return _answer(Step.RECIPIENT, *smtp.rcpt(self._server.recipient))


def _answer(step: Step, code: int, text: bytes = b"") -> Answer:
    """An answer. Raises SMTPException where it is none of a mail server: smtplib gives -1 as its code."""
    if code < 0:
        raise smtplib.SMTPException
    return Answer(step, code, blocked=_BLOCKED.search(text) is not None, unrelayed=_UNRELAYED.search(text) is not None)


def _goes_on(smtp: _Client) -> bool:
    """Whether the session goes on after a refusal: servers end it after few of them, some after the first."""
    try:
        return 200 <= smtp.rset()[0] < 300
    except smtplib.SMTPServerDisconnected:
        return False


def _expiry(smtp: _Client) -> datetime | None:
    """When the certificate of the server expires; None where it is not verified, as Python does not read it then."""
    ends = (smtp.sock.getpeercert() or {}).get("notAfter") if isinstance(smtp.sock, ssl.SSLSocket) else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


def _mechanisms(smtp: _Client) -> frozenset[str]:
    return frozenset(smtp.esmtp_features.get("auth", "").upper().replace("=", " ").split())


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
