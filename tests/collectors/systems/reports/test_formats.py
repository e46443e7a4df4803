"""Reports that real tools wrote, what is lacking in them, and files that are hostile."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.systems.reports.check import summarised
from collectors.systems.reports.judge.tests import case_problems
from collectors.systems.reports.model.registry import FORMATS, Format, read_report
from collectors.systems.reports.model.report import Kind, Level, Report, canonical
from exporter.verdict import ProbeError, Reason, Status

DATA = Path(__file__).parent / "data"


def read(name: str) -> Report:
    return read_report((DATA / name).read_bytes())


def tried(reader: Callable[[bytes], Report], content: bytes) -> Report | None:
    """What is read, or None where that is refused in one sentence; anything else is raised."""
    with contextlib.suppress(ProbeError):
        return reader(content)
    return None


def counts(report: Report) -> tuple[int, ...]:
    return tuple(report.count(level) for level in Level)


JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pay" tests="4" failures="0" errors="0" skipped="1" time="2.5" timestamp="2026-11-29T10:00:00+01:00">
<testcase classname="pay.flows" name="card"/><testcase classname="pay.flows" name="refund"><system-out>x</system-out></testcase>
<testcase classname="pay.flows" name="sepa"><skipped/></testcase><testcase classname="pay.flows" name="3ds"/>
</testsuite></testsuites>"""


def test_junit_is_counted_by_its_cases() -> None:
    report = read_report(JUNIT.encode())
    assert report.tests
    assert report.tests.passed == {"pay.flows.card", "pay.flows.refund", "pay.flows.3ds"}
    assert (report.tests.failures, report.tests.skipped, report.problems) == (0, 1, ())
    assert (str(report.started), str(report.finished)) == (
        "2026-11-29 09:00:00+00:00",
        "2026-11-29 09:00:02.500000+00:00",
    )
    assert not list(case_problems(report, ["card", "refund"]))
    assert [problem.status for problem in case_problems(report, ["sepa"])] == [Status.UNKNOWN]


def test_a_failed_run_of_a_test_outweighs_one_that_passed() -> None:
    report = read_report(JUNIT.replace('name="3ds"/>', 'name="card"><failure message="declined"/></testcase>').encode())
    assert report.tests
    assert "pay.flows.card" not in report.tests.passed
    assert [problem.status for problem in case_problems(report)] == [Status.FAILED]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('tests="4"', 'tests="9"'),
        ('failures="0"', 'failures="2"'),
        ('errors="0"', 'errors="1"'),
        ("<testsuites>", '<testsuites tests="4" failures="3">'),
    ],
)
def test_a_junit_file_that_contradicts_itself_proves_nothing(before: str, after: str) -> None:
    problems = list(case_problems(read_report(JUNIT.replace(before, after).encode())))
    assert [problem.status for problem in problems] == [Status.UNKNOWN]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name="refund">', 'name="refund" status="failed">'),
        ('name="refund">', 'name="refund" result="error">'),
        ("</testsuite>", '<error message="the shop did not start"/></testsuite>'),
    ],
)
def test_a_failure_may_be_an_attribute_or_of_the_suite(before: str, after: str) -> None:
    (problem,) = case_problems(read_report(JUNIT.replace(before, after).encode()))
    assert problem.status is Status.FAILED


def test_skipped_tests_and_none_prove_nothing() -> None:
    for xml in (b"<testsuites/>", b'<testsuite><testcase name="a"><skipped/></testcase></testsuite>'):
        (problem,) = case_problems(read_report(xml))
        assert (problem.status, problem.reason) == (Status.UNKNOWN, Reason.MISSING)


BILLION = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><testsuite>&b;</testsuite>'
)
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite>&a;</testsuite>'


@pytest.mark.parametrize(
    "content",
    [
        BILLION,
        EXTERNAL,
        "<testsuite>" + "<a>" * 100_000,
        "<testsuite><testcase>",
        '<?xml version="1.0" encoding="nonsense"?><testsuite/>',
        "[" * 100_000,
        '{"SchemaVersion": 2, "ArtifactName": ' + "[" * 100_000,
        '{"runs": [{"tool": 1}], "version": "2.1.0"}',
        '[{"num_requests": -5, "response_times": {}, "name": "a"}]',
        '[{"num_requests": 5, "response_times": {"x": 1}, "name": "a"}]',
        "<html><body>Sign in</body></html>",
        "{",
        " ",
        "\x00\xff",
    ],
    ids=lambda content: content[:24],
)
def test_hostile_files_are_refused_in_a_sentence(content: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ProbeError) as raised:
        read_report(content.encode("latin-1"))
    assert raised.value.reason in (Reason.MALFORMED, Reason.LIMIT)
    assert "Error" not in str(raised.value)
    assert time.monotonic() - begun < 20


