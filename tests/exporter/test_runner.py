"""One run: deadlines, shared facts, and what becomes of exceptions."""

import asyncio
import logging
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from exporter.collector import Client, Collector, NoTarget, Options, SectionSettings, Target, fetched, item
from exporter.observations import Observation
from exporter.plan import Job
from exporter.runner import Runner, contain
from exporter.verdict import CRITICAL, ProbeError, Reason, Result, Status, ok
from tests.servers.process import eventually
from tests.support import make_context, verify

QUICK = SectionSettings(timeout=timedelta(seconds=0.2))


class Other(Client[Options]):
    """A client that no configuration has."""

    name = "other"
    Settings = Options


class Sample(Collector[SectionSettings, Target | None]):
    """Sample."""

    asked = 0
    opening: Exception | None = None

    async def open(self) -> None:
        if self.opening:
            raise self.opening

    @fetched
    async def fact(self) -> int:
        type(self).asked += 1
        await asyncio.sleep(0.05)
        return 7

    @fetched
    async def broken(self) -> int:
        raise ProbeError("Host a does not answer.")

    @fetched
    async def slow(self) -> int:
        await asyncio.sleep(60)
        return 0

    @item("One", severity=CRITICAL)
    async def one(self) -> Result:
        """One."""
        return ok(f"It is {await self.fact()}.", size_bytes=1, nan=float("nan"), infinite=float("inf"))

    @item("Two", severity=CRITICAL)
    async def two(self) -> Result:
        """Two."""
        return ok(f"It is {await self.fact()} too.")

    @item("Cannot", severity=CRITICAL)
    async def cannot(self) -> Result:
        """It shares a broken fact."""
        return ok(str(await self.broken()))

    @item("Cannot either", severity=CRITICAL)
    async def cannot_either(self) -> Result:
        """It shares a broken fact."""
        return ok(str(await self.broken()))

    @item("Hangs", severity=CRITICAL)
    async def hangs(self) -> Result:
        """It waits for a fact that does not come."""
        return ok(str(await self.slow()))

    @item("Raises", severity=CRITICAL)
    async def raises(self) -> Result:
        """It has a bug."""
        raise KeyError("secret-canary")

    @item("Silent", severity=CRITICAL)
    async def silent(self) -> Result:
        """It raises without a word."""
        raise TimeoutError

    @item("Wordless", severity=CRITICAL)
    async def wordless(self) -> Result:
        """It raises without a word."""
        raise ProbeError

    @item("Wrong", severity=CRITICAL)
    async def wrong(self) -> Result:
        """It returns what is no result."""
        return True  # type: ignore[return-value]

    @item("Mute", severity=CRITICAL)
    async def mute(self) -> Result:
        """It raises an exception of a library, without a text."""
        raise ConnectionResetError


def told(observed: dict[str, Observation], name: str) -> tuple[Status, str]:
    return observed[name].result.status, observed[name].result.summary


async def test_a_sentence_is_one_line_that_can_be_written_anywhere() -> None:
    class Odd(Collector[SectionSettings, NoTarget]):
        """Odd."""

        @item("Line", severity=CRITICAL)
        async def line(self) -> Result:
            """Line."""
            return ok("Half \ud800 a\ncharacter.\x1b[2J" + "x" * 2000)

    summary = (await verify(Odd, QUICK))["line"].result.summary
    assert summary.startswith("Half \\ud800 a character. [2Jxxx")
    assert summary.encode()
    assert len(summary) == 1000


async def test_a_fact_is_asked_once_and_shared() -> None:
    Sample.asked = 0
    observed = await verify(Sample, SectionSettings(), items=("one", "two"))
    assert told(observed, "one") == (Status.OK, "It is 7.")
    assert told(observed, "two") == (Status.OK, "It is 7 too.")
    assert Sample.asked == 1


async def test_what_is_only_not_configured_is_no_error_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Asking(Collector[SectionSettings, NoTarget]):
        """Asking."""

        @item("Client", severity=CRITICAL)
        async def asks_a_client(self) -> Result:
            """Asks a client that the configuration does not have."""
            return ok(f"Asked {self.client(Other)}.")

        @item("Option", severity=CRITICAL)
        async def wants_an_option(self) -> Result:
            """Wants an option that is not set."""
            raise ProbeError("address is not set.", Reason.NOT_CONFIGURED)

        @item("Silent", severity=CRITICAL)
        async def does_not_answer(self) -> Result:
            """Asks what does not answer."""
            raise ProbeError("Host a does not answer.", Reason.UNREACHABLE)

    observed = await verify(Asking, QUICK)
    reasons = {name: (seen.result.status, seen.result.reason, seen.error) for name, seen in observed.items()}
    assert reasons == {
        "asks_a_client": (Status.UNKNOWN, Reason.NOT_CONFIGURED, False),
        "wants_an_option": (Status.UNKNOWN, Reason.NOT_CONFIGURED, False),
        "does_not_answer": (Status.UNKNOWN, Reason.UNREACHABLE, True),
    }
    assert caplog.text == ""


