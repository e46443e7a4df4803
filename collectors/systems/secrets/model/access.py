"""What keys and accounts may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

from exporter.options import Options

__all__ = ["ACTS", "OWN", "Act", "Answers", "Decision", "IamPrincipal"]

Action = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+:[A-Za-z]+$")]


@dataclass(frozen=True, slots=True)
class Answers:
    """HTTP statuses: of the allowed path without a key and with it, and of the forbidden path with it."""

    stranger: int
    allowed: int
    forbidden: int


class IamPrincipal(Options):
    """A role or user of AWS that an application signs in as. What it may do is simulated: nothing is done."""

    name: str = Field(min_length=1, description="What it is called in sentences.")
    arn: str = Field(pattern=r"^arn:aws[\w-]*:iam::\d{12}:(?:role|user|group)/\S+$", description="Its ARN.")
    allowed: tuple[Action, ...] = Field(min_length=1, description="Actions that it needs: the control.")
    forbidden: tuple[Action, ...] = Field(
        (
            "iam:AttachRolePolicy",
            "iam:AttachUserPolicy",
            "iam:CreateAccessKey",
            "iam:CreatePolicyVersion",
            "iam:PutRolePolicy",
            "kms:ScheduleKeyDeletion",
            "cloudtrail:StopLogging",
        ),
        min_length=1,
        description="Actions that it must not be allowed.",
    )
    resources: tuple[str, ...] = Field(
        ("*",),
        min_length=1,
        description="ARNs that the actions are on. With `*`, a right to some resources does not show.",
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What AWS decides on an action of a principal; `missing` are keys of conditions that it was not known."""

    action: str
    resource: str
    allowed: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """Something that no account of an application needs. `words` says what it may; `place` where, if not everywhere.

    `resource` may have a part, as in `pods/exec`.
    """

    verb: str
    resource: str
    group: str
    words: str
    place: str = ""


OWN = "its own namespace"
"""As the place of an act: the namespace of the account."""
_RBAC, _HOOKS, _CERTIFICATES = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"
ACTS = (
    Act("*", "*", "*", "do everything in the whole cluster, as cluster-admin"),
    Act("list", "secrets", "", "read the Secrets of all namespaces"),
    Act("get", "secrets", "", "read the Secrets of all namespaces"),
    Act("watch", "secrets", "", "read the Secrets of all namespaces"),
    Act("escalate", "clusterroles", _RBAC, "give itself any right (escalate)"),
    Act("bind", "clusterroles", _RBAC, "give itself any role (bind)"),
    Act("escalate", "roles", _RBAC, "give itself any right in a namespace (escalate)"),
    Act("impersonate", "users", "", "act as any user (impersonate)"),
    Act("impersonate", "groups", "", "act as any group (impersonate)"),
    Act("impersonate", "serviceaccounts", "", "act as any service account (impersonate)"),
    Act("create", "serviceaccounts/token", "", "make tokens for any service account"),
    Act("create", "pods/exec", "", "run commands in the pods of all namespaces"),
    Act("get", "pods/exec", "", "run commands in the pods of all namespaces, by WebSockets"),
    Act("create", "pods/attach", "", "attach to the pods of all namespaces"),
    Act("patch", "pods/ephemeralcontainers", "", "add containers to the pods of all namespaces"),
    Act("get", "nodes/proxy", "", "reach the kubelets, and so all pods (nodes/proxy)"),
    Act("create", "nodes/proxy", "", "reach the kubelets, and so all pods (nodes/proxy)"),
    Act("update", "mutatingwebhookconfigurations", _HOOKS, "change what everybody applies (mutating webhooks)"),
    Act("update", "certificatesigningrequests/approval", _CERTIFICATES, "approve certificates for any user"),
    Act("create", "pods", "", "create pods in all namespaces, and so with any service account"),
    Act("create", "deployments", "apps", "create workloads in all namespaces, and so with any service account"),
    Act("patch", "deployments", "apps", "change the workloads of all namespaces, and so run as any service account"),
    Act("update", "deployments", "apps", "change the workloads of all namespaces, and so run as any service account"),
    Act("create", "daemonsets", "apps", "create workloads in all namespaces, and so with any service account"),
    Act("create", "statefulsets", "apps", "create workloads in all namespaces, and so with any service account"),
    Act("create", "jobs", "batch", "create workloads in all namespaces, and so with any service account"),
    Act("create", "cronjobs", "batch", "create workloads in all namespaces, and so with any service account"),
    Act("create", "persistentvolumes", "", "create volumes of any directory of a node (persistentvolumes)"),
    Act("patch", "nodes", "", "change nodes, and so which pods run there"),
    Act("*", "*", "*", "do everything in kube-system", "kube-system"),
    Act("list", "secrets", "", "read the Secrets of kube-system", "kube-system"),
    Act("create", "pods", "", "create pods in kube-system", "kube-system"),
    Act("*", "*", "*", "do everything in its namespace", OWN),
)
"""The worst first: who may do the first may do the others too."""
