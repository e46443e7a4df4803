"""Tests of `explain`, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.cli.shared import ExitCode
from tests.exporter.cli.conftest import LINES, Ended, custom
from tests.servers.process import LOOPBACK, free_port
from tests.servers.redis import Start

Run = Callable[..., Ended]
PASSWORD = "a-canary-that-nobody-may-see"


def redis_at(folder: Path, *addresses: str) -> Path:
    """A configuration of a Redis with a password at each address."""
    secret = folder / "password"
    secret.write_text(PASSWORD)
    targets = "".join(
        f"    - {{name: cache-{number}, mode: standalone, nodes: ['{address}'], password_file: {secret}}}\n"
        for number, address in enumerate(addresses)
    )
    file = folder / "config.yaml"
    file.write_text(f"environment: test\nsections:\n  redis:\n    targets:\n{targets}")
    return file


def test_what_was_asked_and_answered_is_shown_for_each_target(run: Run, start_redis: Start, tmp_path: Path) -> None:
    node = start_redis("--requirepass", PASSWORD, password=PASSWORD)
    nobody = f"{LOOPBACK}:{free_port()}"
    file = redis_at(tmp_path, node.address, nobody)
    ended = run("explain", "redis.persistence_configured", "--config.file", file)
    before, reached, refused = ended.out.split("Target cache-")
    assert "verified by probe" in before
    assert f"Redis {node.address}: INFO, " in reached
    assert "→ 7 replies (" in reached
    assert "password: **********" in reached
    assert f"Redis {nobody}: INFO, " in refused
    assert f"→ {nobody} " in refused
    assert "unknown (unreachable): " in refused
    assert "What to do: Check address, DNS, " in refused
    assert PASSWORD not in ended.out + ended.err
    assert ended.code in (ExitCode.FAILED, ExitCode.UNKNOWN)  # a Redis without AOF fails


def test_what_a_line_depends_on_is_verified_too(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    verified = f"tcp: {{addresses: ['{LOOPBACK}:{free_port()}']}}"
    file.write_text(f"""environment: test
custom:
  - {{section: Shop, line: Door opens, {verified}}}
  - {{section: Shop, line: Till works, {verified}, depends_on: [shop.door_opens]}}
""")
    ended = run("explain", "shop.till_works", "--config.file", file)
    _, depends = ended.out.split("It depends on:")
    assert "  shop.door_opens is failed: " in depends
    assert ended.code == ExitCode.FAILED
    assert "It depends on" not in run("explain", "shop.door_opens", "--config.file", file).out


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("replica_drilled", ExitCode.OK, "  ok: "),
        ("restore_drilled", ExitCode.FAILED, "  failed ("),
        ("failover_drilled", ExitCode.UNKNOWN, "  unknown ("),
    ],
)
def test_evidence_is_named(run: Run, tmp_path: Path, line: str, code: ExitCode, said: str) -> None:
    file = custom(tmp_path, *LINES, ("Failover drilled", "critical", "unreadable"))
    ended = run("explain", f"drill.{line}", "--config.file", file)
    assert ended.code == code, ended.out
    assert said in ended.out
    if code is ExitCode.OK:
        assert "Evidence: replica_drilled.yaml:1: passed on " in ended.out


def test_a_line_that_nothing_verifies_says_what_to_add(run: Run) -> None:
    ended = run("explain", "kubernetes.version_supported")
    assert ended.code == ExitCode.UNKNOWN
    assert "unknown (not_configured): Section kubernetes is not configured" in ended.out


def test_a_derived_line_is_computed_from_all_others(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("environment: test\nsections:\n  final_checklist: {}\n")
    ended = run("explain", "final_checklist.all_items_completed", "--config.file", file)
    assert "It is computed from the other lines, which are verified first." in ended.out
    assert ended.code in (ExitCode.FAILED, ExitCode.UNKNOWN)


def test_a_line_that_does_not_exist_is_refused_with_the_nearest(run: Run) -> None:
    ended = run("explain", "redis.persistence_configure")
    assert ended.code == ExitCode.CONFIGURATION
    assert "There is no line 'redis.persistence_configure'; did you mean 'redis.persistence_configured'?" in ended.err
