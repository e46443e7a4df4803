"""AWS's APIs for collectors: the connection of `exporter.aws`, asked in threads, a few at a time."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from exporter.aws import AwsConnection, AwsError, AwsSettings
from exporter.collector import Client
from exporter.threads import Threads

_AT_A_TIME = 3

__all__ = ["Aws", "AwsError", "AwsSettings"]


class Aws(Client[AwsSettings]):
    """Asks AWS. Only read calls are made."""

    name = "aws"
    Settings = AwsSettings

    def __init__(self, settings: AwsSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._turn = asyncio.Semaphore(_AT_A_TIME)
        self._connection = AwsConnection(settings)

    async def call(
        self, service: str, operation: str, /, *, region: str | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """What an operation answers: `await aws.call("s3", "get_bucket_location", Bucket="backups")`.

        Raises AwsError for an error of AWS's own, ProbeError when there is no answer, or botocore or credentials are missing.
        """
        call = functools.partial(self._connection.call, service, operation, region, parameters)
        async with self._turn:
            return await self.threads.run(self.name, call)

    async def pages(
        self, service: str, operation: str, key: str, /, *, most: int = 10_000, **parameters: Any
    ) -> list[Any]:
        """All entries under `key` of an operation that answers in pages. Raises as `call`; ProbeError for more than `most`."""
        call = functools.partial(self._connection.pages, service, operation, key, most, parameters)
        async with self._turn:
            return await self.threads.run(self.name, call)

    async def content(self, address: str, *, most: int) -> bytes:
        """The bytes of an object in S3, such as `s3://reports/k6.json`. Raises as `call`; ProbeError for more than `most` bytes."""
        async with self._turn:
            return await self.threads.run(self.name, functools.partial(self._connection.content, address, most))

    async def close(self) -> None:
        """Close the connections."""
        self._connection.close()
