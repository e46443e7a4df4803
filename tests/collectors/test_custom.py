"""Lines of a user's own: what an expression's samples mean, asked of real servers of two generations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.custom import Custom, CustomLine
from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from exporter.collector import Mode, SectionSettings
from exporter.threads import Threads
from exporter.verdict import Reason, Result, Severity, Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers import faults
from tests.servers.process import free_port, wait_until
from tests.servers.prometheus import NEW, OLD, scrape
from tests.servers.prometheus import Prometheus as Server
from tests.servers.signing import Keys
from tests.support import verify

UP = 'up{job="prometheus"}'


def custom(**options: Any) -> type[Custom]:
    line = CustomLine.model_validate_json(json.dumps({"section": "Search", "line": "Index is fresh", **options}))
    return Custom.verifying(line, "search", "index_is_fresh", Severity.CRITICAL)


RECORDED = {
    "shards_red": ("vector(0)", {}),
    "replicas": ("vector(3)", {"pod": "a"}),
    "replicas_of_b": ("vector(1)", {"pod": "b"}),
    "wanted": ("vector(3)", {"pod": "a"}),
    "undefined": ("vector(0) / 0", {}),
    "infinite": ("vector(1) / 0", {}),
    "backup_timestamp_seconds": ("vector(time() - 60)", {}),
    "backup_timestamp_milliseconds": ("vector(time() * 1000)", {}),
    "other_labels": ("vector(1)", {"node": "n"}),
    "tomorrow_timestamp_seconds": ("vector(time() + 7200)", {}),
}


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def recorder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus with two targets, of which one is down, and series of known values."""
    rules = [{"record": name, "expr": expr, "labels": labels} for name, (expr, labels) in RECORDED.items()]
    # One metric with two series, as the targets of `up` are.
    rules += [
        {"record": "pods", "expr": f"vector({value})", "labels": {"pod": pod}} for pod, value in (("a", 3), ("b", 1))
    ]
    with Server(tmp_path_factory.mktemp("recorder"), release=request.param) as server:
        server.configure(
            scrapes=[scrape("both", server.port, free_port())],
            rules=[{"name": "recorded", "rules": rules}],
            extra={"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}},
        )
        server.wait_for('count(up{job="both"}) == 2 and on() up{job="both"} == 1')
        server.wait_for("infinite")
        server.wait_for("tomorrow_timestamp_seconds")
        yield server


async def asked(url: str, **options: Any) -> Result:
    settings = PrometheusSettings.model_validate_json(json.dumps({"url": url, "timeout": "5s"}))
    client = Prometheus(settings, Threads())
    try:
        found = await verify(custom(**options), SectionSettings(), clients={"prometheus": client})
        return found["index_is_fresh"].result
    finally:
        await client.close()


BOTH = 'up{job="both"}'
STATUS = {"url": "http://shop", "endpoints": [{"path": "/", "conditions": ["status == 200"]}]}
OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN


@pytest.mark.parametrize(
    ("promql", "status", "summary"),
    [
        # One of two targets is down, whatever PromQL returns of the other.
        (f"{BOTH} == 1", FAILED, f"{BOTH} == 1 does not hold for up{{instance="),
        (f"{BOTH} == 0", FAILED, f"{BOTH} == 0 does not hold for up{{instance="),
        (f"{BOTH} == bool 1", FAILED, "does not hold for up"),
        (BOTH, FAILED, "(value 0)"),
        (f"1 == {BOTH}", FAILED, "does not hold for up"),
        (f"min({BOTH}) == 1", FAILED, "does not hold for {} (value 0)"),
        (f"{BOTH} >= 0", OK, "holds for up"),
        (f"{BOTH} >= 0 and pods > 0", OK, "holds for up"),
        (f"{BOTH} >= 0 and pods > 1", FAILED, 'pods > 1 does not hold for pods{pod="b"} (value 1).'),
        (f"count({BOTH} == 0) == 0", FAILED, "does not hold for {} (value 1)"),
        (f"count({BOTH} > 5) == 0", OK, "holds for {} (value 0)"),
        ("count(no_such_metric == 0) == 0", UNKNOWN, "count(no_such_metric) returned nothing: there is no such series"),
        (f"(pods unless on() {BOTH} == 1) == 3", UNKNOWN, "returned nothing"),
        ('(pods unless on(pod) pods{pod="b"}) == 3', OK, 'holds for pods{pod="a"} (value 3).'),
        # Nothing, and what is not a number, proves nothing.
        ("no_such_metric < 5", UNKNOWN, "no_such_metric returned nothing: there is no such series"),
        ("(no_such_metric or vector(0)) < 5", UNKNOWN, "count(no_such_metric) returned nothing"),
        ("rate(no_such_metric[1h]) < 5", UNKNOWN, "returned nothing"),
        ("(sum(no_such_metric) or vector(0)) / sum(pods) < 0.05", OK, "holds for {} (value 0)."),
        ("undefined != 1", UNKNOWN, "undefined is not a number for undefined{}."),
        ("undefined < 1", UNKNOWN, "is not a number"),
        ("pods != on() group_left() undefined", UNKNOWN, "is not a number"),
        ("pods != scalar(no_such_metric)", UNKNOWN, "scalar(no_such_metric) is not a number"),
        ("infinite > 1", UNKNOWN, "is infinite for infinite{} (value inf)"),
        ("infinite < 1", FAILED, "does not hold"),
        # Two sides.
        ("pods >= on(pod) wanted", UNKNOWN, "1 of 2 series of pods has nothing in wanted to be compared with."),
        ("replicas >= on(pod) wanted", OK, 'holds for replicas{pod="a"} (value 3).'),
        ("replicas > on(pod) wanted", FAILED, 'does not hold for replicas{pod="a"} (value 3).'),
        ("wanted <= on(pod) group_right() replicas", OK, "holds for replicas"),
        ("pods >= on(pod) other_labels", UNKNOWN, "2 of 2 series of pods have nothing in other_labels"),
        ("pods <= scalar(wanted)", OK, "holds for pods"),
        ("pods < scalar(wanted)", FAILED, 'does not hold for pods{pod="a"} (value 3).'),
        # Ages.
        ("time() - backup_timestamp_seconds < 3600", OK, "holds for"),
        ("time() - backup_timestamp_milliseconds < 3600", UNKNOWN, "lies in the future"),
        ("3600 > time() - backup_timestamp_milliseconds", UNKNOWN, "lies in the future"),
        ("time() - backup_timestamp_seconds < 30", FAILED, "does not hold"),
        ("(time() - tomorrow_timestamp_seconds) / 60 < 60", UNKNOWN, "lies in the future"),
        ("max by (job) (time() - tomorrow_timestamp_seconds) < 3600", UNKNOWN, "lies in the future"),
        ("tomorrow_timestamp_seconds > time() - 3600", UNKNOWN, "time() - (tomorrow_timestamp_seconds) lies in the future"),
        ("(time() - 3600) < tomorrow_timestamp_seconds", UNKNOWN, "lies in the future"),
        ("backup_timestamp_seconds > time() - 3600", OK, "holds for"),
        ("tomorrow_timestamp_seconds > time()", OK, "holds for"),
        ("time() - tomorrow_timestamp_seconds < -3600", OK, "holds for"),
        ("(tomorrow_timestamp_seconds - time()) / 3600 > 1", OK, "holds for"),
        # Series that only one operand has are not judged.
        ("pods / on(pod) wanted > 0.5", UNKNOWN, 'has nothing to calculate with for pods{pod="b"}'),
        ("wanted / on(pod) group_right() pods > 0.5", UNKNOWN, 'for pods{pod="b"}'),
        ("replicas / on(pod) pods >= 1", OK, "holds for"),
        ("pods * on(pod) group_left() wanted > 0.5", OK, "holds for"),
    ],
)  # fmt: skip
async def test_a_condition_has_to_be_true_of_every_series(
    recorder: Server, no_leftovers: None, promql: str, status: Status, summary: str
) -> None:
    result = await asked(recorder.url, true_when=promql)
    assert (result.status, summary in result.summary) == (status, True), result.summary


@pytest.mark.parametrize(
    ("promql", "status", "summary"),
    [
        (f"{BOTH} == 0", FAILED, f"{BOTH} == 0 returned up{{instance="),
        (f"{BOTH} > 5", OK, "returned nothing of 2 series: it would alert, and does not."),
        ("shards_red > 0", OK, "returned nothing of 1 series"),
        ("no_such_metric > 0", UNKNOWN, "count(no_such_metric) returned nothing, so the alert is quiet"),
        ('up{job="bth"} == 0', UNKNOWN, 'count(up{job="bth"}) returned nothing'),
        ("rate(no_such_metric[5m]) > 0", UNKNOWN, "returned nothing"),
        ("undefined > 0", UNKNOWN, "undefined is not a number"),
        ("pods > 5 and on(pod) other_labels > 0", UNKNOWN, "its sides never join"),
        ("pods > on(pod) other_labels", UNKNOWN, "its sides never join"),
        ("pods > 5 and on(pod) wanted > 0", OK, "returned nothing of 1 series"),
        ("pods > 5 or no_such_metric > 0", UNKNOWN, "count(no_such_metric) returned nothing"),
        ("pods > 5 unless on() no_such_metric", OK, "returned nothing of 2 series"),
        ("pods > 2 unless on(pod) wanted", OK, "of 2 series"),
        (f"absent({BOTH})", OK, "returned nothing"),
        ("absent(no_such_metric)", FAILED, "returned {}"),
        ("absent(no_such_metric) > 1", UNKNOWN, "count(no_such_metric) returned nothing"),
        ("absent_over_time(pods[5m])", OK, "returned nothing"),
        (f"count({BOTH} > 5) > 0", OK, "returned nothing"),
        ("pods != on() group_left() undefined", FAILED, ""),
        ("(sum(no_such_metric) or vector(0)) / sum(pods) > 0.05", OK, "returned nothing of 1 series"),
        ("time() - backup_timestamp_milliseconds > 3600", UNKNOWN, "lies in the future"),
        ("time() - backup_timestamp_seconds > 3600", OK, "returned nothing"),
        ("(time() - tomorrow_timestamp_seconds) / 3600 > 1", UNKNOWN, "lies in the future"),
        ("max(time() - tomorrow_timestamp_seconds) > 3600", UNKNOWN, "lies in the future"),
        ("tomorrow_timestamp_seconds < time() - 3600", UNKNOWN, "lies in the future"),
        ("backup_timestamp_seconds < time() - 3600", OK, "returned nothing"),
    ],
)  # fmt: skip
async def test_an_alert_has_to_be_quiet_and_able_to_alert(
    recorder: Server, no_leftovers: None, promql: str, status: Status, summary: str
) -> None:
    result = await asked(recorder.url, alert_when=promql)
    assert (result.status, summary in result.summary) == (status, True), result.summary


async def test_fewer_series_than_demanded_is_failed(recorder: Server, no_leftovers: None) -> None:
    """Three targets are wanted, two are known: that none of them is bad says nothing of the third."""
    for condition in ({"true_when": f"{BOTH} >= 0"}, {"alert_when": f"{BOTH} > 5"}):
        result = await asked(recorder.url, min_series=3, **condition)
        assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING)
        assert "returned 2 series, expected at least 3" in result.summary
        assert (await asked(recorder.url, min_series=2, **condition)).status is Status.OK


