"""The Pod Security Standards, evaluated on pods that run: every control of the levels baseline and restricted.

Controls and allowed values are those that https://kubernetes.io/docs/concepts/security/pod-security-standards/ publishes for
Kubernetes 1.37. They tighten with the versions, but for pods in a user namespace, which 1.35 allows more.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, field_validator

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.model.objects import Namespace
from collectors.systems.kubernetes.model.pods import Os, PodGroup, PodTemplate, SecurityContext, pods_in
from exporter.options import Options
from exporter.verdict import ProbeError, Reason, Result, failed, ok, warning
from exporter.words import counted

__all__ = ["Level", "PodSecurityOptions", "judge_pod_security", "violations"]

ENFORCE = "pod-security.kubernetes.io/enforce"
_VERSION = "pod-security.kubernetes.io/enforce-version"
_WHOLE_SINCE = 25
"""The minor version from which on the levels have had all their controls but a few that later ones relaxed."""


class Level(StrEnum):
    """A level of the Pod Security Standards, from what allows all to what allows least."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"

    @property
    def strictness(self) -> int:
        """How strict the level is, as a number to compare."""
        return tuple(Level).index(self)


class PodSecurityOptions(Options):
    """What is required of pods and of the namespaces that they run in."""

    psa_min_level: Level = Field(
        Level.BASELINE,
        description="Lowest level that namespaces must enforce and running pods must meet: baseline or restricted.",
    )
    psa_cluster_default: Level | None = Field(
        None,
        description="Level that the API server's own admission configuration enforces where a namespace has no label; "
        "the API does not show it, so it is declared here.",
    )
    psa_enforced_by: dict[str, str] = Field(
        default_factory=dict,
        description="Namespaces in which something other than the label enforces the level, each with what that is; "
        "their pods are checked all the same.",
    )

    @field_validator("psa_min_level")
    @classmethod
    def _some_level(cls, level: Level) -> Level:
        if level is Level.PRIVILEGED:
            raise ValueError("expected baseline or restricted, as privileged forbids nothing")
        return level


@dataclass(frozen=True, slots=True)
class Control:
    """One control: `violations` says what of a pod it forbids. `replaces` names the control of baseline that it stands in for."""

    name: str
    level: Level
    violations: Callable[[PodTemplate], Iterable[str]]
    replaces: str = ""


_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_notsent_lowat",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_NOTHING = SecurityContext()


def _containers(template: PodTemplate) -> Iterator[tuple[str, SecurityContext]]:
    """The security context of every container, an empty one where none is set."""
    for container in template.spec.all_containers:
        yield f"container {container.name}", container.security_context or _NOTHING


def _contexts(template: PodTemplate) -> Iterator[tuple[str, SecurityContext]]:
    """The security contexts of the pod and of every container."""
    yield "the pod", template.spec.security_context or _NOTHING
    yield from _containers(template)


def _host_process(template: PodTemplate) -> Iterator[str]:
    for who, context in _contexts(template):
        if context.windows_options and context.windows_options.host_process:
            yield f"{who} is a Windows host process"


def _host_namespaces(template: PodTemplate) -> Iterator[str]:
    spec = template.spec
    for name, used in (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)):
        if used:
            yield f"the pod has {name}"


def _privileged(template: PodTemplate) -> Iterator[str]:
    for who, context in _containers(template):
        if context.privileged:
            yield f"{who} is privileged"


def _capabilities(template: PodTemplate) -> Iterator[str]:
    for who, context in _containers(template):
        for added in context.capabilities.add if context.capabilities else ():
            if added not in _CAPABILITIES:
                yield f"{who} adds the capability {added}"


def _host_path(template: PodTemplate) -> Iterator[str]:
    if "hostPath" in template.spec.volume_sources:
        yield "the pod has a hostPath volume"


def _host_ports(template: PodTemplate) -> Iterator[str]:
    for container in template.spec.all_containers:
        for port in container.ports:
            if port.host_port:
                yield f"container {container.name} takes port {port.host_port} of the host"


def _probe_hosts(template: PodTemplate) -> Iterator[str]:
    for container in template.spec.all_containers:
        for host in container.hosts:
            yield f"container {container.name} probes or hooks the host {host}"


def _app_armor(template: PodTemplate) -> Iterator[str]:
    for who, context in _contexts(template):
        if context.app_armor_profile and context.app_armor_profile.type not in _PROFILES:
            yield f"{who} has the AppArmor profile {context.app_armor_profile.type}"
    for key, value in template.app_armor:
        if value and value != "runtime/default" and not value.startswith("localhost/"):
            yield f"container {key.rpartition('/')[2]} has the AppArmor profile {value}"


def _selinux(template: PodTemplate) -> Iterator[str]:
    for who, context in _contexts(template):
        if options := context.se_linux_options:
            if options.type not in _SELINUX_TYPES:
                yield f"{who} has the SELinux type {options.type}"
            if options.user or options.role:
                yield f"{who} sets the SELinux user or role"


def _proc_mount(template: PodTemplate) -> Iterator[str]:
    for who, context in _containers(template):
        if context.proc_mount not in (None, "Default"):
            yield f"{who} has procMount {context.proc_mount}"


