"""Network policies: which pods are covered, what is open, and that what is not judged is not called ok."""

import itertools
from typing import Any

import pytest

from collectors.systems.kubernetes.judge.network_policies import (
    Direction,
    NetworkPolicyOptions,
    covered,
    directions,
    judge_network_policies,
)
from collectors.systems.kubernetes.model.objects import CronJob, Namespace, NetworkPolicy
from collectors.systems.kubernetes.model.pods import PodGroup
from collectors.systems.kubernetes.model.selectors import matches
from collectors.systems.kubernetes.model.workloads import planned_pods
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import compacted, decoded, pod, pods, wire_pod

BOTH = ["Ingress", "Egress"]


def policy(path: str = "shop/deny", selector: Any = None, **spec: Any) -> NetworkPolicy:
    return decoded(NetworkPolicy, path, spec={"podSelector": selector or {}, "policyTypes": BOTH} | spec)


def labelled(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def judge(
    found: list[PodGroup], *policies: NetworkPolicy, others: dict[str, int] | None = None, **options: Any
) -> Result:
    return judge_network_policies(
        [decoded(Namespace, "shop")], found, policies, NetworkPolicyOptions(**options), others=others
    )


WEB = pods("shop/web-1", "shop/web-2", labels={"app": "web"})


def test_all_is_well() -> None:
    allowing = policy("shop/web", labelled(app="web"), ingress=[{"ports": [{"port": 80}]}])
    result = judge(WEB, policy(), allowing)
    assert (result.status, result.summary) == (
        Status.OK,
        "Network policies cover ingress and egress of every pod (2) in 1 namespace and deny by default.",
    )
    assert result.measurements == {"pods_judged": 2, "pods_uncovered": 0}


@pytest.mark.parametrize(
    ("spec", "sides"),
    [
        ({}, {"Ingress"}),
        ({"policyTypes": []}, {"Ingress"}),
        ({"ingress": [{}]}, {"Ingress"}),
        ({"egress": []}, {"Ingress"}),
        ({"egress": None}, {"Ingress"}),
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"policyTypes": ["Egress"]}, {"Egress"}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {"Egress"}),
    ],
)
def test_what_a_policy_is_about_when_it_does_not_say(spec: dict[str, Any], sides: set[str]) -> None:
    assert directions(decoded(NetworkPolicy, "shop/a", spec={"podSelector": {}} | spec)) == sides


def test_a_pod_that_no_policy_selects() -> None:
    result = judge(
        [*WEB, pod("shop/db", labels={"app": "db"})], policy("shop/web", labelled(app="web")), default_deny=False
    )
    assert result.status is Status.FAILED
    assert result.summary == (
        "No network policy covers ingress of 1 of 3 pods in shop: Pod db. "
        "No network policy covers egress of 1 of 3 pods in shop: Pod db."
    )
    assert result.measurements == {"pods_judged": 3, "pods_uncovered": 1}


def test_each_direction_is_looked_at() -> None:
    ingress_alone = policy(policyTypes=["Ingress"])
    result = judge(WEB, ingress_alone)
    assert result.status is Status.FAILED
    assert result.summary == (
        "Namespace shop has no network policy that denies egress by default. "
        "No network policy covers egress of 2 of 2 pods in shop: Pod web-1 and Pod web-2."
    )
    assert judge(WEB, ingress_alone, directions=(Direction.INGRESS,)).status is Status.OK


def test_an_empty_namespace_needs_a_default_deny_too() -> None:
    result = judge([])
    assert (result.status, result.summary) == (
        Status.FAILED,
        "Namespace shop has no network policy that denies ingress and egress by default.",
    )
    with pytest.raises(ProbeError, match="No pod runs that counts"):
        judge([], default_deny=False)


def test_two_policies_may_deny_one_direction_each() -> None:
    assert (
        judge(WEB, policy("shop/a", policyTypes=["Ingress"]), policy("shop/b", policyTypes=["Egress"])).status
        is Status.OK
    )


