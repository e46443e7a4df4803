"""Quotas and limit ranges: object in, sentence out."""

from typing import Any

import pytest

from collectors.systems.kubernetes.judge.quotas import QuotaOptions, counts, judge_quotas
from collectors.systems.kubernetes.judge.resources import CpuLimitPolicy
from collectors.systems.kubernetes.model.objects import LimitRange, Namespace, ResourceQuota
from collectors.systems.kubernetes.model.pods import PodGroup
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import decoded, pod, pods

HARD = {"requests.cpu": "10", "limits.memory": "20Gi"}
HALF = {"requests.cpu": "5", "limits.memory": "10Gi"}
BOTH = {"cpu": "100m", "memory": "64Mi"}


def quota(hard: Any = None, used: Any = None, path: str = "shop/all", **spec: Any) -> ResourceQuota:
    hard = HARD if hard is None else hard
    status = {"hard": hard, "used": HALF if used is None else used}
    return decoded(ResourceQuota, path, spec={"hard": hard} | spec, status=status)


def limits(path: str = "shop/defaults", kind: str = "Container", **item: Any) -> LimitRange:
    given = item or {"default": BOTH, "defaultRequest": BOTH}
    return decoded(LimitRange, path, spec={"limits": [{"type": kind} | given]})


def judge(
    quotas: list[ResourceQuota],
    ranges: list[LimitRange] | None = None,
    found: list[PodGroup] | None = None,
    **options: Any,
) -> Result:
    shop = [decoded(Namespace, "shop")]
    return judge_quotas(shop, quotas, [limits()] if ranges is None else ranges, found or [], QuotaOptions(**options))


def test_all_is_well() -> None:
    result = judge([quota()], found=pods("shop/a", "bank/b"))
    assert (result.status, result.summary) == (
        Status.OK,
        "Every namespace (1) has quotas for CPU and memory of all its pods, and defaults for both.",
    )
    assert result.measurements == {"quota_used_ratio": 0.5}


@pytest.mark.parametrize(
    ("quotas", "sentence"),
    [
        ([], "Namespace shop has no ResourceQuota for CPU. Namespace shop has no ResourceQuota for memory."),
        (
            [quota({"pods": "10"}, {"pods": "1"})],
            "Namespace shop has no ResourceQuota for CPU. Namespace shop has no ResourceQuota for memory.",
        ),
        ([quota({"memory": "1Gi"}, {"memory": "0"})], "Namespace shop has no ResourceQuota for CPU."),
        ([quota({"cpu": "1"}, {"cpu": "0"}), quota({"memory": "1Gi"}, {"memory": "0"})], None),
        (
            [quota(path="bank/all")],
            "Namespace shop has no ResourceQuota for CPU. Namespace shop has no ResourceQuota for memory.",
        ),
    ],
)
def test_a_namespace_without_quotas(quotas: list[ResourceQuota], sentence: str | None) -> None:
    result = judge(quotas)
    assert result.status is (Status.FAILED if sentence else Status.OK)
    if sentence:
        assert result.summary == sentence


def scope(name: str, operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": list(values)}]}}


PLAIN = pod("shop/plain", status={"qosClass": "Burstable"})
BEST_EFFORT = pod("shop/best", status={"qosClass": "BestEffort"})
ENDING = pod("shop/ending", spec={"activeDeadlineSeconds": 0})
HIGH = pod("shop/high", spec={"priorityClassName": "high"})


@pytest.mark.parametrize(
    ("spec", "counted"),
    [
        ({}, {None, "plain", "best", "ending", "high"}),
        ({"scopes": ["Terminating"]}, {"ending"}),
        ({"scopes": ["NotTerminating"]}, {None, "plain", "best", "high"}),
        ({"scopes": ["BestEffort"]}, {"best"}),
        ({"scopes": ["NotBestEffort"]}, {None, "plain", "ending", "high"}),
        ({"scopes": ["NotTerminating", "NotBestEffort"]}, {None, "plain", "high"}),
        ({"scopes": ["PriorityClass"]}, {"high"}),
        (scope("PriorityClass", "In", "high", "low"), {"high"}),
        (scope("PriorityClass", "NotIn", "high"), {None, "plain", "best", "ending"}),
        (scope("PriorityClass", "Exists"), {"high"}),
        (scope("PriorityClass", "DoesNotExist"), {None, "plain", "best", "ending"}),
        (scope("PriorityClass", "Like"), set()),
        (scope("CrossNamespacePodAffinity"), set()),
        (scope("Terminating"), {"ending"}),
    ],
)
def test_which_pods_a_quota_counts(spec: dict[str, Any], counted: set[str | None]) -> None:
    found = {one.workload[1] for one in (PLAIN, BEST_EFFORT, ENDING, HIGH) if counts(quota(**spec), one)}
    assert found | ({None} if counts(quota(**spec), None) else set()) == counted


def test_a_scope_that_is_not_known_is_not_guessed() -> None:
    result = judge([quota(**scope("Colour"))], found=[PLAIN])
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "Which pods ResourceQuota shop/all counts by its scope Colour is not known.",
    )


