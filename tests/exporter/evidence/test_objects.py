"""Artifacts in S3, on moto."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from exporter import aws as connection
from exporter.evidence import validity
from exporter.evidence.attest import NotAttested, Situation, attest
from exporter.evidence.objects import Buckets
from exporter.evidence.rules import EvidenceRule, ReportSummary
from exporter.evidence.validity import Evidence
from exporter.verdict import Reason, Result, Status
from tests.servers.aws import REGION, AwsServer
from tests.servers.process import free_port

NOW = datetime(2026, 10, 12, 12, tzinfo=UTC)
RULE = EvidenceRule(timedelta(days=30), artifact=True)
SECRET = "a-secret-key"
FIRST, SECOND = b"the first report", b"the second report"


class Stored:
    """A folder of evidence beside a bucket with an object that has two versions."""

    def __init__(self, folder: Path, aws: AwsServer) -> None:
        self.folder = folder
        self.aws = aws
        self.s3 = aws.client("s3")
        self.s3.create_bucket(Bucket="reports", CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket="reports", VersioningConfiguration={"Status": "Enabled"})
        self.versions = [
            self.s3.put_object(Bucket="reports", Key="load/k6.json", Body=body)["VersionId"] for body in (FIRST, SECOND)
        ]
        self.opened: list[Evidence] = []

    def evidence(self, **changes: Any) -> Evidence:
        """The evidence of a configuration that may read the bucket."""
        options = self.aws.settings | {"buckets": ["reports"]} | changes
        buckets = Buckets.model_validate_json(json.dumps(options))
        self.opened.append(Evidence(self.folder, now=lambda: NOW, s3=buckets))
        return self.opened[-1]

    async def judged(self, url: str, content: bytes, **changes: Any) -> Result:
        """The verdict on a record that pins this content at this address."""
        artifact = {"url": url, "sha256": hashlib.sha256(content).hexdigest()}
        record = {"item": "a.b", "result": "passed", "by": "ann@example.com", "on": "2026-10-10", "artifact": artifact}
        (self.folder / "record.yaml").write_text(json.dumps(record))
        result = await self.evidence(**changes).judge("a", "b", RULE)
        assert SECRET not in result.summary
        return result


@pytest.fixture
async def stored(tmp_path: Path, aws: AwsServer) -> AsyncIterator[Stored]:
    """Two versions of a report."""
    stored = Stored(tmp_path, aws)
    yield stored
    for evidence in stored.opened:
        await evidence.close()


async def test_an_artifact_in_s3_counts_in_the_version_that_was_pinned(stored: Stored) -> None:
    url = "s3://reports/load/k6.json"
    assert (await stored.judged(url, SECOND)).status is Status.OK
    older = await stored.judged(url, FIRST)
    assert (older.status, older.reason, "has the SHA-256" in older.summary) == (
        Status.FAILED,
        Reason.CONTRADICTED,
        True,
    )
    assert (await stored.judged(f"{url}?versionId={stored.versions[0]}", FIRST)).status is Status.OK
    stored.s3.delete_object(Bucket="reports", Key="load/k6.json")
    gone = await stored.judged(url, SECOND)
    assert (gone.status, gone.reason) == (Status.FAILED, Reason.MISSING), gone.summary
    assert "s3://reports/load/k6.json does not exist" in gone.summary
    assert (await stored.judged(f"{url}?versionId={stored.versions[1]}", SECOND)).status is Status.OK
    stored.s3.delete_object(Bucket="reports", Key="load/k6.json", VersionId=stored.versions[1])
    lost = await stored.judged(f"{url}?versionId={stored.versions[1]}", SECOND)
    assert (lost.status, lost.reason) == (Status.FAILED, Reason.MISSING), lost.summary


async def test_what_was_not_read_is_unknown(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "s3://reports/load/k6.json"
    other = await stored.judged("s3://payroll/salaries.json", SECOND)
    assert (other.status, other.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert "in none of the buckets of evidence.s3" in other.summary
    down = await stored.judged(url, SECOND, endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert (down.status, down.reason) == (Status.UNKNOWN, Reason.UNREACHABLE), down.summary
    monkeypatch.setattr(validity, "MAX_ARTIFACT", 10)
    large = await stored.judged(url, SECOND)
    assert (large.status, large.reason, "at most 10 B are read" in large.summary) == (
        Status.UNKNOWN,
        Reason.LIMIT,
        True,
    ), large.summary


async def test_an_account_without_the_right_is_unknown(stored: Stored) -> None:
    def enforced(after: str) -> None:
        plain = {"Content-Type": "text/plain"}
        address = f"{stored.aws.url}/moto-api/reset-auth"
        urlopen(Request(address, after.encode(), plain, method="POST"), timeout=30).close()

    enforced("0")
    try:
        result = await stored.judged("s3://reports/load/k6.json", SECOND)
    finally:
        enforced("inf")
    assert (result.status, result.reason, "was denied" in result.summary) == (Status.UNKNOWN, Reason.DENIED, True), (
        result.summary
    )


@pytest.mark.parametrize(
    "url", ["s3://reports", "s3://reports/", "s3://Re/k", "s3://reports/k?versionId=", "s3://reports/a?x=1"]
)
async def test_what_is_no_address_of_an_object(stored: Stored, url: str) -> None:
    assert not (await stored.judged(url, SECOND)).status.is_ok


async def test_an_artifact_in_s3_is_attested(stored: Stored) -> None:
    url = f"s3://reports/load/k6.json?versionId={stored.versions[0]}"

    def reads(content: bytes) -> ReportSummary:
        assert content == FIRST
        return ReportSummary("k6", NOW - timedelta(hours=1), {"requests": 5}, ())

    rule = EvidenceRule(timedelta(days=30), artifact=True, reads=reads)
    given = {"result": "passed", "by": "ann@example.com", "artifact": url}
    situation = Situation(stored.folder, NOW, evidence=stored.evidence())
    written = await attest(situation, "a.b", rule, given)
    assert written.standing.status is Status.OK, written.standing.summary
    assert written.record.artifact is not None
    assert (written.record.artifact.url, written.record.measured) == (url, {"requests": 5})
    with pytest.raises(NotAttested, match="does not exist"):
        await attest(situation, "a.c", rule, given | {"artifact": "s3://reports/none"})
    with pytest.raises(NotAttested, match=r"in none of the buckets of evidence\.s3"):
        await attest(situation, "a.c", rule, given | {"artifact": "s3://payroll/none"})
    with pytest.raises(NotAttested, match="there is no configuration that allows it"):
        await attest(Situation(stored.folder, NOW), "a.c", rule, given)


def test_addresses_of_objects() -> None:
    assert connection.read_address("s3://a-b.c/d/e=f+g.json") == ("a-b.c", "d/e=f+g.json", None)
    assert connection.read_address("s3://abc/k?versionId=x.1_-") == ("abc", "k", "x.1_-")
