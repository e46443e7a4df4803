"""Protocols that begin in clear and turn to TLS on request."""

from __future__ import annotations

from enum import StrEnum

from exporter.verdict import ProbeError, Reason

__all__ = ["NotOffered", "StartTls"]


class StartTls(StrEnum):
    """How a client of each protocol asks for TLS."""

    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    FTP = "ftp"
    LDAP = "ldap"
    POSTGRES = "postgres"
    MYSQL = "mysql"
    XMPP = "xmpp"


class NotOffered(ProbeError):
    """The server speaks the protocol and refuses TLS: its clients speak in clear, so lines about its TLS are false."""

    def __init__(self, summary: str) -> None:
        super().__init__(summary, Reason.MISCONFIGURED)
