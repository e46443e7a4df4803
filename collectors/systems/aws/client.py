"""AWS's APIs by boto3, which is imported when first asked: the extra `aws` installs it."""

from __future__ import annotations

import asyncio
import functools
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from exporter.collector import Client
from exporter.options import Duration, Options, Secret, format_duration
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

_AT_A_TIME = 3

__all__ = ["Aws", "AwsError", "AwsSettings"]

_DENIED = frozenset(
    {
        "401", "403", "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException",
        "Forbidden", "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)  # fmt: skip
_TOO_MANY = frozenset(
    {"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)


class AwsError(ProbeError):
    """AWS answered with an error. `code` is its name for it, such as NoSuchBucket."""

    def __init__(self, summary: str, reason: Reason, code: str) -> None:
        super().__init__(summary, reason)
        self.code = code


class AwsSettings(Options):
    """How to reach AWS. Without keys and profile, credentials come from where AWS's own tools find them, such as the pod's role."""

    region: str = Field(min_length=1, description="Region, such as eu-central-1.")
    access_key_id: str | None = Field(None, description="Access key; with `secret_access_key`.")
    secret_access_key: Secret | None = Field(None, description="Secret of the access key.")
    session_token: Secret | None = Field(None, description="Session token, where the key is a temporary one.")
    profile: str | None = Field(None, description="Profile of AWS's configuration file to use instead of keys.")
    endpoint_url: str | None = Field(None, description="Address of a compatible service, instead of AWS's.")
    ca_file: Path | None = Field(None, description="PEM file of the authorities to trust; botocore's by default.")
    timeout: Duration = Field(
        timedelta(seconds=5), gt=timedelta(0), description="How long connecting, and waiting for an answer, may take."
    )

    @field_validator("endpoint_url")
    @classmethod
    def _web(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("expected an address that starts with http:// or https://")
        return url


class Aws(Client[AwsSettings]):
    """Asks AWS. Only read calls are made."""

    name = "aws"
    Settings = AwsSettings

    def __init__(self, settings: AwsSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._turn = asyncio.Semaphore(_AT_A_TIME)
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}

    async def call(
        self, service: str, operation: str, /, *, region: str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """What an operation answers: `await aws.call("s3", "get_bucket_location", Bucket="backups")`.

        Raises AwsError for an error of AWS's own, ProbeError when there is no answer, or botocore or credentials are missing.
        """
        call = functools.partial(self._call, service, operation, region or self.settings.region, parameters)
        async with self._turn:
            return await self.threads.run(self.name, call)

    async def pages(
        self, service: str, operation: str, key: str, /, *, most: int = 10_000, **parameters: Any
    ) -> list[Any]:
        """All entries under `key` of an operation that answers in pages. Raises as `call`; ProbeError for more than `most`."""
        call = functools.partial(self._pages, service, operation, key, most, parameters)
        async with self._turn:
            return await self.threads.run(self.name, call)

    def _call(self, service: str, operation: str, region: str, parameters: dict[str, Any]) -> dict[str, Any]:
        with _Sentences(f"AWS {service} {operation}", self.settings.timeout):
            answer = getattr(self._client(service, region), operation)(**parameters)
        answer.pop("ResponseMetadata", None)
        return dict(answer)

    def _pages(self, service: str, operation: str, key: str, most: int, parameters: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        where = f"AWS {service} {operation}"
        with _Sentences(where, self.settings.timeout):
            for page in self._client(service, self.settings.region).get_paginator(operation).paginate(**parameters):
                found.extend(page.get(key) or ())
                if len(found) > most:
                    raise ProbeError(f"{where} lists more than {most} entries, which were not all read.", Reason.LIMIT)
        return found

    def _client(self, service: str, region: str) -> Any:
        with self._lock:  # sessions are not safe to be used by several threads, clients are
            if (service, region) not in self._clients:
                self._clients[service, region] = self._open(service, region)
            return self._clients[service, region]

    def _open(self, service: str, region: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise ProbeError(
                "The library that queries AWS is not installed: install checklist-exporter with its extra aws.",
                Reason.NOT_CONFIGURED,
            ) from None
        settings = self.settings
        if self._session is None:
            self._session = boto3.Session(profile_name=settings.profile)
        seconds = settings.timeout.total_seconds()
        return self._session.client(
            service,
            region_name=region,
            endpoint_url=settings.endpoint_url,
            verify=str(settings.ca_file) if settings.ca_file else None,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key and settings.secret_access_key.get_secret_value(),
            aws_session_token=settings.session_token and settings.session_token.get_secret_value(),
            config=Config(
                connect_timeout=seconds,
                read_timeout=seconds,
                retries={"total_max_attempts": 2, "mode": "standard"},
                proxies={},  # not those of the environment
                ignore_configured_endpoint_urls=True,
                user_agent_extra="checklist-exporter",
                s3={"addressing_style": "path"} if settings.endpoint_url else None,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients, self._session = list(self._clients.values()), {}, None
        for client in clients:
            client.close()


class _Sentences:
    """Turns botocore's exceptions into ProbeErrors."""

    def __init__(self, where: str, timeout: timedelta) -> None:
        self._where = where
        self._timeout = timeout

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not type(error).__module__.startswith("botocore."):
            return
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        if isinstance(error, exceptions.ClientError):
            raise self._answered(error.response.get("Error", {})) from None
        if isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
            raise ProbeError(
                f"{self._where} did not answer within {format_duration(self._timeout)}.", Reason.TIMEOUT
            ) from None
        if isinstance(error, exceptions.SSLError):
            raise ProbeError(f"{self._where} failed: the TLS handshake failed.", Reason.REFUSED) from None
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            raise ProbeError(f"{self._where} failed: no connection could be made.", Reason.UNREACHABLE) from None
        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            raise ProbeError(
                f"{self._where} was not called: no complete credentials were found.", Reason.DENIED
            ) from None
        if isinstance(error, ResponseParserError):
            raise ProbeError(f"{self._where} did not answer as AWS does.", Reason.MALFORMED) from None
        raise ProbeError(f"{self._where} failed: {one_line(error)}.", Reason.MISCONFIGURED) from None

    def _answered(self, error: dict[str, Any]) -> AwsError:
        code = str(error.get("Code") or "an unnamed error")
        if code in _DENIED:
            return AwsError(f"{self._where} was denied ({code}).", Reason.DENIED, code)
        if code in _TOO_MANY:
            return AwsError(f"{self._where} was refused: too many requests ({code}).", Reason.REFUSED, code)
        reason = (
            Reason.MISSING
            if code.startswith(("NoSuch", "NotFound")) or code.endswith(("NotFound", "NotFoundException", "404"))
            else Reason.ERROR
        )
        return AwsError(f"{self._where} answered {code}: {one_line(error.get('Message', ''))}.", reason, code)
