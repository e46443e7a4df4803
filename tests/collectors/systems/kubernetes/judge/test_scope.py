"""Which namespaces are judged: one that is configured and does not exist is not passed over."""

from typing import Any

import pytest

from collectors.systems.kubernetes.judge.scope import demand_namespaces, scope_problems
from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.scope import NamespaceScope, Scope
from exporter.verdict import ProbeError, Reason, Status
from tests.collectors.systems.kubernetes.objects import ago, decoded

THERE = [
    decoded(Namespace, "shop"),
    decoded(Namespace, "orders"),
    decoded(Namespace, "kube-system"),
    decoded(Namespace, "old", metadata={"deletionTimestamp": ago(days=3)}),
]


def scope(*read: str, **options: Any) -> NamespaceScope:
    return demand_namespaces(Scope(**options).of(THERE, read))


def problems(found: NamespaceScope) -> list[str]:
    results = list(scope_problems(found))
    assert all((result.status, result.reason) == (Status.FAILED, Reason.MISSING) for result in results)
    return [result.summary for result in results]


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
    found = scope(**options)
    assert (set(found.namespaces), problems(found)) == (judged, [])


def test_one_that_is_named_has_to_be_there() -> None:
    assert problems(scope(namespaces=("shop", "shpo", "x*"))) == [
        "Namespace shpo, which `namespaces` of the section names, does not exist.",
        "Namespace x*, which `namespaces` of the section names, does not exist.",
    ]
    assert problems(scope(namespaces=("shop", "old"))) == [
        "Namespace old, which `namespaces` of the section names, is being deleted."
    ]


def test_what_the_client_is_narrowed_to_has_to_be_there() -> None:
    assert problems(scope("shop", "kube-system")) == []
    assert problems(scope("shop", "shpo", "old")) == [
        "Namespace shpo, which clients.kubernetes.namespaces names, does not exist.",
        "Namespace old, which clients.kubernetes.namespaces names, is being deleted.",
    ]
    assert problems(scope("shop", "shpo", namespaces=("shop",))) == []
    assert len(problems(scope("shop", "shpo", namespaces=("shop", "shpo")))) == 1
    with pytest.raises(ProbeError, match=r"^orders is not among clients.kubernetes.namespaces"):
        scope("shop", namespaces=("orders",))


def test_without_any_nothing_was_seen() -> None:
    with pytest.raises(
        ProbeError,
        match=r"^Namespace shpo, which `namespaces` of the section names, does not exist, so nothing was checked.$",
    ):
        scope(namespaces=("shpo",))
    with pytest.raises(ProbeError, match=r"^Every namespace of the cluster is exempt or the cluster's own"):
        scope(exempt_namespaces={"*": "All of it is a test."})
