"""Prometheus, Alertmanager and the exporters, old and new, do what the tests need of them."""

from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.servers import exporters
from tests.servers.alertmanager import Alertmanager, amtool
from tests.servers.exporters import Exposition
from tests.servers.process import answers, call, wait_until
from tests.servers.prometheus import NEW, OLD, Prometheus, promtool, scrape


def test_each_prometheus_scrapes_itself(any_prometheus: Prometheus) -> None:
    version = call(f"{any_prometheus.url}/api/v1/status/buildinfo")["data"]["version"]
    assert version.startswith(("2.42.", "3."))
    assert any_prometheus.query("up == 1")


@pytest.mark.parametrize("release", [OLD, NEW])
def test_rules_fire_from_prometheus_to_alertmanager(tmp_path: Path, release: str) -> None:
    (tmp_path / "am").mkdir()
    rule = {"alert": "LampOff", "expr": "lamp == 0", "labels": {"severity": "critical"}}
    with (
        Exposition("lamp 1\n") as lamp,
        Alertmanager(tmp_path / "am", release=release) as alertmanager,
        Prometheus(
            tmp_path,
            release=release,
            scrapes=[scrape("lamp", lamp.port)],
            rules=[{"name": "lamps", "rules": [rule]}],
            alertmanagers=[alertmanager.port],
        ) as prometheus,
    ):
        prometheus.wait_for("lamp == 1")
        lamp.text = "lamp 0\n"
        held = wait_until(alertmanager.alerts, "the alert to arrive", 60)
        assert held[0]["labels"]["alertname"] == "LampOff"
        alertmanager.silence(alertname="LampOff")
        wait_until(lambda: alertmanager.alerts()[0]["status"]["state"] == "suppressed", "the silence")


def test_prometheus_takes_a_new_configuration_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    with Prometheus(tmp_path, scrapes=[]) as prometheus:
        prometheus.configure(scrapes=[scrape("self", prometheus.port)])
        prometheus.wait_for('up{job="self"} == 1')
        with pytest.raises(HTTPError, match="500"):
            prometheus.configure(scrapes=[{"nonsense": True}])


def test_alertmanager_takes_a_new_configuration(alertmanager: Alertmanager) -> None:
    alertmanager.configure({"route": {"receiver": "b"}, "receivers": [{"name": "b"}]})
    assert call(f"{alertmanager.url}/api/v2/receivers") == [{"name": "b"}]
    alertmanager.alert(alertname="Sent")
    assert wait_until(alertmanager.alerts, "the alert")[0]["labels"] == {"alertname": "Sent"}


@pytest.mark.parametrize("release", [OLD, NEW])
def test_the_tools_are_there(release: str) -> None:
    assert promtool(release).is_file()
    assert amtool(release).is_file()


@pytest.mark.parametrize("release", [OLD, NEW])
def test_exporters_answer(tmp_path: Path, release: str) -> None:
    module = {"http": {"prober": "http", "timeout": "2s"}}
    with (
        exporters.node_exporter(tmp_path, release=release),
        exporters.redis_exporter(tmp_path, "redis://127.0.0.1:1", release=release),
        exporters.postgres_exporter(tmp_path, "postgresql://x:y@127.0.0.1:1/x?sslmode=disable", release=release),
        exporters.blackbox_exporter(tmp_path, module, release=release) as blackbox,
    ):
        assert answers(f"{blackbox.url}/probe?module=http&target={blackbox.url}/")
