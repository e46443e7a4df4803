"""Workloads and ConfigMaps with what their settings are called, where those come from, and which rules their values break.

Values are judged while an answer is decoded, and not kept but for a short digest, with a key that this process alone has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw, field
from msgspec.structs import replace

from collectors.systems.kubernetes.model.base import OwnerReference, Struct
from collectors.systems.secrets.model.rules import Finding, Sort, in_arguments, in_setting, in_text, shown

__all__ = [
    "ConfigMap",
    "ConfigMapItem",
    "Container",
    "Environment",
    "PodItem",
    "Setting",
    "Source",
    "TemplateItem",
    "Workload",
    "compact_config_maps",
    "compact_pods",
    "compact_templates",
    "digest",
    "each_part",
    "merged",
]

Labels = dict[str, str]
_KEY = secrets.token_bytes(16)


def digest(value: str) -> bytes:
    """What a value is recognized by, as long as this process runs; nobody can guess a value by it who does not have the key."""
    return hashlib.blake2b(value.encode(), digest_size=8, key=_KEY).digest()


class Source(Struct, frozen=True):
    """Where a setting comes from: `kind` is Secret, ConfigMap, or empty for a field of the pod itself."""

    kind: str
    name: str = ""
    key: str = ""
    optional: bool = False


class Setting(Struct, frozen=True):
    """An environment variable; a literal one without `source`. `unset` are names that its value refers to and that are not set.

    `digest` is that of a literal value; none where it is composed of other variables.
    """

    name: str
    source: Source | None = None
    empty: bool = False
    digest: bytes = b""
    unset: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


class Environment(Struct, frozen=True):
    """All entries of a Secret or ConfigMap as variables."""

    source: Source
    prefix: str = ""


class Container(Struct, frozen=True):
    """A container's settings.

    `main` is neither an init container nor a sidecar. `findings` are those of its command line and probes.
    """

    name: str
    main: bool
    settings: tuple[Setting, ...] = ()
    environments: tuple[Environment, ...] = ()
    findings: tuple[Finding, ...] = ()


class Workload(Struct, frozen=True):
    """A workload as its template or one of its pods has it. `secrets` are those that volumes mount.

    `running` are the containers that run now, `refused` those that cannot start for want of a Secret or ConfigMap. `started` is
    when the first of a pod's running containers started.
    """

    namespace: str
    kind: str
    name: str
    containers: tuple[Container, ...]
    secrets: tuple[str, ...] = ()
    csi: bool = False
    account: str = "default"
    addresses: tuple[str, ...] = ()
    running: frozenset[str] = frozenset()
    started: datetime | None = None
    refused: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    owner: tuple[str, str] | None = None

    @property
    def path(self) -> str:
        """As sentences name it: `Deployment shop/web`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def has_sidecar(self) -> bool:
        """Whether several containers run side by side: localhost may be another of them."""
        return sum(container.main for container in self.containers) > 1

    @property
    def sources(self) -> Iterator[tuple[str, Source]]:
        """Each Secret or ConfigMap that its variables come from, with the name of the variable (empty for a whole one)."""
        for container in self.containers:
            yield from ((one.name, one.source) for one in container.settings if one.source and one.source.kind)
            yield from (("", one.source) for one in container.environments)


class ConfigMap(Struct, frozen=True):
    """The keys of a ConfigMap with digests of their values, those that are empty, and what its values break (with the key before
    each name). `changed` is when its values, or something else by who wrote them, were last changed.
    """

    namespace: str
    name: str
    digests: Mapping[str, bytes]
    empty: frozenset[str] = frozenset()
    findings: tuple[tuple[str, Finding], ...] = ()
    changed: datetime | None = None

    @property
    def keys(self) -> Collection[str]:
        """The names of its values."""
        return self.digests.keys()

    @property
    def path(self) -> str:
        """As sentences name it: `ConfigMap shop/web`."""
        return f"ConfigMap {self.namespace}/{self.name}"