def test_a_test_case_with_millions_of_children_takes_little_memory() -> None:
    inner = "<a/>" * 200_000 + "<failure/>"
    report = read_report(f'<testsuite><testcase name="x">{inner}</testcase></testsuite>'.encode())
    assert report.tests
    assert report.tests.failures == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_to_a_real_file_makes_a_parser_raise_anything_else(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(DATA.iterdir())))
    content = bytearray(path.read_bytes() or JUNIT.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        match data.draw(st.sampled_from(("cut", "insert", "swap"))):
            case "cut":
                del content[at : at + data.draw(st.integers(1, 200))]
            case "insert":
                content[at:at] = data.draw(
                    st.sampled_from((b"null", b"{}", b"[]", b'"', b"-1", b"1e999", b"<a>", b"\xff", b","))
                )
            case _:
                content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    report = tried(read_report, bytes(content))
    assert report is None or isinstance(report.measured, dict)
    assert report is None or isinstance(report.lacks, tuple)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=200), _JSON)
def test_every_parser_raises_nothing_else_for_anything(known: Format, raw: bytes, value: object) -> None:
    for content in (raw, json.dumps(value).encode()):
        for reader in (known.read, read_report):
            tried(reader, content)


def test_locust_reports_do_not_name_their_target() -> None:
    report = read("locust-passed.json")
    assert report.load
    assert (report.load.requests, report.load.errors, report.load.p95) == (19, 0, 0.085)
    assert report.load.scenario == {"GET /"}
    assert report.lacks == ("target",)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (",Aggregated,75,12", "GET,Aggregated,75,12", "does not end with the row Aggregated"),  # cut off
        ("GET,/,45,0", "GET,/,46,0", "do not add up"),
        (",Aggregated,75,12", ",Aggregated,75,99", "contradict each other"),
        (",87,91,91,91,91", ",nan,91,91,91,91", "impossible"),
        ("45,0", "many,0", "does not have the fields"),
    ],
)
def test_a_csv_of_locust_that_is_not_whole_is_refused(before: str, after: str, why: str) -> None:
    text = (DATA / "locust-stats.csv").read_text()
    assert before in text
    with pytest.raises(ProbeError, match=why):
        read_report(text.replace(before, after).encode())


def test_a_csv_of_locust_without_end_is_refused() -> None:
    row = b"GET,/,1,0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1\n"
    with pytest.raises(ProbeError, match="more than 10000 rows"):
        read_report((DATA / "locust-stats.csv").read_bytes().partition(b"\n")[0] + b"\n" + row * 500_000)


def test_failures_of_locust_do_not_lower_the_percentile() -> None:
    times = {"1": 50, "900": 50}
    entry = {"name": "/", "method": "GET", "num_requests": 100, "num_failures": 50, "response_times": times}
    report = read_report(json.dumps([entry]).encode())
    assert report.load
    assert (report.load.error_ratio, report.load.p95) == (0.5, 0.9)
    down = read("locust-target-down.json").load
    assert down
    assert (down.error_ratio, down.p95) == (1.0, None)
    none = read("locust-zero-requests.json").load
    assert none
    assert (none.requests, none.error_ratio) == (0, 1.0)


def test_trivy_is_read_by_class_and_place() -> None:
    report = read("trivy-criticals.json")
    assert counts(report)[:2] == (1, 2)
    assert report.scope == {"vulnerabilities"}
    assert report.lacks == ("tool", "database", "filters")
    assert read("trivy-secrets-only.json").scope == {"secrets"}
    assert read("trivy-empty-scan.json").examined == 0
    assert [finding.advisory for finding in read("trivy-accepted-shown.json").accepted] == ["CVE-2099-0001"]
    image = read("trivy-image-archive.json")
    assert image.revision == "0123456789abcdef0123456789abcdef01234567"
    assert image.digests == {"sha256:8d54b5247bcc8428616d352ee26639161e8251b16a9c4ab00de04707a3c682ac"}
    with pytest.raises(ProbeError, match="is empty"):
        read("trivy-missing-target.json")


def test_sarif_is_read_by_severity_and_not_by_level() -> None:
    assert counts(read("trivy-criticals.sarif"))[:2] == (1, 2)  # both are `error`
    assert counts(read("gitleaks-leak.sarif")) == (0, 0, 0, 0, 1)  # no severity: it may be critical
    assert read("govulncheck-affected.sarif").count(Level.UNRATED) > 0
    semgrep = read("semgrep-findings-one-suppressed.sarif")
    assert (len(semgrep.findings), len(semgrep.accepted)) == (2, 1)
    assert read("gitleaks-clean.sarif").lacks == ("finished", "target", "filters", "examined")


def test_sarif_that_is_under_review_is_open_and_what_is_gone_is_none() -> None:
    results = [
        {"ruleId": "a", "level": "error", "suppressions": [{"kind": "external", "status": "underReview"}]},
        {"ruleId": "b", "level": "error", "baselineState": "absent"},
        {"ruleId": "c", "kind": "pass"},
    ]
    run = {"tool": {"driver": {"name": "x"}}, "results": results, "invocations": [{"executionSuccessful": False}]}
    report = read_report(json.dumps({"version": "2.1.0", "runs": [run]}).encode())
    assert [finding.advisory for finding in report.findings] == ["a"]
    assert report.problems == ("a run of x was not successful",)