async def test_series_that_are_gone_satisfy_no_condition(tmp_path: Path, no_leftovers: None) -> None:
    """Over an hour a dead target's series still have a rate, and an alert over them is quiet."""
    with Server(tmp_path) as server:
        server.configure(rules=[{"name": "r", "rules": [{"record": "gone", "expr": "vector(1)"}]}])
        server.wait_for("count_over_time(gone[1h]) > 2")
        server.configure(rules=[])
        wait_until(lambda: not server.query("gone"), "the series to be stale")
        assert server.query("max_over_time(gone[1h]) < 5")
        for condition in ({"true_when": "max_over_time(gone[1h]) < 5"}, {"alert_when": "max_over_time(gone[1h]) > 5"}):
            result = await asked(server.url, **condition)
            assert result.status is Status.UNKNOWN
            assert "count(gone) returned nothing" in result.summary


async def test_a_server_that_cannot_be_asked_is_unknown(no_leftovers: None) -> None:
    async with faults.mute() as (host, port):
        result = await asked(f"http://{host}:{port}", true_when="up")
    assert result.status is Status.UNKNOWN
    found = await verify(custom(true_when="up"), SectionSettings())
    assert found["index_is_fresh"].result.status is Status.UNKNOWN


async def test_a_partial_answer_is_unknown(no_leftovers: None) -> None:
    """Of a store that is missing nothing is known, and an alert over the rest is quiet."""
    vector = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]}
    body = json.dumps({"status": "success", "data": vector, "warnings": ["store x is missing"]}).encode()
    async with faults.answering(body) as (url, _):
        for condition in ({"true_when": "up == 1"}, {"alert_when": "up == 0"}):
            result = await asked(url, **condition)
            assert (result.status, "store x is missing" in result.summary) == (Status.UNKNOWN, True), result.summary