def test_a_quota_that_leaves_out_normal_pods_is_not_enough() -> None:
    result = judge([quota(scopes=["Terminating"])], found=[PLAIN, ENDING])
    assert result.status is Status.FAILED
    assert result.summary == (
        "The scopes of the quotas for CPU in shop leave out 1 pod of 2: Pod plain. "
        "The scopes of the quotas for memory in shop leave out 1 pod of 2: Pod plain."
    )
    result = judge([quota(scopes=["Terminating"])])
    assert result.status is Status.FAILED
    assert "The quotas for CPU in shop (all) count only pods of their scopes, not any pod." in result.summary
    both = [quota(scopes=["Terminating"]), quota(path="shop/rest", scopes=["NotTerminating"])]
    assert judge(both, found=[PLAIN, ENDING]).status is Status.OK


def test_pods_that_have_ended_need_no_quota() -> None:
    done = pod("shop/done", spec={"activeDeadlineSeconds": 1}, status={"phase": "Succeeded"})
    assert judge([quota(scopes=["NotTerminating"])], found=[done]).status is Status.OK


NO_DEFAULTS = (
    "The LimitRange of namespace shop gives containers no default cpu, default memory, defaultRequest cpu and "
    "defaultRequest memory."
)

NO_LIMIT_RANGE = (
    "Namespace shop has no LimitRange, so containers that set nothing get no default cpu, default memory, defaultRequest cpu and "
    "defaultRequest memory."
)
# Quotas of scopes demand of no pod what a quota without them does.
SCOPED = [quota(scopes=["Terminating"]), quota(path="shop/rest", scopes=["NotTerminating"])]


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        ([], NO_LIMIT_RANGE),
        (
            [limits(max={"cpu": "2"})],
            NO_DEFAULTS,
        ),
        (
            [limits(default={"memory": "1Gi"}, defaultRequest=BOTH)],
            "The LimitRange of namespace shop gives containers no default cpu.",
        ),
        (
            [limits(default=BOTH | {"memory": "0"}, defaultRequest=BOTH)],
            "The LimitRange of namespace shop gives containers no default memory.",
        ),
        (
            [limits(kind="Pod"), decoded(LimitRange, "shop/none", spec={"limits": None})],
            NO_DEFAULTS,
        ),
        ([limits(default=BOTH, max=BOTH), limits("shop/more", defaultRequest=BOTH)], None),
        ([limits("bank/defaults")], NO_LIMIT_RANGE),
    ],
)
def test_defaults_for_pods_that_say_nothing(ranges: list[LimitRange], sentence: str | None) -> None:
    result = judge(SCOPED, ranges)
    assert result.status is (Status.FAILED if sentence else Status.OK)
    if sentence:
        assert result.summary == sentence


def test_a_quota_that_is_nearly_used_up() -> None:
    used = {"requests.cpu": "9500m", "limits.memory": "10Gi"}
    result = judge([quota(used=used)])
    assert (result.status, result.summary) == (
        Status.WARNING,
        "ResourceQuota shop/all is used to 95%: 9.5 of 10 requests.cpu (limit 90%).",
    )
    assert result.measurements == {"quota_used_ratio": 0.95}
    assert judge([quota(used=used)], quota_warn=0.96).status is Status.OK


