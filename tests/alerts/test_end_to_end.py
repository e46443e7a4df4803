"""From a real Redis that breaks to the people who are told: exporter, Prometheus, Alertmanager, and back when it is mended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from alerts import rules
from exporter.demo.prometheus import hurried
from tests.alerts.receivers import Received, configuration, receiving
from tests.servers import redis
from tests.servers.alertmanager import Alertmanager
from tests.servers.checklist import JOB, Checklist
from tests.servers.process import Server, scratch, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, scrape

Json = dict[str, Any]

SHORTER = 30
"""What takes ten minutes takes twenty seconds here."""
LINE = ("redis", "persistence_configured")
DEPENDENTS = (("shop", "cache_is_warm"), ("smoke_tests", "cache_read_write"))


@dataclass
class Chain:
    """All parts, and who is told at its end."""

    redis: redis.Node
    exporter: Checklist
    prometheus: Prometheus
    alertmanager: Alertmanager
    received: Received
    flag: Path
    """Without it the shop's cache is not warm, whatever Redis does."""

    def told(self, alert: str) -> list[Json]:
        """The notifications to the webhook in which an alert is, in the order of arrival."""
        return [
            document
            for document in self.received.at("/webhook")
            if any(one["labels"]["alertname"] == alert for one in document["alerts"])
        ]

    def firing(self, alert: str) -> list[Json]:
        """An alert as Prometheus has it."""
        return self.prometheus.query(f'ALERTS{{alertname="{alert}", alertstate="firing", section="redis"}}')

    def calm(self) -> bool:
        """Whether nothing about Redis is told, and all of its lines that can be true are."""
        quiet = not self.prometheus.query('ALERTS{section="redis", severity!="info"}')
        held = [one for one in self.alertmanager.alerts() if one["labels"].get("section") == "redis"]
        return (
            quiet
            and all(one["labels"]["severity"] == "info" for one in held)
            and all(self.exporter.item(*line)["status"] in ("ok", "warning") for line in (LINE, *DEPENDENTS))
        )

    def line(self) -> Json:
        """The line that is broken, as the exporter tells it."""
        return self.exporter.item(*LINE)

    def flush(self) -> None:
        """Wait until Alertmanager has told somebody of something new: whatever it held before it has told by then."""
        marker = f"marker-{time.monotonic_ns()}"
        self.alertmanager.alert(alertname="Marker", severity="warning", section=marker)
        wait_until(lambda: marker in json.dumps(self.received.at("/webhook")), "a marker to pass", 60)