evidence = evidence_of("search")


async def test_a_line_by_evidence(evidence: Folder, no_leftovers: None) -> None:
    collector = custom(evidence={"valid_for": "30d"})
    found = await verify(collector, SectionSettings(), **evidence.context)
    result = found["index_is_fresh"].result
    assert (result.status, result.summary) == (Status.FAILED, "There is no evidence for search.index_is_fresh.")
    evidence.record("index_is_fresh")
    found = await verify(collector, SectionSettings(), **evidence.context)
    assert found["index_is_fresh"].result.status is Status.OK


async def test_a_line_that_takes_two_approvers(evidence: Folder, keys: Keys) -> None:
    collector = custom(evidence={"valid_for": "30d", "approvers": 2})
    (evidence.path / "allowed_signers").write_text(
        f"quinn@example.com {keys.public('quinn')}\ndana@example.com {keys.public('dana')}\n"
    )

    async def seen() -> Result:
        return (await verify(collector, SectionSettings(), **evidence.context))["index_is_fresh"].result

    def approve(name: str) -> None:
        record = evidence.record("index_is_fresh", by=f"{name}@example.com")
        keys.sign(record.rename(evidence.path / f"{name}.yaml"), name)

    approve("quinn")
    result = await seen()
    assert result.status is Status.FAILED
    assert "has 1 of 2 approvals, by quinn@example.com" in result.summary
    approve("dana")
    assert (await seen()).status is Status.OK


