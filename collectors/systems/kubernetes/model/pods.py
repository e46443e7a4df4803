"""Pods, and how a snapshot keeps tens of thousands of them: with what the replicas of a workload have in common kept once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec
from msgspec import field

from collectors.systems.kubernetes.model.base import Amounts, Condition, OwnerReference, Struct

__all__ = [
    "Capabilities",
    "Container",
    "ContainerState",
    "ContainerStatus",
    "Handler",
    "Lifecycle",
    "Os",
    "Pod",
    "PodCompactor",
    "PodGroup",
    "PodItem",
    "PodSpec",
    "PodState",
    "PodTemplate",
    "Port",
    "Probe",
    "Profile",
    "Resources",
    "Running",
    "SELinuxOptions",
    "SecurityContext",
    "Sleep",
    "Sysctl",
    "TemplateItem",
    "Terminated",
    "Waiting",
    "WindowsOptions",
    "nearest_owner",
    "pod_groups",
    "pods_in",
]


class Resources(Struct, frozen=True):
    """Requests and limits of a container or of a whole pod."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class Profile(Struct, frozen=True):
    """A seccomp or AppArmor profile."""

    type: str = ""


class SELinuxOptions(Struct, frozen=True):
    """Labels for SELinux."""

    type: str = ""
    user: str = ""
    role: str = ""


class WindowsOptions(Struct, frozen=True):
    """Options of a container on Windows."""

    host_process: bool | None = None


class Capabilities(Struct, frozen=True):
    """Linux capabilities that a container gets besides the default ones, and that are taken from it."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class Sysctl(Struct, frozen=True):
    """A kernel parameter that a pod sets."""

    name: str = ""


class SecurityContext(Struct, frozen=True):
    """Security settings of a container, or of a pod (which has `sysctls`, and neither capabilities nor procMount)."""

    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    proc_mount: str | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsOptions | None = None
    sysctls: tuple[Sysctl, ...] = ()


class Handler(Struct, frozen=True):
    """Where a probe or a hook goes; a host other than the pod itself is what Pod Security forbids."""

    host: str = ""


class Sleep(Struct, frozen=True):
    """A hook that does nothing for some seconds."""

    seconds: int = 0


class Probe(Struct, frozen=True):
    """A probe or a lifecycle hook. Commands are not kept: there may be secrets in them."""

    http_get: Handler | None = None
    tcp_socket: Handler | None = None
    sleep: Sleep | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it names."""
        return tuple(handler.host for handler in (self.http_get, self.tcp_socket) if handler and handler.host)


class Lifecycle(Struct, frozen=True):
    """Hooks of a container."""

    post_start: Probe | None = None
    pre_stop: Probe | None = None


class Port(Struct, frozen=True):
    """A port of a container. `host_port` is 0 when the node's own port is not taken."""

    host_port: int = 0


