"""Whether a health endpoint says that the service is well, and may be believed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

from collectors.systems.http.model.caches import cached_by
from collectors.systems.http.model.health import (
    Health,
    HealthOptions,
    State,
    has_zone,
    read_health,
    read_lines,
    says_nothing,
    state_of,
)
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import format_length, listed, one_line

__all__ = ["catch_all_problems", "dependency_problems", "health_problems", "report"]


#: A state is read again and again; checks of dependencies that run in the background do so more often than this.
_OLDEST = timedelta(hours=1)


def report(reply: Reply) -> Health | None:
    """The health report of a reply; None where it is none."""
    if reply.kind == "an HTML page":
        return None
    try:
        return read_health(json.loads(reply.body))
    except (ValueError, RecursionError):
        return read_lines(reply.text)


def health_problems(reply: Reply, options: HealthOptions) -> Iterator[Result]:
    """What is wrong with the answer of a health endpoint, the worst first; nothing where it is healthy."""
    health = report(reply)
    if reply.status == 503 and health is not None and health.state is State.LEAVING:
        yield unknown(f"{reply.where} answered 503: the instance is {health.word}, so its health was not observed.")
        return
    yield from _status_problems(reply, health)
    if not 200 <= reply.status < 300:
        return
    if cached := cached_by(reply):
        yield unknown(
            f"{reply.where} was answered by a cache ({cached}), so the service was not observed.",
            reason=Reason.MISCONFIGURED,
        )
    if options.health_body is not None:
        if re.fullmatch(options.health_body, reply.text.strip()) is None:
            yield failed(f"{reply.where} answered {reply.status}, and its body does not match health_body.")
        if options.required_deps and health is None:
            yield _nothing_reported(reply, options.required_deps)
            return
        if health is None:
            return
    elif health is None:
        yield failed(f"{reply.where} answered {reply.status} with {reply.kind}, where a health report was wanted.")
        return
    elif health.state is None:
        yield unknown(
            f"{reply.where} answered {reply.status} with JSON that has no status; set health_body to what is healthy.",
            reason=Reason.MALFORMED,
        )
    yield from _report_problems(reply, health, options)


def dependency_problems(reply: Reply, name: str) -> Iterator[Result]:
    """Why a health report does not show that one dependency is connected."""
    if cached := cached_by(reply):
        yield unknown(
            f"{reply.where} was answered by a cache ({cached}), so {name} was not observed.",
            reason=Reason.MISCONFIGURED,
        )
        return
    health = report(reply)
    word = health.part(name) if health is not None else None
    if health is None or word is None:
        yield _nothing_reported(reply, (name,))
    elif state_of(word) is State.DEGRADED:
        yield warning(f"{reply.where} reports {name} as {one_line(word)}.")
    elif says_nothing(word):
        yield unknown(
            f"{reply.where} reports {name} as {one_line(word)}, so it was not observed.", reason=Reason.NOT_VERIFIED
        )
    elif state_of(word) is not State.UP:
        yield failed(
            f"{reply.where} answered {reply.status} and reports {name} as {one_line(word)}.", reason=Reason.DOWN
        )
    elif reply.status >= 500 and not _explained(health):
        yield unknown(
            f"{reply.where} answered {reply.status}, reports {name} as {one_line(word)} and nothing as down: "
            "something else may have answered.",
            reason=Reason.CONTRADICTED,
        )
    else:
        others = health.parts.keys() - health.parts_of(name)
        yield from _age_problems(reply, health, {other.casefold() for other in others})


def _explained(health: Health) -> bool:
    """Whether a report has anything that explains a status of an error."""
    words = [*health.parts.values(), *([] if health.state in (None, State.UP) else [health.word])]
    return bool(health.errors) or any(state_of(word) in (State.DOWN, State.LEAVING) for word in words)


def catch_all_problems(control: Reply, options: HealthOptions) -> Iterator[Result]:
    """Whether a path that cannot exist is as healthy as the health endpoint: then that proves nothing."""
    if 200 <= control.status < 300 and not list(_as_healthy(control, options)):
        yield failed(
            f"{control.where}, a path that cannot exist, answered {control.status} and healthy too: every path is answered like "
            "this.",
            reason=Reason.CONTRADICTED,
        )


def _as_healthy(control: Reply, options: HealthOptions) -> Iterator[Result]:
    return health_problems(control, options)


def _status_problems(reply: Reply, health: Health | None) -> Iterator[Result]:
    where, status = reply.where, reply.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        to = urlsplit(urljoin(where.partition(" ")[2], reply.headers.get("location", "")))
        yield failed(
            f"{where} answered {status} and redirects to {to.path or '/'} on {to.hostname}, where a health report was wanted.",
            reason=Reason.MISCONFIGURED,
        )
    elif status in (401, 403, 407):
        yield unknown(f"{where} answered {status}: the exporter's credentials were not accepted.", reason=Reason.DENIED)
    elif status in (404, 410):
        yield failed(f"{where} answered {status}: there is no health endpoint.", reason=Reason.MISSING)
    else:
        down = [name for name, word in (health.parts if health else {}).items() if state_of(word) is not State.UP]
        said = f": {listed(f'{name} is {one_line(health.parts[name])}' for name in down)}" if health and down else ""
        yield failed(f"{where} answered {status}{said}.", reason=Reason.DOWN)


def _report_problems(reply: Reply, health: Health, options: HealthOptions) -> Iterator[Result]:
    if health.state is State.DOWN or health.state is State.LEAVING:
        yield failed(f"{reply.where} answered {reply.status} with status {one_line(health.word)}.", reason=Reason.DOWN)
    elif health.errors:
        yield failed(
            f"{reply.where} answered {reply.status} with status {one_line(health.word)} and reports {health.errors} beside it.",
            reason=Reason.CONTRADICTED,
        )
    missing = tuple(name for name in options.required_deps if health.part(name) is None)
    yield from _part_problems(reply, health, options)
    yield from _age_problems(reply, health, {name.casefold() for name in options.optional_deps})
    for name in options.required_deps:
        if health.part(name) == "down" and health.part(name) not in health.parts.values():
            yield failed(f"{reply.where} reports {name} as false.", reason=Reason.DOWN)
    if missing:
        yield _nothing_reported(reply, missing)
    if health.state is State.DEGRADED:
        yield warning(f"{reply.where} reports status {one_line(health.word)}.")
    for name, word in health.parts.items():
        if state_of(word) is State.DEGRADED:
            yield warning(f"{reply.where} reports {name} as {one_line(word)}.")


def _part_problems(reply: Reply, health: Health, options: HealthOptions) -> Iterator[Result]:
    """Dependencies that are down, or of which the report says that it does not know."""
    optional = {name.casefold() for name in options.optional_deps}
    for name, word in health.parts.items():
        needed = any(name.casefold() == required.casefold() for required in options.required_deps)
        if not needed and name.casefold() in optional:
            continue
        if says_nothing(word):
            yield unknown(
                f"{reply.where} reports {name} as {one_line(word)}, so its health was not observed; name it in optional_deps where "
                "the service does without.",
                reason=Reason.NOT_VERIFIED,
            )
        elif state_of(word) in (State.DOWN, State.LEAVING):
            yield failed(f"{reply.where} reports {name} as {one_line(word)}.", reason=Reason.DOWN)


def _age_problems(reply: Reply, health: Health, ignored: Collection[str]) -> Iterator[Result]:
    """Reports that say themselves, by the clock of whoever answered, that they are old: of a file, or of a check that hangs."""
    if (answered := reply.date) is None:
        return
    for name, made in health.times.items():
        if name and (name not in health.parts or name.casefold() in ignored):
            continue  # what is no dependency may have been built at that time
        age = answered - made
        of_part = f"of {one_line(name)} " if name else ""
        if -age > _OLDEST and has_zone(made):
            yield unknown(
                f"{reply.where} reports a state {of_part}from {format_length(-age)} after its answer, by its own time stamp.",
                reason=Reason.CONTRADICTED,
            )
        elif age > _OLDEST:
            yield unknown(
                f"{reply.where} reports a state {of_part}that is {format_length(age)} old by its own time stamp.",
                reason=Reason.STALE,
            )


def _nothing_reported(reply: Reply, names: tuple[str, ...]) -> Result:
    return unknown(
        f"{reply.where} does not report {listed(names)}, so the health of "
        f"{'it' if len(names) == 1 else 'them'} was not observed.",
        reason=Reason.NOT_CONFIGURED,
    )
