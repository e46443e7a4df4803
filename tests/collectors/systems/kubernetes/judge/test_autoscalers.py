"""Autoscalers: object in, sentence out."""

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from collectors.systems.kubernetes.judge.autoscalers import (
    HpaOptions,
    VpaOptions,
    conflicts,
    judge_hpa_thresholds,
    judge_hpas,
    judge_vpa_bounds,
    judge_vpas,
    vpa_helpers,
)
from collectors.systems.kubernetes.model.objects import (
    CronJob,
    Deployment,
    HorizontalPodAutoscaler,
    VerticalPodAutoscaler,
)
from collectors.systems.kubernetes.model.workloads import planned_pods
from exporter.verdict import ProbeError, Result, Status
from tests.collectors.systems.kubernetes.objects import NOW, ago, decoded, pod

WORKING: dict[str, Any] = {"AbleToScale": "True", "ScalingActive": "True", "ScalingLimited": "False"}


def conditions(reason: str = "Because", message: str = "", minutes: float = 60, **states: str) -> list[dict[str, str]]:
    at = ago(minutes=minutes)
    return [
        {"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": at}
        for kind, state in states.items()
    ]


def cpu(aim: int | None = 70, name: str = "cpu", kind: str = "resource") -> dict[str, Any]:
    target = (
        {"type": "Utilization", "averageUtilization": aim}
        if aim is not None
        else {"type": "AverageValue", "averageValue": "1"}
    )
    return {"type": kind[0].upper() + kind[1:], kind: {"name": name, "container": "main", "target": target}}


def hpa(path: str = "shop/api", target: str = "api", status: Any = None, **spec: Any) -> HorizontalPodAutoscaler:
    wanted = {
        "scaleTargetRef": {"kind": "Deployment", "name": target},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [cpu()],
    }
    seen = {"conditions": conditions(**WORKING), "currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": [cpu()]}
    return decoded(HorizontalPodAutoscaler, path, spec=wanted | spec, status=seen | (status or {}))


def judge(*hpas: HorizontalPodAutoscaler, **options: Any) -> Result:
    return judge_hpas(hpas, HpaOptions(**options), NOW)


def test_all_is_well() -> None:
    result = judge(hpa(), hpa_required=("shop/api", "shop/Deployment/api"))
    assert (result.status, result.summary) == (Status.OK, "Every HorizontalPodAutoscaler (1) scales.")
    result = judge_hpa_thresholds([hpa()], HpaOptions())
    assert (result.status, result.summary) == (
        Status.OK,
        "Every HorizontalPodAutoscaler (1) sees its metrics, and aims at 40 to 85 % where it is of use.",
    )


def test_no_autoscaler_is_no_success() -> None:
    assert judge().summary == "There is no HorizontalPodAutoscaler (wanted at least 1)."
    assert judge().status is Status.FAILED
    assert judge_hpa_thresholds([], HpaOptions()).status is Status.FAILED
    assert judge(hpa_required=("shop/api",)).summary == "Deployment shop/api has no HorizontalPodAutoscaler."


def test_an_autoscaler_that_never_scales_up() -> None:
    result = judge(hpa(behavior={"scaleUp": {"selectPolicy": "Disabled"}}))
    assert (result.status, result.summary) == (
        Status.FAILED,
        "HorizontalPodAutoscaler shop/api never scales up: selectPolicy of its behavior is Disabled.",
    )
    never_down = hpa(behavior={"scaleUp": {"selectPolicy": "Max"}, "scaleDown": {"selectPolicy": "Disabled"}})
    assert judge(never_down).status is Status.OK


def test_a_workload_that_lacks_one_or_has_two() -> None:
    result = judge(hpa(), hpa("shop/other"), hpa_required=("shop/api", "bank/StatefulSet/db"))
    assert result.status is Status.FAILED
    assert result.summary == (
        "StatefulSet bank/db has no HorizontalPodAutoscaler. "
        "Deployment shop/api is scaled by 2 HorizontalPodAutoscalers (wanted 1)."
    )


@pytest.mark.parametrize("reference", ["api", "a/b/c/d", "shop/", "/api"])
def test_a_reference_that_is_none_is_refused(reference: str) -> None:
    with pytest.raises(ValidationError, match="expected namespace/name"):
        HpaOptions(hpa_required=(reference,))


