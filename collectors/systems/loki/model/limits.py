"""Limits of what log lines are."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import Field, field_validator

from exporter.options import Duration, Options

__all__ = ["LogLimits"]


class LogLimits(Options):
    """Limits of the section."""

    max_debug_ratio: float = Field(0.01, ge=0, le=1, description="Share of lines that may be of level debug or trace.")
    min_levelled_ratio: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of lines whose level must be recognisable, for the share of debug lines to count.",
    )
    min_structured_ratio: float = Field(
        0.95, ge=0, le=1, description="Share of sampled lines that must be JSON or logfmt with all three fields."
    )
    min_sampled: int = Field(10, ge=1, description="Fewest sampled lines of a service by which it is judged.")
    timestamp_fields: tuple[str, ...] = Field(
        (
            "timestamp",
            "time",
            "ts",
            "@timestamp",
            "t",
            "@t",
            "datetime",
            "date",
            "asctime",
            "eventTime",
            "start_time",
            "time_local",
            "time_iso8601",
            "StartUTC",
            "__REALTIME_TIMESTAMP",
            "TimeGenerated",
            "timeUnixNano",
            "instant.epochSecond",
            "timeMillis",
            "epochSecond",
            "timestampSeconds",
            "time_unix_nano",
            "record.time.timestamp",
            "requestReceivedTimestamp",
            "_time",
        ),
        description="Names of the field that holds the time of a line, in upper or lower case.",
    )
    level_fields: tuple[str, ...] = Field(
        (
            "level",
            "lvl",
            "severity",
            "log.level",
            "levelname",
            "loglevel",
            "log_level",
            "severity_text",
            "severityText",
            "@l",
            "PRIORITY",
            "error_severity",
            "s",
            "severityNumber",
            "record.level.name",
        ),
        description="Names of the field that holds the level of a line; a label of the stream counts too.",
    )
    message_fields: tuple[str, ...] = Field(
        (
            "message",
            "msg",
            "event",
            "body",
            "short_message",
            "fields.message",
            "@m",
            "@mt",
            "RenderedMessage",
            "MessageTemplate",
            "textPayload",
            "record.message",
            "log_message",
            "_msg",
        ),
        description="Names of the field that holds the message.",
    )
    secret_patterns: dict[str, str] = Field(
        default_factory=dict,
        description="Further regular expressions that no line may match, each by the name of what it finds.",
    )
    min_retention: Duration = Field(timedelta(days=14), description="Shortest retention of logs.")
    max_retention: Duration = Field(timedelta(days=365), description="Longest retention of logs.")

    @field_validator("secret_patterns")
    @classmethod
    def _compile(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"expected a regular expression for {name}: {error}") from None
        return patterns
