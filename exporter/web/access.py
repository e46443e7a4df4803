"""`--web.config.file`: TLS, headers, users and rate limit, in the format that all Prometheus exporters share (exporter-toolkit).

What is not supported is refused: HTTP/2, inline certificates, `client_allowed_sans`, `curve_preferences`, and client certificates
that nobody verifies.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, model_validator

from exporter.config import ConfigError, load_options
from exporter.files import answered
from exporter.logs import hide
from exporter.options import Duration, Options, Secret
from exporter.options_reader import Problem, Reader
from exporter.positioned_yaml import YamlError, read_bounded
from exporter.threads import Threads

__all__ = ["SECURITY_HEADERS", "Access", "AccessFile", "Settings"]

log = logging.getLogger(__name__)

#: Seconds that a request waits for a look at the file; after that the last good access decides.
PATIENCE = 0.25

#: Seconds in which the disk has to answer for the file and those that it names, each of which has its own deadline.
LOOK_SECONDS = 20.0

#: What every response says to browsers, unless the file says otherwise.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ClientAuth(StrEnum):
    """Whether clients prove who they are with a certificate."""

    NONE = "NoClientCert"
    IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRED = "RequireAndVerifyClientCert"


class TlsVersion(StrEnum):
    """A version of TLS that is still safe."""

    TLS12 = "TLS12"
    TLS13 = "TLS13"

    @property
    def number(self) -> ssl.TLSVersion:
        """As OpenSSL knows it."""
        return {TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3}[self]


class CipherSuite(StrEnum):
    """Safe suites of TLS 1.2 by Go's names; those of TLS 1.3 are always on."""

    ECDSA_AES128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    ECDSA_AES256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    ECDSA_CHACHA20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    RSA_AES128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    RSA_AES256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    RSA_CHACHA20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"

    @property
    def openssl(self) -> str:
        """The name that OpenSSL has for it."""
        exchange, _, cipher = self.removeprefix("TLS_").partition("_WITH_")
        cipher = cipher.replace("AES_", "AES").replace("_POLY1305_SHA256", "_POLY1305")
        return f"{exchange}_{cipher}".replace("_", "-")


class TlsServerOptions(Options):
    """How connections are encrypted."""

    cert_file: Path = Field(description="PEM file with the certificate and its chain.")
    key_file: Path = Field(description="PEM file with the certificate's key, not encrypted.")
    client_auth_type: ClientAuth = Field(ClientAuth.NONE, description="Whether clients must present a certificate.")
    client_ca_file: Path | None = Field(
        None, description="PEM file with the authorities that sign clients' certificates."
    )
    min_version: TlsVersion = Field(TlsVersion.TLS12, description="Oldest TLS version that is accepted.")
    max_version: TlsVersion = Field(TlsVersion.TLS13, description="Newest TLS version that is accepted.")
    cipher_suites: tuple[CipherSuite, ...] = Field(
        (), description="Suites of TLS 1.2; OpenSSL's defaults without them."
    )
    prefer_server_cipher_suites: bool = Field(
        True, description="Whether their order here counts, rather than the client's."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.client_auth_type is not ClientAuth.NONE) != (self.client_ca_file is not None):
            raise ValueError("expected client_ca_file and a client_auth_type other than NoClientCert, or neither")
        if self.max_version < self.min_version:
            raise ValueError("expected max_version to be no older than min_version")
        return self


HeaderName: TypeAlias = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]
HeaderValue: TypeAlias = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class HttpServerOptions(Options):
    """How HTTP is spoken."""

    http2: Literal[False] = Field(False, description="HTTP/2 is not supported; only `false` is accepted.")
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Headers of every response, in place of the built-in ones; a blank one is not sent.",
    )


