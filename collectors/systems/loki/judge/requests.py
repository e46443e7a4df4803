"""Whether a service logged a request that was sent to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from collectors.systems.loki.model.requests import RequestPart
from exporter.options import format_duration
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import counted, listed

__all__ = ["incomplete_problems", "missing_problems"]


def incomplete_problems(what: str, shown: Collection[RequestPart], wanted: Collection[RequestPart]) -> Iterator[Result]:
    """What the lines of a request lack."""
    if lacking := [part.value for part in RequestPart if part in wanted and part not in shown]:
        yield failed(f"The service logs {what} without its {listed(lacking)}.", reason=Reason.UNMET)


def missing_problems(
    what: str,
    logs: str,
    within: timedelta,
    status: int,
    *,
    lines: float,
    alike: float,
    keeper: str = "Loki",
    earlier: bool = False,
) -> Iterator[Result]:
    """Why no line of a request is in `logs` in time, where `lines` followed it, `alike` of which name its path.

    `keeper` is who has the logs; `earlier` where it is known that older lines are there, and that new ones would be too.
    """
    bound = format_duration(within)
    if not lines and not earlier:
        yield unknown(
            f"{keeper} has no line of {logs} since {what} was sent {bound} ago, not even another one: whether the service logs its "
            "requests was not observed.",
            reason=Reason.MISSING,
        )
    elif not 200 <= status < 300:
        yield unknown(
            f"{what} was answered {status} and is not in the logs of {logs} after {bound}: "
            "it may not have reached the service.",
            reason=Reason.NOT_VERIFIED,
        )
    elif alike:
        yield unknown(
            f"{keeper} has {counted(int(alike), 'line')} of {logs} with the path of {what}, and none with its trace id: put "
            "`{marker}` into `request_log.path`, so that the request is recognized.",
            reason=Reason.NOT_CONFIGURED,
        )
    else:
        others = (
            f"though {keeper} has {counted(int(lines), 'line')} of it since then"
            if lines
            else "and nothing else was, though there are older lines"
        )
        yield failed(f"{what} was not in the logs of {logs} within {bound}, {others}.", reason=Reason.MISSING)
