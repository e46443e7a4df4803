"""One run: deadlines, shared facts, and what becomes of exceptions."""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from exporter.collector import Collector, NoTarget, SectionSettings, Target, fetched, item
from exporter.plan import Job
from exporter.runner import Runner
from exporter.state import Observation
from exporter.verdict import CRITICAL, ProbeError, Result, Status, ok
from tests.servers.process import eventually
from tests.support import make_context, verify

QUICK = SectionSettings(timeout=timedelta(seconds=0.2))


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


async def test_a_measurement_that_is_no_number_is_left_out() -> None:
    observed = await verify(Sample, SectionSettings(), items=("one",))
    assert observed["one"].result.measurements == {"size_bytes": 1}


async def test_an_item_that_hangs_is_unknown_and_holds_up_no_other() -> None:
    observed = await verify(Sample, QUICK, items=("hangs", "one"))
    assert told(observed, "hangs") == (Status.UNKNOWN, "test_runner.hangs was not seen within 0.2 s.")
    assert observed["one"].result.status is Status.OK


async def test_what_is_raised_becomes_unknown_with_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    observed = await verify(
        Sample, QUICK, items=("cannot", "cannot_either", "raises", "silent", "wordless", "wrong", "mute")
    )
    assert told(observed, "cannot") == told(observed, "cannot_either") == (Status.UNKNOWN, "Host a does not answer.")
    assert told(observed, "silent") == (Status.UNKNOWN, "test_runner.silent was not seen within 0.2 s.")
    assert told(observed, "wordless")[1] == "test_runner.wordless could not be seen, for a reason that was not given."
    assert told(observed, "wrong")[1].endswith("TypeError: test_runner.wrong returned bool, not a Result.")
    assert told(observed, "mute") == (Status.UNKNOWN, "test_runner.mute could not be seen: ConnectionResetError.")
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
    assert told(observed, "raises")[1] == "test_runner.raises could not be seen: KeyError: '***'"


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
    assert told(observed, "one")[1] == "test_runner could not be seen: ImportError: No module named 'heavy'"
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
    assert told(observed, "one") == (Status.UNKNOWN, "test_runner was not seen within 0.2 s.")


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
        "test_runner.line could not be seen: what was waited for was cancelled half-way.",
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
        "test_runner could not see its fact: asking was cancelled half-way.",
    )
