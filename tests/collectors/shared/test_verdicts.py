"""Verdicts made of parts: the worst counts, none hides another, and nothing is left unawaited."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from collectors.shared.verdicts import verdict, worst_of
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, unknown
from exporter.words import counted, format_length, format_size, listed


async def part(result: Result | BaseException) -> Result:
    await asyncio.sleep(0)
    if isinstance(result, BaseException):
        raise result
    return result


async def test_the_worst_part_counts() -> None:
    result = await worst_of(part(ok("Fine.")), part(failed("Broken.")), part(ProbeError("Not seen.")))
    assert (result.status, result.summary) == (Status.FAILED, "Broken.")
    result = await worst_of(part(ok("Fine.")), part(ProbeError("Not seen.")))
    assert (result.status, result.summary) == (Status.UNKNOWN, "Not seen.")


async def test_of_what_two_parts_measured_the_highest_is_kept() -> None:
    result = await worst_of(part(ok("a", lag=2, free=1)), part(ok("b", lag=1)), part(unknown("c", lag=0)))
    assert result.measurements == {"lag": 2, "free": 1}


async def test_what_nobody_foresaw_is_raised_when_all_have_ended() -> None:
    ended = []

    async def slow() -> Result:
        await asyncio.sleep(0.01)
        ended.append(True)
        return ok("Fine.")

    with pytest.raises(ZeroDivisionError):
        await worst_of(part(ZeroDivisionError()), slow())
    assert ended


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_parts_of_a_cancelled_verdict_are_cancelled(steps: int, no_leftovers: None) -> None:
    async def judge() -> Result:
        return await worst_of(part(ok("Fine.")), asyncio.sleep(60, ok("Late.")))

    judging = asyncio.create_task(judge())
    for _ in range(steps):
        await asyncio.sleep(0)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    gc.collect()  # a coroutine that was never awaited would say so here


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (312e6, "312 MB"),
        (31.2e9, "31.2 GB"),
        (50e9, "50 GB"),
        (1e15, "1e+03 TB"),
        (-5e6, "-5 MB"),
    ],
)
def test_sizes_in_sentences(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 seconds"), (1, "1 second"), (59.9, "59 seconds"), (60, "1 minute"), (7199, "1 hour"), (200_000, "2 days")],
)
def test_lengths_in_sentences(seconds: float, text: str) -> None:
    assert format_length(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("keep", "free"), [(max, 7), (min, 3)])
async def test_of_two_measurements_the_one_that_matters_is_kept(
    keep: Callable[[float, float], float], free: int
) -> None:
    async def part(value: int) -> Result:
        return ok("Seen.", free_bytes=value)

    assert (await worst_of(part(7), part(3), keep=keep)).measurements == {"free_bytes": free}


def test_things_are_counted() -> None:
    assert [counted(1, "pod"), counted(2, "pod"), counted(0, "policy", "policies")] == ["1 pod", "2 pods", "0 policies"]


def test_of_many_names_the_first_are_told() -> None:
    assert [listed("a"), listed("ab"), listed("abc"), listed("abcd", 2)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b and 2 more",
    ]


def test_one_problem_of_each_sort_is_shown_before_the_second_of_any() -> None:
    privileged = [failed(f"Pod shop/api-{number} runs privileged.") for number in range(9)]
    rooted = [failed(f"Pod shop/{name} may run as root (wanted runAsNonRoot).") for name in ("orders", "mail", "cart")]
    result = verdict([*privileged, unknown("Pod shop/x was not seen."), *rooted], ok("Fine.", pods=12), most=3)
    assert result.summary == (
        "Pod shop/api-0 runs privileged. Pod shop/orders may run as root (wanted runAsNonRoot). "
        "Pod shop/api-1 runs privileged. 9 more are similar."
    )
    assert (result.status, result.measurements) == (Status.FAILED, {"pods": 12})


def test_sorts_that_are_not_shown_are_not_called_similar() -> None:
    problems = [failed("A is down."), failed("B misses its volume."), failed("C has an expired certificate.")]
    assert verdict(problems, ok("Fine."), most=2).summary == "A is down. B misses its volume. 1 more is not shown."


def test_many_problems_are_sorted_in_a_moment() -> None:
    names = ("".join(letters) for letters in itertools.product("abcdefgh", repeat=4))
    problems = [failed(f"Pod {name} restarts too often.") for name in names]
    assert verdict(problems, ok("Fine.")).summary.endswith("4091 more are similar.")


def test_a_judge_that_cannot_go_on_leaves_what_it_found() -> None:
    def judge() -> Iterator[Result]:
        yield failed("A is down.", reason=Reason.DOWN)
        raise ProbeError("B was not seen.", Reason.DENIED)

    result = verdict(judge(), ok("Fine."))
    assert (result.summary, result.reason) == ("A is down.", Reason.DOWN)