def test_a_refused_target_is_all_errors_in_every_format() -> None:
    for name in (
        "vegeta-target-down.json",
        "autocannon-target-down.json",
        "gatling-target-down.txt",
        "jmeter-target-down.jtl.csv",
    ):
        load = read(name).load
        assert load
        assert (load.error_ratio, load.p95) == (1.0, None), name


def test_real_load_reports_say_what_they_measured() -> None:
    for name, requests, p95 in (
        ("vegeta-passed.json", 80, 0.083942635),
        ("autocannon-passed.json", 115, 0.084),  # p97.5: it has no p95
        ("gatling-passed.txt", 20, 0.599),
        ("jmeter-passed.jtl.csv", 11, 0.472),
    ):
        load = read(name).load
        assert load
        assert (load.requests, load.errors, load.p95) == (requests, 0, p95), name
    stats = read("locust-stats.csv")
    assert stats.load
    assert (stats.load.requests, stats.load.errors, stats.load.p95) == (
        75,
        12,
        0.087,
    )  # p98, as failures are among the times
    assert (stats.load.failing, stats.lacks) == (("GET /broken",), ("finished", "target", "started"))
    failed = read("vegeta-failures.json").load
    assert failed
    assert (failed.errors, failed.p95) == (12, 0.104753269)  # p99, as failures are among the latencies


@pytest.mark.parametrize(
    ("thresholds", "broken"),
    [
        ({"http_req_duration": {"p(95)": 90.0, "thresholds": {"p(95)<500": False}}}, ()),
        ({"http_req_duration": {"p(95)": 90.0, "thresholds": {"p(95)<50": True}}}, ("http_req_duration: p(95)<50",)),
        ({"http_req_duration": {"values": {"p(95)": 90.0}, "thresholds": {"p(95)<500": {"ok": True}}}}, ()),
        (
            {"http_req_duration": {"values": {"p(95)": 90.0}, "thresholds": {"p(95)<50": {"ok": False}}}},
            ("http_req_duration: p(95)<50",),
        ),
        ({"http_req_duration": {"values": {"p(95)": 90.0}}}, None),
    ],
)
def test_thresholds_of_k6_are_read_by_their_shape(
    thresholds: dict[str, object], broken: tuple[str, ...] | None
) -> None:
    flat = "values" not in str(thresholds)
    metrics = thresholds | (
        {"http_reqs": {"count": 50}, "http_req_failed": {"value": 0.0}}
        if flat
        else {"http_reqs": {"values": {"count": 50}}, "http_req_failed": {"values": {"rate": 0.0}}}
    )
    report = read_report(
        json.dumps({"root_group": {}, "metrics": metrics, "state": {"testRunDurationMs": 60000}}).encode()
    )
    assert report.load
    assert (report.load.requests, report.load.p95, report.load.broken) == (50, 0.09, broken)
    assert ("exit_code" in report.lacks) == (broken is None)


def test_the_duration_of_an_exported_summary_of_k6_is_in_its_rates() -> None:
    metrics: dict[str, dict[str, float]] = {
        "http_reqs": {"count": 600, "rate": 10.0},
        "http_req_failed": {"value": 0.0},
        "iterations": {"count": 300},
    }
    report = as_json({"root_group": {}, "metrics": metrics})
    assert report.load
    assert (report.load.duration, "started" in report.lacks) == (timedelta(minutes=1), False)
    del metrics["http_reqs"]["rate"]
    report = as_json({"root_group": {}, "metrics": metrics})
    assert report.load
    assert (report.load.duration, "started" in report.lacks) == (None, True)


def test_an_audit_counts_what_was_audited() -> None:
    skipped = read("pip-audit-nothing-audited.json")
    assert (skipped.examined, skipped.problems) == (0, ("2 dependencies skipped",))
    with pytest.raises(ProbeError, match="registry did not answer"):
        read("npm-audit-endpoint-refused.json")
    go = read("govulncheck-affected.json")
    assert {finding.package for finding in go.findings} == {"golang.org/x/text", "stdlib"}
    assert (go.count(Level.UNRATED), go.database) == (3, None)
    via = [{"source": 1, "url": "https://github.com/advisories/GHSA-1", "severity": "critical"}, "other"]
    npm = {
        "auditReportVersion": 2,
        "vulnerabilities": {"a": {"name": "a", "severity": "critical", "via": via}},
        "metadata": {"dependencies": {"total": 7}},
    }
    report = read_report(json.dumps(npm).encode())
    assert (report.examined, [finding.advisory for finding in report.findings]) == (7, ["GHSA-1"])
    npm["metadata"] = {"dependencies": {"total": 7}, "vulnerabilities": {"total": 3}}
    report = read_report(json.dumps(npm).encode())
    assert report.problems == ("its summary counts 3 vulnerable packages, its list has 1",)


