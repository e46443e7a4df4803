"""One check of everything: derived items last, two looks where items compare them, and what a new configuration keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from exporter.collector import Client, Collector, Mode, NoTarget, Options, SectionSettings, item
from exporter.config import EvidenceOptions, Loaded, load_default
from exporter.database import Database
from exporter.engine import Engine, check
from exporter.evidence.rules import EvidenceRule
from exporter.history import History
from exporter.plan import EVIDENCE, Job, PlannedItem
from exporter.runner import utc_now
from exporter.verdict import CRITICAL, Result, Status, failed, ok, unknown

order: list[str] = []


class Remembering(Collector[SectionSettings, NoTarget]):
    """Remembering."""

    second_look = timedelta(0)

    @item("Compares", severity=CRITICAL)
    async def compares(self) -> Result:
        """Compares two looks."""
        order.append("compares")
        if "look" not in self.context.memory:
            self.context.memory["look"] = 1
            return unknown("Seen only once.")
        return ok("Seen twice.")


class Deriving(Collector[SectionSettings, NoTarget]):
    """Deriving."""

    @item("Derives", severity=CRITICAL, mode=Mode.DERIVED)
    async def derives(self) -> Result:
        """Derives from the others."""
        order.append("derives")
        seen = [view for view in self.context.view() if view.planned.item == "compares"]
        return ok("All ok.") if all(view.status.is_ok for view in seen) else unknown("Not all ok.")


class Mixed(Collector[SectionSettings, NoTarget]):
    """Mixed."""

    @item("Sees", severity=CRITICAL)
    async def sees(self) -> Result:
        """Sees."""
        return ok("Seen.")

    @item("Sums up", severity=CRITICAL, mode=Mode.DERIVED)
    async def sums_up(self) -> Result:
        """Derives from the line beside it."""
        seen = [view for view in self.context.view() if view.planned.item == "sees"]
        return ok("All ok.") if all(view.status.is_ok for view in seen) else unknown("Not all ok.")


class Recalling(Collector[SectionSettings, NoTarget]):
    """Recalling."""

    @item("Counts", severity=CRITICAL)
    async def counts(self) -> Result:
        """Counts its looks, where something outlives the process."""
        if self.context.recall is None:
            return unknown("Nothing outlives the process.")
        return ok("Seen.", looks=self.context.recall("counts").get("looks", 0) + 1)


class Closing(Client[Options]):
    name = "closing"
    Settings = Options
    closed = 0

    async def close(self) -> None:
        type(self).closed += 1


def loaded(
    *kinds: type[Collector[Any, Any]], clients: Mapping[str, tuple[type[Client[Any]], Options]] | None = None
) -> Loaded:
    jobs, items = [], []
    for kind in kinds:
        for name, declared in kind.items().items():
            section = kind.__name__.lower()
            jobs.append(Job(section, "", kind, SectionSettings(), None, (name,)))
            items.append(
                PlannedItem(
                    section, name, declared.line, "Heading", "group", CRITICAL, declared.mode, declared, targets=("",)
                )
            )
    base = load_default()
    return replace(base, plan=replace(base.plan, items=tuple(items), jobs=tuple(jobs)), clients=clients or {})


async def test_a_check_looks_twice_where_needed_and_derives_last() -> None:
    order.clear()
    done: list[str] = []
    state = await check(loaded(Deriving, Remembering), progress=lambda job: done.append(job.id))
    assert order == ["compares", "compares", "derives"]
    assert done == ["remembering", "deriving"]
    assert {view.status for view in state.views()} == {Status.OK}


async def test_a_result_does_not_get_old_while_a_check_waits_for_others() -> None:
    checked = loaded(Remembering, Deriving)
    quick = SectionSettings(every=timedelta(milliseconds=1))
    jobs = tuple(replace(job, settings=quick) for job in checked.plan.jobs)
    items = tuple(replace(item, every=quick.every, stale_after=3 * quick.every) for item in checked.plan.items)
    state = await check(replace(checked, plan=replace(checked.plan, items=items, jobs=jobs)))
    await asyncio.sleep(0.01)
    assert {view.status for view in state.views()} == {Status.OK}


async def test_a_check_of_one_section_leaves_the_others_unseen() -> None:
    state = await check(loaded(Deriving, Remembering), sections=["remembering"])
    seen = {view.planned.item: view.status for view in state.views()}
    assert seen == {"compares": Status.OK, "derives": Status.UNKNOWN}


async def test_a_new_configuration_closes_only_what_changed() -> None:
    Closing.closed = 0
    before = loaded(Remembering, clients={"closing": (Closing, Options())})
    engine = Engine(before)
    kept = engine._setup.clients["closing"]
    job = before.plan.jobs[0]
    await engine.run(job)
    await engine.replace(loaded(Remembering, clients={"closing": (Closing, Options())}))
    assert engine._setup.clients["closing"] is kept
    await engine.run(job)
    view = engine.state.view("remembering", "compares")
    assert view is not None
    assert view.status is Status.OK  # its memory was kept
    await engine.replace(loaded(Deriving))
    assert Closing.closed == 1
    assert engine.state.view("remembering", "compares") is None
    await engine.close()
    assert Closing.closed == 1


class Waiting(Collector[SectionSettings, NoTarget]):
    """Waiting."""

    begun = asyncio.Event()
    release = asyncio.Event()

    @item("Waits", severity=CRITICAL)
    async def waits(self) -> Result:
        """Waits until it is let go."""
        type(self).begun.set()
        await type(self).release.wait()
        return ok("Seen.")


class Address(Options):
    url: str = "http://a"


class Server(Client[Address]):
    name = "server"
    Settings = Address


class Asking(Collector[SectionSettings, NoTarget]):
    """Asking."""

    looks: ClassVar[list[str]] = []
    hangs: ClassVar[bool] = False

    @item("Asks", severity=CRITICAL)
    async def asks(self) -> Result:
        """Asks the shared server."""
        url = self.client(Server).settings.url
        self.looks.append(url)
        if self.hangs:
            await asyncio.Event().wait()
        return ok(f"Seen at {url}.") if url == "http://a" else failed(f"Missing at {url}.")


class Other(Collector[SectionSettings, NoTarget]):
    """Other."""

    looks: ClassVar[list[str]] = []

    @item("Looks", severity=CRITICAL)
    async def others(self) -> Result:
        """Asks nobody."""
        self.looks.append("looked")
        return ok("Seen.")


@pytest.mark.parametrize(
    ("hangs", "wanted"), [(False, Status.FAILED), (True, Status.UNKNOWN)], ids=["answers", "hangs"]
)
async def test_what_a_client_was_asked_before_it_changed_does_not_count(
    hangs: bool, wanted: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "looks", [])
    monkeypatch.setattr(Other, "looks", [])
    before = loaded(Asking, Other, clients={"server": (Server, Address())})
    engine = Engine(before)
    for job in before.plan.jobs:
        await engine.run(job)
    view = engine.state.view("asking", "asks")
    assert view is not None
    assert view.status is Status.OK
    monkeypatch.setattr(Asking, "hangs", hangs)
    monkeypatch.setattr("exporter.engine.FIRST_LOOKS", timedelta(seconds=0.2))
    await engine.replace(loaded(Asking, Other, clients={"server": (Server, Address(url="http://b"))}))
    view = engine.state.view("asking", "asks")
    assert view is not None
    assert view.status is wanted
    assert Asking.looks == ["http://a", "http://b"]
    assert Other.looks == ["looked"]  # one that does not ask it is left alone
    await engine.close()


class Attested(Collector[SectionSettings, NoTarget]):
    """Attested."""

    @item("Is attested", severity=CRITICAL, mode=Mode.EVIDENCE, evidence=EvidenceRule(valid_for=timedelta(days=1)))
    async def attests(self) -> Result:
        """Reads evidence."""
        await self.context.evidence.links(())
        return ok("Seen.")


@pytest.mark.parametrize(
    ("changed", "asks", "attests"),
    [
        ("nothing", Status.OK, Status.OK),
        ("server", Status.UNKNOWN, Status.OK),
        ("other", Status.OK, Status.OK),
        (EVIDENCE, Status.OK, Status.UNKNOWN),
    ],
)
async def test_what_was_seen_through_something_else_before_a_restart_does_not_count(
    tmp_path: Path, changed: str, asks: Status, attests: Status
) -> None:
    sources = {"server": "a", "other": "a", EVIDENCE: "a"}
    before = loaded(Asking, Attested, clients={"server": (Server, Address())})
    before = replace(before, plan=replace(before.plan, sources=sources))
    engine = Engine(before, history=History(Database(tmp_path / "history.db", now=utc_now), now=utc_now))
    for job in before.plan.jobs:
        await engine.run(job)
    await engine.close()
    after = replace(before, plan=replace(before.plan, sources=sources | {changed: "b"}))
    engine = Engine(after, history=History(Database(tmp_path / "history.db", now=utc_now), now=utc_now))
    seen = {view.planned.item: view for view in engine.state.views()}
    assert (seen["asks"].status, seen["attests"].status) == (asks, attests)
    assert all(view.last_ok for view in seen.values()), "when it was last ok stays known"
    await engine.close()


@pytest.mark.parametrize("changed", ["nothing", "settings", "release"])
async def test_a_run_that_began_with_other_settings_changes_nothing(changed: str) -> None:
    Waiting.begun, Waiting.release = asyncio.Event(), asyncio.Event()
    before = loaded(Waiting)
    engine = Engine(before)
    running = asyncio.create_task(engine.run(before.plan.jobs[0]))
    await Waiting.begun.wait()
    after = loaded(Waiting)
    if changed == "settings":
        (job,) = after.plan.jobs
        job = replace(job, settings=SectionSettings(timeout=timedelta(seconds=7)))
        after = replace(after, plan=replace(after.plan, jobs=(job,)))
    if changed == "release":
        after = replace(after, plan=replace(after.plan, release="2.0"))
    await engine.replace(after)
    Waiting.release.set()
    await running
    view = engine.state.view("waiting", "waits")
    assert view is not None
    assert view.status is (Status.OK if changed == "nothing" else Status.UNKNOWN)
    await engine.close()


async def test_evidence_is_read_anew_only_where_it_is_judged_otherwise(tmp_path: Path) -> None:
    before = replace(loaded(Remembering), evidence=EvidenceOptions(folder=tmp_path))
    engine = Engine(before)
    kept = engine.evidence
    await engine.replace(replace(loaded(Deriving), evidence=EvidenceOptions(folder=tmp_path)))
    assert engine.evidence is kept
    await engine.replace(replace(before, plan=replace(before.plan, release="2.0")))
    assert (engine.evidence is kept, engine.evidence.release) == (False, "2.0")
    await engine.close()


async def test_what_cannot_be_closed_keeps_nothing_else_open(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Stubborn(Closing):
        async def close(self) -> None:
            raise ConnectionResetError

    history = History(Database(tmp_path / "history.db", now=lambda: datetime.now(UTC)), now=lambda: datetime.now(UTC))
    engine = Engine(loaded(Remembering, clients={"closing": (Stubborn, Options())}), history=history)
    await engine.replace(loaded(Deriving, clients={}))
    assert engine.state.view("deriving", "derives") is not None
    await engine.replace(loaded(Deriving, clients={"closing": (Stubborn, Options())}))
    await engine.close()
    assert history._writer is not None
    assert not history._writer.is_alive()
    assert caplog.text.count("A connection could not be closed.") == 2


async def test_what_was_measured_is_recalled_after_a_restart_however_late(tmp_path: Path) -> None:
    configured = loaded(Recalling)
    for looks in (1, 2):  # a day apart: a result that old counts for nothing else
        now = partial(datetime, 2026, 11, looks, tzinfo=UTC)
        engine = Engine(configured, history=History(Database(tmp_path / "history.db", now=now), now=now), now=now)
        await engine.run(configured.plan.jobs[0])
        view = engine.state.view("recalling", "counts")
        assert view is not None
        assert view.measurements == {"looks": looks}
        assert engine.state.measured("recalling", "nothing", "") == {}
        await engine.close()


async def test_without_a_file_nothing_is_recalled() -> None:
    engine = Engine(loaded(Recalling))
    await engine.run(engine.loaded.plan.jobs[0])
    view = engine.state.view("recalling", "counts")
    assert view is not None
    assert view.summary == "Nothing outlives the process."
    await engine.close()


async def test_after_a_long_stop_what_is_derived_waits_and_what_is_not_does_not(tmp_path: Path) -> None:
    """A day without the exporter is no reason for "all lines pass" to become unknown, and then ok again."""
    configured = loaded(Mixed)
    job = replace(configured.plan.jobs[0], items=("sees", "sums_up"))
    configured = replace(configured, plan=replace(configured.plan, jobs=(job,)))
    for day, runs in ((1, 3), (2, 2)):
        now = partial(datetime, 2026, 11, day, tzinfo=UTC)
        history = History(Database(tmp_path / "history.db", now=now), now=now)
        engine = Engine(configured, history=history, now=now)
        for _ in range(runs):
            await engine.run(job)
        views = [engine.state.view("mixed", name) for name in job.items]
        assert [view and view.status for view in views] == [Status.OK, Status.OK]
        changes = await history.transitions()
        await engine.close()
        await history.close()
    assert {change.item for change in changes} == {"sees", "sums_up"}
    assert {change.at.day for change in changes} == {1}, "the second day has none"