class _Selector(Struct, frozen=True):
    name: str = ""
    key: str = ""
    optional: bool | None = None


class _From(Struct, frozen=True):
    secret_key_ref: _Selector | None = None
    config_map_key_ref: _Selector | None = None


class _Variable(Struct, frozen=True):
    name: str = ""
    value: str | None = None
    value_from: _From | None = None


class _EnvFrom(Struct, frozen=True):
    prefix: str | None = None
    secret_ref: _Selector | None = None
    config_map_ref: _Selector | None = None


class _Header(Struct, frozen=True):
    name: str = ""
    value: str = ""


class _HttpGet(Struct, frozen=True):
    path: str = ""
    http_headers: tuple[_Header, ...] | None = None


class _Exec(Struct, frozen=True):
    command: tuple[str, ...] | None = None


class _Probe(Struct, frozen=True):
    http_get: _HttpGet | None = None
    exec_: _Exec | None = field(default=None, name="exec")


class _Lifecycle(Struct, frozen=True):
    post_start: _Probe | None = None
    pre_stop: _Probe | None = None


class _Container(Struct, frozen=True):
    name: str = ""
    restart_policy: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[_Variable, ...] | None = None
    env_from: tuple[_EnvFrom, ...] | None = None
    liveness_probe: _Probe | None = None
    readiness_probe: _Probe | None = None
    startup_probe: _Probe | None = None
    lifecycle: _Lifecycle | None = None


class _SecretVolume(Struct, frozen=True):
    secret_name: str = ""
    name: str = ""  # within a projected volume


class _Projection(Struct, frozen=True):
    secret: _SecretVolume | None = None


class _Projected(Struct, frozen=True):
    sources: tuple[_Projection, ...] | None = None


class _Csi(Struct, frozen=True):
    driver: str = ""
    volume_attributes: Labels | None = None


class _FlexVolume(Struct, frozen=True):
    options: Labels | None = None


class _Volume(Struct, frozen=True):
    flex_volume: _FlexVolume | None = None
    secret: _SecretVolume | None = None
    projected: _Projected | None = None
    csi: _Csi | None = None


class _Spec(Struct, frozen=True):
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    ephemeral_containers: tuple[_Container, ...] | None = None
    volumes: tuple[_Volume, ...] | None = None
    service_account_name: str | None = None


class _Waiting(Struct, frozen=True):
    reason: str = ""


class _Running(Struct, frozen=True):
    started_at: datetime | None = None


class _State(Struct, frozen=True):
    waiting: _Waiting | None = None
    running: _Running | None = None
    terminated: dict[str, Any] | None = None


class _Status(Struct, frozen=True):
    name: str = ""
    state: _State = _State()