@pytest.mark.parametrize("approvers", [0, 11, "two"])
def test_approvers_that_nobody_can_demand(approvers: object) -> None:
    with pytest.raises(ValidationError, match="approvers"):
        custom(evidence={"valid_for": "30d", "approvers": approvers})


async def test_a_line_by_both_is_as_good_as_the_worse(evidence: Folder, prometheus: Server) -> None:
    collector = custom(evidence={"valid_for": "30d"}, true_when=f"{UP} > 5")
    evidence.record("index_is_fresh")
    settings = PrometheusSettings(url=prometheus.url)
    client = Prometheus(settings, Threads())
    found = await verify(collector, SectionSettings(), clients={"prometheus": client}, **evidence.context)
    await client.close()
    assert found["index_is_fresh"].result.status is Status.FAILED


async def requested(url: str, *conditions: str, **options: Any) -> Result:
    endpoints = [{"path": "/status", "conditions": conditions}]
    collector = custom(http={"url": url, "timeout": "2s", "endpoints": endpoints, **options})
    return (await verify(collector, SectionSettings()))["index_is_fresh"].result


async def test_a_line_by_requests() -> None:
    """What is answered decides, and not that something is."""
    canary = "a-canary-that-nobody-may-see"
    conditions = ("json.queue.length < 10", "latency < duration('2s')", 'headers["content-type"] == "application/json"')
    async with faults.answering({"queue": {"length": 3}}, headers={"Content-Type": "application/json"}) as (url, asked):
        good = await requested(url, *conditions, bearer_token=canary)
    async with faults.answering({"queue": {"length": 10}}, headers={"Content-Type": "application/json"}) as (url, _):
        long = await requested(url, *conditions)
    async with faults.answering(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}) as (url, _):
        page = await requested(url, conditions[0])
    async with faults.answering({}, 401) as (url, _):
        denied = await requested(url, "json.queue.length < 10", bearer_token=canary)
    async with faults.refused() as address:
        gone = await requested(f"http://{address[0]}:{address[1]}", *conditions)
    assert (good.status, long.status, page.status) == (OK, FAILED, FAILED)
    assert canary.encode() in asked[0]
    assert "does not meet `json.queue.length < 10`: json.queue.length is 10." in long.summary
    assert "does not meet `json.queue.length < 10`: the body is an HTML page." in page.summary
    assert (denied.status, denied.reason, canary in denied.summary) == (UNKNOWN, Reason.DENIED, False)
    assert (gone.status, gone.reason) == (UNKNOWN, Reason.UNREACHABLE)