async def test_a_measurement_that_is_no_number_is_left_out() -> None:
    observed = await verify(Sample, SectionSettings(), items=("one",))
    assert observed["one"].result.measurements == {"size_bytes": 1}


async def test_an_item_that_hangs_is_unknown_and_holds_up_no_other() -> None:
    observed = await verify(Sample, QUICK, items=("hangs", "one"))
    assert told(observed, "hangs") == (Status.UNKNOWN, "test_runner.hangs was not checked within 0.2 s.")
    assert observed["one"].result.status is Status.OK


async def test_what_is_raised_becomes_unknown_with_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    observed = await verify(
        Sample, QUICK, items=("cannot", "cannot_either", "raises", "silent", "wordless", "wrong", "mute")
    )
    assert told(observed, "cannot") == told(observed, "cannot_either") == (Status.UNKNOWN, "Host a does not answer.")
    assert told(observed, "silent") == (Status.UNKNOWN, "test_runner.silent was not checked within 0.2 s.")
    assert (
        told(observed, "wordless")[1] == "test_runner.wordless could not be checked, for a reason that was not given."
    )
    assert told(observed, "wrong")[1].endswith("returned bool, not a Result.")
    assert told(observed, "mute") == (Status.UNKNOWN, "test_runner.mute could not be checked: ConnectionResetError.")
    assert all(seen.error for seen in observed.values())
    assert "test_runner.raises raised KeyError" in caplog.text


async def test_secrets_are_redacted_from_sentences() -> None:
    job = Job("test_runner", "", Sample, QUICK, None, ("raises",))
    runner = Runner(redact=lambda text: text.replace("secret-canary", "***"))
    logging.getLogger("exporter.runner").disabled = True
    try:
        observed = await runner.run(job, make_context())
    finally:
        logging.getLogger("exporter.runner").disabled = False
    assert told(observed, "raises")[1] == "test_runner.raises could not be checked: KeyError: '***'"


async def test_a_secret_of_several_lines_is_redacted_as_a_whole() -> None:
    class Telling(Collector[SectionSettings, NoTarget]):
        """Telling."""

        @item("Line", severity=CRITICAL)
        async def line(self) -> Result:
            """Line."""
            raise ConnectionError("Key BEGIN\nsecret  canary\nEND was refused.")

    runner = Runner(redact=lambda text: text.replace("BEGIN\nsecret  canary\nEND", "***"))
    observed = await runner.run(Job("telling", "", Telling, QUICK, None, ("line",)), make_context())
    assert told(observed, "line")[1].endswith("ConnectionError: Key *** was refused.")


async def test_a_collector_that_cannot_be_made_is_unknown_with_the_reason() -> None:
    class Unmade(Sample):
        def __init__(self, *_: Any) -> None:
            raise ImportError("No module named 'heavy'")

    observed = await verify(Unmade, QUICK, items=("one", "two"))
    assert told(observed, "one")[1] == "test_runner could not be checked: ImportError: No module named 'heavy'"
    assert told(observed, "two")[0] is Status.UNKNOWN


async def test_a_section_that_cannot_be_opened_is_unknown_as_a_whole() -> None:
    class Closed(Sample):
        opening = ProbeError("Server a:1 refused the connection.")

    observed = await verify(Closed, QUICK, items=("one", "two"))
    assert {told(observed, name) for name in observed} == {(Status.UNKNOWN, "Server a:1 refused the connection.")}


async def test_a_run_has_an_end_even_if_opening_closing_and_cancelling_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.runner.CLOSING_SECONDS", 0.1)
    release = asyncio.Event()

    class Hanging(Sample):
        async def open(self) -> None:
            async def hang() -> None:
                while not release.is_set():
                    with suppress(asyncio.CancelledError):
                        await release.wait()

            self.resources.push_async_callback(hang)

    job = Job("test_runner", "a", Hanging, SectionSettings(timeout=timedelta(seconds=0.1)), None, ("one", "hangs"))
    observed = await asyncio.wait_for(Runner().run(job, make_context()), 5)
    assert set(observed) == {"one", "hangs"}
    release.set()
    leftover = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.wait(leftover, timeout=5)
    assert all(task.done() for task in leftover)


async def test_a_run_that_opens_for_ever_is_unknown() -> None:
    class Endless(Sample):
        async def open(self) -> None:
            await asyncio.sleep(60)

    observed = await verify(Endless, QUICK, items=("one",))
    assert told(observed, "one") == (Status.UNKNOWN, "test_runner was not checked within 0.2 s.")