def test_a_policy_of_another_namespace_covers_nothing() -> None:
    assert judge(WEB, policy("bank/deny")).status is Status.FAILED


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, {"web", "db", "plain"}),
        (labelled(app="web"), {"web"}),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, {"web", "db"}),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, {"db", "plain"}),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {"web", "db"}),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"plain"}),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, set()),
    ],
)
def test_selectors_mean_what_they_mean_to_kubernetes(selector: dict[str, Any], selected: set[str]) -> None:
    found = [pod("shop/web", labels={"app": "web"}), pod("shop/db", labels={"app": "db"}), pod("shop/plain")]
    seen = {one.name for alike, sides in covered(found, [policy("shop/a", selector)]) if sides for one in alike}
    assert seen == selected


def test_an_operator_that_is_not_known_is_not_guessed() -> None:
    with pytest.raises(ProbeError, match="operator Like"):
        judge(WEB, policy("shop/a", {"matchExpressions": [{"key": "app", "operator": "Like"}]}))


def test_pods_of_a_stateful_set_are_told_apart_where_a_policy_does() -> None:
    name = "statefulset.kubernetes.io/pod-name"
    wire = [
        wire_pod(f"shop/redis-{n}", labels={"app": "redis", name: f"redis-{n}"}, metadata={"generateName": "redis-"})
        for n in range(3)
    ]
    found = compacted(*wire)
    assert len({id(one.template) for one in found}) == 1
    seen = [sides for _, sides in covered(found, [policy("shop/a", {"matchLabels": {name: "redis-1"}})])]
    assert seen == [set(), set(BOTH), set()]
    assert all(sides for _, sides in covered(found, [policy("shop/a", labelled(app="redis"))]))


def test_coverage_is_that_of_looking_at_every_pod_and_policy() -> None:
    values = (None, "a", "b")
    every = [
        {key: value for key, value in zip(("app", "tier"), pair, strict=True) if value}
        for pair in itertools.product(values, values)
    ]
    found = compacted(*(wire_pod(f"shop/pod-{n}", labels=labels) for n, labels in enumerate(every * 3)))
    policies = [
        policy(f"shop/{n}", selector, policyTypes=[BOTH[n % 2]])
        for n, selector in enumerate(
            [
                labelled(app="a"),
                labelled(app="b", tier="a"),
                {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]},
                {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
            ]
        )
    ]
    for one, sides in covered(found, policies):
        slow = {
            side
            for its in policies
            if matches(its.spec.pod_selector, one.labels)
            for side in its.spec.policy_types or ()
        }
        assert sides == slow


@pytest.mark.parametrize(
    ("pod_parts", "counts"),
    [
        ({"spec": {"hostNetwork": True}}, False),
        ({"status": {"phase": "Succeeded"}}, False),
        ({"status": {"phase": "Failed"}}, False),
        ({"metadata": {"deletionTimestamp": "2026-11-25T10:00:00Z"}}, False),
        ({"status": {"phase": "Pending"}}, True),
    ],
)
def test_pods_that_count(pod_parts: dict[str, Any], counts: bool) -> None:
    web = policy("shop/web", labelled(app="web"))
    result = judge([pod("shop/a", **pod_parts), *WEB], web, default_deny=False)
    assert result.status is (Status.FAILED if counts else Status.OK)


def test_exempt_pods_do_not_count() -> None:
    result = judge_network_policies(
        [decoded(Namespace, "shop")],
        [pod("shop/db"), *WEB],
        [policy("shop/web", labelled(app="web"))],
        NetworkPolicyOptions(default_deny=False),
        exempt=lambda found: found.workload == ("Pod", "db"),
    )
    assert result.status is Status.OK