def test_bandit_counts_what_its_filter_left_out() -> None:
    assert read("bandit-findings.json").filters is None  # `-s`, `-t` and `-x` leave no trace
    assert read("bandit-filtered-by-severity.json").filters == "a severity or confidence level"
    assert read("bandit-empty-scan.json").examined == 0
    assert read("bandit-missing-target.json").problems == ("1 file could not be read",)


def test_documented_formats_are_read() -> None:
    alerts = [
        {"alertRef": "1", "riskcode": "3", "confidence": "2"},
        {"alertRef": "2", "riskcode": "3", "confidence": "0"},
    ]
    zap = {
        "@programName": "ZAP", "@version": "2.16.1", "created": "2026-10-12T10:00:00Z",
        "site": [{"@name": "https://shop.example.com", "alerts": alerts}],
    }  # fmt: skip
    report = read_report(json.dumps(zap).encode())
    assert (report.tool, report.target, report.count(Level.HIGH), len(report.accepted)) == (
        "ZAP 2.16.1", "https://shop.example.com", 1, 1,
    )  # fmt: skip
    line = json.dumps(
        {
            "template-id": "git-config",
            "info": {"severity": "critical"},
            "host": "a",
            "timestamp": "2026-10-12T10:00:00Z",
        }
    )
    assert read_report(f"{line}\n{line}\n".encode()).count(Level.CRITICAL) == 1
    results = [{"test_number": "1.1.1", "status": "FAIL"}, {"test_number": "1.1.2", "status": "WARN"}]
    bench = {"Controls": [{"node_type": "master", "tests": [{"results": results}]}], "Totals": {}}
    report = read_report(json.dumps(bench).encode())
    assert (report.examined, report.count(Level.HIGH)) == (1, 1)


def test_a_file_of_millions_of_elements_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.systems.reports.model.junit._MOST_TAGS", 1000)
    with pytest.raises(ProbeError, match="more than 1000 tags"):
        read_report(b"<testsuite>" + b"<a/>" * 2000 + b"</testsuite>")
    monkeypatch.setattr("collectors.systems.reports.model.registry._MOST_OBJECTS", 1000)
    with pytest.raises(ProbeError, match="more than 1000 objects"):
        read_report(b'{"runs": [' + b"{}," * 2000 + b"{}]}")


def test_failed_checks_of_k6_are_errors_and_missing_times_of_locust_no_percentile() -> None:
    metrics = {"http_reqs": {"count": 50}, "http_req_failed": {"value": 0.0}, "checks": {"value": 0.5}}
    load = read_report(json.dumps({"root_group": {}, "metrics": metrics}).encode()).load
    assert load
    assert load.errors == 25
    entry = {"name": "/", "num_requests": 100, "num_failures": 0, "response_times": {"1": 50}}
    load = read_report(json.dumps([entry]).encode()).load
    assert load
    assert load.p95 is None


HEADER = "timeStamp,elapsed,label,success\n"


def jtl(*samples: tuple[object, ...]) -> Report:
    return read_report((HEADER + "\n".join(",".join(map(str, sample)) for sample in samples)).encode())


@pytest.mark.parametrize("time", ["NaN", "-5", "inf"])
def test_a_time_that_is_none_does_not_hide_the_percentile(time: str) -> None:
    entry = {"name": "/", "num_requests": 6000, "num_failures": 0, "response_times": {time: 6000}}
    with pytest.raises(ProbeError, match="its response times are impossible"):
        read_report(json.dumps([entry]).encode())
    with pytest.raises(ProbeError, match="its times are impossible"):
        jtl((1_790_000_000_000, time, "/", "true"))
    with pytest.raises(ProbeError, match="its times are impossible"):
        jtl((time, 5, "/", "true"))


def test_the_time_between_two_runs_in_one_file_is_no_load() -> None:
    began = 1_790_000_000_000
    runs = [(began + day * 86_400_000 + second * 1000, 20, "/", "true") for day in (0, 1) for second in range(30)]
    load = jtl(*runs).load
    assert load
    assert load.duration
    assert load.duration.total_seconds() <= 240
    text = (DATA / "gatling-passed.txt").read_bytes()
    with pytest.raises(ProbeError, match="the results of several runs"):
        read_report(text + (DATA / "gatling-failed.txt").read_bytes())


def test_a_request_that_never_succeeded_is_named() -> None:
    began = 1_790_000_000_000
    samples = [(began + at, 20, "/", "true") for at in range(5000)]
    failed = [(began + at, 20, "/pay", "false") for at in range(20)]
    load = jtl(*samples, *failed, (began, 5, "/item/7", "false")).load
    assert load
    assert load.failing == ("/pay",)
    entries = [
        {"name": name, "method": "POST", "num_requests": number, "num_failures": failures, "response_times": {}}
        for name, number, failures in (("/", 5000, 0), ("/pay", 20, 20), ("/item/7", 1, 1))
    ]
    load = read_report(json.dumps(entries).encode()).load
    assert load
    assert load.failing == ("POST /pay",)


