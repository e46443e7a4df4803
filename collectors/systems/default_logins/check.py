"""Default logins, each tried at most once a day, over restarts too.

A try is recorded in one run, as a measurement that the state file keeps, and made in the next one: a process that dies of it comes
again after a day. Where nothing says when a login was last tried, one that wrong passwords may lock waits for a day, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collectors.systems.default_logins.client import is_there, knock
from collectors.systems.default_logins.judge import forgotten, judge_try, not_yet
from collectors.systems.default_logins.model.options import DefaultLogin
from collectors.systems.default_logins.model.tries import PAUSE, Tried, measurements, recalled
from exporter.verdict import ProbeError, Result, unobserved

__all__ = ["judge_logins"]


@dataclass
class _Memory:
    """What is known of the logins: the last tries, which of them are recorded and to be made, and which were never made."""

    tries: dict[str, Tried] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)


async def judge_logins(
    logins: Sequence[DefaultLogin], memory: dict[str, Any], measured: Mapping[str, float] | None, now: datetime
) -> tuple[list[Result], dict[str, float]]:
    """What is wrong with the logins, and the measurements by which the tries are remembered.

    `memory` outlives a run, and `measured`, the measurements of the last verdict, the process; None where nothing does.
    """
    if measured is None:
        return [forgotten(login.title) for login in logins], {}
    known: _Memory = memory.setdefault("default_logins", _Memory())
    problems = await asyncio.gather(*(_judged(login, known, measured, now) for login in logins))
    keys = {login.key for login in logins}
    kept = {key: tried for key, tried in known.tries.items() if key in keys}
    return [problem for problem in problems if problem is not None], measurements(kept)


async def _judged(login: DefaultLogin, known: _Memory, measured: Mapping[str, float], now: datetime) -> Result | None:
    key = login.key
    if key not in known.tries and (found := recalled(measured, key)) is not None:
        known.tries[key] = Tried(min(found.at, now), found.outcome)
    tried = known.tries.get(key)
    if tried is None and login.locks:
        known.tries[key] = Tried(now)
        known.waiting.add(key)
        return not_yet(login.title, now + PAUSE)
    if key in known.recorded:
        return await _try(login, known, now)
    if tried is not None and now < tried.at + PAUSE:
        return (
            not_yet(login.title, tried.at + PAUSE)
            if key in known.waiting
            else judge_try(login.title, login.entrant, tried)
        )
    try:
        await is_there(login)
    except ProbeError as why:
        return unobserved(why)
    known.recorded.add(key)
    known.tries[key] = Tried(now)
    if tried is not None and tried.outcome is not None:
        return judge_try(login.title, login.entrant, tried)
    return not_yet(login.title)


async def _try(login: DefaultLogin, known: _Memory, now: datetime) -> Result | None:
    """Make the try that the run before recorded."""
    key = login.key
    known.recorded.discard(key)
    known.waiting.discard(key)
    known.tries[key] = Tried(now)
    try:
        tried = Tried(now, await knock(login))
    except ProbeError as why:
        tried = Tried(now, why=str(why))
    known.tries[key] = tried
    return judge_try(login.title, login.entrant, tried)