class _PodStatus(Struct, frozen=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    container_statuses: tuple[_Status, ...] | None = None
    init_container_statuses: tuple[_Status, ...] | None = None


class _Writer(Struct, frozen=True):
    """Who wrote which fields, and when."""

    time: datetime | None = None
    fields: dict[str, Raw] | None = field(default=None, name="fieldsV1")


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    labels: Labels | None = None
    annotations: Labels | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    deletion_timestamp: str | None = None


class PodItem(Struct, frozen=True):
    """A pod, as the API has it."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _PodStatus = _PodStatus()


class _Template(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()


class _JobTemplateSpec(Struct, frozen=True):
    template: _Template = _Template()


class _JobTemplate(Struct, frozen=True):
    spec: _JobTemplateSpec = _JobTemplateSpec()


class _WorkloadSpec(Struct, frozen=True):
    template: _Template | None = None
    job_template: _JobTemplate | None = None


class TemplateItem(Struct, frozen=True):
    """A workload, as the API has it."""

    metadata: _Metadata = _Metadata()
    spec: _WorkloadSpec = _WorkloadSpec()


class _ConfigMapMetadata(_Metadata, frozen=True):
    creation_timestamp: datetime | None = None
    managed_fields: tuple[_Writer, ...] | None = None


class ConfigMapItem(Struct, frozen=True):
    """A ConfigMap, as the API has it."""

    metadata: _ConfigMapMetadata = _ConfigMapMetadata()
    data: Labels | None = None
    binary_data: Labels | None = None


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MOST_UNPACKED = 4 * 2**20
_REVISIONS = ("ReplicaSet", "ReplicationController")
_TEMPLATE_HASH = "pod-template-hash"
_CSI_DRIVER = "secrets-store.csi.k8s.io"
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
#: ConfigMaps that every cluster has and fills itself.
_OWN = frozenset({"kube-root-ca.crt", "istio-ca-root-cert", "openshift-service-ca.crt"})


def compact_pods(items: Sequence[PodItem]) -> list[Workload]:
    """What is kept of pods."""
    return [_of_pod(item) for item in items]


def compact_templates(kind: str) -> Callable[[], Callable[[Sequence[TemplateItem]], list[Workload]]]:
    """What is kept of workloads of a kind: not of one revision of another workload, whose template is that one's or an old one."""

    def compact(items: Sequence[TemplateItem]) -> list[Workload]:
        found = [_of_template(kind, item) for item in items]
        return [one for one in found if not (kind in _REVISIONS and one.owner)]

    return lambda: compact


def compact_config_maps(items: Sequence[ConfigMapItem]) -> list[ConfigMap]:
    """What is kept of ConfigMaps."""
    return [_config_map(item) for item in items if item.metadata.name not in _OWN]


def merged(parts: Iterable[Workload]) -> list[Workload]:
    """Each workload once: what its template and all its pods have, those of a Job counted as its CronJob's."""
    known = list(parts)
    owners = {(one.namespace, one.kind, one.name): one.owner for one in known if one.owner}
    found: dict[tuple[str, str, str], Workload] = {}
    for one in known:
        if one.kind == "Job" and one.owner and one.owner[0] == "CronJob":
            continue
        owner = owners.get((one.namespace, one.kind, one.name))
        key = (
            (one.namespace, *owner)
            if owner and owner[0] in ("CronJob", "Deployment")
            else (one.namespace, one.kind, one.name)
        )
        found[key] = _together(found[key], one) if key in found else replace(one, kind=key[1], name=key[2])
    return list(found.values())


def each_part(templates: Iterable[Workload], pods: Iterable[Workload]) -> list[Workload]:
    """Each template and each pod that runs, or that cannot, by itself.

    A template has the containers that its pods run: these prove that the Secrets exist which it refers to.
    """
    templates, pods = list(templates), list(pods)
    whole = {(one.namespace, one.kind, one.name): one for one in merged([*templates, *pods])}
    known = [replace(one, running=_running(one, whole)) for one in templates]
    return known + [one for one in pods if one.running or one.refused]


def _running(template: Workload, whole: Mapping[tuple[str, str, str], Workload]) -> frozenset[str]:
    found = whole.get((template.namespace, template.kind, template.name))
    return found.running if found else template.running


def _together(one: Workload, other: Workload) -> Workload:
    containers = {container.name: container for container in one.containers}
    for container in other.containers:
        if (known := containers.get(container.name)) is None:
            containers[container.name] = container
        elif known != container:
            containers[container.name] = replace(
                known,
                settings=tuple(
                    dict.fromkeys(replace(one, digest=b"") for one in (*known.settings, *container.settings))
                ),
                environments=tuple(dict.fromkeys((*known.environments, *container.environments))),
                findings=tuple(dict.fromkeys((*known.findings, *container.findings))),
            )
    return replace(
        one,
        containers=tuple(containers.values()),
        secrets=tuple(dict.fromkeys((*one.secrets, *other.secrets))),
        csi=one.csi or other.csi,
        addresses=tuple(dict.fromkeys((*one.addresses, *other.addresses))),
        running=one.running | other.running,
        refused=tuple(dict.fromkeys((*one.refused, *other.refused))),
        findings=tuple(dict.fromkeys((*one.findings, *other.findings))),
    )


def _of_pod(item: PodItem) -> Workload:
    about, status = item.metadata, item.status
    kind, name = "Pod", about.name
    for owner in about.owner_references:
        if owner.controller:
            kind, name = owner.kind, owner.name
            suffix = f"-{(about.labels or {}).get(_TEMPLATE_HASH, '')}"
            if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
                kind, name = "Deployment", name.removesuffix(suffix)
    live = about.deletion_timestamp is None and status.phase not in ("Succeeded", "Failed")
    statuses = (*(status.init_container_statuses or ()), *(status.container_statuses or ()))
    refused = tuple(
        one.name
        for one in statuses
        if live and one.state.waiting and one.state.waiting.reason == "CreateContainerConfigError"
    )
    running = frozenset(one.name for one in statuses if live and one.state.running is not None)
    started = [one.state.running.started_at for one in statuses if live and one.state.running]
    made = _workload(about, kind, name, item.spec, about.annotations)
    addresses = (status.pod_ip,) if live and status.pod_ip else ()
    first = min(filter(None, started), default=None)
    return replace(made, running=running, started=first, refused=refused, addresses=addresses)


def _of_template(kind: str, item: TemplateItem) -> Workload:
    spec = item.spec
    template = spec.job_template.spec.template if spec.job_template else spec.template or _Template()
    owner = next(((one.kind, one.name) for one in item.metadata.owner_references if one.controller), None)
    annotations = {**(template.metadata.annotations or {}), **(item.metadata.annotations or {})}
    return replace(_workload(item.metadata, kind, item.metadata.name, template.spec, annotations), owner=owner)


def _workload(about: _Metadata, kind: str, name: str, spec: _Spec, annotations: Mapping[str, str] | None) -> Workload:
    containers = [_container(one, main=one.restart_policy != "Always") for one in spec.containers or ()]
    containers += [
        _container(one, main=False) for one in (*(spec.init_containers or ()), *(spec.ephemeral_containers or ()))
    ]
    volumes = spec.volumes or ()
    secrets = [volume.secret.secret_name for volume in volumes if volume.secret]
    secrets += [
        source.secret.name
        for volume in volumes
        if volume.projected
        for source in volume.projected.sources or ()
        if source.secret
    ]
    csi = any(volume.csi and volume.csi.driver == _CSI_DRIVER for volume in volumes)
    found = tuple(
        dict.fromkeys(
            (*_annotation_findings(annotations or {}), *_label_findings(about.labels), *_volume_findings(volumes))
        )
    )
    return Workload(
        about.namespace,
        kind,
        name,
        tuple(containers),
        tuple(secrets),
        csi,
        spec.service_account_name or "default",
        findings=found,
    )


def _container(raw: _Container, *, main: bool) -> Container:
    environments = tuple(
        Environment(Source(kind, ref.name, optional=bool(ref.optional)), one.prefix or "")
        for one in raw.env_from or ()
        for kind, ref in (("ConfigMap", one.config_map_ref), ("Secret", one.secret_ref))
        if ref is not None
    )
    variables = {one.name: one for one in raw.env or ()}  # the last of a name wins
    names: set[str] = set()
    settings = []
    for name, variable in variables.items():
        settings.append(_setting(variable, names, maybe=bool(environments)))
        names.add(name)
    found = [*in_arguments((*(raw.command or ()), *(raw.args or ())))]
    hooks = (raw.lifecycle.post_start, raw.lifecycle.pre_stop) if raw.lifecycle else ()
    for probe in (raw.liveness_probe, raw.readiness_probe, raw.startup_probe, *hooks):
        if probe and probe.exec_:
            found += in_arguments(probe.exec_.command or ())
        if probe and probe.http_get:
            found += in_text("the path of a probe", probe.http_get.path)
        for header in (probe.http_get.http_headers if probe and probe.http_get else None) or ():
            found += in_setting(header.name, header.value)
    return Container(raw.name, main, tuple(settings), environments, tuple(dict.fromkeys(found)))


def _setting(variable: _Variable, before: set[str], *, maybe: bool) -> Setting:
    name = shown(variable.name)
    given = variable.value_from
    if given is not None:
        for kind, ref in (("Secret", given.secret_key_ref), ("ConfigMap", given.config_map_key_ref)):
            if ref is not None:
                return Setting(name, Source(kind, ref.name, ref.key, bool(ref.optional)))
        return Setting(name, Source(""))
    value = variable.value or ""
    unset = tuple(ref for ref in _REFERENCE.findall(value) if ref and ref not in before and not maybe)
    own = b"" if _REFERENCE.search(value) else digest(value)
    return Setting(name, None, not value.strip(), own, unset, in_setting(variable.name, value))


def _annotation_findings(annotations: Mapping[str, str]) -> Iterator[Finding]:
    """What annotations break; what `kubectl apply` once applied keeps values that are no longer in the object."""
    for name, value in annotations.items():
        if name != _LAST_APPLIED:
            yield from in_setting(name, value)
            continue
        for one in in_text("annotation last-applied-configuration", value):
            if one.sort is Sort.SECRET:
                yield Finding(one.sort, f"{one.name} (annotation last-applied-configuration)", one.rule)


def _label_findings(labels: Mapping[str, str] | None) -> Iterator[Finding]:
    for name, value in (labels or {}).items():
        yield from (one for one in in_setting(name, value) if one.sort is Sort.SECRET)


def _volume_findings(volumes: Iterable[_Volume]) -> Iterator[Finding]:
    """What the options of drivers break: they have secrets of their own, by reference."""
    for volume in volumes:
        attributes = volume.csi.volume_attributes if volume.csi else None
        options = volume.flex_volume.options if volume.flex_volume else None
        for name, value in {**(attributes or {}), **(options or {})}.items():
            yield from in_setting(name, value)


def _unpacked(data: bytes) -> bytes:
    """What is in a gzip file, as far as a ConfigMap could hold it unpacked; anything else as it is."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return data


def _config_map(item: ConfigMapItem) -> ConfigMap:
    texts = dict(item.data or {})
    for key, encoded in (item.binary_data or {}).items():
        try:
            texts[key] = _unpacked(base64.b64decode(encoded)).decode("utf-8", "ignore")
        except (ValueError, binascii.Error):
            texts[key] = ""
    found: list[tuple[str, Finding]] = []
    for key, text in texts.items():
        if key == "_example":
            continue  # Knative's documentation of what the others may be
        is_file = "\n" in text.strip() or _is_json(text)
        found += ((shown(key), one) for one in (in_text(key, text) if is_file else in_setting(key, text)))
        if shown(key) != key:
            found.append((shown(key), Finding(Sort.SECRET, shown(key), "a secret as the name of a key")))
    for one in (*_annotation_findings(item.metadata.annotations or {}), *_label_findings(item.metadata.labels)):
        if one.name.split(" ")[0] not in {known.name for _, known in found}:
            found.append(("", one))
    empty = frozenset(key for key, text in texts.items() if not text.strip())
    digests = {key: digest(text) for key, text in texts.items()}
    written = [item.metadata.creation_timestamp]
    writers = item.metadata.managed_fields or ()
    written += [
        writer.time for writer in writers if writer.fields and {"f:data", "f:binaryData"} & writer.fields.keys()
    ]
    changed = max(filter(None, written), default=None)
    return ConfigMap(item.metadata.namespace, item.metadata.name, digests, empty, tuple(found), changed)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