class RateLimitOptions(Options):
    """A token bucket that all requests share."""

    interval: Duration | Literal[0] = Field(
        0, description="Time between two requests in the long run; 0 sets no limit."
    )
    burst: int = Field(1, ge=1, description="How many requests may arrive at once.")

    @property
    def seconds(self) -> float:
        """`interval` in seconds; 0 for no limit."""
        return self.interval.total_seconds() if isinstance(self.interval, timedelta) else 0.0


_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1\d|2\d|3[01])\$[./A-Za-z0-9]{53}")


def _bcrypt(value: SecretStr) -> SecretStr:
    if not _BCRYPT.fullmatch(value.get_secret_value()):
        raise ValueError("expected a bcrypt hash, as `htpasswd -nBC 10` prints it")
    return value


class Settings(Options):
    """Everything that may stand in the file."""

    tls_server_config: TlsServerOptions | None = Field(None, description="HTTPS; HTTP without it.")
    http_server_config: HttpServerOptions = Field(HttpServerOptions(), description="HTTP itself.")
    basic_auth_users: dict[str, Annotated[Secret, AfterValidator(_bcrypt)]] = Field(
        default_factory=dict,
        description="User names and the bcrypt hashes of their passwords; everyone may enter without.",
    )
    rate_limit: RateLimitOptions = Field(RateLimitOptions(), description="How many requests are answered.")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how: the settings in the shape that a request needs."""

    headers: tuple[tuple[bytes, bytes], ...] = field(default_factory=lambda: _headers(()))
    users: Mapping[str, bytes] = field(default_factory=dict)
    rate_limit: RateLimitOptions = field(default_factory=RateLimitOptions)
    tls: ssl.SSLContext | None = None
    client_auth: ClientAuth = ClientAuth.NONE


def _headers(changes: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    headers = SECURITY_HEADERS | dict(changes)
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items() if value)


class AccessFile:
    """The access that a file gives. The last good one is used while the file cannot be.

    Raises ConfigError when the file cannot be used at first. Without a file everyone may enter, over HTTP. What once protected
    the server (TLS, users, client certificates) is given up by a restart alone: a file that was emptied opens no door.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._access = Access()
        self._seen = _Seen({}, None)
        self._looking: asyncio.Task[None] | None = None
        self._looking_since = 0.0
        self._threads = Threads(places=1)
        if path:
            try:
                self._seen = answered(partial(_look, path), path, LOOK_SECONDS)
            except OSError as error:
                why = f"the file, or one that it names, cannot be read: {error.strerror}"
                raise ConfigError((Problem(str(path), 1, 1, "", why),)) from None
            if isinstance(self._seen.found, ConfigError):
                raise self._seen.found
            self._access = self._seen.found or self._access

    @property
    def tls(self) -> bool:
        """Whether HTTPS is spoken. What was decided at the start stays: a listener cannot change sides."""
        return self._access.tls is not None

    def current(self) -> Access:
        """The access at hand, without a look at the file."""
        return self._access

    async def fresh(self) -> Access:
        """The access after a look at the file, which requests at the same time share. One that hangs holds nobody up."""
        if self._path is None:
            return self._access
        if self._looking is None or self._looking.done():
            self._looking_since = time.monotonic()
            self._looking = asyncio.create_task(self._follow(self._path), name="web configuration")
        patience = self._looking_since + PATIENCE - time.monotonic()
        if patience > 0:
            await asyncio.wait({self._looking}, timeout=patience)
        return self._access

    async def _follow(self, path: Path) -> None:
        look = asyncio.ensure_future(self._threads.run("web configuration", partial(_look, path, self._seen)))
        done, _ = await asyncio.wait({look}, timeout=LOOK_SECONDS)
        if not done:
            log.error(
                "%s cannot be read, the last good one stays in force: a disk has not answered for %g s.",
                path,
                LOOK_SECONDS,
            )
        try:
            seen = await look
        except RuntimeError:  # no thread to be had now: the next request tries again
            return
        if seen is self._seen:
            return
        self._seen = seen
        why = str(seen.found) if isinstance(seen.found, ConfigError) else self._weaker(seen.found)
        if why:
            log.error("%s cannot be used, the last good one stays in force: %s", path, why)
        elif isinstance(seen.found, Access):
            self._access = seen.found
            log.info("%s was reloaded.", path)

    def _weaker(self, new: Access | None) -> str | None:
        """What the new access gives up that only a restart may, as a full sentence."""
        old = self._access
        if new is None:
            return None
        if (new.tls is not None) != (old.tls is not None):
            return "It turns TLS on or off, which takes a restart."
        if old.users and not new.users:
            return "It has no basic_auth_users any more, which takes a restart."
        if old.client_auth is ClientAuth.REQUIRED is not new.client_auth:
            return "It no longer requires client certificates, which takes a restart."
        return None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at the files found. `stamps` show whether one of them has changed since."""

    stamps: Mapping[Path, object]
    found: Access | ConfigError | None


def _look(path: Path, before: _Seen | None = None) -> _Seen:
    """The files as they are now, or `before` where none has changed. Blocks."""
    if before and all(_stamp(file) == stamp for file, stamp in before.stamps.items()):
        return before
    stamps: dict[Path, object] = {path: _stamp(path)}
    tls: list[ssl.SSLContext] = []

    def check(settings: Settings, reader: Reader) -> None:
        if options := settings.tls_server_config:
            named = filter(None, (options.cert_file, options.key_file, options.client_ca_file))
            stamps.update((file, _stamp(file)) for file in named)
            tls.append(_context(options, reader))

    try:
        settings, secrets = load_options(path, Settings, check)
    except ConfigError as error:
        return _Seen(stamps, error)
    hide(secrets)
    options = settings.tls_server_config
    return _Seen(
        stamps,
        Access(
            headers=_headers(settings.http_server_config.headers.items()),
            users={name: secret.get_secret_value().encode() for name, secret in settings.basic_auth_users.items()},
            rate_limit=settings.rate_limit,
            tls=tls[0] if tls else None,
            client_auth=options.client_auth_type if options else ClientAuth.NONE,
        ),
    )


def _stamp(file: Path) -> object:
    """What shows whether a file is another than before, also where it was replaced as a whole."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _context(options: TlsServerOptions, reader: Reader) -> ssl.SSLContext:
    """The TLS that the options ask for; what cannot be loaded is a problem of the reader."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = options.min_version.number
    context.maximum_version = options.max_version.number
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not options.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if options.cipher_suites:
        context.set_ciphers(":".join(suite.openssl for suite in options.cipher_suites))
    for key, problem in _unreadable(options):
        reader.complain(("tls_server_config", key), problem)
    if reader.problems:
        return context
    try:
        context.load_cert_chain(options.cert_file, options.key_file, password="")
    except ssl.SSLError as error:
        problem = (
            f"{options.cert_file} and {options.key_file} are not a certificate and its unencrypted key ({error.reason})"
        )
        reader.complain(("tls_server_config", "cert_file"), problem)
    if options.client_ca_file:
        context.verify_mode = (
            ssl.CERT_REQUIRED if options.client_auth_type is ClientAuth.REQUIRED else ssl.CERT_OPTIONAL
        )
        try:
            context.load_verify_locations(options.client_ca_file)
        except ssl.SSLError as error:
            reader.complain(
                ("tls_server_config", "client_ca_file"),
                f"{options.client_ca_file} contains no certificate ({error.reason})",
            )
    return context


def _unreadable(options: TlsServerOptions) -> Iterator[tuple[str, str]]:
    for key in ("cert_file", "key_file", "client_ca_file"):
        file: Path | None = getattr(options, key)
        if file is None:
            continue
        try:
            read_bounded(file)
        except (OSError, YamlError) as error:
            why = error.problem if isinstance(error, YamlError) else error.strerror
            yield key, f"{file} cannot be read: {why}"
