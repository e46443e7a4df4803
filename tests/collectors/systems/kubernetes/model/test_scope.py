"""Which namespaces are judged: one that is named and not there is not passed over."""

from typing import Any

import pytest

from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.scope import Part, Scope
from exporter.verdict import ProbeError, Status
from tests.collectors.systems.kubernetes.objects import ago, decoded

THERE = [
    decoded(Namespace, "shop"),
    decoded(Namespace, "orders"),
    decoded(Namespace, "kube-system"),
    decoded(Namespace, "old", metadata={"deletionTimestamp": ago(days=3)}),
]


def part(*looked_at: str, **options: Any) -> Part:
    return Scope(**options).of(THERE, looked_at)


def told(found: Part) -> list[str]:
    assert all(result.status is Status.FAILED for result in found.missing)
    return [result.summary for result in found.missing]


@pytest.mark.parametrize(
    ("options", "judged"),
    [
        ({}, {"shop", "orders"}),
        ({"namespaces": ("*",)}, {"shop", "orders"}),
        ({"namespaces": ("s*",)}, {"shop"}),
        ({"namespaces": ("kube-system", "shop")}, {"kube-system", "shop"}),
        ({"exempt_namespaces": {"ord*": "Is tried out."}}, {"shop"}),
        ({"namespaces": ("shop", "orders"), "exempt_namespaces": {"orders": "Is tried out."}}, {"shop"}),
    ],
)
def test_which_namespaces_are_judged(options: dict[str, Any], judged: set[str]) -> None:
    found = part(**options)
    assert (set(found.namespaces), told(found)) == (judged, [])


def test_one_that_is_named_has_to_be_there() -> None:
    assert told(part(namespaces=("shop", "shpo", "x*"))) == [
        "There is no namespace shpo, where applications were to run.",
        "There is no namespace x*, where applications were to run.",
    ]
    assert told(part(namespaces=("shop", "old"))) == ["Namespace old is being deleted, where applications were to run."]


def test_what_the_client_is_narrowed_to_has_to_be_there() -> None:
    assert told(part("shop", "kube-system")) == []
    assert told(part("shop", "shpo", "old")) == [
        "There is no namespace shpo, which clients.kubernetes.namespaces names.",
        "Namespace old is being deleted, which clients.kubernetes.namespaces names.",
    ]
    assert told(part("shop", "shpo", namespaces=("shop",))) == []
    assert len(told(part("shop", "shpo", namespaces=("shop", "shpo")))) == 1
    with pytest.raises(ProbeError, match=r"^orders is not among clients.kubernetes.namespaces"):
        part("shop", namespaces=("orders",))


def test_without_any_nothing_was_seen() -> None:
    with pytest.raises(
        ProbeError, match=r"^There is no namespace shpo, where applications were to run, so nothing was seen.$"
    ):
        part(namespaces=("shpo",))
    with pytest.raises(ProbeError, match=r"^The cluster has no namespace that is to be judged, so nothing was seen.$"):
        part(exempt_namespaces={"*": "All of it is a test."})
