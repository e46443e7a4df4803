"""Maintenance windows: planned times in which a line may stop passing without a notification. It is verified all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from exporter.options import Duration, Options, Said

__all__ = ["Maintenance", "MaintenanceOptions", "Once", "Period", "Weekday", "Weekly", "next_change", "under_way"]


@dataclass(frozen=True, slots=True)
class Once:
    """One period: from `start` on, until `end`, which is not part of it. Both have a time zone."""

    start: datetime
    end: datetime

    def periods(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Start and end of the period, whenever it is."""
        yield self.start, self.end


@dataclass(frozen=True, slots=True)
class Weekly:
    """A period that begins on each of these days (0 is Monday) at this time of the zone's clocks, and lasts at most a week.

    A beginning that the clocks skip is as much later as they skip; one that they show twice is the first. The length is real time.
    """

    weekdays: frozenset[int]
    at: time
    length: timedelta
    zone: tzinfo

    def periods(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Start and end (UTC) of the periods from a week before `now` to a week after it, the earliest first."""
        today = now.astimezone(self.zone).date()
        for days in range(-8, 9):
            if (day := today + timedelta(days)).weekday() in self.weekdays:
                start = datetime.combine(day, self.at, self.zone).astimezone(UTC)
                yield start, start + self.length


@dataclass(frozen=True, slots=True)
class Maintenance:
    """When lines may stop passing without a notification, why, and who answers for it."""

    when: Once | Weekly
    reason: str
    owner: str


@dataclass(frozen=True, slots=True)
class Period:
    """Maintenance that is under way, until `end`."""

    maintenance: Maintenance
    end: datetime


def under_way(planned: Iterable[Maintenance], now: datetime) -> Period | None:
    """Of the maintenance that is under way, that which ends last; None when there is none."""
    found = [
        Period(maintenance, end)
        for maintenance in planned
        for start, end in maintenance.when.periods(now)
        if start <= now < end
    ]
    return max(found, key=lambda period: period.end, default=None)


def next_change(planned: Iterable[Maintenance], now: datetime) -> datetime | None:
    """When maintenance next begins or ends after `now`; None when it never does again."""
    moments = (moment for maintenance in planned for period in maintenance.when.periods(now) for moment in period)
    return min((moment for moment in moments if moment > now), default=None)


class Weekday(StrEnum):
    """A day of the week, in their order."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class MaintenanceOptions(Options):
    """A planned time in which lines may stop passing without a notification, once or every week. They are verified all the same."""

    lines: tuple[Said, ...] = Field(min_length=1, description="Names of sections, and of lines as `section.item`.")
    reason: Said = Field(description="What is done then.")
    owner: Said = Field(description="Who is responsible for it.")
    start: datetime | None = Field(None, description="Of one that is once: when it begins, such as `2027-01-31T22:00`.")
    end: datetime | None = Field(None, description="Of one that is once: when it ends.")
    weekdays: tuple[Weekday, ...] = Field(
        tuple(Weekday),
        min_length=1,
        description="Of one that recurs: the days on which it begins, such as `[saturday, sunday]`.",
    )
    at: time | None = Field(None, description="Of one that recurs: when it begins, such as `22:00`.")
    duration: Duration | None = Field(
        None, gt=timedelta(0), description="Of one that recurs: how long it lasts, at most `7d`."
    )
    time_zone: str = Field("UTC", description="Time zone of times that have no offset, such as `Europe/Berlin`.")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError):  # OSError: a part of the world
            raise ValueError("this machine knows no such time zone, expected one such as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_way(self) -> MaintenanceOptions:
        given = self.model_fields_set & {"start", "end", "weekdays", "at", "duration"}
        if given - {"weekdays"} not in ({"start", "end"}, {"at", "duration"}) or given == {"start", "end", "weekdays"}:
            raise ValueError("expected either start and end, or at and duration")
        if self.duration is not None and self.duration > timedelta(days=7):
            raise ValueError("it lasts longer than a week")
        if self.at is not None and self.at.tzinfo is not None:
            raise ValueError("found an offset in at, expected a time of time_zone")
        if isinstance(when := self.when, Once) and when.end <= when.start:
            raise ValueError("it ends before it begins")
        return self

    @property
    def when(self) -> Once | Weekly:
        """The times, as they are meant."""
        zone = ZoneInfo(self.time_zone)
        if self.start is not None and self.end is not None:
            return Once(
                *(moment if moment.tzinfo else moment.replace(tzinfo=zone) for moment in (self.start, self.end))
            )
        assert self.at is not None and self.duration is not None  # noqa: PT018  # by _one_way
        return Weekly(frozenset(map(list(Weekday).index, self.weekdays)), self.at, self.duration, zone)
