"""Schedule: on time, staggered, never twice at once, and watched."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from apscheduler.job import Job as ScheduledJob

from exporter.collector import SectionSettings
from exporter.health import Health
from exporter.plan import Job
from exporter.runner import utc_now
from exporter.schedule import FromNow, Schedule
from tests.exporter.test_runner import Sample
from tests.servers.process import eventually


def job(name: str = "a", **settings: float) -> Job:
    values = {name: timedelta(seconds=seconds) for name, seconds in settings.items()}
    return Job("section", name, Sample, SectionSettings(**values), None, ("one",))  # type: ignore[arg-type]


async def no_tick() -> None:
    """Nothing to do."""


@asynccontextmanager
async def scheduled(
    run: Callable[[Job], Awaitable[None]], *jobs: Job, tick: Callable[[], Awaitable[None]] = no_tick
) -> AsyncIterator[tuple[Schedule, Health]]:
    health = Health("test")
    schedule = Schedule(run, tick, health=health, now=utc_now)
    schedule.start()
    await schedule.replace(jobs, {})
    try:
        yield schedule, health
    finally:
        await schedule.stop()


async def test_every_job_runs_again_and_again() -> None:
    seen: list[str] = []

    async def run(job: Job) -> None:
        seen.append(job.target)

    async with scheduled(run, job("a", every=0.05), job("b", every=0.05)):
        await eventually(lambda: min(seen.count("a"), seen.count("b")) >= 3, what="both jobs run three times")


async def test_first_runs_are_spread() -> None:
    seen: set[str] = set()

    async def run(job: Job) -> None:
        seen.add(job.target)

    jobs = [job(f"j{number}", every=2) for number in range(8)]
    async with scheduled(run, *jobs) as (schedule, _):
        ordered = sorted(planned.next_run_time for planned in schedule._scheduler.get_jobs())
        await eventually(lambda: len(seen) == 8, what="all jobs ran")
    assert timedelta(seconds=1.5) < ordered[-1] - ordered[0] < timedelta(seconds=2)
    assert min(after - before for before, after in itertools.pairwise(ordered)) > timedelta(seconds=0.2)


async def test_a_run_that_takes_long_is_not_started_twice_and_late_runs_are_not_lost() -> None:
    running, most, done = 0, 0, 0

    async def run(job: Job) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1
        done += 1

    async with scheduled(run, job("a", every=0.05)):
        await eventually(lambda: done >= 3, what="three runs end")
    assert most == 1


async def test_runs_due_while_the_loop_stood_still_are_made() -> None:
    seen: set[str] = set()

    async def run(job: Job) -> None:
        seen.add(job.target)

    async with scheduled(run, *(job(f"j{number}", every=1) for number in range(50))) as (_, health):
        time.sleep(2.5)
        await eventually(lambda: len(seen) == 50, what="every job ran")
        await eventually(lambda: health.last_tick is not None, what="it ticks")


async def test_a_stalled_loop_is_told_with_the_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("exporter.schedule.STALL_SECONDS", 0.4)
    lags: list[float] = []
    health = Health("test")

    async def tick() -> None:
        lags.append(health.lag)

    schedule = Schedule(lambda job: no_tick(), tick, health=health, now=utc_now)
    schedule.start()
    await eventually(lambda: bool(lags), what="it ticks")
    time.sleep(2)
    await eventually(lambda: len(lags) > 1, what="it ticks again")
    await schedule.stop()
    assert max(lags) > 0.5
    assert "The event loop has stood still for" in caplog.text
    assert "time.sleep(2)" in caplog.text


async def test_a_run_that_does_not_end_is_stuck_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("exporter.schedule.GRACE", timedelta(0))
    monkeypatch.setattr("exporter.schedule.TICK_SECONDS", 0.05)
    started = asyncio.Event()

    async def run(job: Job) -> None:
        started.set()
        await asyncio.sleep(60)

    async with scheduled(run, job("a", every=0.05, timeout=0.05)) as (_, health):
        await started.wait()
        await eventually(lambda: health.stuck_runs == ("section/a",), what="the run is stuck")
        await asyncio.sleep(0.2)
    assert caplog.text.count("The run of section/a does not finish") == 1


async def test_a_new_plan_keeps_unchanged_jobs_running() -> None:
    seen: list[tuple[str, float]] = []

    async def run(job: Job) -> None:
        seen.append((job.target, job.settings.timeout.total_seconds()))

    async with scheduled(run, job("a", every=0.05), job("b", every=0.05)) as (schedule, _):
        kept = schedule._scheduler.get_job("section/a")
        await schedule.replace((job("a", every=0.05), job("b", every=0.05, timeout=3), job("c", every=0.05)), {})
        assert schedule._scheduler.get_job("section/a") is kept
        await eventually(lambda: ("b", 3.0) in seen and ("c", 10.0) in seen, what="the new jobs run")
        await schedule.replace((), {})
        assert schedule._scheduler.get_jobs() == []


async def test_a_job_that_ran_just_before_a_restart_waits_for_its_turn() -> None:
    seen: list[str] = []

    async def run(job: Job) -> None:
        seen.append(job.target)

    async with scheduled(run) as (schedule, _):
        last = {"section/a": utc_now(), "section/b": utc_now() - timedelta(hours=2)}
        await schedule.replace((job("a", every=3600), job("b", every=3600)), last)
        first = {name: schedule._scheduler.get_job(f"section/{name}").next_run_time for name in "ab"}
    assert first["a"] - utc_now() > timedelta(minutes=59)
    assert first["b"] - utc_now() < timedelta(seconds=31)


async def test_a_change_noticed_during_a_run_brings_another_one() -> None:
    begun: list[float] = []
    release = asyncio.Event()

    async def run(job: Job) -> None:
        begun.append(job.settings.timeout.total_seconds())
        await release.wait()

    async with scheduled(run, job("a", every=3600, timeout=1)) as (schedule, _):
        schedule.hurry([job("a", every=3600, timeout=1)])
        await eventually(lambda: begun == [1], what="it runs")
        schedule.hurry([job("a", every=3600, timeout=1)])
        release.set()
        await eventually(lambda: begun == [1, 1], what="it runs again")
        await eventually(lambda: not schedule._running, what="it ends")
        release.clear()
        schedule.hurry([job("a", every=3600, timeout=1)])
        await eventually(lambda: begun == [1, 1, 1], what="it runs")
        await schedule.replace((job("a", every=3600, timeout=2),), {})
        release.set()
        await eventually(lambda: begun == [1, 1, 1, 2], what="it runs as configured anew")


async def test_a_job_that_is_gone_does_not_run_again() -> None:
    begun: list[str] = []
    release = asyncio.Event()

    async def run(job: Job) -> None:
        begun.append(job.target)
        await release.wait()

    async with scheduled(run, job("a", every=3600)) as (schedule, _):
        schedule.hurry([job("a", every=3600)])
        await eventually(lambda: begun == ["a"], what="it runs")
        schedule.hurry([job("a", every=3600)])
        await schedule.replace((), {})
        release.set()
        await eventually(lambda: not schedule._running, what="it ends")
        assert begun == ["a"]


async def test_when_what_all_look_at_changed_every_job_runs_anew() -> None:
    async with scheduled(lambda _: no_tick()) as (schedule, _):
        jobs = (job("a", every=3600), job("b", every=3600))
        await schedule.replace(jobs, {name: utc_now() for name in ("section/a", "section/b")})
        planned = [schedule._scheduler.get_job(f"section/{name}").next_run_time for name in "ab"]
        assert min(planned) - utc_now() > timedelta(minutes=50)
        await schedule.replace(jobs, {}, afresh=True)
        planned = [schedule._scheduler.get_job(f"section/{name}").next_run_time for name in "ab"]
        assert max(planned) - utc_now() < timedelta(seconds=31)


async def test_a_clock_that_is_set_back_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("exporter.schedule.TICK_SECONDS", 0.05)
    back, runs = timedelta(0), 0
    health = Health("test")

    async def run(_: Job) -> None:
        nonlocal runs
        runs += 1

    schedule = Schedule(run, no_tick, health=health, now=lambda: utc_now() - back)
    schedule.start()
    try:
        await schedule.replace((job("a", every=3600),), {"section/a": utc_now()})
        await eventually(lambda: health.last_tick is not None, what="it ticks")
        back = timedelta(days=1)  # an hour from then is long past by APScheduler's clock, which is the machine's
        await eventually(lambda: runs == 1, what="it runs by the new clock")
    finally:
        await schedule.stop()
    assert caplog.text.count("The clock was set back") == 1


async def test_a_clock_that_is_set_forward_costs_one_run_a_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    due = utc_now() - timedelta(days=365)
    every = timedelta(seconds=2)
    trigger = FromNow(every)
    planned = SimpleNamespace(next_run_time=due, trigger=trigger)
    assert len(ScheduledJob._get_run_times(planned, utc_now())) == 1  # APScheduler's own trigger gives 15 million
    next_run = trigger.get_next_fire_time(due, utc_now())
    assert 0.9 * every < next_run - utc_now() < 1.1 * every

    monkeypatch.setattr("exporter.schedule.TICK_SECONDS", 0.05)
    ahead, runs = timedelta(0), 0
    health = Health("test")

    async def run(_: Job) -> None:
        nonlocal runs
        runs += 1

    schedule = Schedule(run, no_tick, health=health, now=lambda: utc_now() + ahead)
    schedule.start()
    try:
        await schedule.replace((job("a", every=3600),), {"section/a": utc_now()})
        await eventually(lambda: health.last_tick is not None, what="it ticks")
        ahead = timedelta(hours=2)
        await eventually(lambda: "The clock was set forward by 7200 s" in caplog.text, what="the step is noticed")
        (moved,) = schedule._scheduler.get_jobs()
        assert moved.next_run_time - (utc_now() + ahead) <= timedelta(seconds=30)
    finally:
        await schedule.stop()


async def test_what_tick_raises_ends_ticking_for_all_to_see() -> None:
    async def tick() -> None:
        raise ZeroDivisionError

    async with scheduled(lambda job: no_tick(), tick=tick) as (schedule, _):
        assert schedule.ticking is not None
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(asyncio.shield(schedule.ticking), 5)


async def test_stopping_ends_runs_under_way_without_noise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ended = asyncio.Event()
    started = asyncio.Event()

    async def run(job: Job) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with scheduled(run, job("a", every=0.05)):
        await started.wait()
    assert ended.is_set()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