def test_files_that_powershell_wrote_are_read() -> None:
    content = (DATA / "trivy-criticals.json").read_bytes()
    plain = read_report(content)
    assert read_report(b"\xef\xbb\xbf" + content) == plain
    assert read_report(content.decode().encode("utf-16")) == plain
    assert read_report(JUNIT.encode("utf-16")) == read_report(JUNIT.encode())
    for refused, words in ((gzip.compress(content), "is compressed"), (b"\xff\xfe\x00\xd8{", "is not the UTF-16")):
        with pytest.raises(ProbeError, match=words):
            read_report(refused)


def test_addresses_in_reports_tell_no_secret_and_a_dot_is_no_target() -> None:
    run = json.loads((DATA / "autocannon-passed.json").read_bytes())
    run["url"] = "https://ann:canary-1@shop.example.com/pay?token=canary-2&page=1"
    assert "canary" not in repr(read_report(json.dumps(run).encode()))
    scan = json.loads((DATA / "trivy-criticals.json").read_bytes())
    found = read_report(json.dumps(scan | {"ArtifactName": "https://canary-3@git.example.com/shop"}).encode())
    assert found.target == "https://git.example.com/shop"
    for name in (".", "./", "..", "/", "dir:."):
        assert "target" in read_report(json.dumps(scan | {"ArtifactName": name}).encode()).lacks


def test_a_vulnerability_check_that_broke_off_is_not_complete() -> None:
    content = (DATA / "govulncheck-affected.json").read_text()
    begun = content[: content.index("Checking the code")].rpartition("}")[0] + "}"
    assert not read_report(content.encode()).problems
    end = begun.rindex('"progress"')
    for cut in (begun[:end].rpartition("{")[0], begun):
        report = tried(read_report, cut.encode())
        assert report is None or report.problems == ("it ended before the code was checked",)


def test_an_image_whose_system_packages_were_left_out_is_not_complete() -> None:
    scan = json.loads((DATA / "trivy-image-archive.json").read_bytes())
    scan["Metadata"]["OS"] = {"Family": "debian", "Name": "12.5"}
    assert read_report(json.dumps(scan).encode()).problems == ("the packages of debian 12.5 were not scanned",)
    scan["Results"].append({"Target": "x (debian 12.5)", "Class": "os-pkgs", "Type": "debian"})
    assert not read_report(json.dumps(scan).encode()).problems


def test_rules_of_extensions_have_the_severity_and_an_unknown_rule_has_none() -> None:
    rule = {"id": "js/sql", "properties": {"security-severity": "9.8"}}
    tool = {"driver": {"name": "CodeQL", "rules": [{"id": "other"}]}, "extensions": [{"name": "q", "rules": [rule]}]}
    for result, level in (
        ({"ruleId": "js/sql", "rule": {"id": "js/sql", "index": 0, "toolComponent": {"index": 0}}}, Level.CRITICAL),
        ({"ruleId": "js/sql", "ruleIndex": 0}, Level.CRITICAL),
        ({"ruleId": "js/sql/a", "rule": {"index": 0, "toolComponent": {"index": 0}}}, Level.CRITICAL),
        ({"ruleId": "js/none", "rule": {"id": "js/none"}}, Level.UNRATED),
        ({"ruleId": "other", "ruleIndex": 0}, Level.MEDIUM),
    ):
        log = {"version": "2.1.0", "runs": [{"tool": tool, "results": [result]}]}
        assert [found.level for found in read_report(json.dumps(log).encode()).findings] == [level], result


def test_trivys_sarif_says_what_was_looked_for_only_in_what_was_found() -> None:
    log = json.loads((DATA / "trivy-criticals.sarif").read_bytes())
    assert read_report(json.dumps(log).encode()).scope == {"vulnerabilities"}
    log["runs"][0]["results"] = log["runs"][0]["tool"]["driver"]["rules"] = []
    assert read_report(json.dumps(log).encode()).problems
    log["runs"][0]["tool"]["driver"]["rules"] = [{"id": "aws-key", "properties": {"tags": ["secret", "CRITICAL"]}}]
    assert read_report(json.dumps(log).encode()).scope == {"secrets"}


def test_rules_that_grype_itself_ignores_by_are_no_filter() -> None:
    own: dict[str, object] = {"package": {"name": "linux-libc-dev", "type": "deb", "upstream-name": "linux"}}
    own = own | {"match-type": "exact-indirect-match", "vulnerability": ""}
    match = {"vulnerability": {"id": "CVE-1", "severity": "Critical"}, "artifact": {"name": "linux-libc-dev"}}
    for rules, filters, accepted in (([own], "", 0), ([own, {"vulnerability": "CVE-1"}], "ignore", 1)):
        grype = {
            "matches": [], "ignoredMatches": [match | {"appliedIgnoreRules": rules}],
            "descriptor": {"name": "grype", "configuration": {"ignore": rules}},
        }  # fmt: skip
        report = read_report(json.dumps(grype).encode())
        assert (report.filters, len(report.accepted)) == (filters, accepted)


def as_json(document: object) -> Report:
    return read_report(json.dumps(document).encode())