async def test_a_condition_that_only_warns() -> None:
    results = []
    async with faults.answering({"queue": 3}) as (url, _):
        for required in ("json.queue < 10", "json.queue < 2"):
            endpoint = {"path": "/", "conditions": [required], "warn_unless": ["json.queue < 3"]}
            results.append(await requested(url, endpoints=[endpoint], timeout="20s"))
    assert [result.status for result in results] == [Status.WARNING, FAILED]
    assert "does not meet `json.queue < 3`: json.queue is 3." in results[0].summary


def test_a_line_by_requests_is_an_item_like_any_other() -> None:
    headers = {"X-Tenant": "shop"}
    collector = custom(http={**STATUS, "headers": headers})
    assert collector is custom(http={**STATUS, "headers": headers}), "an unchanged line keeps its class, and so its job"
    assert collector is not custom(http={**STATUS, "headers": {"X-Tenant": "other"}})
    [item] = collector.items().values()
    assert (item.mode, item.needs) == (Mode.PROBE, ())
    assert item.description == "Passes while the answers of http://shop to `GET /` meet their conditions."


def test_a_line_is_an_item_like_any_other() -> None:
    collector = custom(true_when="up", evidence={"valid_for": "30d", "bound_to_release": True})
    assert collector.section() == "search"
    [item] = collector.items().values()
    assert (item.name, item.line, item.severity) == ("index_is_fresh", "Index is fresh", Severity.CRITICAL)
    assert (item.mode, item.needs) == (Mode.PROBE_AND_EVIDENCE, ("clients.prometheus",))
    assert item.evidence
    assert item.evidence.bound_to_release
    assert custom(true_when="up") is custom(true_when="up"), "an unchanged line keeps its class, and so its job"
    assert custom(true_when="up") is not custom(true_when="down")
    assert (custom(evidence={"valid_for": "1d"}).items()["index_is_fresh"].needs) == ()


@pytest.mark.parametrize("name", ["open", "items", "section", "verify"])
def test_an_item_may_have_the_name_of_a_method(name: str) -> None:
    line = CustomLine(section="Doors", line=name.title(), true_when="up")
    collector = Custom.verifying(line, "doors", name, Severity.INFO)
    assert list(collector.items()) == [name]
    assert collector.section() == "doors"


def test_a_line_that_nothing_would_verify_is_refused() -> None:
    with pytest.raises(
        ValidationError,
        match="expected true_when, alert_when, http, tcp, tls, dns, sql, kubernetes, file, command or evidence",
    ):
        CustomLine(section="A", line="B")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"true_when": "up", "alert_when": "up == 0"}, "found true_when and alert_when, expected one of them"),
        ({"true_when": "up", "promql": "up"}, "found true_when and promql, expected one of them"),
        ({"min_series": 2, "evidence": {"valid_for": "1d"}}, "found min_series without a condition"),
        ({"true_when": "topk(1, pods) > 2"}, "drops series by topk, so they would never be judged"),
        ({"alert_when": "pods > +Inf"}, "is true of no number, so it would never alert"),
        ({"alert_when": "NaN == pods"}, "is true of no number, so it would never alert"),
        ({"true_when": "up", "http": STATUS}, "found true_when and http, expected one of them"),
        ({"min_series": 2, "http": STATUS}, "found min_series without a condition"),
        ({"http": {"url": "http://shop", "endpoints": []}}, "at least 1 item"),
        (
            {
                "http": {
                    "url": "http://shop",
                    "endpoints": [{"path": "/", "method": "POST", "conditions": ["status == 200"]}],
                }
            },
            "found POST, expected GET, HEAD or OPTIONS: a line of your own changes nothing",
        ),
        (
            {"http": {"url": "http://shop", "endpoints": [{"path": "/", "conditions": ["stats == 200"]}]}},
            "expected a condition in CEL: at character",
        ),
        ({"true_when": "sum(("}, "was not understood: unclosed left parenthesis"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        custom(**options)


def test_promql_is_the_former_name_of_true_when() -> None:
    line = CustomLine.model_validate_json('{"section": "A", "line": "B", "promql": "up == 1"}')
    assert (line.condition, line.former, line.requires) == (
        "up == 1",
        {"promql": "true_when"},
        {"promql": "prometheus"},
    )
