"""Reads reports that an option names: a file, an address, or an object in S3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from collectors.systems.aws.client import Aws
from exporter.aws import read_address
from exporter.files import TooLarge, read_file
from exporter.http import Http, HttpSettings
from exporter.options import Options
from exporter.verdict import ProbeError, Reason
from exporter.words import format_size

__all__ = ["MAX_REPORT", "ReportFile", "read_content"]

MAX_REPORT = 100 * 2**20


class ReportFile(Options):
    """Where a report is: one of the three."""

    path: Path | None = Field(None, description="The file, where the exporter can read it.")
    url: HttpSettings | None = Field(None, description="The address of the file, with credentials if it needs them.")
    s3: str | None = Field(
        None,
        description="The object, as s3://bucket/key, with ?versionId=… where it must be that version; read by `clients.aws`.",
    )

    @field_validator("s3")
    @classmethod
    def _object(cls, address: str | None) -> str | None:
        if address is not None:
            read_address(address)
        return address

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.path, self.url, self.s3)) != 1:
            raise ValueError("expected one of path, url and s3")
        return self

    def beside(self, name: str) -> ReportFile:
        """A file of another name in the same place."""
        if self.path is not None:
            return ReportFile(path=self.path.with_name(name))
        if self.url is not None:
            parts = urlsplit(self.url.url)
            path = f"{parts.path.rpartition('/')[0]}/{name}"
            return ReportFile(url=self.url.model_copy(update={"url": urlunsplit(parts._replace(path=path))}))
        return ReportFile(s3=f"{(self.s3 or '').partition('?')[0].rpartition('/')[0]}/{name}")


async def read_content(file: ReportFile, aws: Callable[[], Aws]) -> bytes:
    """The bytes of the file, at most `MAX_REPORT`. Raises ProbeError where they were not read; `aws` gives the client for S3."""
    if file.path is not None:
        return await asyncio.to_thread(_read, file.path)
    if file.url is not None:
        settings = file.url
        async with Http(settings) as http:
            return (await http.get(max_bytes=min(settings.max_bytes, MAX_REPORT))).body
    return await aws().content(file.s3 or "", most=MAX_REPORT)


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_REPORT)
    except TooLarge:
        raise ProbeError(f"Report {path} is larger than {format_size(MAX_REPORT)}.", Reason.LIMIT) from None
    except FileNotFoundError:
        raise ProbeError(f"There is no report {path}.", Reason.MISSING) from None
    except OSError as error:
        raise ProbeError(f"Report {path} cannot be read: {error.strerror}.", Reason.DENIED) from None
