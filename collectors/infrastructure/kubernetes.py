"""Kubernetes Cluster"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from pydantic import Field

from collectors.clients.kubernetes import Kind, Kubernetes, NotServed
from collectors.clients.kubernetes_kinds import NAMESPACES, NETWORK_POLICIES, OTHER_NETWORK_POLICIES, PODS
from collectors.clients.kubernetes_pods import Pod
from collectors.clients.kubernetes_rights import may_list
from collectors.judgements.network_policies import NetworkPolicyOptions, judge_network_policies
from collectors.judgements.pod_security import ENFORCE, PodSecurityOptions, judge_pod_security
from collectors.judgements.scope import Part, Scope
from exporter.collector import CRITICAL, WARNING, Collector, Result, SectionSettings, Target, fetched, item, worst
from exporter.evidence import EvidenceRule

T = TypeVar("T")

#: How long a declaration about the API server's own configuration holds, which nobody can see through the API.
_DECLARED = EvidenceRule(valid_for=timedelta(days=180))


class _Options(Scope, NetworkPolicyOptions, PodSecurityOptions):
    """What may be set for the section and for one target."""


class KubernetesTarget(Target, _Options):
    """A part of the cluster: namespaces that are judged by the same limits."""


class KubernetesSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[KubernetesTarget, ...] = Field(
        min_length=1, description="The parts of the cluster to look at; one is enough when all have the same limits."
    )


class KubernetesCluster(Collector[KubernetesSettings, KubernetesTarget]):
    """Judges one snapshot of each kind of object, which the client takes and shares with other sections."""

    Settings = KubernetesSettings
    Target = KubernetesTarget
    rights = """\
The roles that a configuration needs, and no more, are printed by
  checklist-exporter list --rbac --config.file config.yaml
Bind them to the account of clients.kubernetes. Nothing of it reads Secrets, runs commands in pods, or reaches kubelets.
"""

    @fetched
    async def part(self) -> Part:
        """The namespaces that are judged. Raises Cannot when there is none, or the client does not look at one that is named."""
        client = self.client(Kubernetes)
        return self.target.of((await client.list(NAMESPACES)).items, client.settings.namespaces)

    @fetched
    async def pods(self) -> Sequence[Pod]:
        """The pods in them."""
        return (await self.part()).within(await self._all(PODS))

    async def _all(self, kind: Kind[T]) -> Sequence[T]:
        return (await self.client(Kubernetes).list(kind)).items

    async def _if_served(self, kind: Kind[T]) -> Sequence[T] | None:
        """All objects of a kind; None when the cluster has no such kind."""
        try:
            return await self._all(kind)
        except NotServed:
            return None

    async def _told(self, result: Result) -> Result:
        """The verdict on the namespaces that are there, with those that are not, and what is exempt."""
        return self.target.told(worst(result, *(await self.part()).missing))

    @item(
        "Verify network policies are properly configured",
        severity=WARNING,
        needs=(may_list(NAMESPACES, PODS, NETWORK_POLICIES, *OTHER_NETWORK_POLICIES),),
    )
    async def network_policies_configured(self) -> Result:
        """Without a policy every pod may talk to every other one: one that is taken over reaches the databases.

        Each namespace has a policy that selects all pods and allows nothing, in both directions, and every running pod is selected
        in both; none allows everything. Pods on the host's network are not judged, as policies do not hold for them. Policies of
        Cilium, Calico and AdminNetworkPolicy are found but not understood: the line is then unknown, unless
        `other_policies_accepted` says why they do not matter. Whether the network enforces policies is another line's matter.

        To mend it: a NetworkPolicy with an empty podSelector and both policyTypes, then one for each connection that is wanted.
        """
        part, pods = await self.part(), await self.pods()
        policies = part.within(await self._all(NETWORK_POLICIES))
        others: dict[str, int] = {}
        for kind in OTHER_NETWORK_POLICIES:
            found = await self._if_served(kind) or ()
            others[str(kind)] = sum(not kind.namespaced or one.namespace in part.namespaces for one in found)
        return await self._told(
            judge_network_policies(
                part.namespaces.values(), pods, policies, self.target, others=others, exempt=self.target.exempts
            )
        )

    @item(
        "Confirm pod security policies are enforced",
        severity=CRITICAL,
        needs=(may_list(NAMESPACES, PODS), "with `psa_cluster_default`: a record of it"),
    )
    async def pod_security_enforced(self) -> Result:
        """A privileged pod owns its node, and with it every pod and secret there; nothing but admission keeps one from being made.

        PodSecurityPolicy was removed in 1.25. Each namespace has the label pod-security.kubernetes.io/enforce with at least
        `psa_min_level` (the labels audit and warn enforce nothing), and all running pods keep that level, as the label acts when a
        pod is made and not on those that were there before. The API server's own default for namespaces without a label cannot be
        seen: `psa_cluster_default` declares it, with a record of this line that is not older than 180 days. Other means, such as
        Kyverno, are declared for a namespace in `psa_enforced_by`.

        To mend it: label the namespace with warn first, change the workloads that it names, then label it with enforce.
        """
        part = await self.part()
        judged = judge_pod_security(part.namespaces.values(), await self.pods(), self.target, self.target.exempts)
        result = await self._told(judged)
        unlabelled = [name for name, found in part.namespaces.items() if ENFORCE not in found.metadata.labels]
        if self.target.psa_cluster_default is None or not unlabelled:
            return result
        return worst(result, await self.context.evidence.judge(self.section(), "pod_security_enforced", _DECLARED))
