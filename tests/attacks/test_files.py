"""Named pipes and other things in place of files: whoever asks is told so, and nobody else waits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.attacks.running import PLUGIN, Attacked
from tests.servers.process import wait_until

STAYS = '''"""Staying checks"""
import os, pathlib
from exporter.collector import Collector, SectionSettings, Target, item
from exporter.verdict import CRITICAL, Result, failed, ok


class Settings(SectionSettings):
    targets: tuple[Target, ...]


class Staying(Collector[Settings, Target]):
    """Staying."""

    Settings = Settings
    Target = Target

    @item("It stays", severity=CRITICAL)
    async def stays(self) -> Result:
        """It is true of every target but those whose name says otherwise."""
        return failed("Broken.") if self.target.name == "broken" else ok("As ever.")
'''
ADDRESSED = (
    STAYS.replace("class Settings", "class Place(Target):\n    address: str\n\n\nclass Settings")
    .replace("tuple[Target", "tuple[Place")
    .replace("[Settings, Target]", "[Settings, Place]")
    .replace("Target = Target", "Target = Place")
)
RELOADED = "checklist_exporter_config_last_reload_successful"


def _attacked(folder: Path, more: str = "", targets: str = "{name: a}") -> Attacked:
    (folder / "checklist.md").write_text("# Launch\n\n## Staying checks\n\n- [ ] It stays\n")
    return Attacked(folder, _configuration(more, targets), plugin=STAYS)


def _configuration(more: str, targets: str, every: str = "1h") -> str:
    return f"checklist: checklist.md\n{more}\nsections:\n  {PLUGIN}: {{every: {every}, targets: [{targets}]}}\n"


def test_a_secret_that_becomes_a_pipe_stops_no_reload(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary-one")
    more = f"clients:\n  prometheus: {{url: 'http://127.0.0.1:9', bearer_token_file: {secret}}}"
    with _attacked(tmp_path, more) as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
        secret.unlink()
        os.mkfifo(secret)
        wait_until(lambda: exporter.metric(RELOADED) == 0, what="the pipe is told")
        assert "not a regular file" in exporter.logged()
        assert exporter.ok(PLUGIN, "stays") == 1
        secret.unlink()
        secret.write_text("canary-two")
        wait_until(lambda: exporter.metric(RELOADED) == 1, what="the next one is read")


@pytest.mark.parametrize("command", [["config", "check"], ["check"], ["serve"]])
def test_a_configuration_that_is_a_pipe_is_refused(tmp_path: Path, command: list[str]) -> None:
    exporter = _attacked(tmp_path)
    exporter.config.unlink()
    os.mkfifo(exporter.config)
    flag = f"--config.file={exporter.config}"
    done = subprocess.run(
        [exporter.argv[0], *command, flag], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 3
    assert "not a regular file" in done.stderr + done.stdout


def test_a_target_that_is_new_at_a_reload_is_looked_at_before_it_counts(tmp_path: Path) -> None:
    with _attacked(tmp_path) as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
        since = exporter.item(PLUGIN, "stays")["since"]
        for targets in ("{name: a}, {name: b}", "{name: renamed}, {name: b}"):
            exporter.config.write_text(_configuration("", targets))
            assert exporter.reload() == 200
            found = exporter.item(PLUGIN, "stays")
            assert (found["status"], found["since"], len(found["targets"])) == ("ok", since, 2)
        exporter.config.write_text(_configuration("", "{name: b}, {name: broken}"))
        assert exporter.reload() == 200
        found = exporter.item(PLUGIN, "stays")
        assert (found["status"], found["summary"]) == ("failed", "broken: Broken.")


def test_a_target_that_changed_while_the_exporter_was_down_is_not_shown_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "checklist.md").write_text("# Launch\n\n## Staying checks\n\n- [ ] It stays\n")

    def started(address: str) -> Attacked:
        targets = f"{{name: a, address: {address}}}, {{name: b, address: b.example.com}}"
        return Attacked(tmp_path, _configuration("state: {file: history.db}", targets), plugin=ADDRESSED)

    with started("a.example.com") as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
        last_ok = exporter.item(PLUGIN, "stays")["last_ok"]
    with started("a.example.com") as exporter:
        assert exporter.item(PLUGIN, "stays")["status"] == "ok", "nothing changed, so what is known of it counts"
    with started("elsewhere.example.com") as exporter:
        found = exporter.item(PLUGIN, "stays")
        assert (found["status"], found["reason"], found["last_ok"]) == ("unknown", "pending", last_ok)
        assert {target["target"]: target["status"] for target in found["targets"]} == {"a": "unknown", "b": "ok"}
        assert exporter.ok(PLUGIN, "stays") == 0
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it is verified there", deadline=60)


THROUGH = '''"""Staying checks"""
from collectors.systems.prometheus.client import Prometheus
from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.verdict import CRITICAL, Result, ok


class Staying(Collector[SectionSettings, NoTarget]):
    """Staying."""

    @item("It stays", severity=CRITICAL)
    async def stays(self) -> Result:
        """Passes, through whatever it is seen."""
        return ok(f"Seen through {self.client(Prometheus).settings.url}.")
'''


def test_what_was_seen_through_another_client_before_a_restart_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "checklist.md").write_text("# Launch\n\n## Staying checks\n\n- [ ] It stays\n")

    def started(url: str) -> Attacked:
        configuration = (
            "checklist: checklist.md\nstate: {file: history.db}\n"
            f"clients: {{prometheus: {{url: '{url}'}}}}\nsections: {{{PLUGIN}: {{every: 2s, stale_after: 10m}}}}\n"
        )
        return Attacked(tmp_path, configuration, plugin=THROUGH)

    with started("http://127.0.0.1:1") as exporter:
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it verifies", deadline=60)
    with started("http://127.0.0.1:1") as exporter:
        assert exporter.ok(PLUGIN, "stays") == 1, "nothing changed, so what is known of it counts"
    with started("http://127.0.0.1:2") as exporter:
        seen = exporter.item(PLUGIN, "stays")
        assert (seen["status"] == "unknown" and seen["reason"] == "pending") or "127.0.0.1:2" in seen["summary"]
        wait_until(lambda: exporter.ok(PLUGIN, "stays") == 1, what="it is verified there", deadline=60)
        assert "127.0.0.1:2" in exporter.item(PLUGIN, "stays")["summary"]
