"""Looks at work pools of Prefect."""

from __future__ import annotations

from datetime import datetime

from collectors.shared.verdicts import verdict
from collectors.systems.prefect.client import Prefect, look
from collectors.systems.prefect.judge import pool_problems
from exporter.verdict import Result, ok
from exporter.words import counted, listed

__all__ = ["see_prefect"]


async def see_prefect(options: Prefect, now: datetime) -> Result:
    """Whether the runs of all pools are taken and end well. Raises ProbeError when Prefect cannot be asked."""
    pools = await look(options, now)
    problems = [problem for seen in pools for problem in pool_problems(seen, options)]
    completed = sum(seen.ended.completed for seen in pools)
    good = ok(
        f"Workers take the runs of {listed(f'work pool {seen.name}' for seen in pools)} on {options.url}: "
        f"{counted(completed, 'run')} completed, none late.",
        completed_runs=completed,
        late_runs=sum(seen.late[1] for seen in pools),
    )
    return verdict(problems, good)
