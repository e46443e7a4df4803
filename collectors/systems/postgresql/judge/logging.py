"""Whether slow queries are logged, and statements counted, for whoever connects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

from collectors.shared.verdicts import verdict
from collectors.systems.postgresql.model.settings import Setting, Settings, libraries, milliseconds
from exporter.verdict import ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted

__all__ = ["LOGGING", "STATEMENTS", "judge_logging", "judge_statements", "preloads_statements"]

_STATEMENT, _EXPLAIN = "log_min_duration_statement", "auto_explain.log_min_duration"
_PRELOAD = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")

#: What slow query logging goes by.
LOGGING = (
    _STATEMENT,
    "log_min_messages",
    "log_destination",
    "log_min_duration_sample",
    "log_statement_sample_rate",
    "log_transaction_sample_rate",
    "log_statement",
    "log_duration",
    *(f"auto_explain.{name}" for name in ("log_min_duration", "log_level", "sample_rate")),
    *_PRELOAD,
)

#: What counting statements goes by.
STATEMENTS = ("pg_stat_statements.track", "compute_query_id", "shared_preload_libraries")


def judge_logging(
    settings: Settings, roles: Iterable[str], slow_query: timedelta, instance: str = "the instance"
) -> Result:
    """Whether slow queries are logged in every database and for every role (of `roles`, where they are given).

    Raises ProbeError when a value is not understood, or is hidden by what the exporter's own role sets.
    """
    if settings.masked & {_STATEMENT, "log_min_messages", _EXPLAIN, "session_preload_libraries"}:
        raise ProbeError(
            "The exporter's own role or connection sets slow query logging, which hides what others get: RESET it."
        )
    if _STATEMENT not in settings.instance and _STATEMENT not in settings.hidden:
        raise ProbeError(f"PostgreSQL does not report {_STATEMENT}.", Reason.MALFORMED)
    places = settings.places(LOGGING, roles)
    ways = [way for place in places if (way := _best(settings, *place)) is not None]
    slowest, name = max(((limit, setting.name) for limit, setting in ways), default=(0.0, _STATEMENT))
    where = f" in database {settings.database}" if _STATEMENT in settings.hidden else ""
    good = ok(f"Queries slower than {slowest:g} ms are logged{where} ({name}).")
    return verdict(_logging_problems(settings, places, slow_query, instance), good)


def _logging_problems(
    settings: Settings, places: list[tuple[str | None, str | None]], slow_query: timedelta, instance: str
) -> Iterator[Result]:
    limit = slow_query.total_seconds() * 1000
    if settings.value("log_destination", default="stderr").strip() == "":
        yield failed(f"log_destination is empty for {instance}: nothing is logged.", reason=Reason.MISCONFIGURED)
    for database, role in places:
        messages = settings.effective("log_min_messages", database, role)
        if messages is not None and messages.value.lower() in ("fatal", "panic"):
            yield failed(
                f"log_min_messages is {messages.value} for {messages.scope(instance)}: slow queries are not logged.",
                reason=Reason.MISCONFIGURED,
            )
    unlogged: list[Setting] = []
    everything: list[Setting] = []
    for database, role in places:
        best = _best(settings, database, role)
        if best is not None and best[0] <= limit:
            if best[0] == 0:
                everything.append(best[1])
            continue
        statement = settings.effective(_STATEMENT, database, role)
        if statement is not None:  # else the database asked hides what holds there
            preload = settings.effective("session_preload_libraries", database, role)
            explained = (
                preload is not None
                and (preload.database or preload.role)
                and not statement.database
                and not statement.role
            )
            unlogged.append(preload if explained and preload else statement)
    for setting in dict.fromkeys(unlogged):
        yield _unlogged(setting, limit, instance)
    for setting in dict.fromkeys(everything):
        yield warning(f"{setting.name} is {setting.value} for {setting.scope(instance)}: every statement is logged.")


def _unlogged(setting: Setting, limit: float, instance: str) -> Result:
    where = setting.scope(instance)
    if setting.name != _STATEMENT:
        return failed(
            f"{setting.name} is {setting.value!r} for {where}: slow queries are not logged, as auto_explain is not loaded.",
            reason=Reason.MISCONFIGURED,
        )
    value = milliseconds(setting.value)
    if value < 0:
        return failed(
            f"{setting.name} is {setting.value} for {where}: slow queries are not logged.", reason=Reason.MISCONFIGURED
        )
    return failed(f"{setting.name} is {value:g} ms for {where} (limit {limit:g} ms).", reason=Reason.MISCONFIGURED)


def _best(settings: Settings, database: str | None, role: str | None) -> tuple[float, Setting] | None:
    """The shortest duration (in milliseconds) from which on every statement is logged there, and the setting that does it."""
    ways = []
    for name in (_STATEMENT, "log_min_duration_sample", _EXPLAIN):
        setting = settings.effective(name, database, role)
        if (
            setting is not None
            and (limit := milliseconds(setting.value)) >= 0
            and _whole(settings, name, database, role)
        ):
            ways.append((limit, setting))
    transactions = settings.effective("log_transaction_sample_rate", database, role)
    if transactions is not None and _is_one(transactions.value):
        ways.append((0.0, transactions))
    statements = settings.effective("log_statement", database, role)
    if (
        statements is not None
        and statements.value.lower() == "all"
        and settings.value("log_duration", database, role) in ("on", "true", "yes", "1")
    ):
        ways.append((0.0, statements))
    return min(ways, key=lambda way: way[0], default=None)


def _whole(settings: Settings, name: str, database: str | None, role: str | None) -> bool:
    """Whether the setting logs every statement that is slow, not a sample, and at a level that reaches the log."""
    if name == _STATEMENT:
        return True
    if name == "log_min_duration_sample":
        return _is_one(settings.value("log_statement_sample_rate", database, role))
    loaded = set().union(*(libraries(settings.value(setting, database, role)) for setting in _PRELOAD))
    return (
        "auto_explain" in loaded
        and _is_one(settings.value("auto_explain.sample_rate", database, role, "1"))
        and settings.value("auto_explain.log_level", database, role, "log") in ("log", "warning")
    )


def _is_one(value: str) -> bool:
    return re.fullmatch(r"1(\.0*)?", value) is not None


def preloads_statements(settings: Settings) -> bool:
    """Whether the server loads pg_stat_statements, without which it cannot be asked."""
    return "pg_stat_statements" in libraries(settings.value("shared_preload_libraries"))


def judge_statements(where: str, settings: Settings, roles: Iterable[str], count: int | None) -> Result:
    """Whether pg_stat_statements counts what is run. `count` is how many statements it knows; None where it is not installed."""
    good = ok(f"pg_stat_statements knows {counted(count or 0, 'statement')}.")
    return verdict(_statement_problems(where, settings, roles, count), good)


def _statement_problems(where: str, settings: Settings, roles: Iterable[str], count: int | None) -> Iterator[Result]:
    if not preloads_statements(settings):
        yield failed(f"pg_stat_statements is not in shared_preload_libraries of {where}.", reason=Reason.MISCONFIGURED)
        return
    if count is None:
        yield failed(f"Extension pg_stat_statements is not installed on {where}.", reason=Reason.MISSING)
    silent: list[Setting] = []
    for database, role in settings.places(STATEMENTS, roles):
        for name, off in (("pg_stat_statements.track", "none"), ("compute_query_id", "off")):
            setting = settings.effective(name, database, role)
            if setting is not None and setting.value.lower() == off:
                silent.append(setting)
    for setting in dict.fromkeys(silent):
        yield failed(
            f"{setting.name} is {setting.value} on {where}{'' if _everywhere(setting) else f' for {setting.scope()}'}: "
            "pg_stat_statements counts nothing.",
            reason=Reason.MISCONFIGURED,
        )
    if hidden := sorted(settings.masked & set(STATEMENTS)):
        yield unknown(f"The exporter's own role or connection sets {hidden[0]}, which hides what others get: RESET it.")


def _everywhere(setting: Setting) -> bool:
    return setting.database is None and setting.role is None
