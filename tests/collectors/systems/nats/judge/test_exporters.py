"""Whether exporters report these servers."""

from __future__ import annotations

from collectors.systems.nats.judge.exporters import exporter_problems
from collectors.systems.nats.model import Jsz, Monitor, Routez, Varz

MONITORING = "http://n1:8222"


def test_labels_that_name_a_server() -> None:
    own = "N" + "C" * 55
    monitor = Monitor(MONITORING, Varz(own, 0, "n1", uptime="2h0m3s"), Jsz(own), Routez(own))
    second = Monitor("http://n2:8222", Varz("N" + "B" * 55, 0, "n2", uptime="1m1s"), Jsz("x"), Routez("x"))

    def judged(*labels: str, of: tuple[Monitor, ...] = (monitor,)) -> list[str]:
        return [problem.summary for problem in exporter_problems(labels, of)]

    for label in (own, "n1", MONITORING, f"{MONITORING}/", "http://localhost:8222"):
        assert not judged(label)
    assert judged("N" + "A" * 55) == [
        "An exporter reports NATS server NAAAAAAAAAAA…, which is none of n1.",
        "No exporter reports NATS server n1: several report the same server, or another one.",
    ]
    assert judged(own, "n1", of=(monitor, second)) == [
        "No exporter reports NATS server n2: several report the same server, or another one."
    ]
    restarted = Monitor(MONITORING, Varz(own, 0, "n1", uptime="12s"), Jsz(own), Routez(own))
    assert not judged("N" + "A" * 55, of=(restarted,))