@pytest.mark.parametrize(
    ("found", "status", "sentence"),
    [
        (hpa(minReplicas=1), Status.FAILED, "may leave 1 replica (wanted at least 2)."),
        (hpa(minReplicas=None), Status.FAILED, "may leave 1 replica (wanted at least 2)."),
        (hpa(maxReplicas=2), Status.FAILED, "cannot scale: its maximum is 2 and its minimum 2."),
        (
            hpa(
                status={
                    "conditions": conditions(
                        "FailedGetResourceMetric",
                        "missing request for cpu.\n",
                        AbleToScale="True",
                        ScalingActive="False",
                    )
                }
            ),
            Status.FAILED,
            "does not scale: FailedGetResourceMetric (missing request for cpu).",
        ),
        (
            hpa(status={"conditions": conditions("FailedGetScale", "gone", AbleToScale="False", ScalingActive="True")}),
            Status.FAILED,
            "does not scale: FailedGetScale (gone).",
        ),
        (
            hpa(
                status={
                    "conditions": conditions(AbleToScale="True") + conditions("ScalingDisabled", ScalingActive="False")
                }
            ),
            Status.WARNING,
            "scales nothing, as its workload is scaled to zero.",
        ),
        (
            hpa(status={"conditions": conditions(AbleToScale="True")}),
            Status.UNKNOWN,
            "does not report whether it works (ScalingActive is missing).",
        ),
        (
            hpa(status={"conditions": conditions(AbleToScale="Unknown", ScalingActive="True")}),
            Status.UNKNOWN,
            "does not report whether it works (AbleToScale is Unknown).",
        ),
        (
            hpa(status={"desiredReplicas": 5, "conditions": conditions(**WORKING | {"ScalingLimited": "True"})}),
            Status.WARNING,
            "wants more than its maximum of 5 replicas since 1 hour (limit 15m).",
        ),
        (
            hpa(
                status={
                    "desiredReplicas": 5,
                    "conditions": conditions(minutes=14, **WORKING | {"ScalingLimited": "True"}),
                }
            ),
            Status.OK,
            "",
        ),
        (
            hpa(status={"desiredReplicas": 2, "conditions": conditions(**WORKING | {"ScalingLimited": "True"})}),
            Status.OK,
            "",
        ),
    ],
)
def test_an_autoscaler_that_does_not_work(found: HorizontalPodAutoscaler, status: Status, sentence: str) -> None:
    result = judge(found)
    assert result.status is status
    if sentence:
        assert result.summary == f"HorizontalPodAutoscaler shop/api {sentence}"


@pytest.mark.parametrize(
    ("found", "status", "sentence"),
    [
        (hpa(metrics=[], status={"currentMetrics": None}), Status.FAILED, "has no metrics to scale by."),
        (hpa(status={"currentMetrics": None}), Status.FAILED, "sees 0 of its 1 metric."),
        (
            hpa(metrics=[cpu(), cpu(name="memory")], status={"currentMetrics": [cpu(), {"type": ""}]}),
            Status.FAILED,
            "sees 1 of its 2 metrics.",
        ),
        (
            hpa(status={"currentMetrics": None, "conditions": conditions("ScalingDisabled", ScalingActive="False")}),
            Status.WARNING,
            "measures nothing, as its workload is scaled to zero.",
        ),
        (hpa(metrics=[cpu(39)]), Status.FAILED, "aims at 39 % cpu (wanted 40 to 85 %)."),
        (
            hpa(metrics=[cpu(86, "memory", "containerResource")]),
            Status.FAILED,
            "aims at 86 % memory (wanted 40 to 85 %).",
        ),
        (hpa(metrics=[cpu(40)]), Status.OK, ""),
        (hpa(metrics=[cpu(85)]), Status.OK, ""),
        (hpa(metrics=[cpu(None)]), Status.OK, ""),
        (hpa(metrics=[{"type": "External", "external": {"metric": {"name": "queue"}}}]), Status.OK, ""),
    ],
)
def test_thresholds(found: HorizontalPodAutoscaler, status: Status, sentence: str) -> None:
    result = judge_hpa_thresholds([found], HpaOptions())
    assert result.status is status, result.summary
    if sentence:
        assert result.summary == f"HorizontalPodAutoscaler shop/api {sentence}"