@pytest.mark.parametrize("phase", ["Succeeded", "Running"])
def test_a_policy_for_pods_that_do_not_count_is_not_idle(phase: str) -> None:
    nightly = pod("shop/nightly", labels={"app": "nightly"}, status={"phase": phase})
    result = judge_network_policies(
        [decoded(Namespace, "shop")],
        [nightly, *WEB],
        [policy(), policy("shop/nightly", labelled(app="nightly"))],
        NetworkPolicyOptions(),
        exempt=lambda found: found.workload == ("Pod", "nightly"),
    )
    assert result.status is Status.OK, result.summary


def test_a_direction_that_is_not_known_covers_no_other() -> None:
    odd = policy(policyTypes=["Ingress", "Sideways"])
    assert "No network policy covers egress of 2 of 2 pods" in judge(WEB, odd, default_deny=False).summary


@pytest.mark.parametrize(
    ("rules", "everything"),
    [
        ({"ingress": [{}]}, "ingress"),
        ({"egress": [{"to": []}]}, "egress"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}, "ingress"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "::/0"}}]}]}, "egress"),
        ({"ingress": [{"ports": [{"port": 443}]}]}, None),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]}, None),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}]}, None),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, None),
        ({"ingress": [{"from": [{"podSelector": {}, "namespaceSelector": None}]}]}, None),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, "ingress from every pod of the cluster"),
        ({"egress": [{"to": [{"namespaceSelector": {}, "podSelector": {}}]}]}, "egress to every pod of the cluster"),
        ({"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": labelled(app="web")}]}]}, None),
        ({"ingress": [{"from": [{"namespaceSelector": labelled(team="shop")}]}]}, None),
        ({"ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 443}]}]}, None),
        # Two halves are a whole, and an address in a range is as good as its first one.
        ({"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]}]}, "egress"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "8000::/1"}}]}]}, None),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.1.2.3/0"}}]}]}, "ingress"),
        # A port that is not named is every port of its protocol, which is TCP where that is not named either.
        ({"ingress": [{"ports": [{"protocol": "UDP"}, {"protocol": "UDP", "port": 53}]}]}, "UDP ingress"),
        ({"egress": [{"ports": [{}]}]}, "TCP egress"),
        ({"egress": [{"ports": [{"protocol": "TCP", "port": 1, "endPort": 65535}]}]}, "TCP egress"),
        ({"egress": [{"ports": [{"protocol": "TCP", "port": 1024, "endPort": 65535}]}]}, None),
        ({"egress": [{"ports": [{"port": "https"}]}]}, None),
        # The rules of a direction that the policy is not about do nothing.
        ({"egress": [{}], "policyTypes": ["Ingress"]}, None),
    ],
)
def test_a_policy_that_allows_everything(rules: dict[str, Any], everything: str | None) -> None:
    result = judge(WEB, policy(), policy("shop/open", labelled(app="web"), **rules))
    if everything is None:
        assert result.status is Status.OK, result.summary
    else:
        assert (result.status, result.summary) == (Status.FAILED, f"NetworkPolicy shop/open allows all {everything}.")
        accepted = {"shop/open": "Serves the public."}
        assert (
            judge(WEB, policy(), policy("shop/open", labelled(app="web"), **rules), may_allow_all=accepted).status
            is Status.OK
        )


def test_a_range_that_is_none_is_not_guessed() -> None:
    odd = policy("shop/odd", egress=[{"to": [{"ipBlock": {"cidr": "everywhere"}}]}])
    with pytest.raises(ProbeError, match="NetworkPolicy shop/odd names everywhere, which is no range of addresses"):
        judge(WEB, policy(), odd)


