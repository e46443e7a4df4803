"""Every query of every panel, asked of both generations of Prometheus that scrape a real exporter, answers as its panel wants."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.dashboards.panels import NAMES, filled, panels, variables
from tests.servers import nginx, redis
from tests.servers.certificates import authority, intermediate
from tests.servers.checklist import JOB, Checklist
from tests.servers.process import LOOPBACK, call, free_port, scratch, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape

Json = dict[str, Any]

NAME = "shop.example.com"
SECTIONS = ("redis", "tls_certificates", "signatories", "final_checklist")
ALL = {"job": ".+", "instance": ".+", "__rate_interval": "5s", "datasource": "prometheus"}
#: However busy the machine, nothing is too old meanwhile.
OFTEN = {"every": "1s", "stale_after": "10m"}
PANELS = [pytest.param(name, panel, id=f"{name}-{panel['title']}") for name in NAMES for panel in panels(name)]


@pytest.fixture(scope="module")
def checklist() -> Iterator[Checklist]:
    """An exporter that has seen every kind of status: lines of Redis, TLS and evidence, one that regressed, one that is waived."""
    with ExitStack() as started:
        folder = started.enter_context(scratch("dashboards"))
        master, _ = started.enter_context(redis.replication(folder, *redis.HEALTHY))
        port, (root, _) = free_port(), authority().write(folder, "ca")
        block = nginx.server_block(port, intermediate().issue(NAME).write(folder, "good"))
        started.enter_context(nginx.nginx(block, port=port))
        endpoint = {"endpoint": f"{LOOPBACK}:{port}", "server_name": NAME, "ca_file": str(root)}
        soon = str(datetime.now(UTC).date() + timedelta(days=30))
        configuration = {
            "release": "1.4.2",
            "sections": {
                "redis": {
                    **OFTEN,
                    "team": "storage",
                    "objective": 0.5,
                    "runbook_url": "https://runbooks.example.com/redis",
                    "targets": [{"name": "cache", "nodes": [master.address]}],
                },
                "tls_certificates": {**OFTEN, "targets": [{"name": "shop", **endpoint}]},
                **dict.fromkeys(("documentation", "training", "final_checklist"), OFTEN),
                "signatories": {**OFTEN, "depends_on": {"security_lead": ["signatories.technical_lead"]}},
                "neo4j": {"not_applicable": "No graph is stored."},
            },
            "waivers": [{"item": "nats.pods_healthy", "reason": "Not bought yet.", "owner": "platform", "until": soon}],
        }
        exporter = started.enter_context(Checklist(folder, configuration))
        exporter.attest("signatories.qa_lead", role="qa_lead", release="1.4.2")
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        moments = {"start": f"{tomorrow}T08:00:00Z", "end": f"{tomorrow}T10:00:00Z"}
        launch = ("final_checklist", "launch_window_confirmed")
        lost = exporter.attest(".".join(launch), role="product_owner", environment="staging", window=moments)
        wait_until(lambda: exporter.item(*launch)["status"] == "ok", "the launch window to be seen")
        wait_until(lambda: exporter.item("redis", "pods_healthy")["last_run"], "Redis to be verified")
        wait_until(lambda: exporter.item("signatories", "qa_lead")["valid_until"], "the sign-off to be seen")
        wait_until(lambda: exporter.item("signatories", "security_lead")["causes"], "the cause to be found")
        lost.unlink()
        wait_until(lambda: exporter.item(*launch)["status"] == "failed", "the loss to be seen")
        yield exporter


@pytest.fixture(scope="module", params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def scraping(
    request: pytest.FixtureRequest, checklist: Checklist, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the exporter for some seconds."""
    scrapes = [scrape(JOB, checklist.port, scrape_interval="1s")]  # so long it may take: one that fails leaves a gap
    with Prometheus(tmp_path_factory.mktemp("prometheus"), release=request.param, scrapes=scrapes) as server:
        server.wait_for(f'sum_over_time(up{{job="{JOB}"}}[1m]) > 9', 60)
        server.wait_for("min(min_over_time(checklist_item_last_run_timestamp_seconds[8s])) > 0")  # of every line
        yield server