def vpa(status: Any = None, mode: str | None = "Off", path: str = "shop/api", **spec: Any) -> VerticalPodAutoscaler:
    wanted: dict[str, Any] = {"targetRef": {"kind": "Deployment", "name": "api"}}
    wanted |= {"updatePolicy": {"updateMode": mode}} if mode else {}
    seen = {"conditions": conditions(RecommendationProvided="True")}
    return decoded(VerticalPodAutoscaler, path, spec=wanted | spec, status=seen | (status or {}))


RECOMMENDER = decoded(Deployment, "kube-system/vpa-recommender", spec={"replicas": 1}, status={"readyReplicas": 1})


def judge_vertical(
    *vpas: VerticalPodAutoscaler, recommender: Deployment | None = RECOMMENDER, **options: Any
) -> Result:
    return judge_vpas(vpas, VpaOptions(**options), recommender=recommender)


def test_all_recommend() -> None:
    result = judge_vertical(vpa(), vpa_required=("shop/api",))
    assert (result.status, result.summary) == (Status.OK, "Every VerticalPodAutoscaler (1) recommends.")
    assert judge_vertical(vpa(), recommender=None, vpa_recommender=None).status is Status.OK


@pytest.mark.parametrize(
    ("found", "options", "status", "sentence"),
    [
        ([], {}, Status.FAILED, "There is no VerticalPodAutoscaler (wanted at least 1)."),
        ([], {"vpa_required": ("shop/api",)}, Status.FAILED, "Deployment shop/api has no VerticalPodAutoscaler."),
        (
            [vpa({"conditions": conditions(message="none", RecommendationProvided="True", NoPodsMatched="True")})],
            {},
            Status.FAILED,
            "VerticalPodAutoscaler shop/api matches no pods (none).",
        ),
        (
            [
                vpa(
                    {
                        "conditions": conditions(
                            RecommendationProvided="True", ConfigUnsupported="True", NoPodsMatched="False"
                        )
                    }
                )
            ],
            {},
            Status.FAILED,
            "VerticalPodAutoscaler shop/api has a configuration that is not supported.",
        ),
        (
            [vpa({"conditions": conditions(RecommendationProvided="False")})],
            {},
            Status.FAILED,
            "VerticalPodAutoscaler shop/api recommends nothing: Because.",
        ),
        (
            [vpa({"conditions": None})],
            {},
            Status.UNKNOWN,
            "VerticalPodAutoscaler shop/api does not report whether it recommends anything.",
        ),
        (
            [vpa()],
            {"vpa_allow_off": False},
            Status.FAILED,
            "VerticalPodAutoscaler shop/api only recommends (update mode Off).",
        ),
        ([vpa(mode="Recreate")], {"vpa_allow_off": False}, Status.OK, ""),
        ([vpa(mode=None)], {"vpa_allow_off": False}, Status.OK, ""),
        (
            [vpa(mode="Auto")],
            {},
            Status.WARNING,
            (
                "VerticalPodAutoscaler shop/api has update mode Auto, which is deprecated: "
                "Recreate or InPlaceOrRecreate says what is done."
            ),
        ),
    ],
)
def test_vertical_autoscalers(
    found: list[VerticalPodAutoscaler], options: dict[str, Any], status: Status, sentence: str
) -> None:
    result = judge_vertical(*found, **options)
    assert result.status is status, result.summary
    if sentence:
        assert result.summary == sentence


def test_the_recommender_has_to_run() -> None:
    assert (
        judge_vertical(vpa(), recommender=None).summary
        == "Deployment kube-system/vpa-recommender, which recommends, does not exist."
    )
    down = decoded(Deployment, "kube-system/vpa-recommender", spec={"replicas": 1})
    assert (
        judge_vertical(vpa(), recommender=down).summary
        == "Deployment kube-system/vpa-recommender has 0 of 1 replica ready."
    )