async def test_no_more_runs_than_places_at_a_time() -> None:
    running, most = 0, 0

    class Counting(Collector[SectionSettings, NoTarget]):
        """Counting."""

        @item("Counts", severity=CRITICAL)
        async def counts(self) -> Result:
            """Counts."""
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return ok("Counted.")

    runner = Runner(concurrency=3)
    job = Job("counting", "", Counting, SectionSettings(), None, ("counts",))
    await asyncio.gather(*(runner.run(job, make_context()) for _ in range(12)))
    assert most == 3


async def test_a_cancelled_run_leaves_nothing_behind() -> None:
    opened, closed = asyncio.Event(), asyncio.Event()

    class Watched(Sample):
        async def open(self) -> None:
            self.resources.callback(closed.set)
            opened.set()

    job = Job("test_runner", "", Watched, SectionSettings(), None, ("hangs",))
    before = asyncio.all_tasks()
    run = asyncio.create_task(Runner().run(job, make_context()))
    await asyncio.wait_for(opened.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await asyncio.wait_for(closed.wait(), 5)
    await eventually(lambda: asyncio.all_tasks() == before, what="its tasks to end")


async def test_an_item_that_something_else_cancelled_says_so() -> None:
    class Cancelled(Collector[SectionSettings, NoTarget]):
        """Cancelled."""

        @item("Line", severity=CRITICAL)
        async def line(self) -> Result:
            """Line."""
            raise asyncio.CancelledError

    observed = await verify(Cancelled, QUICK)
    assert told(observed, "line") == (
        Status.UNKNOWN,
        "test_runner.line could not be checked: what was waited for was cancelled half-way.",
    )


async def test_a_fact_cancelled_from_elsewhere_is_a_reason_not_a_crash() -> None:
    class Cancelled(Collector[SectionSettings, NoTarget]):
        """Cancelled."""

        @fetched
        async def fact(self) -> int:
            raise asyncio.CancelledError

        @item("Line", severity=CRITICAL)
        async def line(self) -> Result:
            """Line."""
            return ok(str(await self.fact()))

    observed: dict[str, Any] = await verify(Cancelled, QUICK)
    assert told(observed, "line") == (
        Status.UNKNOWN,
        "test_runner could not read its fact: the query was cancelled.",
    )


class Textless(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Lying(Result):
    """It says something else whenever it is asked."""


class Hostile(Collector[SectionSettings, NoTarget]):
    """Every item hands over something else that no engine should trust; `good` stands beside them."""

    @fetched
    async def ended(self) -> int:
        raise SystemExit(3)

    @item("Good", severity=CRITICAL)
    async def good(self) -> Result:
        """Good."""
        await asyncio.sleep(0.05)
        return ok("Observed.", size_bytes=2)

    @item("Status", severity=CRITICAL)
    async def status(self) -> Result:
        """A status that only looks like one."""
        return Result("ok", "Fine.")  # type: ignore[arg-type]

    @item("Waived", severity=CRITICAL)
    async def waived(self) -> Result:
        """A status that only the engine gives."""
        return Result(Status.WAIVED, "Accepted by myself.")

    @item("Applicable", severity=CRITICAL)
    async def not_applicable(self) -> Result:
        """A status that only the engine gives."""
        return Result(Status.NOT_APPLICABLE, "Not for us.")

    @item("Subclass", severity=CRITICAL)
    async def subclass(self) -> Result:
        """A class of its own."""
        return Lying(Status.OK, "Fine.")

    @item("Text", severity=CRITICAL)
    async def text(self) -> Result:
        """A summary that is no text."""
        return ok(b"Fine.")  # type: ignore[arg-type]

    @item("Blank", severity=CRITICAL)
    async def blank(self) -> Result:
        """A summary that says nothing."""
        return ok(" \n ")

    @item("Long", severity=CRITICAL)
    async def long(self) -> Result:
        """A summary of 20 MB."""
        return ok("x" * 20_000_000)

    @item("Naive", severity=CRITICAL)
    async def naive(self) -> Result:
        """A time without zone."""
        return ok("Fine.", valid_until=datetime(2030, 1, 1))  # noqa: DTZ001

    @item("Far", severity=CRITICAL)
    async def far(self) -> Result:
        """A time that UTC does not have."""
        return ok("Fine.", valid_until=datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=14))))

    @item("Number", severity=CRITICAL)
    async def number(self) -> Result:
        """A measurement that is a text."""
        return ok("Fine.", free_bytes="12")  # type: ignore[arg-type]

    @item("Huge", severity=CRITICAL)
    async def huge(self) -> Result:
        """A measurement that no float can hold."""
        return ok("Fine.", free_bytes=10**400)

    @item("Many", severity=CRITICAL)
    async def many(self) -> Result:
        """More measurements than a page could show."""
        return Result(Status.OK, "Fine.", {f"m{number}": 1.0 for number in range(10_000)})

    @item("Named", severity=CRITICAL)
    async def named(self) -> Result:
        """A measurement whose name breaks the page."""
        return Result(Status.OK, "Fine.", {'a"} 1\nb': 1.0})

    @item("Reason", severity=CRITICAL)
    async def reasoned(self) -> Result:
        """A reason that is not on the list."""
        return Result(Status.FAILED, "Broken.", reason="because")  # type: ignore[arg-type]

    @item("Records", severity=CRITICAL)
    async def records(self) -> Result:
        """Evidence that is none."""
        return Result(Status.OK, "Fine.", evidence=("me",))  # type: ignore[arg-type]

    @item("Exits", severity=CRITICAL)
    async def exits(self) -> Result:
        """It ends the process."""
        raise SystemExit(3)

    @item("Interrupts", severity=CRITICAL)
    async def interrupts(self) -> Result:
        """It ends the process."""
        raise KeyboardInterrupt

    @item("Exits in a fact", severity=CRITICAL)
    async def exits_in_a_fact(self) -> Result:
        """It ends the process from a task of its own."""
        return ok(str(await self.ended()))

    @item("Exits in a thread", severity=CRITICAL)
    async def exits_in_a_thread(self) -> Result:
        """It ends the process from a thread."""
        return ok(str(await self.blocking(sys.exit, 3)))

    @item("Textless", severity=CRITICAL)
    async def textless(self) -> Result:
        """It raises what has no text."""
        raise Textless

    @item("Verbose", severity=CRITICAL)
    async def verbose(self) -> Result:
        """It raises what has too much text."""
        raise ValueError("y" * 20_000_000)

    @item("Grouped", severity=CRITICAL)
    async def grouped(self) -> Result:
        """It raises a group, of which the first is the cause."""
        raise ExceptionGroup("unhandled errors in a TaskGroup", [ProbeError("Host a is down.", Reason.UNREACHABLE)])