def _proc_mount_of_host_users(template: PodTemplate) -> Iterator[str]:
    return iter(()) if template.spec.host_users is False else _proc_mount(template)


def _seccomp(template: PodTemplate) -> Iterator[str]:
    for who, context in _contexts(template):
        if context.seccomp_profile and context.seccomp_profile.type not in _PROFILES:
            yield f"{who} has the seccomp profile {context.seccomp_profile.type}"


def _sysctls(template: PodTemplate) -> Iterator[str]:
    for sysctl in template.spec.security_context.sysctls if template.spec.security_context else ():
        if sysctl.name not in _SYSCTLS:
            yield f"the pod sets the sysctl {sysctl.name}"


def _volume_types(template: PodTemplate) -> Iterator[str]:
    for source in dict.fromkeys(template.spec.volume_sources):
        if source not in _VOLUMES:
            yield f"the pod has a volume of type {source or 'unknown'}"


def _escalation(template: PodTemplate) -> Iterator[str]:
    for who, context in _containers(template):
        if context.allow_privilege_escalation is not False:
            yield f"{who} lacks allowPrivilegeEscalation false"


def _non_root(template: PodTemplate) -> Iterator[str]:
    if template.spec.host_users is False:
        return
    of_pod = (template.spec.security_context or _NOTHING).run_as_non_root
    if of_pod is False:
        yield "the pod has runAsNonRoot false"
    for who, context in _containers(template):
        if context.run_as_non_root is False:
            yield f"{who} has runAsNonRoot false"
        elif context.run_as_non_root is None and of_pod is None:
            yield f"{who} lacks runAsNonRoot true"


def _root(template: PodTemplate) -> Iterator[str]:
    if template.spec.host_users is False:
        return
    for who, context in _contexts(template):
        if context.run_as_user == 0:
            yield f"{who} has runAsUser 0"


def _seccomp_set(template: PodTemplate) -> Iterator[str]:
    yield from _seccomp(template)
    if (template.spec.security_context or _NOTHING).seccomp_profile is None:
        for who, context in _containers(template):
            if context.seccomp_profile is None:
                yield f"{who} lacks a seccomp profile"


def _capabilities_dropped(template: PodTemplate) -> Iterator[str]:
    for who, context in _containers(template):
        if context.capabilities is None or "ALL" not in context.capabilities.drop:
            yield f"{who} does not drop ALL capabilities"
        for added in context.capabilities.add if context.capabilities else ():
            if added != "NET_BIND_SERVICE":
                yield f"{who} adds the capability {added}"


def _on_linux(control: Callable[[PodTemplate], Iterable[str]]) -> Callable[[PodTemplate], Iterable[str]]:
    """A control that does not apply to pods that say they are for Windows."""
    return lambda template: () if template.spec.os == Os("windows") else control(template)


CONTROLS = (
    Control("HostProcess", Level.BASELINE, _host_process),
    Control("Host Namespaces", Level.BASELINE, _host_namespaces),
    Control("Privileged Containers", Level.BASELINE, _privileged),
    Control("Capabilities", Level.BASELINE, _capabilities),
    Control("HostPath Volumes", Level.BASELINE, _host_path),
    Control("Host Ports", Level.BASELINE, _host_ports),
    Control("Host Probes / Lifecycle Hooks", Level.BASELINE, _probe_hosts),
    Control("AppArmor", Level.BASELINE, _app_armor),
    Control("SELinux", Level.BASELINE, _selinux),
    Control("/proc Mount Type", Level.BASELINE, _proc_mount_of_host_users),
    Control("Seccomp", Level.BASELINE, _seccomp),
    Control("Sysctls", Level.BASELINE, _sysctls),
    Control("Volume Types", Level.RESTRICTED, _volume_types, replaces="HostPath Volumes"),
    Control("Privilege Escalation", Level.RESTRICTED, _on_linux(_escalation)),
    Control("Running as Non-root", Level.RESTRICTED, _non_root),
    Control("Running as Non-root user", Level.RESTRICTED, _root),
    Control("Restricted Seccomp", Level.RESTRICTED, _on_linux(_seccomp_set), replaces="Seccomp"),
    Control("Restricted Capabilities", Level.RESTRICTED, _on_linux(_capabilities_dropped), replaces="Capabilities"),
    Control("Restricted /proc Mount Type", Level.RESTRICTED, _proc_mount, replaces="/proc Mount Type"),
)
"""Every control. A pod keeps restricted when it keeps all controls of baseline that restricted does not replace, and its own."""

_REPLACED = {control.replaces for control in CONTROLS}
_OF_LEVEL: Mapping[Level, tuple[Control, ...]] = {
    Level.PRIVILEGED: (),
    Level.BASELINE: tuple(control for control in CONTROLS if control.level is Level.BASELINE),
    Level.RESTRICTED: tuple(control for control in CONTROLS if control.name not in _REPLACED),
}


def violations(template: PodTemplate, level: Level) -> tuple[str, ...]:
    """What of a pod the level forbids, in words; nothing when it keeps the level."""
    return tuple(violation for control in _OF_LEVEL[level] for violation in control.violations(template))