def test_a_default_that_allows_is_no_default_that_denies() -> None:
    result = judge(WEB, policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert result.summary == "Namespace shop has no network policy that denies ingress by default."


def test_policies_that_select_nothing_are_a_warning() -> None:
    result = judge(WEB, policy(), *(policy(f"shop/{name}", labelled(app=name)) for name in ("wbe", "bd")))
    assert (result.status, result.summary) == (
        Status.WARNING,
        "2 NetworkPolicies in shop select no pod: shop/wbe and shop/bd.",
    )


OTHERS = {"ciliumnetworkpolicies.cilium.io": 3, "adminnetworkpolicies.policy.networking.k8s.io": 0}


def test_policies_of_other_makers_are_not_guessed_about() -> None:
    result = judge(WEB, policy(), others=OTHERS)
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "What is open also depends on 3 ciliumnetworkpolicies.cilium.io, which are not judged.",
    )
    result = judge(WEB, others=OTHERS, default_deny=False)
    assert result.status is Status.UNKNOWN
    assert "NetworkPolicies alone: No network policy covers ingress of 2 of 2 pods" in result.summary
    assert judge(WEB, policy(), others=dict.fromkeys(OTHERS, 0)).status is Status.OK


def test_why_policies_of_other_makers_do_not_matter_may_be_said() -> None:
    result = judge(WEB, policy(), others=OTHERS, other_policies_accepted="They only deny.")
    assert result.status is Status.OK
    assert result.summary.endswith("Not judged: 3 ciliumnetworkpolicies.cilium.io (They only deny).")


def test_no_namespace_is_no_success() -> None:
    with pytest.raises(ProbeError, match="Every namespace is exempt"):
        judge_network_policies([], WEB, [policy()], NetworkPolicyOptions())


def test_thousands_of_bare_pods_are_told_in_a_few_sentences() -> None:
    result = judge(pods(*(f"shop/pod-{n}" for n in range(5000))))
    assert len(result.summary) < 500
    assert "and 4997 more" in result.summary


NAMESPACES = [
    decoded(Namespace, name, labels={"kubernetes.io/metadata.name": name, "team": team})
    for name, team in (("shop", "a"), ("bank", "b"), ("kube-system", "c"))
]
EXPRESSION = "matchExpressions"


def among(selector: dict[str, Any], pod_selector: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"namespaceSelector": selector} | ({} if pod_selector is None else {"podSelector": pod_selector})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {EXPRESSION: [{"key": key, "operator": operator, "values": list(values)}]}


PORTS = [{"port": 1, "endPort": 32767}, {"port": 32768, "endPort": 65535}]
EVERY = "all ingress from every pod of the cluster"


