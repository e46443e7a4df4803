"""The client of AWS against moto, and where nobody answers as AWS does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collectors.systems.aws.client import Aws, AwsError, AwsSettings
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason
from tests.servers import faults
from tests.servers.aws import AwsServer
from tests.servers.process import LOOPBACK, free_port

SETTINGS = {"region": "eu-central-1", "access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "a-secret-key"}


@asynccontextmanager
async def client_of(**settings: Any) -> AsyncIterator[Aws]:
    client = Aws(AwsSettings.model_validate({"timeout": "1s", **SETTINGS, **settings}), Threads())
    try:
        yield client
    finally:
        await client.close()


async def test_an_answer_and_all_pages_are_read(aws: AwsServer) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="backups", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for number in range(12):
        s3.put_object(Bucket="backups", Key=f"{number}", Body=b"")
    async with client_of(endpoint_url=aws.url, timeout="10s") as client:
        answer = await client.call("s3", "get_bucket_location", Bucket="backups")
        assert answer == {"LocationConstraint": "eu-central-1"}
        assert len(await client.pages("s3", "list_objects_v2", "Contents", Bucket="backups", MaxKeys=5)) == 12
        with pytest.raises(ProbeError, match="lists more than 10 entries"):
            await client.pages("s3", "list_objects_v2", "Contents", most=10, Bucket="backups")


async def test_an_error_of_its_own_keeps_its_code(aws: AwsServer) -> None:
    async with client_of(endpoint_url=aws.url, timeout="10s") as client:
        with pytest.raises(AwsError) as caught:
            await client.call("s3", "get_bucket_location", Bucket="absent")
        assert caught.value.code == "NoSuchBucket"
        assert caught.value.reason is Reason.MISSING
        assert (
            str(caught.value)
            == "AWS s3 get_bucket_location answered NoSuchBucket: The specified bucket does not exist."
        )


async def test_nobody_there_is_unreachable() -> None:
    async with client_of(endpoint_url=f"http://{LOOPBACK}:{free_port()}") as client:
        with pytest.raises(ProbeError, match="no connection could be made") as caught:
            await client.call("s3", "list_buckets")
        assert caught.value.reason is Reason.UNREACHABLE


async def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    async with client_of() as client:
        with pytest.raises(ProbeError, match="with its extra aws"):
            await client.call("s3", "list_buckets")


async def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with client_of(access_key_id=None, secret_access_key=None, endpoint_url="http://127.0.0.1:9") as client:
        with pytest.raises(ProbeError, match="no complete credentials were found"):
            await client.call("s3", "list_buckets")


async def test_a_login_page_is_no_answer() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 17\r\nConnection: close\r\n\r\n<p>Please log in."
    async with faults.half_reply(page) as address, client_of(endpoint_url=f"http://{LOOPBACK}:{address[1]}") as client:
        with pytest.raises(ProbeError, match="AWS s3 list_buckets"):
            await client.call("s3", "list_buckets")


async def test_no_answer_in_time_is_a_timeout() -> None:
    async with (
        faults.mute() as address,
        client_of(endpoint_url=f"http://{LOOPBACK}:{address[1]}", timeout="200ms") as client,
    ):
        with pytest.raises(ProbeError, match="did not answer within 200ms") as caught:
            await client.call("s3", "list_buckets")
        assert caught.value.reason is Reason.TIMEOUT
