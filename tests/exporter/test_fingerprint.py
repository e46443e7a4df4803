"""Fingerprints of settings: other ones for other addresses and limits, the same for other credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from exporter.fingerprint import applies, fingerprint, observed_with
from exporter.options import Duration, Options, Secret


class Part(Options):
    limit: int = 3


class Sample(Options):
    name: str = "a"
    dsn: Secret | None = None
    url: str = ""
    timeout: Duration | None = None
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    file: Path | None = None


def of(**options: Any) -> str:
    return fingerprint(Sample.model_validate(options, strict=False))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "a"}, {"name": "b"}),
        ({"url": "http://a:1"}, {"url": "http://a:2"}),
        ({"dsn": "postgresql://u:p@a/x"}, {"dsn": "postgresql://u:p@b/x"}),
        ({"dsn": "postgresql://u:p@a/x"}, {"dsn": "postgresql://u:p@a/y"}),
        ({"dsn": "host=a user=u password=p"}, {"dsn": "host=b user=u password=p"}),
        ({"timeout": "1s"}, {"timeout": "2s"}),
        ({"part": {"limit": 1}}, {"part": {"limit": 2}}),
        ({"parts": [{"limit": 1}]}, {"parts": [{"limit": 1}, {"limit": 2}]}),
        ({"labels": {"a": "b"}}, {"labels": {"a": "c"}}),
        ({"file": "/a"}, {"file": "/b"}),
    ],
)
def test_other_settings_have_another_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(**one) == of(**one)
    assert of(**one) != of(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"dsn": "postgresql://u:p@a/x"}, {"dsn": "postgresql://v:q@a/x"}),
        ({"dsn": "host=a password=p"}, {"dsn": "password=q host=a"}),
        ({"dsn": "hunter2"}, {"dsn": "hunter3"}),
        ({"dsn": "https://hooks.example.com/T0/secret"}, {"dsn": "https://hooks.example.com/T0/other"}),
        ({"dsn": "http://[broken"}, {"dsn": "http://[other"}),
        ({"url": "http://u:p@a:1"}, {"url": "http://v:q@a:1"}),
    ],
)
def test_credentials_are_not_in_it(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(**one) == of(**other)


def test_what_is_left_out_and_what_is_not_set_does_not_count() -> None:
    assert fingerprint(Sample(name="a"), without={"name"}) == fingerprint(Sample())


@pytest.mark.parametrize(
    ("settings", "sources", "wanted"),
    [
        ("a", {"prometheus": "p", "loki": "l"}, True),
        ("a", {"prometheus": "p", "loki": "another one"}, True),
        ("b", {"prometheus": "p"}, False),
        ("a", {"prometheus": "q"}, False),
        ("a", {}, False),
        ("a", {"prometheus": "p", "redis": "configured now"}, False),
    ],
)
def test_a_result_holds_while_all_that_it_rests_on_is_the_same(
    settings: str, sources: dict[str, str], wanted: bool
) -> None:
    observed = observed_with("a", {"prometheus", "redis"}, {"prometheus": "p", "loki": "l"})
    assert applies(observed, settings, sources) is wanted