def ask(prometheus: Prometheus, target: Json, values: dict[str, str]) -> list[Json]:
    """What one query of a panel answers, as Grafana asks it."""
    query = filled(target["expr"], values)
    now = time.time()
    if target.get("instant"):
        path = f"query?{urlencode({'query': query, 'time': now})}"
    else:
        path = f"query_range?{urlencode({'query': query, 'start': now - 5, 'end': now, 'step': 1})}"
    reply = call(f"{prometheus.url}/api/v1/{path}")
    assert not reply.get("warnings"), reply["warnings"]
    assert reply["data"]["resultType"] == ("vector" if target.get("instant") else "matrix")
    found: list[Json] = reply["data"]["result"]
    return found


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_query_answers_as_its_panel_wants(scraping: Prometheus, name: str, panel: Json) -> None:
    seen = 0
    for section in SECTIONS if name == "section" else SECTIONS[:1]:
        answers = [ask(scraping, target, {**ALL, "section": section}) for target in panel["targets"]]
        seen += sum(map(len, answers))
        for target, answer in zip(panel["targets"], answers, strict=True):
            for series in answer:
                values = series["values"] if "values" in series else [series["value"]]
                assert not any(math.isnan(float(value)) for _, value in values), target["expr"]
                assert len({value for value, _ in values}) == len(values) >= (1 if "value" in series else 2)
            legends = [legend(target, series) for series in answer]
            assert "" not in legends
            assert len(set(legends)) == len(legends), "one name each"
        if panel["type"] == "stat":
            assert [len(answer) for answer in answers] == [1]
        elif panel["type"] == "table":
            of_rows(panel, answers)
    assert seen, "nothing was answered"


def legend(target: Json, series: Json) -> str:
    """The name that Grafana gives a series: of one without a legend all its labels."""
    text: str = target.get("legendFormat", "")
    if not text:
        return str(sorted(series["metric"].items()))
    while "{{" in text:
        before, _, rest = text.partition("{{")
        label, _, after = rest.partition("}}")
        text = before + series["metric"].get(label, "") + after
    return text


def of_rows(panel: Json, answers: list[list[Json]]) -> None:
    """The columns of a table are labels of its answers, which belong to the same rows."""
    (organised,) = [found for found in panel["transformations"] if found["id"] == "organize"]
    columns = set(organised["options"]["renameByName"])
    rows = [{tuple(sorted(series["metric"].items())) for series in answer} for answer in answers]
    for row in rows[1:]:
        assert row <= rows[0], "each row has a first column"
    labels = {label for row in rows[0] for label, _ in row}
    values = {f"Value #{target['refId']}" for target in panel["targets"]} if len(answers) > 1 else {"Value"}
    told = {column for column in columns if column not in values}
    assert told <= labels | {"team", "runbook_url", "revision"}, "empty labels are not sent"


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_values(scraping: Prometheus, name: str) -> None:
    for found in variables(name).values():
        if found["type"] != "query":
            continue
        selector, _, label = found["query"].removeprefix("label_values(").rstrip(")").rpartition(", ")
        query = urlencode({"match[]": filled(selector, ALL)})
        assert call(f"{scraping.url}/api/v1/label/{label}/values?{query}")["data"], found["name"]


def value(prometheus: Prometheus, title: str, place: int = 0) -> list[Json]:
    """What a panel of *Readiness* answers."""
    (panel,) = [one for one in panels("readiness") if one["title"] == title]
    return ask(prometheus, panel["targets"][place], ALL)


def test_the_numbers_are_those_of_the_page(scraping: Prometheus, checklist: Checklist) -> None:
    items = call(f"{checklist.url}/api/v1/items")["items"]
    applying = [item for item in items if item["status"] != "not_applicable"]
    true = [item for item in applying if item["status"] in ("ok", "warning")]
    blocking = [i for i in applying if i["severity"] == "critical" and i not in true and i["status"] != "waived"]

    def number(title: str) -> float:
        return float(value(scraping, title)[0]["value"][1])

    wait_until(lambda: number("Lines passing") == pytest.approx(len(true) / len(applying)), "the same score")
    assert number("Blocking lines") == len(blocking)
    assert number("Launch") == 0
    assert number("Unknown") == sum(item["status"] == "unknown" for item in items)
    assert number("Regressions") == number("Regressions within a day") == 1
    (row,) = value(scraping, "Regressed lines")
    assert (row["metric"]["section"], row["metric"]["item"]) == ("final_checklist", "launch_window_confirmed")
    blocked = {
        (row["metric"]["section"], row["metric"]["item"]) for row in value(scraping, "Lines that block the launch")
    }
    assert blocked == {(item["section"], item["item"]) for item in blocking}
    (waived,) = value(scraping, "Waivers")
    assert (waived["metric"]["section"], waived["metric"]["item"]) == ("nats", "pods_healthy")
    (caused,) = value(scraping, "Causes")
    names = ("section", "item", "cause_section", "cause_item")
    assert [caused["metric"][name] for name in names] == [
        "signatories",
        "security_lead",
        "signatories",
        "technical_lead",
    ]
    (ends,) = value(scraping, "Evidence expiry")
    assert ends["metric"]["item"] == "qa_lead"


def test_an_exporter_that_is_not_chosen_is_left_out(scraping: Prometheus) -> None:
    for name in NAMES:
        for panel in panels(name):
            for target in panel["targets"]:
                assert ask(scraping, target, {**ALL, "instance": "another", "section": "redis"}) == []