async def test_what_a_plugin_hands_over_harms_its_own_line_alone(caplog: pytest.LogCaptureFixture) -> None:
    contain()
    observed = await verify(Hostile, SectionSettings())
    assert told(observed, "good") == (Status.OK, "Observed.")
    bad = {name: seen for name, seen in observed.items() if name != "good"}
    assert {seen.result.status for seen in bad.values()} == {Status.UNKNOWN}
    assert {seen.error for seen in bad.values()} == {True}
    assert max(len(seen.result.summary) for seen in bad.values()) <= 1000
    assert {seen.result.reason for name, seen in bad.items() if name != "grouped"} == {Reason.ERROR}
    assert (bad["grouped"].result.summary, bad["grouped"].result.reason) == ("Host a is down.", Reason.UNREACHABLE)
    assert told(observed, "status")[1] == (
        f"test_runner.status could not be checked: its collector {__name__} "
        "returned a Result whose status is not one of failed, ok, unknown, warning."
    )
    assert "ended the process" not in caplog.text
    assert "to end the process" in told(observed, "exits_in_a_fact")[1]
    assert "20000000 characters (limit 65536)" in told(observed, "long")[1]
    assert told(observed, "textless")[1] == "test_runner.textless could not be checked: Textless."
    assert max(map(len, caplog.messages)) < 10_000


async def test_a_run_that_does_not_end_is_not_joined_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.runner.CLOSING_SECONDS", 0.05)
    release = asyncio.Event()

    class Stubborn(Collector[SectionSettings, NoTarget]):
        """It ignores that it is cancelled."""

        @item("Line", severity=CRITICAL)
        async def line(self) -> Result:
            """Line."""
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()
            return ok("At last.")

    runner = Runner()
    settings = SectionSettings(timeout=timedelta(seconds=0.05))
    job = Job("stubborn", "a", Stubborn, settings, None, ("line",))
    before = len(asyncio.all_tasks())
    for _ in range(5):
        seen = (await asyncio.wait_for(runner.run(job, make_context()), 5))["line"].result
        assert (seen.status, seen.reason) == (Status.UNKNOWN, Reason.TIMEOUT)
    assert seen.summary == "stubborn/a was not verified: its earlier run was cancelled and has not stopped."
    assert len(asyncio.all_tasks()) <= before + 2
    release.set()
    await eventually(lambda: len(asyncio.all_tasks()) == before, what="it ends")
    job = replace(job, settings=SectionSettings(timeout=timedelta(seconds=5)))
    assert told(await runner.run(job, make_context()), "line") == (Status.OK, "At last.")