def test_k6_that_could_not_make_the_load_is_not_complete() -> None:
    duration = {"values": {"p(95)": 200}, "thresholds": {"p(95)<500": {"ok": True}}}
    metrics: dict[str, Any] = {
        "http_reqs": {"values": {"count": 1000}},
        "http_req_failed": {"values": {"rate": 0}},
        "http_req_duration": duration,
        "iterations": {"values": {"count": 1000}},
    }
    for dropped, problems in ((5, 0), (5000, 1)):
        metrics["dropped_iterations"] = {"values": {"count": dropped}}
        assert len(as_json({"root_group": {}, "metrics": metrics}).problems) == problems


def test_results_that_are_elsewhere_or_were_cut_are_missing() -> None:
    log = json.loads((DATA / "gitleaks-clean.sarif").read_text())
    log["runs"][0]["externalPropertyFileReferences"] = {"results": [{"location": {"uri": "results.json"}}]}
    assert any("in another file" in problem for problem in as_json(log).problems)
    failed = {"test_number": "4.2.1", "status": "FAIL"}
    bench = {"Controls": [{"node_type": "node", "tests": [{"results": [failed]}]}], "Totals": {"total_fail": 1}}
    assert not as_json(bench).problems
    bench["Totals"] = {"total_fail": 9}
    assert as_json(bench).problems == ("it counts 9 failed controls and has 1",)


def test_a_control_that_kube_bench_could_not_check_makes_the_scan_incomplete() -> None:
    """As where it runs without the host's processes: `ps` finds no kubelet."""
    failed = {"test_number": "4.2.1", "status": "FAIL", "reason": 'failed to run: "/bin/ps -fC kubelet", exit status 1'}
    by_hand = {"test_number": "4.2.2", "status": "WARN", "reason": "Test marked as a manual test"}
    report = as_json({"Controls": [{"node_type": "node", "tests": [{"results": [failed, by_hand]}]}]})
    assert report.problems == ("1 control could not be checked, as 4.2.1",)


def test_what_did_not_match_is_no_finding() -> None:
    line = {"template-id": "cve", "info": {"severity": "critical"}, "host": "https://a.example.com"}
    report = as_json([line | {"matcher-status": False}])
    assert (report.findings, report.places) == ((), frozenset({"https://a.example.com"}))
    assert len(as_json([line | {"matcher-status": True}]).findings) == 1


def test_a_database_of_grype_that_is_not_valid_finds_nothing() -> None:
    for status, problems in (({"valid": True}, ()), ({"valid": False}, ("its database was not valid",))):
        descriptor = {"name": "grype", "db": {"status": {"built": "2026-11-29T00:00:00Z"} | status}}
        assert as_json({"matches": [], "descriptor": descriptor}).problems == problems


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("index.docker.io/library/nginx:1.25", "docker.io/library/nginx:1.25"),
        ("localhost:5000/shop@sha256:ab", "localhost:5000/shop@sha256:ab"),
        ("https://Shop.example.com/a", "https://Shop.example.com/a"),
        ("/srv/shop", "/srv/shop"),
    ],
)
def test_one_image_has_one_name(target: str, name: str) -> None:
    assert canonical(target) == name


def test_a_report_of_another_kind_is_not_attested() -> None:
    assert summarised(Kind.LOAD)((DATA / "locust-passed.json").read_bytes()).format == "Locust"
    with pytest.raises(ProbeError, match="It is a dbt report, expected one of a security scan"):
        summarised(Kind.SCAN)((DATA / "dbt-passed.json").read_bytes())


def machine_readable(*checks: dict[str, Any], **metrics: dict[str, Any]) -> dict[str, Any]:
    """k6's newest summary, as its schema 1.0.0 describes it."""
    named = {"http_req_duration_ok": "http_req_duration{expected_response:true}"}
    return {
        "version": "1.0.0",
        "metadata": {"k6Version": "1.5.0", "generatedAt": "2026-11-29T10:00:00.123456789Z"},
        "config": {"duration": 900.5, "execution": "local", "script": "load.js"},
        "results": {
            "metrics": [{"name": named.get(name, name), "values": values} for name, values in metrics.items()],
            "checks": {"metrics": list(checks), "results": []},
        },
    }


K6: dict[str, Any] = {
    "http_reqs": {"count": 20000},
    "http_req_failed": {"matches": 100, "total": 20000, "rate": 0.005},
    "http_req_duration": {"p(90)": 80, "p(95)": 90, "max": 5000},
    "http_req_duration_ok": {"p(90)": 180, "p(95)": 190, "max": 400},
    "iterations": {"count": 20000},
}