@pytest.fixture(params=[OLD, NEW], ids=["prometheus-2", "prometheus-3"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """Everything, calm; the old Prometheus with the old Alertmanager, the new with the new.

    Each test has its own: Prometheus sends what is over for another quarter of an hour, and Alertmanager tells it beside
    what is new.
    """
    with ExitStack() as started:
        folder = started.enter_context(scratch("chain"))
        for name in ("exporter", "prometheus", "alertmanager"):
            (folder / name).mkdir()
        node = started.enter_context(redis.Node(folder, *redis.HEALTHY))
        section: Json = {"every": "1s", "stale_after": "5m", "team": "storage", "objective": 0}
        section |= {"data_volume": str(folder)}  # which a throw-away folder is not otherwise
        targets = [{"name": "cache", "nodes": [node.address]}]
        smoke = {"name": "shop", "allow_intrusive": True, "cache": {"address": node.address}}
        sections = {
            "redis": {**section, "targets": targets},
            "smoke_tests": {"every": "1s", "stale_after": "5m", "objective": 0, "targets": [smoke]},
            "shop": {"every": "1s", "stale_after": "5m", "objective": 0},
        }
        flag = folder / "warm"
        flag.touch()
        warm = {"section": "shop", "line": "Cache is warm", "file": {"paths": [str(flag)]}}
        custom = [{**warm, "severity": "critical", "depends_on": ["redis.pods_healthy"]}]
        exporter = started.enter_context(Checklist(folder / "exporter", {"sections": sections, "custom": custom}))
        received = started.enter_context(receiving())
        shipped = configuration(folder / "alertmanager", received, group_wait="1s", group_interval="1s")
        (slack,) = [one for one in shipped["receivers"] if one["name"] == "slack"]
        slack["webhook_configs"] = [{"url": f"http://127.0.0.1:{received.port}/webhook"}]
        alertmanager = started.enter_context(Alertmanager(folder / "alertmanager", shipped, release=request.param))
        prometheus = started.enter_context(
            Prometheus(
                folder / "prometheus",
                release=request.param,
                scrapes=[scrape(JOB, exporter.port)],
                rules=hurried(rules(), SHORTER)["groups"],
                alertmanagers=[alertmanager.port],
                flags=["--rules.alert.for-grace-period=20s", "--rules.alert.resend-delay=10s"],
            )
        )
        chain = Chain(node, exporter, prometheus, alertmanager, received, flag)
        wait_until(chain.calm, "the chain to be calm", 60)
        for _, item in (LINE, *DEPENDENTS):
            prometheus.wait_for(f'section_item:checklist_item_ok:min{{item="{item}"}} == 1')
        yield chain


def restart(part: Server) -> None:
    part.stop()
    part.start()


def test_a_line_that_regresses_is_told_once_and_resolves_whatever_restarts_in_between(chain: Chain) -> None:
    chain.redis.command("CONFIG", "SET", "appendonly", "no")
    wait_until(lambda: chain.line()["status"] == "failed", "the exporter to see it")
    wait_until(lambda: chain.told("ChecklistItemRegressed"), "the webhook to be told", 90)

    (notification,) = chain.told("ChecklistItemRegressed")
    (alert,) = notification["alerts"]
    assert (notification["status"], alert["labels"]["section"], alert["labels"]["item"]) == ("firing", *LINE)
    assert alert["labels"]["team"] == "storage"
    title = chain.line()["line"]
    sentence = alert["annotations"]["description"]
    told = f"“{title}” ({'/'.join(LINE)}) is failed (reason) on cache; last OK "
    assert re.sub(r"failed \(\w+\)", "failed (reason)", sentence).startswith(told)
    page = alert["annotations"]["page"]
    assert page == f"{chain.exporter.url}/items/{'/'.join(LINE)}"
    with urlopen(page, timeout=10) as reply:
        assert chain.line()["summary"] in reply.read().decode(), "what was seen is where the link leads"
    assert re.search(r"/ChecklistItemRegressed\.md$", alert["annotations"]["runbook_url"])

    wait_until(lambda: chain.received.mails, "the mail")
    wait_until(lambda: chain.received.slack, "the Slack message")
    (mail,), (message,) = chain.received.mails, chain.received.slack
    assert f"redis: “{title}”: A line of the production checklist regressed." in " ".join(mail["Subject"].split())
    body = mail.get_body(("plain",))
    assert body
    for told in (body.get_content(), message["text"]):
        assert sentence in " ".join(told.split()) or sentence in told
        assert page in told
    assert message["title_link"] == page
    assert mail["To"] == "oncall@example.com"

    for part in (chain.prometheus, chain.exporter, chain.alertmanager):
        restart(part)
        wait_until(lambda: chain.firing("ChecklistItemRegressed"), f"{part.name} to go on", 90)
        wait_until(
            lambda: any(one["labels"].get("item") == LINE[1] for one in chain.alertmanager.alerts()),
            f"Alertmanager to know it after the restart of {part.name}",
            60,
        )
        chain.flush()
        assert len(chain.told("ChecklistItemRegressed")) == 1, f"told again after a restart of {part.name}"

    chain.redis.command("CONFIG", "SET", "appendonly", "yes")
    wait_until(lambda: len(chain.told("ChecklistItemRegressed")) > 1, "the end to be told", 120)
    chain.flush()
    _, end = chain.told("ChecklistItemRegressed")
    assert (end["status"], end["alerts"][0]["status"]) == ("resolved", "resolved")
    assert [mail["Subject"][:10] for mail in chain.received.mails if "redis" in mail["Subject"]] == [
        "[FIRING: 1",
        "[RESOLVED]",
    ]


def test_what_is_mended_while_the_exporter_is_away_is_told_when_it_is_back(chain: Chain) -> None:
    chain.redis.command("CONFIG", "SET", "appendonly", "no")
    wait_until(lambda: chain.told("ChecklistItemRegressed"), "the webhook to be told", 90)
    chain.exporter.stop()
    wait_until(lambda: chain.told("ChecklistExporterDown"), "the outage to be told", 120)
    chain.redis.command("CONFIG", "SET", "appendonly", "yes")
    chain.flush()
    (alert,) = chain.firing("ChecklistItemRegressed")
    assert alert["metric"]["item"] == LINE[1]
    assert [one["status"] for one in chain.told("ChecklistItemRegressed")] == ["firing"], (
        "nobody has seen that it is over"
    )

    chain.exporter.start()
    wait_until(lambda: len(chain.told("ChecklistItemRegressed")) > 1, "the end to be told", 120)
    assert [one["status"] for one in chain.told("ChecklistItemRegressed")] == ["firing", "resolved"]
    wait_until(
        lambda: (
            [p["event_action"] for p in chain.received.at("/v2/enqueue") if p["payload"].get("group") == "redis"]
            == ["trigger", "resolve"]
        ),
        "the page's end",
        60,
    )


def test_a_server_that_dies_is_one_alert_that_names_what_depends_on_it(chain: Chain) -> None:
    chain.redis.stop()
    chain.flag.unlink()
    wait_until(lambda: chain.told("ChecklistSectionUnseen"), "the webhook to be told", 90)
    chain.flush()
    about = [d for d in chain.received.at("/webhook") if d["commonLabels"].get("section") == "redis"]
    assert [[one["labels"]["alertname"] for one in d["alerts"]] for d in about] == [["ChecklistSectionUnseen"]]
    (alert,) = about[0]["alerts"]
    assert re.fullmatch(
        r"\d+ lines of redis that were OK can no longer be checked on cache \([a-z_, ]+\): "
        r"the target is unreachable or refuses the exporter\. "
        r"The lines may still be OK\. "
        r"Because of them 2 lines do not pass: shop/cache_is_warm, smoke_tests/cache_read_write\.",
        alert["annotations"]["description"],
    )
    assert alert["annotations"]["page"] == f"{chain.exporter.url}/?section=redis#lines"
    wait_until(lambda: chain.received.at("/v2/enqueue"), "the page")
    page = chain.received.at("/v2/enqueue")[0]
    assert (page["event_action"], page["payload"]["severity"], page["payload"]["group"]) == (
        "trigger",
        "critical",
        "redis",
    )
    assert alert["annotations"]["description"] in page["payload"]["custom_details"]["text"]

    for line in DEPENDENTS:
        found = chain.exporter.item(*line)
        assert [cause["item"] for cause in found["causes"]] == ["pods_healthy"]
        assert "because" in chain.exporter.page(f"/items/{'/'.join(line)}")

    def paged(section: str) -> list[str]:
        pages = chain.received.at("/v2/enqueue")
        return [page["event_action"] for page in pages if page["payload"].get("group") == section]

    restart(chain.prometheus)
    wait_until(lambda: chain.firing("ChecklistSectionUnseen"), "the alert to go on after a restart of Prometheus", 90)
    chain.flush()
    assert paged("shop") == paged("smoke_tests") == [], "the cause alone is told"
    chain.redis.start()
    wait_until(lambda: chain.told("ChecklistSectionUnseen")[-1]["status"] == "resolved", "the end to be told", 120)
    wait_until(lambda: paged("redis") == ["trigger", "resolve"], "the page's end", 60)
    wait_until(lambda: paged("shop") == ["trigger"], "what has another reason to be told by itself", 120)
    (alone,) = chain.told("ChecklistItemRegressed")[0]["alerts"]
    assert (alone["labels"]["section"], alone["labels"]["item"]) == DEPENDENTS[0]
    assert "Because" not in alone["annotations"]["description"]
    assert paged("smoke_tests") == [], "it passed again with its cause"

    wait_until(lambda: chain.received.at("/dead-mans-switch"), "the switch", 60)
    (switch,) = chain.received.at("/dead-mans-switch")[0]["alerts"]
    assert (switch["labels"]["alertname"], switch["status"]) == ("ChecklistDeadMansSwitch", "firing")
