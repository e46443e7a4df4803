"""Steps: what was asked and answered, kept only where someone looks."""

import asyncio

import pytest

from exporter.threads import Threads
from exporter.trace import STEPS_SHOWN, Step, Traces, step, traced, tracing
from exporter.verdict import ProbeError
from tests.support import NOON


@traced(lambda question, **_: f"asked {question}", lambda reply: f"{reply} characters")
async def count(question: str, *, fails: bool = False) -> int:
    """Answer with the length of the question."""
    await asyncio.sleep(0)
    if fails:
        raise ProbeError("The server is away.")
    return len(question)


async def test_questions_are_kept_with_their_answers_while_someone_looks() -> None:
    await count("before")
    with tracing() as steps:
        assert await count("now") == 3
        with pytest.raises(ProbeError):
            await count("in vain", fails=True)
        await asyncio.gather(count("a task"), count("another"))
    await count("after")
    told = [(one.asked, one.answered) for one in steps]
    assert told[:2] == [("asked now", "3 characters"), ("asked in vain", "The server is away.")]
    assert sorted(told[2:]) == [("asked a task", "6 characters"), ("asked another", "7 characters")]
    assert all(one.seconds >= 0 for one in steps)


async def test_a_question_that_was_given_up_has_no_answer() -> None:
    async def mute() -> None:
        with step("asked a mute server"):
            await asyncio.sleep(60)

    with tracing() as steps, pytest.raises(TimeoutError):
        await asyncio.wait_for(mute(), 0.01)
    assert [(one.asked, one.answered) for one in steps] == [("asked a mute server", "no answer")]


async def test_what_a_thread_asks_counts_too() -> None:
    def blocking() -> Step:
        with step("asked in a thread") as taken:
            taken.answered = "there"
        return taken

    with tracing() as steps:
        taken = await Threads().run("a", blocking)
    assert steps == [taken]


async def test_of_each_job_the_last_run_is_kept_without_secrets_and_not_without_end() -> None:
    traces = Traces(lambda text: text.replace("canary", "<hidden>"))
    for run in ("first", "canary"):
        with traces.of_run("redis", NOON):
            await asyncio.gather(*(count(f"{run} {number}") for number in range(STEPS_SHOWN + 5)))
    with traces.of_run("nats", NOON):
        pass
    kept = traces.last("redis")
    assert kept is not None
    assert (kept.at, len(kept.steps), kept.total) == (NOON, STEPS_SHOWN, STEPS_SHOWN + 5)
    assert {step.asked.partition(" ")[2][:8] for step in kept.steps} == {"<hidden>"}
    traces.only({"nats"})
    assert traces.last("redis") is None
    quiet = traces.last("nats")
    assert quiet is not None
    assert (quiet.steps, quiet.total) == ((), 0)