@pytest.mark.parametrize(
    ("rules", "opened"),
    [
        ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}], "all ingress"),
        (
            [{"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}]}, {"from": [{"ipBlock": {"cidr": "128.0.0.0/1"}}]}],
            "all ingress",
        ),
        ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}], None),
        (
            [
                {
                    "from": [
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}},
                        {"ipBlock": {"cidr": "10.0.0.0/8"}},
                    ]
                }
            ],
            "all ingress",
        ),
        ([{"from": [{"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}}]}], None),
        ([{"from": [among(expression("kubernetes.io/metadata.name", "Exists"))]}], EVERY),
        ([{"from": [among(expression("no-such-label", "DoesNotExist"))]}], EVERY),
        ([{"from": [among({}, expression("no-such-label", "DoesNotExist"))]}], EVERY),
        ([{"from": [among(expression("team", "In", "a", "b", "c"))]}], EVERY),
        ([{"from": [among(expression("team", "In", "a", "b"))]}], None),
        ([{"from": [among(expression("team", "In", "a")), among(expression("team", "NotIn", "a"))]}], EVERY),
        ([{"from": [among({}, expression("app", "In", "web"))]}], None),
        ([{"ports": PORTS}], "all TCP ingress"),
        ([{"ports": [port]} for port in PORTS], "all TCP ingress"),
        ([{"ports": [{"port": 2, "endPort": 65535}]}], "all TCP ingress"),
        ([{"ports": [{"port": 1024, "endPort": 65535}]}], None),
        ([{"ports": [{"port": "http"}]}], None),
    ],
)
def test_policies_are_judged_by_what_they_select(rules: list[dict[str, Any]], opened: str | None) -> None:
    opening = policy("shop/open", labelled(app="web"), policyTypes=["Ingress"], ingress=rules)
    result = judge_network_policies(
        NAMESPACES[:1], WEB, [policy(), opening], NetworkPolicyOptions(), whole=NAMESPACES, everywhere=WEB
    )
    assert result.status is (Status.FAILED if opened else Status.OK), result.summary
    if opened:
        assert result.summary == f"NetworkPolicy shop/open allows {opened}."


def test_a_default_deny_may_be_written_in_other_ways() -> None:
    dns = [{"ports": [{"port": 53, "protocol": "UDP"}]}]
    assert judge(WEB, policy(egress=dns)).status is Status.OK
    assert judge(WEB, policy(selector=expression("no-such-label", "DoesNotExist"))).status is Status.OK
    some = judge(WEB, policy(selector=expression("app", "Exists")))
    assert some.summary == "Namespace shop has no network policy that denies ingress and egress by default."


def test_what_denies_by_other_means_is_declared() -> None:
    assert judge(WEB).status is Status.FAILED
    assert judge(WEB, default_denied_by={"sh*": "GlobalNetworkPolicy default-deny of Calico."}).status is Status.OK


def test_a_policy_of_a_cron_job_between_runs_is_not_idle() -> None:
    nightly = policy("shop/nightly", labelled(app="nightly"), egress=[{"ports": [{"port": 5432}]}])
    assert judge(WEB, policy(), nightly).status is Status.WARNING
    job = decoded(
        CronJob,
        "shop/nightly",
        spec={"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"app": "nightly"}}}}}},
    )
    assert judge([*WEB, *planned_pods([job], WEB, [])], policy(), nightly).status is Status.OK


HALVES = [{"ipBlock": {"cidr": "0.0.0.0/1"}}], [{"ipBlock": {"cidr": "128.0.0.0/1"}}]


@pytest.mark.parametrize(
    "rules",
    [
        ([{"from": HALVES[0]}], [{"from": HALVES[1]}]),
        ([{"ports": [{"port": 1, "endPort": 32767}]}], [{"ports": [{"port": 32768, "endPort": 65535}]}]),
        ([{"from": HALVES[0]}], [{"from": HALVES[1], "ports": [{"port": 1, "endPort": 65535}]}]),
    ],
)
def test_what_policies_of_the_same_pods_open_together(rules: Any) -> None:
    one, other = (policy(f"shop/{name}", ingress=rule) for name, rule in zip("ab", rules, strict=True))
    harmless = policy("shop/c", ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}])
    result = judge(WEB, policy(), one, other, harmless)
    assert result.status is Status.FAILED
    assert result.summary.startswith("NetworkPolicies shop/a and shop/b select the same pods and together allow all ")
    allowed = judge(WEB, policy(), one, other, harmless, may_allow_all={"shop/a": "The public site."})
    assert allowed.status is Status.OK


def test_policies_of_different_pods_open_nothing_together() -> None:
    both = pods("shop/web-1", labels={"app": "web"}) + pods("shop/api-1", labels={"app": "api"})
    one = policy("shop/a", labelled(app="web"), ingress=[{"from": HALVES[0]}])
    other = policy("shop/b", labelled(app="api"), ingress=[{"from": HALVES[1]}])
    assert judge(both, policy(), one, other).status is Status.OK


def test_rules_of_one_policy_with_and_without_ports_open_together() -> None:
    rules = [{"from": HALVES[0]}, {"from": HALVES[1], "ports": [{"port": 1, "endPort": 65535}]}]
    result = judge(WEB, policy(), policy("shop/a", ingress=rules))
    assert (result.status, result.summary) == (Status.FAILED, "NetworkPolicy shop/a allows all TCP ingress.")