def test_the_machine_readable_summary_of_k6_has_all_but_thresholds() -> None:
    no_checks = {"name": "checks_succeeded", "values": {"matches": 0, "total": 0, "rate": 0}}
    report = as_json(machine_readable(no_checks, **K6))
    assert report.load
    assert (report.format, report.tool, str(report.finished)) == ("k6", "k6 1.5.0", "2026-11-29 10:00:00.123456+00:00")
    assert (report.load.requests, report.load.errors, report.load.p95) == (20000, 100, 0.19)
    assert (report.load.duration, report.lacks) == (timedelta(seconds=900.5), ("target", "scenario", "exit_code"))
    half = {"name": "checks_succeeded", "values": {"matches": 50, "total": 100, "rate": 0.5}}
    checked = as_json(machine_readable(half, **K6)).load
    assert checked
    assert checked.errors == 10000
    dropped = as_json(machine_readable(**K6, dropped_iterations={"count": 9000}))
    assert len(dropped.problems) == 1
    with pytest.raises(ProbeError, match="another version than 1"):
        as_json(machine_readable(**K6) | {"version": "2.0.0"})
    with pytest.raises(ProbeError, match="machine-readable summary"):
        as_json(machine_readable(**K6) | {"results": {"metrics": {}}})


def test_a_higher_percentile_of_k6_bounds_the_95th() -> None:
    metrics = {
        "http_reqs": {"count": 50},
        "http_req_failed": {"value": 0},
        "http_req_duration": {"avg": 1, "p(99.9)": 70, "p(99)": 40},
    }
    load = as_json({"root_group": {}, "metrics": metrics}).load
    assert load
    assert load.p95 == 0.04


def test_failures_that_k6_did_not_count_are_not_known() -> None:
    metrics = {"http_reqs": {"count": 50}, "http_req_duration": {"p(95)": 70}}
    report = as_json({"root_group": {}, "metrics": metrics})
    assert report.problems == ("it did not count failed requests (http_req_failed)",)
    checked = as_json({"root_group": {}, "metrics": metrics | {"checks": {"value": 0.9}}})
    assert checked.load
    assert (checked.problems, checked.load.errors) == ((), 5)


def test_requests_of_locust_without_a_time_may_be_the_slow_ones() -> None:
    entry = {
        "name": "/",
        "num_requests": 1000,
        "num_failures": 0,
        "num_none_requests": 900,
        "response_times": {"10": 100},
    }
    load = as_json([entry]).load
    assert load
    assert load.p95 is None


@pytest.mark.parametrize(("shown", "counted"), [(True, ("a", "b")), (False, ("Checkout", "login"))])
def test_a_transaction_of_jmeter_counts_where_its_samples_are_not_in_the_file(
    shown: bool, counted: tuple[str, ...]
) -> None:
    """With "Generate parent sample" they are not, and the one slow transaction hides behind fast logins."""
    lines = ["timeStamp,elapsed,label,responseMessage,threadName,success,URL"]
    note = '"Number of samples in transaction : 2, number of failing samples : 0"'
    for index in range(50):
        began = 1_790_000_000_000 + index * 10_000
        lines += (
            [f"{began},40,{name},OK,Users 1-{index % 5},true,http://a.example/" for name in ("a", "b")] if shown else []
        )
        lines += [] if shown else [f"{began - 900},40,login,OK,Users 1-{index % 5},true,http://a.example/"]
        lines += [f"{began},8000,Checkout,{note},Users 1-{index % 5},{str(shown).lower()},null"]
    report = read_report("\n".join(lines).encode())
    assert report.load
    assert (report.load.requests, tuple(sorted(report.load.scenario))) == (100, counted)
    assert report.load.errors == (0 if shown else 50)


def test_samples_that_run_in_parallel_are_in_the_file() -> None:
    lines = ["timeStamp,elapsed,label,responseMessage,threadName,success,URL"]
    note = '"Number of samples in transaction : 2, number of failing samples : 0"'
    for index in range(50):
        began = 1_790_000_000_000 + index * 10_000
        lines += [f"{began + 5},40,{name},OK,parallel {name},true,http://a.example/" for name in ("a", "b")]
        lines += [f"{began},8000,page,{note},Users 1-1,true,null"]
    load = read_report("\n".join(lines).encode()).load
    assert load
    assert (load.requests, load.p95) == (100, 0.04)


def test_sums_that_precede_their_samples_are_unknown() -> None:
    lines = ["timeStamp,elapsed,label,responseMessage,threadName,success,URL"]
    for index in range(50):
        began = 1_790_000_000_000 + index * 10_000
        lines += [
            f'{began},8000,page,"Number of samples in transaction : 1, number of failing samples : 0",Users 1-1,true,null'
        ]
        lines += [f"{began},40,a,OK,Users 1-1,true,http://a.example/"]
    with pytest.raises(ProbeError, match="its rows are sorted by their beginnings"):
        read_report("\n".join(lines).encode())


def test_grype_says_what_it_left_out_but_not_how_much_it_looked_at() -> None:
    found = read("grype-findings.json")
    assert (counts(found), found.filters, found.problems, found.lacks) == ((1, 2, 0, 0, 0), "", (), ())
    assert {name for finding in found.findings for name in finding.names} >= {"CVE-2026-1111", "GHSA-aaaa-bbbb-cccc"}
    assert read("grype-empty-folder.json").lacks == ("examined",)  # and so is one of a clean folder
    assert "only-fixed" in (read("grype-only-fixed.json").filters or "")
    vex = read("grype-vex.json")
    assert (vex.filters, counts(vex)) == ("", counts(found))  # what a VEX document sets aside stays in the report
    assert read("grype-end-of-life.json").problems == (
        "it has no advisories any more (Package is from end-of-life distro: debian 9)",
    )
    other = read("grype-other-distribution.json")
    assert other.problems == ("it took debian:13 for the distribution, without looking",)
    quiet = json.loads((DATA / "grype-findings.json").read_text())
    quiet["descriptor"]["configuration"]["alerts"]["enable-eol-distro-warnings"] = False
    assert as_json(quiet).problems == ("its alerts of distributions without support are off",)


