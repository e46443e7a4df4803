"""Durations, sizes, strict options."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.options import Duration, Options, Secret, Size, format_duration, parse_duration


class Sample(Options):
    wait: Duration = timedelta(seconds=1)
    room: Size = 0
    password: Secret | None = None


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("26h", 93600), ("30d", 2592000), ("1h30m", 5400), ("1.5s", 1.5)]
)
def test_a_duration_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5 m", "1y", 60, None, True, "9" * 30 + "d", "365001d", "9" * 400 + "d"]
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "size"), [('"64MiB"', 64 * 2**20), ('"50GB"', 50 * 10**9), ("7", 7), ('"1.5k"', 1500)]
)
def test_a_size_is_read_in_its_unit(text: str, size: int) -> None:
    assert Sample.model_validate_json(f'{{"room": {text}}}').room == size


@pytest.mark.parametrize("text", ['"64 bits"', "-1", "true", '"MB"', "1.5", f'"{"9" * 400}"'])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValidationError, match="expected a number of bytes"):
        Sample.model_validate_json(f'{{"room": {text}}}')


def test_a_secret_never_prints_and_is_never_empty() -> None:
    sample = Sample.model_validate_json('{"password": "canary"}')
    assert "canary" not in f"{sample!r} {sample} {sample.model_dump_json()}"
    with pytest.raises(ValidationError, match="found nothing"):
        Sample.model_validate_json('{"password": ""}')


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Sample.model_validate_json('{"wiat": "1s"}')