def test_what_a_quota_demands_of_every_pod_needs_no_default() -> None:
    hard = {"requests.cpu": "10", "requests.memory": "10Gi", "limits.cpu": "20", "limits.memory": "20Gi"}
    assert (
        judge([quota(hard, hard | {"requests.cpu": "1"}, path="shop/all")], [], quota_warn=1).status is Status.WARNING
    )
    half = dict.fromkeys(hard, "1")
    assert judge([quota(hard, half)], []).status is Status.OK
    result = judge([quota()], [])
    assert result.summary == "Namespace shop has no LimitRange, so containers that set nothing get no default cpu."
    assert judge([quota()], [], cpu_limit_policy=CpuLimitPolicy.ADVISORY).status is Status.OK
    nothing = limits(default={"cpu": "0", "memory": "0"}, defaultRequest={"cpu": "0", "memory": "0"})
    assert judge(
        [quota(hard, half)], [nothing]
    ).summary == (  # a pod that sets nothing is let in by it, and limited by nothing
        "The LimitRange of namespace shop gives containers no default cpu, default memory, defaultRequest cpu and defaultRequest "
        "memory."
    )


@pytest.mark.parametrize(
    ("resource", "hard", "used", "status"),
    [
        ("services.loadbalancers", "1", "1", Status.OK),
        ("count/ingresses.networking.k8s.io", "2", "2", Status.OK),
        ("services.loadbalancers", "1", "2", Status.WARNING),
        ("pods", "100", "95", Status.WARNING),
        ("requests.storage", "1Gi", "1Gi", Status.WARNING),
    ],
)
def test_few_objects_may_all_be_in_use(resource: str, hard: str, used: str, status: Status) -> None:
    assert judge([quota(HARD | {resource: hard}, HALF | {resource: used})]).status is status


def test_a_quota_of_nothing_cannot_be_used_up() -> None:
    forbidden = {"services.nodeports": "0"}
    assert judge([quota(HARD | forbidden, HALF | forbidden)]).status is Status.OK


@pytest.mark.parametrize("resource", ["pods", "count/pods"])
def test_a_quota_that_allows_no_pod(resource: str) -> None:
    result = judge([quota(HARD | {resource: "0"}, HALF | {resource: "0"})])
    assert (result.status, result.summary) == (
        Status.WARNING,
        "ResourceQuota shop/all allows no pods at all, so none can be made.",
    )
    idle = quota({resource: "0"}, {resource: "0"}, path="shop/no-best-effort", scopes=["BestEffort"])
    assert judge([quota(), idle]).status is Status.OK


def test_a_quota_that_allows_no_cpu_at_all() -> None:
    result = judge([quota(HARD | {"requests.cpu": "0"}, HALF | {"requests.cpu": "0"})])
    assert (result.status, result.summary) == (
        Status.WARNING,
        "ResourceQuota shop/all allows no requests.cpu at all, so no pod that needs it can be made.",
    )


def test_a_quota_that_nobody_has_counted_is_unknown() -> None:
    result = judge([quota(used={})])
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "The use of ResourceQuota shop/all has not been counted: requests.cpu and limits.memory.",
    )


def test_no_namespace_is_no_success() -> None:
    with pytest.raises(ProbeError, match="Every namespace is exempt"):
        judge_quotas([], [quota()], [limits()], [], QuotaOptions())


def test_a_quota_in_which_nothing_starts() -> None:
    result = judge([quota(HARD | {"limits.memory": "512Ki"}, HALF | {"limits.memory": "0"})])
    assert result.status is Status.WARNING
    assert (
        "ResourceQuota shop/all allows only 512Ki of limits.memory, so no pod that needs it can be made."
        in result.summary
    )


def test_a_default_above_what_the_quota_allows_in_all() -> None:
    huge = limits(default={"cpu": "64", "memory": "64Mi"}, defaultRequest={"cpu": "16", "memory": "64Mi"})
    result = judge([quota()], [huge])
    assert result.status is Status.WARNING
    assert result.summary == (
        "LimitRange shop/defaults gives a container 16 of requests.cpu by default, more than ResourceQuota shop/all allows in all "
        "(10)."
    )
    assert (
        judge([quota(), quota({"requests.cpu": "1"}, {"requests.cpu": "0"}, scopes=["Terminating"])]).status
        is Status.OK
    )


def test_a_limit_range_needs_no_cpu_default_where_cpu_limits_are_left_out_on_purpose() -> None:
    without = limits(default={"memory": "64Mi"}, defaultRequest=BOTH)
    requests_only = quota(
        {"requests.cpu": "10", "requests.memory": "20Gi"}, {"requests.cpu": "0", "requests.memory": "0"}
    )
    assert judge([requests_only], [without], cpu_limit_policy=CpuLimitPolicy.ADVISORY).status is Status.OK
    assert "gives containers no default cpu." in judge([requests_only], [without]).summary
