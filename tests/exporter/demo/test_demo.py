"""The demo, started for real: every way to break it is noticed, fixed again, and nothing outlives it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.servers.process import Server, free_port, scratch, wait_until

#: Each way to break the demo, and the line that is no longer true then.
FAULTS = {
    "standby": "postgresql/replication_operational",
    "primary": "postgresql/connection_pool_sized",
    "slow-queries": "postgresql/slow_query_logging_enabled",
    "redis-replica": "redis/pods_healthy",
    "redis-aof": "redis/persistence_configured",
    "nats-server": "nats/pods_healthy",
    "certificate": "tls_certificates/certificates_valid",
    "chain": "tls_certificates/chain_complete",
    "hsts": "tls_certificates/hsts_configured",
    "shop-store": "api_service/health_endpoint_responds",
    "shop-hangs": "api_service/health_endpoint_responds",
    "shop-login": "smoke_tests/critical_endpoints_respond",
    "signature": "signatories/qa_lead",
    "evidence": "training/operations_trained",
}


class Demo(Server):
    """`checklist-exporter demo` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder / "demo"
        self.program = Path(sys.executable).with_name("checklist-exporter")
        command: list[str | Path] = [self.program, "demo", "--directory", self.folder]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        super().__init__("demo", command, directory=folder, ready=lambda: self.status("nats/pods_healthy"), deadline=90)

    def status(self, item: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/items/{item}", timeout=5) as reply:
            return str(json.load(reply)["status"])

    def summary(self, item: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/items/{item}", timeout=5) as reply:
            return str(json.load(reply)["summary"])

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as reply:
            return str(reply.read().decode())

    def faults(self) -> set[str]:
        """The ways to break it that it names."""
        command: list[str | Path] = [self.program, "demo", "break", "--directory", self.folder]
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stderr
        return set(re.findall(r"[\w-]+", refused.partition(" choose one of ")[2])) - {"and", "or"}

    def told(self, verb: str, name: str) -> str:
        command: list[str | Path] = [self.program, "demo", verb, name, "--directory", self.folder]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with scratch("demo") as folder, Demo(folder) as running:
        yield running


def healthy(demo: Demo, item: str) -> bool:
    return demo.status(item) in ("ok", "warning")


def not_healthy(demo: Demo, item: str) -> bool:
    return not healthy(demo, item)


def reported(demo: Demo, fault: str) -> bool:
    return re.fullmatch(TOLD[fault], demo.summary(FAULTS[fault])) is not None


def exported(demo: Demo, sample: str) -> bool:
    return sample in demo.metrics()


#: What is said of some of them, word for word but for the ports.
TOLD = {
    "primary": r"No primary was found among the instances of the connection string\. "
    r"PostgreSQL at 127\.0\.0\.1:\d+/orders cannot be reached: Connection refused\.",
    "redis-replica": r"Master 127\.0\.0\.1:\d+ has 0 replicas online \(wanted 1\), "
    r"and 127\.0\.0\.1:\d+ refuses the connection\.",
    "redis-aof": r"127\.0\.0\.1:\d+ writes no append-only file: appendonly is no\.",
    "nats-server": r"NATS servers nats-0 and nats-1 see only 1 of the other servers \(wanted 2\), "
    r"and NATS 127\.0\.0\.1:\d+ cannot be used: the connection was refused\.",
}


def test_every_way_to_break_it_is_tried(demo: Demo) -> None:
    assert demo.faults() == FAULTS.keys()
    assert sorted(fault for faults in TOGETHER for fault in faults) == sorted(FAULTS)


#: What is broken together: faults that do not touch each other's lines.
TOGETHER = (
    ("standby", "redis-replica", "nats-server", "certificate", "signature", "shop-store"),
    ("slow-queries", "redis-aof", "chain", "evidence", "shop-hangs", "shop-login"),
    ("primary", "hsts"),
)


@pytest.mark.parametrize("faults", TOGETHER, ids=" ".join)
def test_what_is_broken_is_noticed_and_reported_in_one_sentence(demo: Demo, faults: Sequence[str]) -> None:
    for fault in faults:
        wait_until(partial(healthy, demo, FAULTS[fault]), f"{FAULTS[fault]} to pass", 60)
    for fault in faults:
        assert re.search(r" fails?\.$| are unknown\.$", demo.told("break", fault).strip())
    for fault in faults:
        item = FAULTS[fault]
        wait_until(partial(not_healthy, demo, item), f"{item} not to pass", 60)
        if fault in TOLD:
            wait_until(partial(reported, demo, fault), f"the sentence of {fault}", 60)
        assert demo.summary(item).endswith(".")
        section, _, line = item.partition("/")
        sample = f'checklist_item_ok{{item="{line}",section="{section}"}} 0.0'
        wait_until(partial(exported, demo, sample), "the metric to follow")
    for fault in faults:
        assert demo.told("fix", fault) == f"{fault} is fixed.\n"
    for fault in faults:
        wait_until(partial(healthy, demo, FAULTS[fault]), f"{FAULTS[fault]} to pass again", 60)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_nothing_outlives_it(how: signal.Signals) -> None:
    with scratch("demo") as folder, Demo(folder) as running:
        children = psutil.Process(running.pid).children(recursive=True)
        assert len(children) >= 7  # two PostgreSQL, two Redis, three NATS
        psutil.Process(running.pid).send_signal(how)
        psutil.wait_procs(children, timeout=30)
        assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
        wait_until(lambda: not running.folder.exists(), "its folder is gone")
