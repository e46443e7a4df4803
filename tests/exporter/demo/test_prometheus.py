"""The demo's Prometheus: rules that fire where one is installed, and no harm where it is not or does not start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo import prometheus
from exporter.demo.prometheus import Prometheus, hurried
from exporter.demo.service import Place
from tests.exporter.demo.test_demo import Demo
from tests.servers.process import answers, scratch, wait_until
from tests.servers.prometheus import prometheus_program


@pytest.fixture
def place() -> Iterator[Place]:
    with scratch("place") as folder:
        yield Place(folder)


def install(folder: Path, script: str) -> str:
    """A program of its name, in a folder for the PATH."""
    folder.mkdir()
    program = folder / "prometheus"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(folder)


def test_rules_are_hurried_without_a_second_copy() -> None:
    rule = {"alert": "A", "expr": "b", "for": "1h30m", "keep_firing_for": "10m"}
    rules = {"groups": [{"name": "g", "rules": [rule, {"record": "r", "expr": "b"}]}]}
    (group,) = hurried(rules, 60)["groups"]
    assert group["interval"] == "1s"
    assert group["rules"] == [rule | {"for": "90000ms", "keep_firing_for": "10000ms"}, {"record": "r", "expr": "b"}]
    assert rules["groups"][0].keys() == {"name", "rules"}, "the rules themselves stay"


def test_it_is_there_only_with_a_program_and_the_rules(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Prometheus.available()
    monkeypatch.setenv("PATH", install(tmp_path / "bin", "exit 1"))
    assert Prometheus.available()
    monkeypatch.setattr(prometheus, "RULES", tmp_path / "none")
    assert not Prometheus.available()


@pytest.mark.parametrize("script", ["echo no disk >&2; exit 1", "echo no disk; sleep 60"], ids=["ends", "is mute"])
async def test_one_that_does_not_start_is_told_and_hinders_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("PATH", f"{install(place.directory / 'bin', script)}:/bin:/usr/bin")
    service = Prometheus(place, ":9876")
    await service.start(deadline=5)
    assert service.url == ""
    assert service.trouble == f"{place.directory}/bin/prometheus did not start, so no rules are shown: no disk"
    assert service.config() == {}
    await service.stop()


async def test_one_that_was_never_started_is_stopped(place: Place) -> None:
    await Prometheus(place, ":9876").stop()


def test_what_is_broken_makes_a_rule_fire_and_what_is_fixed_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{prometheus_program().parent}:/bin:/usr/bin")
    with scratch("demo") as folder, Demo(folder) as demo:
        said = wait_until(lambda: [x for x in demo.log.read_text().split() if x.endswith("/alerts")], "the address", 30)
        assert answers(said[0].replace("/alerts", "/-/ready"))
        wait_until(lambda: demo.status("redis/persistence_configured") in ("ok", "warning"), "the line to be true", 60)
        demo.told("break", "redis-aof")
        about = "ChecklistItemRegressed (redis/persistence_configured)"
        wait_until(lambda: f"{about} fires: “Redis persistence is configured" in demo.log.read_text(), "the alert", 90)
        demo.told("fix", "redis-aof")
        wait_until(lambda: f"{about} is resolved." in demo.log.read_text(), "its end", 90)
