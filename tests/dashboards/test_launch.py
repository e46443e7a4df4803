"""Whether to launch, as *Readiness* says it: asked of both generations of Prometheus about checklists of every kind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.alerts.scenarios import POD_0, POD_1, line, series, steps
from tests.dashboards.panels import filled, panels
from tests.servers.prometheus import NEW, OLD, promtool

CHOSEN = {"job": ".+", "instance": ".+"}
MINOR = line(("failed", 2), item="minor", item_severity="warning")


def configured(lines: int, where: Mapping[str, str] | None = None) -> dict[str, str]:
    return series("checklist_items_configured", steps((lines, 2)), where)


def apart(item: str) -> dict[str, str]:
    """A critical line that is declared not to apply: it has no series that says whether it is true."""
    return {name: values for name, values in line(("not_applicable", 2), item=item).items() if "_ok" not in name}


CHECKLISTS: dict[str, tuple[Sequence[Mapping[str, str]], float | None]] = {
    "every critical line is true": ([configured(2), line(("ok", 2)), MINOR], 1),
    "close to a limit is true": ([configured(1), line(("warning", 2))], 1),
    "a waiver accepts it": ([configured(1), line(("waived", 2))], 1),
    "a critical line is not true": ([configured(2), line(("failed", 2)), line(("ok", 2), item="other")], 0),
    "a critical line was not seen": ([configured(1), line(("unknown", 2))], 0),
    "replicas disagree": (
        [
            configured(1, POD_0),
            configured(1, POD_1),
            line(("ok", 2), where=POD_0),
            line(("failed", 2), where=POD_1),
        ],
        0,
    ),
    "the waiver of one replica does not stand for the other": (
        [
            configured(1, POD_0),
            configured(1, POD_1),
            line(("waived", 2), where=POD_0),
            line(("failed", 2), where=POD_1),
        ],
        0,
    ),
    "one replica waives what the other sees to be true": (
        [configured(1, POD_0), configured(1, POD_1), line(("waived", 2), where=POD_0), line(("ok", 2), where=POD_1)],
        1,
    ),
    "both replicas waive it": (
        [
            configured(1, POD_0),
            configured(1, POD_1),
            line(("waived", 2), where=POD_0),
            line(("waived", 2), where=POD_1),
        ],
        1,
    ),
    "lines are missing": ([configured(2), line(("ok", 2))], None),
    "no line is critical": ([configured(1), MINOR], None),
    "the critical line does not apply": ([configured(2), apart("other"), MINOR], None),
    "there is no exporter": ([], None),
}


@pytest.mark.parametrize("release", [OLD, NEW])
@pytest.mark.parametrize("name", CHECKLISTS)
def test_whether_to_launch(name: str, release: str, tmp_path: Path) -> None:
    told, answer = CHECKLISTS[name]
    (panel,) = [one for one in panels("readiness") if one["title"] == "Launch"]
    (target,) = panel["targets"]
    expected = [] if answer is None else [{"labels": "{}", "value": answer}]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for part in told for name, values in part.items()],
        "promql_expr_test": [{"expr": filled(target["expr"], CHOSEN), "eval_time": "1m", "exp_samples": expected}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps({"rule_files": [], "tests": [test]}))
    done = subprocess.run(
        [promtool(release), "test", "rules", file], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
