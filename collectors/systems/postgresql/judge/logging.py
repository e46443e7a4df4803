"""Whether slow queries are logged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta

from collectors.systems.postgresql.model.instance import (
    Logging,
    Setting,
)
from exporter.verdict import ProbeError, Result, failed, ok, warning

_MILLISECONDS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _milliseconds(value: str) -> float:
    """A duration as PostgreSQL writes it in settings (`500`, `1s`, `-1`), in milliseconds. Raises ProbeError for anything else."""
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
    if not match or match[2] not in _MILLISECONDS:
        raise ProbeError(f"The value {value!r} of a logging setting was not understood.")
    return float(match[1]) * _MILLISECONDS[match[2]]


def judge_logging(logging: Logging, slow_query: timedelta) -> Result:
    """Whether slow queries are logged in every database and for every role. Raises ProbeError when a value is not understood."""
    if logging.masked:
        raise ProbeError(
            "The exporter's own role or connection sets slow query logging, which hides what others get: RESET it."
        )
    for setting in logging.settings:
        if setting.name == "log_min_messages" and setting.value.lower() in ("fatal", "panic"):
            return failed(f"log_min_messages is {setting.value} for {setting.scope}: slow queries are not logged.")
    verdict = _judge_duration(logging.settings, "log_min_duration_statement", slow_query)
    if not verdict.status.is_ok and logging.auto_explain:
        explained = _judge_duration(logging.settings, "auto_explain.log_min_duration", slow_query)
        return explained if explained.status.is_ok and _explains_all(logging.settings) else verdict
    return verdict


def _explains_all(settings: Iterable[Setting]) -> bool:
    """Whether auto_explain logs every statement that is slow, not a sample, and at a level that reaches the log."""
    whole = {"auto_explain.log_level": r"log|warning", "auto_explain.sample_rate": r"1(\.0*)?"}
    return all(
        re.fullmatch(whole[setting.name], setting.value.lower()) for setting in settings if setting.name in whole
    )


def _judge_duration(settings: Iterable[Setting], name: str, slow_query: timedelta) -> Result:
    """Whether this setting logs slow queries everywhere."""
    limit = slow_query.total_seconds() * 1000
    values = [(setting, _milliseconds(setting.value)) for setting in settings if setting.name == name]
    if not values:
        raise ProbeError(f"PostgreSQL does not tell {name}.")
    for setting, value in values:
        if value < 0:
            return failed(f"{name} is {setting.value} for {setting.scope}: slow queries are not logged.")
        if value > limit:
            return failed(f"{name} is {value:g} ms for {setting.scope} (limit {limit:g} ms).")
    for setting, value in values:
        if value == 0:
            return warning(f"{name} is 0 for {setting.scope}: every statement is logged.")
    # Where the database asked sets it, what the instance gives other databases cannot be seen.
    databases = {setting.database for setting, _ in values if not setting.role}
    where = "" if None in databases else f" in database {', '.join(sorted(filter(None, databases)))}"
    return ok(f"Queries slower than {max(value for _, value in values):g} ms are logged{where} ({name}).")
