"""Artifacts in S3: read from the buckets that the configuration names, and from no other."""

from __future__ import annotations

import asyncio

from pydantic import Field

from exporter.aws import AwsConnection, AwsSettings, read_address
from exporter.evidence.errors import Refuted
from exporter.verdict import ProbeError, Reason

__all__ = ["Buckets", "Objects"]


class Buckets(AwsSettings):
    """How to reach S3, and which buckets may be read: records are written by people, who might name any."""

    buckets: tuple[str, ...] = Field(min_length=1, description="Names of the buckets.")


class Objects:
    """Reads objects of `buckets`, each request in a thread."""

    def __init__(self, settings: Buckets | None) -> None:
        self._settings = settings
        self._connection = AwsConnection(settings) if settings else None

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            self._connection.close()

    async def content(self, address: str, most: int) -> bytes:
        """The bytes of an object. Raises Refuted where there is none, ProbeError where it was not read or has more bytes."""
        try:
            bucket, _, _ = read_address(address)
        except ValueError as error:
            raise Refuted(f"{address} is not an address of an object in S3: {error}.", Reason.INVALID) from None
        if self._settings is None or self._connection is None or bucket not in self._settings.buckets:
            raise ProbeError(
                f"{address} is in none of the buckets of evidence.s3, so it was not read.", Reason.NOT_CONFIGURED
            )
        try:
            return await asyncio.to_thread(self._connection.content, address, most)
        except ProbeError as error:
            if error.reason is Reason.MISSING:
                raise Refuted(f"{address} does not exist.", Reason.MISSING) from None
            raise