class Container(Struct, frozen=True):
    """A container of a pod: a main, an init or an ephemeral one."""

    name: str = ""
    restart_policy: str = ""
    resources: Resources = Resources()
    security_context: SecurityContext | None = None
    ports: tuple[Port, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None

    @property
    def is_sidecar(self) -> bool:
        """Whether an init container keeps running beside the main ones."""
        return self.restart_policy == "Always"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that its probes and hooks name."""
        hooks = (self.lifecycle.post_start, self.lifecycle.pre_stop) if self.lifecycle else ()
        probes = (self.liveness_probe, self.readiness_probe, self.startup_probe, *hooks)
        return tuple(host for probe in probes if probe for host in probe.hosts)


class Os(Struct, frozen=True):
    """The operating system that a pod is for."""

    name: str = ""


class PodSpec(Struct, frozen=True, gc=True, weakref=True):
    """What replicas of one workload have in common.

    `volume_sources` names the type of each volume (`configMap`, `hostPath`), `overhead` is what the pod's runtime takes.
    """

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()
    volume_sources: tuple[str, ...] = ()
    resources: Resources | None = None
    security_context: SecurityContext | None = None
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool | None = None
    priority_class: str = ""
    active_deadline_seconds: int | None = None
    os: Os | None = None
    termination_grace_period_seconds: int | None = None
    overhead: Amounts = Amounts()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Every container, in the order in which they start."""
        return self.sized_containers + self.ephemeral_containers

    @property
    def sized_containers(self) -> tuple[Container, ...]:
        """Those that take resources: ephemeral ones cannot have any of their own."""
        return self.init_containers + self.containers


class PodTemplate(Struct, frozen=True, eq=False, gc=True, weakref=True):
    """What replicas of one workload have in common, kept once. Equal templates are the same object within a snapshot.

    A pod's name is `prefix` and something of its own. `own_labels` are those whose value is the pod's name (True) or what follows
    the prefix (False), as StatefulSets set them.
    """

    namespace: str
    prefix: str
    labels: dict[str, str]
    own_labels: tuple[tuple[str, bool], ...]
    app_armor: tuple[tuple[str, str], ...]
    owner: OwnerReference | None
    mirror: bool
    spec: PodSpec
    owners: tuple[tuple[str, str], ...] = ()
    """Kinds and names of those that own the owner, up to the topmost, where they were looked up."""


class Running(Struct, frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class Terminated(Struct, frozen=True):
    """How a container ended."""

    exit_code: int | None = None
    reason: str = ""
    finished_at: datetime | None = None


class Waiting(Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""


class ContainerState(Struct, frozen=True):
    """What a container does now, or did before it was started again."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True):
    """State of one container. `resources` are those that it has, which may not be yet those that its pod states."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    resources: Resources | None = None


class PodState(Struct, frozen=True):
    """State of a pod. `conditions` are those that are not as they should be; so are `containers`.

    `created` is kept of pods that are not Ready; the healthy pods of a snapshot share one state. `deleted` is the end of the
    seconds of `grace` that a pod has from its deletion; they are 0 once its kubelet has reported the end of its containers.
    """

    phase: str = "Unknown"
    ready: bool = False
    reason: str = ""
    qos_class: str = ""
    created: datetime | None = None
    deleted: datetime | None = None
    grace: int = 0
    conditions: tuple[Condition, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether the pod is done, well or badly, and runs nothing any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_live(self) -> bool:
        """Whether the pod has neither ended nor is being deleted."""
        return not self.has_ended and self.deleted is None


class _OfTemplate(Struct, frozen=True):
    template: PodTemplate
    state: PodState

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.template.namespace

    @property
    def spec(self) -> PodSpec:
        """What it is made of."""
        return self.template.spec

    @property
    def owner(self) -> OwnerReference | None:
        """The controller that made it, such as a ReplicaSet."""
        return self.template.owner


class Pod(_OfTemplate, frozen=True):
    """A pod: what it shares with others, and the little that is its own."""

    suffix: str
    node: str

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.template.prefix + self.suffix

    @property
    def path(self) -> str:
        """`namespace/name`, as sentences name a pod."""
        return f"{self.template.namespace}/{self.template.prefix}{self.suffix}"

    @property
    def labels(self) -> Mapping[str, str]:
        """All labels of the pod."""
        template = self.template
        if not template.own_labels:
            return template.labels
        return template.labels | {key: self.name if whole else self.suffix for key, whole in template.own_labels}

    @property
    def workload(self) -> tuple[str, str]:
        """Kind and name of the workload that people know the pod by, its topmost owner: a CronJob, not its Job of tonight."""
        return self.workloads[-1]

    @property
    def workloads(self) -> tuple[tuple[str, str], ...]:
        """Kinds and names of all that own the pod, from its controller (no ReplicaSet of a Deployment) to the topmost."""
        return (nearest_owner(self.template) or ("Pod", self.name), *self.template.owners)


class PodGroup(_OfTemplate, frozen=True):
    """Pods that are the same in all but their names and nodes: of one workload, with the same labels, in the same state.

    `suffixes` has a word for each. Those of a workload need not all be together.
    """

    suffixes: str
    nodes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Pod]:
        for suffix, node in zip(self.suffixes.split(" "), self.nodes, strict=True):
            yield Pod(self.template, self.state, suffix, node)

    @property
    def labels(self) -> Mapping[str, str]:
        """All labels of each pod."""
        return next(iter(self)).labels

    @property
    def workload(self) -> tuple[str, str]:
        """Kind and name of their workload, see `Pod.workload`."""
        return next(iter(self)).workload

    @property
    def workloads(self) -> tuple[tuple[str, str], ...]:
        """Kinds and names of all their owners, see `Pod.workloads`."""
        return next(iter(self)).workloads


def nearest_owner(template: PodTemplate) -> tuple[str, str] | None:
    """Kind and name of the controller of pods, where a ReplicaSet of a Deployment counts as that; None where there is none."""
    owner = template.owner
    if owner is None:
        return None
    pod_hash = template.labels.get("pod-template-hash")
    if owner.kind == "ReplicaSet" and pod_hash and owner.name.endswith(f"-{pod_hash}"):
        return "Deployment", owner.name.removesuffix(f"-{pod_hash}")
    return owner.kind, owner.name


def was_shut_down(pod: Pod) -> bool:
    """Whether a pod's containers ended because it was deleted."""
    state = pod.state
    return state.deleted is not None and (state.has_ended or any(one.state.terminated for one in state.containers))


def pod_groups(pods: Iterable[Pod]) -> list[PodGroup]:
    """The pods, those together that are the same: so tens of thousands cost little memory, and are judged at once."""
    alike: dict[tuple[PodTemplate, int], list[Pod]] = {}
    alone: list[Pod] = []
    for pod in pods:
        template = pod.template
        if template.own_labels or template.owner is None:
            alone.append(pod)
        else:
            alike.setdefault((template, id(pod.state)), []).append(pod)
    return [
        PodGroup(
            found[0].template,
            found[0].state,
            " ".join([pod.suffix for pod in found]),
            tuple([pod.node for pod in found]),
        )
        for found in chain(alike.values(), ([pod] for pod in alone))
    ]


def pods_in(found: Iterable[PodGroup]) -> int:
    """How many pods there are."""
    return sum(map(len, found))


_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_MIRROR = "kubernetes.io/config.mirror"
_NONE, _NOTHING = msgspec.Raw(b"[]"), msgspec.Raw(b"{}")


class _PodMetadata(Struct, frozen=True):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: msgspec.Raw = _NOTHING
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class _Spec(Struct, frozen=True):
    """What pods and templates have in common, but for how much of their containers is decoded."""

    resources: Resources | None = None
    security_context: SecurityContext | None = None
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    host_users: bool | None = None
    os: Os | None = None
    priority_class_name: str = ""
    active_deadline_seconds: int | None = None
    termination_grace_period_seconds: int | None = None
    overhead: Amounts = Amounts()


class _PodSpec(_Spec, frozen=True):
    node_name: str = ""
    containers: msgspec.Raw = _NONE
    init_containers: msgspec.Raw = _NONE
    ephemeral_containers: msgspec.Raw = _NONE
    volumes: msgspec.Raw = _NONE


class _PodStatus(Struct, frozen=True):
    phase: str = "Unknown"
    reason: str = ""
    qos_class: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class _TemplateMetadata(Struct, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _TemplateSpec(_Spec, frozen=True):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()


class TemplateItem(Struct, frozen=True):
    """What a workload makes its pods of, as the API gives it."""

    metadata: _TemplateMetadata = _TemplateMetadata()
    spec: _TemplateSpec = _TemplateSpec()

    def template(self, namespace: str, kind: str, name: str) -> PodTemplate:
        """What the pods have in common that the workload of this kind and name makes."""
        spec = self.spec
        armor = tuple(entry for entry in self.metadata.annotations.items() if entry[0].startswith(_APP_ARMOR))
        sources = tuple(
            next((key for key, value in volume.items() if key != "name" and value is not None), "")
            for volume in spec.volumes
        )
        made = PodSpec(spec.containers, spec.init_containers, (), sources, *_OTHERS(spec))
        owner = OwnerReference(kind, name, controller=True)
        return PodTemplate(namespace, f"{name}-", self.metadata.labels, (), armor, owner, mirror=False, spec=made)


class PodItem(Struct, frozen=True):
    """A pod as the API gives it."""

    metadata: _PodMetadata = _PodMetadata()
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _Last(NamedTuple):
    """A pod whose annotations nobody judges, and what it is kept with: the next one is mostly another replica."""

    namespace: str
    prefix: str
    labels: dict[str, str]
    annotations: bytes
    owner_references: tuple[OwnerReference, ...]
    spec: PodSpec
    template: PodTemplate

    def has(self, metadata: _PodMetadata, prefix: str, spec: PodSpec) -> bool:
        """Whether another pod has all of it in common."""
        return (
            spec is self.spec
            and prefix == self.prefix
            and metadata.namespace == self.namespace
            and metadata.labels == self.labels
            and metadata.owner_references == self.owner_references
            and ((annotations := bytes(metadata.annotations)) == self.annotations or not _is_marked(annotations))
        )


def _is_marked(annotations: bytes) -> bool:
    """Whether there may be annotations that are judged. There are often others, which no two replicas have in common."""
    return b"apparmor" in annotations or b"mirror" in annotations


class PodCompactor:
    """Keeps of each pod what is its own, and once what it has in common with others.

    One compactor serves one snapshot, page by page, or as long as that is kept up to date: it holds on to nothing that no pod has
    any more, but for the last pod that it saw. Raises msgspec.ValidationError for a pod whose parts are not what they should be.
    """

    def __init__(self) -> None:
        self._specs = _Specs()
        self._templates: WeakValueDictionary[tuple[Any, ...], PodTemplate] = WeakValueDictionary()
        self._plain: dict[tuple[str, bool, str, str], PodState] = {}
        self._nodes: dict[str, str] = {}
        self._last: _Last | None = None

    def __call__(self, page: Iterable[PodItem]) -> Iterable[Pod]:
        """The pods of a page as a snapshot keeps them."""
        return map(self._keep, page)

    def _keep(self, pod: PodItem) -> Pod:
        metadata, node = pod.metadata, pod.spec.node_name
        name, prefix = metadata.name, metadata.generate_name
        if not name.startswith(prefix):
            prefix = ""
        suffix = name[len(prefix) :]
        try:
            spec = self._specs(pod.spec)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"{error} of pod {metadata.namespace}/{name}") from None
        if self._last is not None and self._last.has(metadata, prefix, spec):
            template = self._last.template
        else:
            template = self._template(metadata, prefix, suffix, spec)
            annotations, owners = bytes(metadata.annotations), metadata.owner_references
            mine = _Last(metadata.namespace, prefix, metadata.labels, annotations, owners, spec, template)
            self._last = None if template.own_labels or _is_marked(annotations) else mine
        return Pod(template, self._state(pod), suffix, self._nodes.setdefault(node, node))

    def _template(self, metadata: _PodMetadata, prefix: str, suffix: str, spec: PodSpec) -> PodTemplate:
        name, labels, annotations = metadata.name, metadata.labels, _ANNOTATIONS.decode(metadata.annotations)
        shared = tuple((key, value) for key, value in labels.items() if value not in (name, suffix))
        own = tuple((key, value == name) for key, value in labels.items() if value in (name, suffix))
        armor = tuple(entry for entry in annotations.items() if entry[0].startswith(_APP_ARMOR))
        owner = next((found for found in metadata.owner_references if found.controller), None)
        key = (metadata.namespace, prefix, shared, own, armor, owner, _MIRROR in annotations, spec)
        if (template := self._templates.get(key)) is None:
            template = PodTemplate(metadata.namespace, prefix, dict(shared), *key[3:])
            self._templates[key] = template
        return template

    def _state(self, pod: PodItem) -> PodState:
        """The state of a pod. Pods of which there is nothing to report, and no moment to keep, share it.

        Of a container there is something to report when it does not run, or ended, as it should, or did so before.
        """
        metadata, status = pod.metadata, pod.status
        ready = resizing = False
        untrue = []
        for found in status.conditions:
            if found.status != "True" or found.type in _RESIZING:
                untrue.append(found)
                resizing |= found.status == "True"
            elif found.type == "Ready":
                ready = True
        containers = [
            one
            for one in status.init_container_statuses + status.container_statuses
            if not one.ready or one.restart_count or one.last_state.terminated or resizing
        ]
        if status.phase == "Succeeded":
            # Its containers have ended and are not ready, as they should: only what made one start again is reported.
            untrue = []
            containers = [one for one in containers if one.restart_count]
        well = status.phase == "Succeeded" or (status.phase == "Running" and ready)
        created = None if well else metadata.creation_timestamp
        words = status.phase, ready, status.reason, status.qos_class
        if untrue or containers or created or metadata.deletion_timestamp:
            grace = metadata.deletion_grace_period_seconds or 0
            return PodState(*words, created, metadata.deletion_timestamp, grace, tuple(untrue), tuple(containers))
        if (state := self._plain.get(words)) is None:
            state = self._plain[words] = PodState(*words)
        return state


_RESIZING = ("PodResizePending", "PodResizeInProgress")
"""Conditions that are there while a pod does not have the requests and limits that it states."""
_ANNOTATIONS = msgspec.json.Decoder(dict[str, str])
_CONTAINERS = msgspec.json.Decoder(tuple[Container, ...])
_VOLUMES = msgspec.json.Decoder(tuple[dict[str, msgspec.Raw], ...])
_OTHERS = attrgetter(
    "resources",
    "security_context",
    "host_network",
    "host_pid",
    "host_ipc",
    "host_users",
    "priority_class_name",
    "active_deadline_seconds",
    "os",
    "termination_grace_period_seconds",
    "overhead",
)
_TOKEN = b'"kube-api-access-'
_TOKEN_LENGTH = len(_TOKEN) + 5
"""The API server gives each pod a volume for its token, whose name it makes up: the prefix and five letters."""


class _Specs:
    """Decodes what pods are made of, and of a pod that is made of the same as the one before nothing.

    Equal specs are the same object. The name of a pod's own token volume does not count: nothing that is kept has it.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[int, PodSpec] = WeakValueDictionary()
        self._last: tuple[tuple[object, ...], list[bytes], PodSpec] | None = None

    def __call__(self, wire: _PodSpec) -> PodSpec:
        text = b"\n".join((wire.containers, wire.init_containers, wire.ephemeral_containers, wire.volumes))
        at = text.rfind(_TOKEN)
        own_name = text[at : at + _TOKEN_LENGTH] if at >= 0 else b""
        others = _OTHERS(wire)
        if self._last is not None:
            last_others, last_texts, last = self._last
            if others == last_others and own_name.join(last_texts) == text:
                return last
        spec = PodSpec(
            _CONTAINERS.decode(wire.containers),
            _CONTAINERS.decode(wire.init_containers),
            _CONTAINERS.decode(wire.ephemeral_containers),
            tuple(_source(volume) for volume in _VOLUMES.decode(wire.volumes)),
            *others,
        )
        known = self._known.get(hash(spec))
        if known != spec:
            known = self._known[hash(spec)] = spec
        self._last = others, text.split(own_name) if own_name else [text], known
        return known


def _source(volume: dict[str, msgspec.Raw]) -> str:
    """The type of a volume: the one key besides its name. Empty when there is none."""
    for key, value in volume.items():
        if key != "name" and bytes(value) != b"null":
            return key
    return ""
