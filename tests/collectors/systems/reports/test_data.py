"""Reports of checks on data: files that dbt, Great Expectations and Soda wrote, against a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.aws.client import Aws
from collectors.systems.reports.check import DataReport, data_verdict
from exporter.aws import AwsSettings
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason, Result, Status, unobserved
from tests.servers.aws import AwsServer
from tests.servers.pages import Pages

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 11, 30, 16, tzinfo=UTC)
TARGETS = {"dbt": "prod", "great": "shop-production", "soda": "shop_production"}


def no_aws() -> Aws:
    raise AssertionError


async def judged(options: dict[str, Any], *, now: datetime = NOW, aws: Any = no_aws) -> Result:
    report = DataReport.model_validate_json(json.dumps({"name": "nightly"} | options))
    try:
        result = await data_verdict(report, aws, now)
    except ProbeError as error:
        result = unobserved(error)
    assert result.summary.endswith("."), result.summary
    return result


async def read(file: str, **options: Any) -> Result:
    target = TARGETS[file.partition("-")[0]]
    return await judged({"path": str(DATA / f"{file}.json"), "target": target} | options)


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        ("dbt-passed", Status.OK, "has 8 passed checks of prod."),
        ("dbt-failed", Status.FAILED, "1 failed check (source_relationships_shop_orders"),
        ("dbt-subset", Status.UNKNOWN, "is about a part of the checks (--select source:shop.customers)."),
        ("dbt-nothing", Status.UNKNOWN, "has 0 passed checks (at least 1 wanted)."),
        ("dbt-compile", Status.UNKNOWN, "has 0 passed checks (at least 1 wanted)."),
        ("dbt-default-target", Status.UNKNOWN, "does not state its target (expected prod)."),
        ("dbt-error", Status.UNKNOWN, "that could not be evaluated."),
        ("great-expectations-passed", Status.OK, "has 3 passed checks of shop-production."),
        ("great-expectations-aggregate", Status.OK, "has 1 passed check of shop-production."),
        ("great-expectations-none", Status.UNKNOWN, "has 0 passed checks (at least 1 wanted)."),
        ("great-expectations-failed", Status.FAILED, "2 failed checks (expect_column_values_to_not_be_null (id) and"),
        ("great-expectations-empty", Status.UNKNOWN, "no result shows that there were rows"),
        ("great-expectations-boolean-only", Status.UNKNOWN, "no result shows that there were rows"),
        (
            "great-expectations-exception",
            Status.UNKNOWN,
            "1 check (expect_column_values_to_not_be_null (nothere)) that could",
        ),
        (
            "great-expectations-mostly",
            Status.WARNING,
            "passed with exceptions: expect_column_values_to_be_in_set (id).",
        ),
        ("great-expectations-only-null", Status.WARNING, "found only NULL: expect_column_values_to_be_unique (note)."),
        (
            "great-expectations-severity-warning",
            Status.WARNING,
            "1 warning (expect_column_values_to_not_be_null (note)).",
        ),
        ("great-expectations-checkpoint", Status.UNKNOWN, "has none of the formats that are read"),
        ("soda-passed", Status.OK, "has 3 passed checks of shop_production."),
        ("soda-failed", Status.FAILED, "1 failed check (orders: missing_count(note) = 0)."),
        ("soda-warned", Status.WARNING, "1 warning (orders: row_count warn when < 5000)."),
        ("soda-empty", Status.UNKNOWN, "empty had no rows."),
        ("soda-filtered", Status.UNKNOWN, "orders-recent had no rows."),
        ("soda-errors", Status.UNKNOWN, "checks that could not be evaluated are missing from it."),
        ("soda-not-evaluated", Status.UNKNOWN, "checks that could not be evaluated are missing from it."),
        ("soda-none", Status.UNKNOWN, "has 0 passed checks (at least 1 wanted)."),
    ],
)
async def test_what_tools_wrote(file: str, status: Status, words: str) -> None:
    result = await read(file)
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_run_with_empty_tables_proves_nothing(tmp_path: Path) -> None:
    report = json.loads((DATA / "dbt-passed.json").read_text())
    report["args"] |= {"empty": True, "sample": "1 day", "defer": True}
    (tmp_path / "run_results.json").write_text(json.dumps(report))
    result = await judged({"path": str(tmp_path / "run_results.json"), "target": "prod"})
    assert result.status is Status.UNKNOWN
    for option in ("--empty", "--sample", "--defer"):
        assert option in result.summary, result.summary
    failed = await read("dbt-empty")
    assert failed.status is Status.FAILED  # the sources are whole, the models are not


def changed(folder: Path, file: str, change: Callable[[Any], object]) -> str:
    """A real file, changed."""
    report = json.loads((DATA / f"{file}.json").read_text())
    change(report)
    (folder / "changed.json").write_text(json.dumps(report))
    return str(folder / "changed.json")


@pytest.mark.parametrize(
    ("file", "change", "status", "words"),
    [
        (
            "dbt-passed",
            lambda it: it["results"][0].update(status="new"),
            Status.UNKNOWN,
            "(enough_orders) that could not",
        ),
        (
            "dbt-passed",
            lambda it: it["results"][0].update(failures=7),
            Status.WARNING,
            "with exceptions: enough_orders",
        ),
        ("dbt-passed", lambda it: it["args"].update(resource_types=["test"]), Status.OK, ""),
        (
            "dbt-passed",
            lambda it: it["args"].update(resource_types=["model"]),
            Status.UNKNOWN,
            "--resource-types model",
        ),
        ("dbt-passed", lambda it: it["args"].update(exclude_resource_types=["model"]), Status.OK, ""),
        ("dbt-passed", lambda it: it["args"].update(exclude_resource_types=["test"]), Status.UNKNOWN, "-types test"),
        ("great-expectations-passed", lambda it: it["results"].pop(), Status.UNKNOWN, "it has 2 results of 3"),
        ("great-expectations-passed", lambda it: it.update(success=False), Status.UNKNOWN, "no result of it did"),
        ("soda-passed", lambda it: it["checks"][0].update(outcome=None), Status.UNKNOWN, "could not be evaluated"),
        ("soda-passed", lambda it: it.update(hasFailures=True), Status.UNKNOWN, "has none that did"),
        ("soda-passed", lambda it: it["checks"][0].update(dataSource="dev"), Status.UNKNOWN, "is about dev, shop_prod"),
    ],
)
async def test_what_a_file_says_between_the_lines(
    tmp_path: Path, file: str, change: Callable[[Any], object], status: Status, words: str
) -> None:
    result = await judged({"path": changed(tmp_path, file, change), "target": TARGETS[file.partition("-")[0]]})
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_retry_is_about_what_was_left(tmp_path: Path) -> None:
    report = json.loads((DATA / "dbt-retry.json").read_text())
    for result in report["results"]:
        result |= {"status": "pass", "failures": 0}
    (tmp_path / "run_results.json").write_text(json.dumps(report))
    seen = await judged({"path": str(tmp_path / "run_results.json"), "target": "prod"})
    assert (seen.status, "a part of the checks (dbt retry)" in seen.summary) == (Status.UNKNOWN, True), seen.summary


async def test_a_manifest_shows_which_checks_did_not_run(tmp_path: Path) -> None:
    manifest = (DATA / "dbt-passed.manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(manifest)
    for file, status, words in (
        ("passed", Status.OK, "8 passed checks"),
        ("subset", Status.UNKNOWN, "has 5 checks (enough_orders, "),
        ("nothing", Status.UNKNOWN, "has 8 checks ("),
    ):
        (tmp_path / "run_results.json").write_text((DATA / f"dbt-{file}.json").read_text())
        options = {"path": str(tmp_path / "run_results.json"), "target": "prod", "manifest": True}
        result = await judged(options)
        assert (result.status, words in result.summary) == (status, True), result.summary
    changed = json.loads(manifest)
    name, node = next((name, node) for name, node in changed["nodes"].items() if name.startswith("test."))
    del changed["nodes"][name]
    (tmp_path / "run_results.json").write_text((DATA / "dbt-passed.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    assert "its manifest has no test" in (await judged(options)).summary
    (tmp_path / "manifest.json").write_text(json.dumps(json.loads(manifest) | {"disabled": {"test.shop.off": [node]}}))
    result = await judged(options)
    assert (result.status, "1 disabled check (off)" in result.summary) == (Status.WARNING, True), result.summary
    (tmp_path / "manifest.json").unlink()
    assert (await judged(options)).reason is Reason.MISSING


async def test_checks_by_name_may_be_a_part_of_all() -> None:
    result = await read("dbt-subset", checks=["not_null_shop_customers_id", "^source_unique"])
    assert result.status is Status.OK, result.summary
    result = await read("dbt-subset", checks=["enough_orders"])
    assert (result.status, "no passed check whose name contains enough_orders" in result.summary) == (
        Status.UNKNOWN,
        True,
    )
    assert (await read("soda-passed", min_checks=4)).status is Status.UNKNOWN
    with pytest.raises(ValueError, match="expected regular expressions"):
        await read("dbt-passed", checks=["("])


async def test_the_run_counts_not_the_file() -> None:
    """A start that failed leaves the file of the run before in its place."""
    for file in ("dbt-passed", "great-expectations-passed", "soda-passed"):
        options = {"path": str(DATA / f"{file}.json"), "target": TARGETS[file.partition("-")[0]]}
        assert (await judged(options, now=NOW + timedelta(hours=30))).reason is Reason.EXPIRED
        assert (await judged(options | {"max_age": "2d"}, now=NOW + timedelta(hours=30))).status is Status.OK
        assert (await judged(options, now=NOW - timedelta(days=3))).reason is Reason.INVALID
        other = await judged(options | {"target": "dev"})
        assert (other.status, other.reason) == (Status.UNKNOWN, Reason.CONTRADICTED)


async def test_what_says_nothing_of_data(tmp_path: Path) -> None:
    result = await judged({"path": str(DATA / "trivy-clean.json"), "target": "prod"})
    assert "is one of Trivy, expected one of dbt, Great Expectations or Soda" in result.summary
    path = tmp_path / "odd.json"
    for content in (b"", b"{}", b"[]", b"\xff\xfe", b'{"metadata": 1, "results": [], "args": {}}'):
        path.write_bytes(content)
        result = await judged({"path": str(path), "target": "prod"})
        assert result.status is Status.UNKNOWN, content
    path.unlink()
    assert (await judged({"path": str(path), "target": "prod"})).reason is Reason.MISSING


async def test_a_report_at_an_address(pages: Pages) -> None:
    url = pages.add("/run_results.json", (DATA / "dbt-passed.json").read_text())
    pages.add("/manifest.json", (DATA / "dbt-passed.manifest.json").read_text())
    options = {"url": {"url": url}, "target": "prod", "manifest": True}
    assert (await judged(options)).status is Status.OK
    assert (await judged(options | {"url": {"url": f"{url}.none"}})).status is Status.UNKNOWN


async def test_a_report_in_s3(aws: AwsServer) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="reports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="reports", Key="nightly/run_results.json", Body=(DATA / "dbt-passed.json").read_bytes())
    s3.put_object(Bucket="reports", Key="nightly/manifest.json", Body=(DATA / "dbt-passed.manifest.json").read_bytes())
    client = Aws(AwsSettings.model_validate(aws.settings), Threads())
    try:
        options = {"s3": "s3://reports/nightly/run_results.json", "target": "prod", "manifest": True}
        assert (await judged(options, aws=lambda: client)).status is Status.OK
        s3.delete_object(Bucket="reports", Key="nightly/run_results.json")
        gone = await judged(options, aws=lambda: client)
        assert (gone.status, gone.reason) == (Status.UNKNOWN, Reason.MISSING), gone.summary
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "expected one of path, url and s3"),
        ({"path": "a.json", "s3": "s3://reports/a.json"}, "expected one of path, url and s3"),
        ({"s3": "https://reports/a.json"}, "expected an object such as s3://"),
        ({"s3": "s3://reports"}, "expected an object such as s3://"),
    ],
)
async def test_a_report_is_in_one_place(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        await judged({"target": "prod"} | options)
