"""What shows that a reply comes from a cache."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from collectors.systems.http.model.caches import cached_by
from exporter.reply import Reply


@pytest.mark.parametrize(
    ("age", "cached"),
    [
        (timedelta(0), False),
        (timedelta(minutes=50), False),
        (timedelta(minutes=-50), False),
        (timedelta(hours=2), True),
    ],
)
def test_a_date_that_a_cache_has_left_as_it_was(age: timedelta, cached: bool) -> None:
    dated = format_datetime(datetime.now(UTC) - age, usegmt=True)
    assert (
        cached_by(Reply("GET http://service/", 200, httpx.Headers({"date": dated}), b"")).startswith("Date") is cached
    )


@pytest.mark.parametrize("dated", ["", "0", "yesterday", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_a_date_that_is_none(dated: str) -> None:
    assert not cached_by(Reply("GET http://service/", 200, httpx.Headers({"date": dated}), b""))
