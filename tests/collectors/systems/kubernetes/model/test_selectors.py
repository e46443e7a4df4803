"""Label selectors select what the API's documentation says."""

import pytest

from collectors.systems.kubernetes.model.objects import Requirement, Selector
from collectors.systems.kubernetes.model.selectors import matches, parse_selector, selects_all
from exporter.verdict import ProbeError

LABELS = {"app": "redis", "tier": "cache", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        (Selector(), True),
        (Selector({"app": "redis"}), True),
        (Selector({"app": "redis", "tier": "db"}), False),
        (Selector({"missing": ""}), False),
        (Selector({}, (Requirement("app", "In", ("redis", "valkey")),)), True),
        (Selector({}, (Requirement("app", "In", ("valkey",)),)), False),
        (Selector({}, (Requirement("missing", "In", ("a",)),)), False),
        (Selector({}, (Requirement("app", "NotIn", ("redis",)),)), False),
        (Selector({}, (Requirement("missing", "NotIn", ("redis",)),)), True),
        (Selector({}, (Requirement("empty", "Exists"),)), True),
        (Selector({}, (Requirement("missing", "Exists"),)), False),
        (Selector({}, (Requirement("missing", "DoesNotExist"),)), True),
        (Selector({}, (Requirement("empty", "DoesNotExist"),)), False),
        (Selector({"app": "redis"}, (Requirement("tier", "NotIn", ("cache",)),)), False),
    ],
)
def test_what_is_selected(selector: Selector | None, selected: bool) -> None:
    assert matches(selector, LABELS) is selected


def test_an_unknown_operator_is_not_guessed() -> None:
    with pytest.raises(ProbeError, match=r"operator Gt "):
        matches(Selector({}, (Requirement("app", "Gt", ("1",)),)), LABELS)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=redis", True),
        ("app == redis, tier!=db", True),
        ("app!=redis", False),
        ("app in (redis, valkey),tier notin (db,queue)", True),
        ("app notin (redis)", False),
        ("tier", True),
        ("!tier", False),
        ("! missing", True),
        ("empty=", True),
        ("example.com/part=x", False),
    ],
)
def test_selectors_are_written_as_kubectl_takes_them(text: str, selected: bool) -> None:
    assert matches(parse_selector(text), LABELS) is selected


@pytest.mark.parametrize("text", ["=redis", "app=re dis", "app in redis", "app in ()x", "app in (a b)", ",", "app>1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a label selector"):
        parse_selector(text)


def test_only_a_selector_without_requirements_selects_all() -> None:
    assert selects_all(Selector())
    assert not selects_all(parse_selector("app"))
    assert not selects_all(Selector({"app": "redis"}))
