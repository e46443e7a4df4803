"""AWS's APIs by boto3, which is imported when first asked: the extra `aws` installs it. All of it blocks: it is for threads."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from exporter.options import Duration, Options, Secret, format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import format_size, one_line

__all__ = ["OBJECT", "AwsConnection", "AwsError", "AwsSettings", "read_address"]

OBJECT = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[!->@-~]{1,1024})(?:\?versionId=(?P<version>[\w.-]{1,1024}))?"
)
_CHUNK = 2**20
_READ_SECONDS = 60.0

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


class AwsConnection:
    """Clients of AWS's services, with one session. Only read calls are made."""

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}

    def call(self, service: str, operation: str, region: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
        """What an operation answers.

        Raises AwsError for an error of AWS's own, ProbeError when there is no answer, or botocore or credentials are missing.
        """
        with _Sentences(f"AWS {service} {operation}", self.settings.timeout):
            answer = getattr(self._client(service, region or self.settings.region), operation)(**parameters)
        answer.pop("ResponseMetadata", None)
        return dict(answer)

    def pages(self, service: str, operation: str, key: str, most: int, parameters: dict[str, Any]) -> list[Any]:
        """All entries under `key` of an operation that answers in pages. Raises as `call`; ProbeError for more than `most`."""
        found: list[Any] = []
        where = f"AWS {service} {operation}"
        with _Sentences(where, self.settings.timeout):
            for page in self._client(service, self.settings.region).get_paginator(operation).paginate(**parameters):
                found.extend(page.get(key) or ())
                if len(found) > most:
                    raise ProbeError(f"{where} lists more than {most} entries, which were not all read.", Reason.LIMIT)
        return found

    def content(self, address: str, most: int) -> bytes:
        """The bytes of an object in S3, by its address (`read_address`).

        Raises AwsError (with Reason.MISSING where there is none), ProbeError for more than `most` bytes or too slow ones.
        """
        bucket, key, version = read_address(address)
        parameters = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        end = time.monotonic() + _READ_SECONDS
        with _Sentences(f"AWS s3 get_object {address}", self.settings.timeout):
            answer = self._client("s3", self.settings.region).get_object(**parameters)
            body = answer["Body"]
            try:
                size = answer.get("ContentLength") or 0
                chunks: list[bytes] = []
                while size <= most and (chunk := body.read(_CHUNK)):
                    chunks.append(chunk)
                    size = max(size, sum(map(len, chunks)))
                    if time.monotonic() > end:
                        raise ProbeError(f"{address} was not read within {_READ_SECONDS:.0f} s.", Reason.TIMEOUT)
            finally:
                body.close()
        if size > most:
            raise ProbeError(f"{address} has {format_size(size)} (at most {format_size(most)} are read).", Reason.LIMIT)
        return b"".join(chunks)

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

    def close(self) -> None:
        """Close the connections."""
        clients, self._clients, self._session = list(self._clients.values()), {}, None
        for client in clients:
            client.close()


def read_address(address: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of `s3://bucket/key?versionId=…`. Raises ValueError for anything else."""
    if (found := OBJECT.fullmatch(address)) is None:
        raise ValueError("expected an object such as s3://reports/nightly/run_results.json")
    return found["bucket"], found["key"], found["version"]


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
            if code == "MethodNotAllowed"  # the version is a delete marker
            or code.startswith(("NoSuch", "NotFound"))
            or code.endswith(("NotFound", "NotFoundException", "404"))
            else Reason.ERROR
        )
        return AwsError(f"{self._where} answered {code}: {one_line(error.get('Message', ''))}.", reason, code)
