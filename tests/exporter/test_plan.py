"""What runs on which target: items that do not apply to one, and those that all targets share."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.bindings import described
from exporter.config import ConfigError, Loaded, load
from exporter.document import item_document
from exporter.observations import Observation
from exporter.plan import PlannedItem
from exporter.state import State
from exporter.verdict import Status, failed, ok
from exporter.web import pages
from tests.support import Clock

_ONCE = ("nodes_ready", "version_supported", "control_plane_running")
_CLUSTER = """
clients: {kubernetes: {context: test}}
sections:
  kubernetes:
    not_applicable: {vpa_configured: Requests are sized by load tests.}
    node_grace: 2m
    targets:
"""


def loaded(tmp_path: Path, *targets: str) -> Loaded:
    """The configuration of a cluster with these targets."""
    (tmp_path / "config.yaml").write_text(_CLUSTER + "".join(f"      - {{{target}}}\n" for target in targets))
    return load(tmp_path / "config.yaml")


def planned(found: Loaded, item: str) -> PlannedItem:
    (one,) = (line for line in found.plan.items if line.id == f"kubernetes.{item}")
    return one


def jobs(found: Loaded) -> dict[str, tuple[str, ...]]:
    return {job.target: job.items for job in found.plan.jobs if job.section == "kubernetes"}


def test_what_does_not_apply_to_one_target_is_verified_on_the_others(tmp_path: Path) -> None:
    found = loaded(tmp_path, "name: shop", "name: batch, not_applicable: {hpa_configured: Jobs do not scale.}")
    line = planned(found, "hpa_configured")
    assert (line.targets, line.excused, line.not_applicable) == (("shop",), (("batch", "Jobs do not scale."),), None)
    assert "hpa_configured" in jobs(found)["shop"]
    assert "hpa_configured" not in jobs(found)["batch"]
    assert planned(found, "vpa_configured").not_applicable == "Requests are sized by load tests."


def test_what_applies_to_no_target_does_not_apply(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "name: shop, not_applicable: {hpa_configured: Sold out}",
        "name: batch, not_applicable: {hpa_configured: Jobs do not scale.}",
    )
    assert planned(found, "hpa_configured").not_applicable == (
        "Not applicable to shop: Sold out. Not applicable to batch: Jobs do not scale."
    )
    assert all("hpa_configured" not in names for names in jobs(found).values())


def test_lines_of_the_cluster_are_verified_once_for_targets_that_judge_them_alike(tmp_path: Path) -> None:
    found = loaded(tmp_path, "name: shop, node_grace: 1m", "name: batch, quota_warn: 0.5", "name: jobs")
    assert planned(found, "nodes_ready").targets == ("shop", "batch")  # by another grace
    assert planned(found, "version_supported").targets == planned(found, "control_plane_running").targets == ("shop",)
    assert planned(found, "hpa_configured").targets == ("shop", "batch", "jobs")
    assert set(_ONCE) & set(jobs(found)["batch"]) == {"nodes_ready"}
    assert not set(_ONCE) & set(jobs(found)["jobs"])


def test_another_target_takes_over_a_line_of_the_cluster_that_does_not_apply_to_the_first(tmp_path: Path) -> None:
    excused = "{nodes_ready: Nodes belong to others., hpa_configured: No.}"
    found = loaded(tmp_path, f"name: shop, not_applicable: {excused}", "name: batch")
    assert planned(found, "nodes_ready").targets == ("batch",)


def test_a_target_to_which_nothing_applies_has_no_run(tmp_path: Path) -> None:
    every = ", ".join(
        f"{line.item}: No." for line in loaded(tmp_path, "name: a").plan.items if line.section == "kubernetes"
    )
    found = loaded(tmp_path, "name: shop", f"name: batch, not_applicable: {{{every}}}")
    assert list(jobs(found)) == ["shop"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{hpa_configurd: No.}", "not_applicable.hpa_configurd: unknown item; did you mean 'hpa_configured'?"),
        ("{hpa_configured: ' '}", "not_applicable: found no reason, expected why it does not apply"),
        ("No.", "not_applicable: found a string, expected a mapping"),
    ],
)
def test_what_does_not_apply_to_a_target_is_read_strictly(tmp_path: Path, given: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, f"name: shop, not_applicable: {given}")
    assert f"sections.kubernetes.targets[0].{told}" in str(error.value)


async def test_every_view_shows_why_a_line_does_not_apply_to_a_target(tmp_path: Path) -> None:
    found = loaded(tmp_path, "name: shop", "name: batch, not_applicable: {hpa_configured: Jobs do not scale.}")
    clock = Clock()
    state = State(found.plan, clock)
    await state.record("kubernetes", "shop", {"hpa_configured": Observation(ok("It scales."), clock())})
    view = state.view("kubernetes", "hpa_configured")
    assert view is not None
    assert (view.status, view.summary) == (Status.OK, "It scales. Not applicable to batch: Jobs do not scale.")
    assert [(one["target"], one["status"], one["summary"]) for one in item_document(view)["targets"]] == [
        ("shop", "ok", "It scales."),
        ("batch", "not_applicable", "Jobs do not scale."),
    ]
    await state.record("kubernetes", "shop", {"hpa_configured": Observation(failed("It does not."), clock())})
    view = state.view("kubernetes", "hpa_configured")
    assert view is not None
    assert (view.status, len(view.targets)) == (Status.FAILED, 1)


def test_the_list_of_lines_and_the_page_show_why_too(tmp_path: Path) -> None:
    found = loaded(tmp_path, "name: shop", "name: batch, not_applicable: {hpa_configured: Jobs do not scale.}")
    (line,) = (text for text in described(found) if "kubernetes.hpa_configured" in text)
    assert "on shop, not applicable to batch: Jobs do not scale." in line
    view = State(found.plan, Clock()).view("kubernetes", "hpa_configured")
    assert view is not None
    shown = pages.environment(base="", metrics_path="/metrics", version="1").get_template("item.html")
    given: dict[str, object] = {"troubles": [], "follows": "", "asked": None, "debug": False}
    text = shown.render({**given, **pages.item(view, found.plan, [], Clock()())})
    assert 'scope="row">batch</th><td class="summary">Jobs do not scale.</td>' in text