def judge_pod_security(
    namespaces: Iterable[Namespace],
    pods: Iterable[PodGroup],
    options: PodSecurityOptions,
    exempt: Callable[[PodGroup], bool] = lambda pods: False,
) -> Result:
    """Whether every namespace enforces the least level that is wanted, and the pods that run in them keep it.

    A label acts when a pod is made, so pods from before it are checked. `namespaces` and `pods` are those that are not exempt;
    `exempt` says of which pods it is accepted what they do. A pod that keeps the wanted level but not the stricter one that its
    namespace enforces is a warning, as it cannot be made again. Raises ProbeError without any namespace.
    """
    wanted = options.psa_min_level
    found_namespaces = list(namespaces)
    if not (enforced := {namespace.name: _enforced(namespace, options) for namespace in found_namespaces}):
        raise ProbeError("Every namespace is exempt, so nothing was checked.", Reason.NOT_CONFIGURED)
    problems: list[Result] = []
    unenforced = [
        failed(_unenforced(name, level, wanted), reason=Reason.MISCONFIGURED)
        for name, level in enforced.items()
        if (level is None or level.strictness < wanted.strictness) and name not in options.psa_enforced_by
    ]
    unenforced += [
        failed(
            f"Namespace {namespace.name} enforces {enforced[namespace.name]} as of {version} (label {_VERSION}), which lacks later "
            f"controls (wanted latest, or at least v1.{_WHOLE_SINCE}).",
            reason=Reason.MISCONFIGURED,
        )
        for namespace in found_namespaces
        if (version := namespace.metadata.labels.get(_VERSION))
        and _is_before_whole(version)
        and enforced[namespace.name] is not None
        and namespace.name not in options.psa_enforced_by
    ]
    running = [found for found in pods if found.state.is_live]
    offenders: defaultdict[tuple[str, str, str], Counter[Sequence[str]]] = defaultdict(Counter)
    violating = 0
    seen: dict[PodTemplate, tuple[Sequence[str], Sequence[str]]] = {}
    for found in running:
        own_level = enforced.get(found.namespace) or Level.PRIVILEGED
        if (violated := seen.get(found.template)) is None:
            stricter = own_level.strictness > wanted.strictness
            own = violations(found.template, own_level) if stricter else ()
            violated = seen[found.template] = violations(found.template, wanted), own
        if (violated[0] or violated[1]) and not exempt(found):
            violating += len(found) if violated[0] else 0
            level = wanted if violated[0] else own_level
            offenders[found.namespace, *found.workload][level, *(violated[0] or violated[1])] += len(found)
    for (namespace, kind, name), bad in sorted(
        offenders.items(), key=lambda offender: (_rank(offender[1]), offender[0])
    ):
        problems.append(_offence(f"{kind} {namespace}/{name}", bad, wanted))
    problems += unenforced
    number = pods_in(running)
    good = ok(
        f"Every namespace ({len(enforced)}) enforces at least {wanted}, and every pod in them ({number}) keeps it.",
        pods_judged=number,
        pods_violating=violating,
    )
    return verdict(problems, good)


def _enforced(namespace: Namespace, options: PodSecurityOptions) -> Level | None:
    """The level that a namespace enforces; None when none is, or none that is known."""
    label = namespace.metadata.labels.get(ENFORCE)
    if label is None:
        return options.psa_cluster_default
    return Level(label) if label in tuple(Level) else None


def _is_before_whole(version: str) -> bool:
    found = re.fullmatch(r"v1\.(\d+)", version)
    return found is not None and int(found[1]) < _WHOLE_SINCE


def _unenforced(namespace: str, level: Level | None, wanted: Level) -> str:
    seen = f"enforces only {level}" if level else f"enforces no Pod Security level (no label {ENFORCE})"
    return f"Namespace {namespace} {seen} (wanted {wanted})."


_WORST = ("is privileged", "Windows host process", "adds the capability", "has host", "hostPath", "procMount")
"""What lets a pod take over its node, the worst first; all else comes after it."""


def _severity(violation: str) -> int:
    return next((rank for rank, words in enumerate(_WORST) if words in violation), len(_WORST))


def _rank(bad: Counter[Sequence[str]]) -> int:
    """How bad what the pods of a workload do is: 0 is the worst."""
    return min(_severity(violation) for _, *violated in bad for violation in violated)


def _offence(workload: str, bad: Counter[Sequence[str]], wanted: Level) -> Result:
    """What is wrong with the pods of one workload, by the worst of their violations."""
    level, *violated = min(bad, key=lambda found: (min(map(_severity, found[1:])), -bad[found]))
    first, *others = sorted(violated, key=_severity)
    more = f" and {len(others)} more" if others else ""
    pods = f" ({counted(bad.total(), 'pod')})" if bad.total() > 1 else ""
    if level == wanted:
        return failed(f"{workload}{pods} violates {wanted}: {first}{more}.")
    return warning(f"{workload}{pods} could not be made again, as its namespace enforces {level}: {first}{more}.")
