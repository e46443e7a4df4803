"""What a real Prometheus answers in the states that `test_judge_recorded.py` judges."""

from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

from collectors.systems.prometheus.client import Prometheus as Client
from collectors.systems.prometheus.client import PrometheusSettings
from exporter.threads import Threads
from tests.collectors.systems.prometheus.facts import Facts, facts
from tests.recordings import Record, record
from tests.servers.process import call, free_port, wait_until
from tests.servers.prometheus import NEW, Prometheus, scrape

__all__ = ["record"]

WATCHDOG = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}


async def answers(server: Prometheus) -> Facts:
    """What the client reads."""
    client = Client(PrometheusSettings.model_validate({"url": server.url}), Threads())
    try:
        return await facts(client)
    finally:
        await client.close()


def health(server: Prometheus) -> dict[str, str]:
    """The health of each target, by job."""
    found = call(f"{server.url}/api/v1/targets?state=active")["data"]["activeTargets"]
    return {target["labels"]["job"]: target["health"] for target in found}


async def test_a_prometheus_that_is_well_and_one_in_trouble(tmp_path: Path, record: Record) -> None:
    manager, dead = free_port(), free_port()
    rules = [{"name": "watchdog", "rules": [WATCHDOG]}]
    with Prometheus(tmp_path, release=NEW, rules=rules, alertmanagers=[manager]) as server:
        names = {str(server.port): "9090", str(manager): "9093", str(dead): "8080", str(tmp_path): "/etc/prometheus"}
        wait_until(lambda: health(server) == {"prometheus": "up"}, "the target to be scraped", 60)
        wait_until(lambda: server.query("ALERTS{alertstate='firing'}"), "Watchdog to fire", 60)
        manager_known = f"{server.url}/api/v1/alertmanagers"
        wait_until(lambda: call(manager_known)["data"]["activeAlertmanagers"], "Alertmanager to be discovered", 60)
        record("prometheus", "healthy", await answers(server), names=names)
        scrapes = [
            scrape("prometheus", server.port),
            scrape("orders", dead),
            {"job_name": "payments", "static_configs": []},
        ]
        server.configure(scrapes=scrapes, rules=rules, alertmanagers=[manager])
        wait_until(lambda: health(server) == {"prometheus": "up", "orders": "down"}, "orders to be down", 60)
        wait_until(lambda: call(manager_known)["data"]["activeAlertmanagers"], "Alertmanager to be discovered", 60)
        with suppress(HTTPError):
            server.configure(extra={"scrape_configs": 1})
        wait_until(
            lambda: not call(f"{server.url}/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"], "refusal"
        )
        record("prometheus", "target_down_job_empty_reload_refused", await answers(server), names=names)