@pytest.mark.parametrize(
    ("spec", "both"),
    [
        ({}, "cpu and memory"),
        ({"mode": "Off"}, ""),
        (
            {"resourcePolicy": {"containerPolicies": [{"containerName": "*", "controlledResources": ["memory"]}]}},
            "memory",
        ),
        ({"resourcePolicy": {"containerPolicies": [{"containerName": "*", "mode": "Off"}]}}, ""),
        (
            {"resourcePolicy": {"containerPolicies": [{"containerName": "main", "controlledResources": []}]}},
            "cpu and memory",
        ),
        ({"resourcePolicy": {"containerPolicies": None}}, "cpu and memory"),
    ],
)
def test_scaled_both_ways_by_the_same_metric(spec: dict[str, Any], both: str) -> None:
    vertical = vpa(**{"mode": "Recreate"} | spec)
    horizontal = [hpa(metrics=[cpu(), cpu(name="memory"), {"type": "External"}])]
    told = list(conflicts([vertical], horizontal))
    wanted = f"Deployment shop/api is scaled by VerticalPodAutoscaler api and horizontally by the same {both}."
    assert told == ([wanted] if both else [])
    assert list(conflicts([vertical], [hpa(target="other")])) == []
    result = judge_vpas([vertical], VpaOptions(), recommender=RECOMMENDER, hpas=horizontal)
    assert result.status is (Status.WARNING if both else Status.OK)


def recommending(name: str = "main", **bounds: Any) -> VerticalPodAutoscaler:
    given = {"lowerBound": {"cpu": "100m", "memory": "64Mi"}, "upperBound": {"cpu": "1", "memory": "1Gi"}} | bounds
    return vpa({"recommendation": {"containerRecommendations": [{"containerName": name} | given]}})


def running(cpu: str | None, memory: str | None) -> Any:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return pod(
        "shop/api-5d4-x",
        labels={"pod-template-hash": "5d4"},
        owner="ReplicaSet/api-5d4",
        spec={"containers": [{"name": "main", "resources": {"requests": requests}}, {"name": "other"}]},
    )


@pytest.mark.parametrize(
    ("requests", "bounds", "told"),
    [
        (("100m", "64Mi"), {}, ""),
        (("1000m", "1024Mi"), {}, ""),
        (
            ("99m", "64Mi"),
            {},
            "99m cpu is requested (recommended 100m to 1) for container main of Deployment shop/api.",
        ),
        (
            ("1", "2Gi"),
            {},
            "2.15 GB memory is requested (recommended 67.1 MB to 1.07 GB) for container main of Deployment shop/api.",
        ),
        ((None, "64Mi"), {}, "No cpu is requested for container main of Deployment shop/api."),
        (("50", "64Mi"), {"upperBound": {"memory": "1Gi"}}, ""),
        (
            ("50m", "64Mi"),
            {"upperBound": {}},
            "50m cpu is requested (recommended at least 100m) for container main of Deployment shop/api.",
        ),
        (("1m", "64Mi"), {"lowerBound": {}}, ""),
        (("1", "64Mi"), {"lowerBound": {"cpu": 0.1}, "upperBound": {"cpu": 2}}, ""),
    ],
)
def test_requests_within_the_bounds(requests: tuple[str | None, str | None], bounds: dict[str, Any], told: str) -> None:
    result = judge_vpa_bounds([recommending(**bounds)], [running(*requests)])
    assert result.status is (Status.WARNING if told else Status.OK), result.summary
    assert result.summary == (told or "Requests of 1 pod are within what is recommended.")


def test_what_cannot_be_compared_is_unknown() -> None:
    with pytest.raises(ProbeError, match="There is no VerticalPodAutoscaler"):
        judge_vpa_bounds([], [running("1", "1Gi")])
    unsure = vpa({"conditions": conditions(LowConfidence="True")})
    for found, sentence in (
        (unsure, "VerticalPodAutoscaler shop/api has seen too little to be relied on (LowConfidence)."),
        (vpa(), "VerticalPodAutoscaler shop/api recommends nothing."),
        (
            recommending(),
            "Deployment shop/api, which VerticalPodAutoscaler shop/api sizes, has no pod and no template.",
        ),
    ):
        result = judge_vpa_bounds([found], [pod("shop/done", status={"phase": "Succeeded"})])
        assert (result.status, result.summary) == (Status.UNKNOWN, sentence)


def test_a_container_that_nothing_is_recommended_for_is_left_alone() -> None:
    result = judge_vpa_bounds([recommending("sidecar")], [running(None, None)])
    assert (result.status, result.summary) == (
        Status.UNKNOWN,
        "VerticalPodAutoscaler shop/api recommends nothing for the containers that run.",
    )
    assert judge_vpa_bounds([recommending("main")], [running("1", "1Gi")]).status is Status.OK  # `other` is there too
    assert judge_vpa_bounds([recommending(lowerBound={}, upperBound={})], [running("1", "1Gi")]) == result


