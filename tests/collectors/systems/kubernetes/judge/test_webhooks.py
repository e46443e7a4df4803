"""Webhooks that the API server has to ask before a pod starts: object in, sentence out."""

from typing import Any

import pytest

from collectors.systems.kubernetes.judge.webhooks import judge_webhooks
from collectors.systems.kubernetes.model.objects import EndpointSlice, Service, WebhookConfiguration
from exporter.verdict import Result, Status
from tests.collectors.systems.kubernetes.objects import decoded

SERVICE = decoded(Service, "kyverno/kyverno-svc", spec={"ports": [{"name": "https", "port": 443, "targetPort": 9443}]})
READY = EndpointSlice("kyverno", "kyverno-svc", 1, ("https",))
PODS = {"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]}


def configured(rule: Any = None, **changes: Any) -> WebhookConfiguration:
    webhook = {
        "name": "validate.kyverno.svc",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"namespace": "kyverno", "name": "kyverno-svc"}},
        "rules": [rule or PODS],
    }
    return decoded(WebhookConfiguration, "kyverno", webhooks=[webhook | changes])


def judge(*found: WebhookConfiguration, ready: bool = False, namespaces: tuple[str, ...] = ()) -> list[Result]:
    return list(judge_webhooks(found, [SERVICE], [READY] if ready else [], namespaces))


@pytest.mark.parametrize(
    "rule",
    [
        PODS,
        {"apiGroups": ["*"], "resources": ["*/*"], "operations": ["*"]},
        PODS | {"resources": ["configmaps", "*"]},
        PODS | {"resources": ["pods/binding"]},
    ],
)
def test_without_an_answer_no_pod_starts(rule: dict[str, Any]) -> None:
    (problem,) = judge(configured(rule))
    assert problem.status is Status.FAILED
    assert problem.summary == (
        "Service kyverno/kyverno-svc has no ready endpoint, and without the answer of its webhook validate.kyverno.svc (kyverno) "
        "no pod starts."
    )
    assert judge(configured(rule), ready=True) == []
    (problem,) = judge_webhooks([configured(rule)], [], [READY][:0])
    assert problem.summary.startswith("Service kyverno/kyverno-svc does not exist, and without")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"failurePolicy": "Ignore"}, None),
        ({"clientConfig": {"url": "https://hook.example.com"}}, None),
        ({"rules": [PODS | {"resources": ["deployments"], "apiGroups": ["apps"]}]}, None),
        ({"rules": [PODS | {"operations": ["DELETE"]}]}, None),
        ({"rules": [PODS | {"resources": ["pods/exec"]}]}, None),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["kube-system"]}]}},
            Status.FAILED,
        ),
        ({"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}}, Status.WARNING),
        ({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}, Status.WARNING),
        ({"matchConditions": [{"name": "a", "expression": "true"}]}, Status.WARNING),
    ],
)
def test_which_pods_a_webhook_is_asked_about(changes: dict[str, Any], status: Status | None) -> None:
    assert [problem.status for problem in judge(configured(**changes))] == ([status] if status else [])


def test_a_port_that_nothing_answers_at() -> None:
    other = {"clientConfig": {"service": {"namespace": "kyverno", "name": "kyverno-svc", "port": 8443}}}
    (problem,) = judge(configured(**other), ready=True)
    assert problem.summary.startswith("Service kyverno/kyverno-svc has no port 8443, and without")
    (problem,) = judge_webhooks([configured()], [SERVICE], [EndpointSlice("kyverno", "kyverno-svc", 1)])
    assert problem.summary.startswith("Service kyverno/kyverno-svc has no ready endpoint on port 443, and without")


def test_a_service_in_a_namespace_that_was_not_read_is_not_judged() -> None:
    assert judge(configured(), namespaces=("shop",)) == []
    assert len(judge(configured(), namespaces=("shop", "kyverno"))) == 1