@pytest.mark.parametrize(
    ("insight", "problems"),
    [
        ({"level": "Medium", "reason": "Exceeded High", "key": "insight.network.failure", "statistic": "63"}, 1),
        (
            {
                "level": "High",
                "reason": "Exceeded High",
                "key": "insight.auth.failure",
                "site": "https://a",
                "statistic": 100,
            },
            1,
        ),
        ({"level": "Low", "reason": "Exceeded High", "key": "insight.code.5xx", "statistic": "95"}, 1),
        ({"level": "Low", "reason": "Exceeded Low", "key": "insight.network.failure", "statistic": "6"}, 0),
        ({"level": "Low", "reason": "Warning", "key": "insight.log.warn", "statistic": "752"}, 0),
        ({"level": "Low", "reason": "Exceeded High", "key": "insight.code.4xx", "statistic": "60"}, 0),
    ],
)
def test_what_zap_noticed_about_its_own_scan_counts(insight: dict[str, Any], problems: int) -> None:
    zap = {"@programName": "ZAP", "@version": "2.17.0", "created": "2026-10-12T10:00:00Z", "insights": [insight]}
    report = as_json(zap | {"site": [{"@name": "https://shop.example.com", "alerts": []}]})
    assert len(report.problems) == problems


def test_a_run_that_did_not_start_is_no_clean_sarif() -> None:
    clean = json.loads((DATA / "gitleaks-clean.sarif").read_text())
    for invocation in (
        {"executionSuccessful": True, "toolConfigurationNotifications": [{"level": "error"}]},
        {"executionSuccessful": True, "processStartFailureMessage": "no such file"},
        {"executionSuccessful": True, "exitSignalName": "SIGKILL"},
    ):
        clean["runs"][0]["invocations"] = [invocation]
        assert len(as_json(clean).problems) == 1


@pytest.mark.parametrize("name", ["osv-scanner", "dependency-check", "Snyk Container"])
def test_scanners_of_dependencies_need_a_date_of_their_database(name: str) -> None:
    report = as_json({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": name}}, "results": []}]})
    assert report.scope == {"vulnerabilities"}
    assert "database" in report.lacks


def test_a_server_of_trivy_names_its_database_and_a_repository_its_commit() -> None:
    trivy = json.loads((DATA / "trivy-clean.json").read_text())
    trivy["Trivy"] = {"Version": "0.74.0", "Server": {"VulnerabilityDB": {"UpdatedAt": "2026-11-29T06:00:00Z"}}}
    trivy["Metadata"] = {"RepoURL": "https://git.example.com/shop", "Branch": "main", "Commit": "ab" * 20}
    report = as_json(trivy)
    assert (str(report.database), report.revision) == ("2026-11-29 06:00:00+00:00", "ab" * 20)


def test_older_bandits_write_their_counts_with_a_point() -> None:
    bandit = {
        "generated_at": "2020-12-30T10:02:42Z",
        "metrics": {"_totals": {"loc": 12.0, "SEVERITY.LOW": 0.0}},
        "results": [],
    }
    assert (as_json(bandit).examined, as_json(bandit).filters) == (12, None)


def test_an_sbom_may_be_of_any_image() -> None:
    grype = json.loads((DATA / "grype-findings.json").read_text())
    grype["source"] = {"type": "sbom-file", "target": "sbom.json"}
    assert "target" in as_json(grype).lacks
    for kind, lacks in (("cyclonedx", True), ("spdx", True), ("container_image", False)):
        trivy = json.loads((DATA / "trivy-clean.json").read_text()) | {"ArtifactType": kind}
        assert ("target" in as_json(trivy).lacks) is lacks


def test_the_level_of_an_advisory_in_sarif_is_no_severity() -> None:
    """osv-scanner calls every one a warning."""
    for name, level in (("osv-scanner", Level.UNRATED), ("Semgrep OSS", Level.MEDIUM)):
        result = {"ruleId": "CVE-2026-1", "level": "warning"}
        report = as_json({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": name}}, "results": [result]}]})
        assert [finding.level for finding in report.findings] == [level]


def test_a_spreadsheet_writes_true_in_capitals_and_seconds_are_no_milliseconds() -> None:
    load = jtl((1_790_000_000_000, 5, "/", "TRUE"), (1_790_000_001_000, 5, "/", "FALSE")).load
    assert load
    assert (load.requests, load.errors) == (2, 1)
    with pytest.raises(ProbeError, match="its times are impossible"):
        jtl((1_790_000_000, 5, "/", "true"))