@pytest.mark.parametrize(
    ("mode", "waiting"),
    [("Off", []), ("Initial", ["vpa-admission-controller"]), ("Recreate", ["vpa-updater", "vpa-admission-controller"])],
)
def test_recommendations_that_nobody_applies(mode: str, waiting: list[str]) -> None:
    names = vpa_helpers("kube-system/vpa-recommender")
    assert names == ("kube-system/vpa-updater", "kube-system/vpa-admission-controller")
    down = {name: decoded(Deployment, name, spec={"replicas": 1}, status={"readyReplicas": 0}) for name in names}
    result = judge_vpas([vpa(mode=mode)], VpaOptions(), recommender=RECOMMENDER, helpers=down)
    assert result.status is (Status.FAILED if waiting else Status.OK)
    assert [name for name in names if f"Deployment {name} has 0 of 1 replica ready." in result.summary] == [
        f"kube-system/{name}" for name in waiting
    ]
    missing = judge_vpas([vpa(mode=mode)], VpaOptions(), recommender=RECOMMENDER, helpers=dict.fromkeys(names))
    assert missing.status is (Status.WARNING if waiting else Status.OK)


def test_the_names_beside_a_recommender() -> None:
    assert vpa_helpers("ops/StatefulSet/my-vpa-recommender-0") == (
        "ops/StatefulSet/my-vpa-updater-0",
        "ops/StatefulSet/my-vpa-admission-controller-0",
    )
    assert vpa_helpers("ops/goldilocks") == ()


def test_two_that_size_one_workload() -> None:
    result = judge_vertical(vpa(), vpa(path="shop/second"))
    assert (result.status, result.summary) == (
        Status.WARNING,
        "Deployment shop/api is sized by 2 VerticalPodAutoscalers (wanted 1): only one of them counts.",
    )


def test_keda_keeps_a_workload_at_zero() -> None:
    at_zero = {"conditions": conditions("ScalingDisabled", AbleToScale="True", ScalingActive="False")}
    made = decoded(
        HorizontalPodAutoscaler,
        "shop/keda-hpa-api",
        metadata={"ownerReferences": [{"kind": "ScaledObject", "name": "api", "controller": True}]},
        spec={
            "scaleTargetRef": {"kind": "Deployment", "name": "api"},
            "minReplicas": 1,
            "maxReplicas": 6,
            "metrics": [{"type": "External", "external": {"metric": {"name": "queue"}}}],
        },
        status=at_zero,
    )
    assert judge(made).status is Status.OK
    assert judge_hpa_thresholds([made], HpaOptions()).status is Status.OK
    by_hand = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, owner_references=()))
    assert judge(by_hand).status is Status.FAILED, "one replica is too few, and nobody brings the others back"
    assert judge_hpa_thresholds([by_hand], HpaOptions()).status is Status.WARNING


def nightly(**requests: str) -> CronJob:
    container = {"name": "main", "resources": {"requests": requests}}
    template = {"spec": {"containers": [container]}}
    return decoded(CronJob, "shop/nightly", spec={"jobTemplate": {"spec": {"template": template}}})


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ({"cpu": "10", "memory": "64Mi"}, ""),
        ({"memory": "64Mi"}, ""),
        ({"cpu": "10"}, "No memory is requested for container main of CronJob shop/nightly."),
    ],
)
def test_a_cron_job_between_runs_that_is_sized_by_memory_alone(requests: dict[str, str], told: str) -> None:
    bounds = {"containerName": "main", "lowerBound": {"memory": "32Mi"}, "upperBound": {"memory": "128Mi"}}
    status = {"recommendation": {"containerRecommendations": [bounds]}}
    sized = vpa(status, path="shop/nightly", targetRef={"kind": "CronJob", "name": "nightly"})
    result = judge_vpa_bounds([sized], planned_pods([nightly(**requests)], [], []))
    assert result.status is (Status.WARNING if told else Status.OK), result.summary
    assert result.summary == (told or "Requests of 1 pod are within what is recommended.")
