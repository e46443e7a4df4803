"""Pods for every control of the Pod Security Standards: each allowed and forbidden value alone, and seeded combinations of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any

from collectors.systems.kubernetes.judge.pod_security import Level

__all__ = ["CASES", "corpus", "patched", "restricted_pod"]

Patch = Mapping[str, Any]
BASELINE, RESTRICTED = Level.BASELINE, Level.RESTRICTED
ARMOR = "container.apparmor.security.beta.kubernetes.io/main"


def restricted_pod(name: str = "pod") -> dict[str, Any]:
    """A pod that keeps the level restricted, with what it says about itself in the pod where it can be."""
    return {
        "metadata": {"name": name},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "registry.example.com/app:1", "securityContext": _CONTAINER}],
        },
    }


_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def container(**context: Any) -> Patch:
    """A patch of the main container's security context."""
    return {"container": {"securityContext": context}}


def init(**context: Any) -> Patch:
    """A patch that adds an init container, restricted but for this."""
    return {"init": {"securityContext": _CONTAINER | context}}


def of_pod(**context: Any) -> Patch:
    """A patch of the pod's security context."""
    return {"spec": {"securityContext": context}}


def spec(**fields: Any) -> Patch:
    """A patch of the pod."""
    return {"spec": fields}


def volume(**source: Any) -> Patch:
    """A patch that adds a volume."""
    return {"volume": source}


def caps(*add: str, drop: tuple[str, ...] = ("ALL",)) -> dict[str, Any]:
    """Capabilities of a container."""
    return {"capabilities": {"add": list(add), "drop": list(drop)}}


#: What it is, the level that forbids it first (None: it is allowed), and what it changes in a restricted pod.
CASES: tuple[tuple[str, Level | None, Patch], ...] = (
    ("as it is", None, {}),
    # HostProcess
    (
        "hostProcess of the pod",
        BASELINE,
        {
            "spec": {
                "hostNetwork": True,
                "securityContext": {"windowsOptions": {"hostProcess": True}, "seccompProfile": None},
                "os": {"name": "windows"},
            },
            "container": {"securityContext": {"allowPrivilegeEscalation": None, "capabilities": None}},
        },
    ),
    ("hostProcess false", None, of_pod(windowsOptions={"hostProcess": False})),
    ("hostProcess false in a container", None, container(windowsOptions={"hostProcess": False})),
    # Windows pods need not say what Windows does not know
    (
        "windows",
        None,
        {
            "spec": {"os": {"name": "windows"}, "securityContext": {"seccompProfile": None}},
            "container": {"securityContext": {"allowPrivilegeEscalation": None, "capabilities": None}},
        },
    ),
    (
        "windows as root",
        RESTRICTED,
        {
            "spec": {"os": {"name": "windows"}, "securityContext": {"seccompProfile": None, "runAsNonRoot": None}},
            "container": {"securityContext": {"allowPrivilegeEscalation": None, "capabilities": None}},
        },
    ),
    ("linux by name", None, spec(os={"name": "linux"})),
    # Host Namespaces
    ("hostNetwork", BASELINE, spec(hostNetwork=True)),
    ("hostPID", BASELINE, spec(hostPID=True)),
    ("hostIPC", BASELINE, spec(hostIPC=True)),
    ("no host namespaces", None, spec(hostNetwork=False, hostPID=False, hostIPC=False)),
    # Privileged Containers
    ("privileged", BASELINE, container(privileged=True, allowPrivilegeEscalation=None)),
    ("privileged init container", BASELINE, init(privileged=True, allowPrivilegeEscalation=None)),
    ("privileged false", None, container(privileged=False)),
    # Capabilities
    ("NET_BIND_SERVICE", None, container(**caps("NET_BIND_SERVICE"))),
    ("CHOWN", RESTRICTED, container(**caps("CHOWN"))),
    ("default capabilities", RESTRICTED, container(**caps("AUDIT_WRITE", "SETUID", "SYS_CHROOT", "MKNOD"))),
    ("default capabilities of an init container", RESTRICTED, init(**caps("SETGID"))),
    ("NET_RAW", BASELINE, container(**caps("NET_RAW"))),
    ("CAP_CHOWN, by its long name", BASELINE, container(**caps("CAP_CHOWN"))),
    ("ALL added", BASELINE, container(**caps("ALL"))),
    ("SYS_TIME of an init container", BASELINE, init(**caps("SYS_TIME"))),
    ("nothing dropped", RESTRICTED, container(**caps(drop=()))),
    ("no capabilities at all", RESTRICTED, container(capabilities=None)),
    ("something dropped", RESTRICTED, container(**caps(drop=("NET_RAW", "CHOWN")))),
    ("ALL dropped, and more", None, container(**caps(drop=("KILL", "ALL")))),
    ("all, in small letters, dropped", RESTRICTED, container(**caps(drop=("all",)))),
    ("nothing dropped by an init container", RESTRICTED, init(**caps(drop=()))),
    # HostPath Volumes, Volume Types
    ("hostPath", BASELINE, volume(hostPath={"path": "/var/log"})),
    ("emptyDir", None, volume(emptyDir={})),
    ("configMap", None, volume(configMap={"name": "a"})),
    ("secret", None, volume(secret={"secretName": "a"})),
    ("downwardAPI", None, volume(downwardAPI={"items": []})),
    ("projected", None, volume(projected={"sources": [{"configMap": {"name": "a"}}]})),
    ("persistentVolumeClaim", None, volume(persistentVolumeClaim={"claimName": "a"})),
    ("csi", None, volume(csi={"driver": "csi.example.com"})),
    ("image", None, volume(image={"reference": "registry.example.com/model:1"})),
    (
        "ephemeral",
        None,
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            }
        ),
    ),
    ("nfs", RESTRICTED, volume(nfs={"server": "nfs.example.com", "path": "/"})),
    ("iscsi", RESTRICTED, volume(iscsi={"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.com.example:a", "lun": 0})),
    ("fc", RESTRICTED, volume(fc={"targetWWNs": ["50060e801049cfd1"], "lun": 0})),
    ("gcePersistentDisk", RESTRICTED, volume(gcePersistentDisk={"pdName": "a"})),
    ("flexVolume", RESTRICTED, volume(flexVolume={"driver": "example.com/a"})),
    ("azureFile", RESTRICTED, volume(azureFile={"secretName": "a", "shareName": "b"})),
    # Host Ports
    ("hostPort", BASELINE, {"container": {"ports": [{"containerPort": 80, "hostPort": 8080}]}}),
    ("hostPort of an init container", BASELINE, {**init(), "init_ports": [{"containerPort": 80, "hostPort": 8080}]}),
    ("hostPort 0", None, {"container": {"ports": [{"containerPort": 80, "hostPort": 0}]}}),
    # Host Probes / Lifecycle Hooks
    ("probe of a host", BASELINE, {"container": {"livenessProbe": {"httpGet": {"host": "192.0.2.1", "port": 80}}}}),
    ("probe of the pod", None, {"container": {"livenessProbe": {"httpGet": {"path": "/", "port": 80}}}}),
    (
        "readiness of a host",
        BASELINE,
        {"container": {"readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": 80}}}},
    ),
    ("readiness of the pod", None, {"container": {"readinessProbe": {"tcpSocket": {"port": 80}}}}),
    ("startup of a host", BASELINE, {"container": {"startupProbe": {"httpGet": {"host": "localhost", "port": 80}}}}),
    ("grpc probe", None, {"container": {"startupProbe": {"grpc": {"port": 80}}}}),
    (
        "hook to a host",
        BASELINE,
        {"container": {"lifecycle": {"preStop": {"httpGet": {"host": "192.0.2.1", "port": 80}}}}},
    ),
    (
        "hook after start",
        BASELINE,
        {"container": {"lifecycle": {"postStart": {"tcpSocket": {"host": "a", "port": 80}}}}},
    ),
    ("hook that runs a command", None, {"container": {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}}),
    # AppArmor
    ("AppArmor RuntimeDefault", None, of_pod(appArmorProfile={"type": "RuntimeDefault"})),
    ("AppArmor Localhost", None, container(appArmorProfile={"type": "Localhost", "localhostProfile": "a"})),
    ("AppArmor Unconfined", BASELINE, of_pod(appArmorProfile={"type": "Unconfined"})),
    ("AppArmor Unconfined in a container", BASELINE, container(appArmorProfile={"type": "Unconfined"})),
    ("AppArmor Unconfined in an init container", BASELINE, init(appArmorProfile={"type": "Unconfined"})),
    ("AppArmor annotation unconfined", BASELINE, {"annotations": {ARMOR: "unconfined"}}),
    ("AppArmor annotation runtime/default", None, {"annotations": {ARMOR: "runtime/default"}}),
    ("AppArmor annotation localhost", None, {"annotations": {ARMOR: "localhost/a"}}),
    # SELinux
    ("SELinux container_t", None, of_pod(seLinuxOptions={"type": "container_t"})),
    ("SELinux container_init_t", None, container(seLinuxOptions={"type": "container_init_t"})),
    ("SELinux container_kvm_t", None, of_pod(seLinuxOptions={"type": "container_kvm_t", "level": "s0:c1,c2"})),
    ("SELinux container_engine_t", None, of_pod(seLinuxOptions={"type": "container_engine_t"})),
    ("SELinux level alone", None, container(seLinuxOptions={"level": "s0"})),
    ("SELinux spc_t", BASELINE, of_pod(seLinuxOptions={"type": "spc_t"})),
    ("SELinux spc_t of an init container", BASELINE, init(seLinuxOptions={"type": "spc_t"})),
    ("SELinux user", BASELINE, container(seLinuxOptions={"user": "system_u"})),
    ("SELinux role", BASELINE, of_pod(seLinuxOptions={"role": "object_r"})),
    # /proc Mount Type
    ("procMount Default", None, container(procMount="Default")),
    (
        "procMount Unmasked in a user namespace",
        RESTRICTED,
        {"container": {"securityContext": {"procMount": "Unmasked"}}, "spec": {"hostUsers": False}},
    ),
    ("procMount Unmasked", BASELINE, container(procMount="Unmasked")),
    # Seccomp
    ("seccomp Unconfined", BASELINE, of_pod(seccompProfile={"type": "Unconfined"})),
    ("seccomp Unconfined in a container", BASELINE, container(seccompProfile={"type": "Unconfined"})),
    ("seccomp Unconfined in an init container", BASELINE, init(seccompProfile={"type": "Unconfined"})),
    ("seccomp Localhost", None, container(seccompProfile={"type": "Localhost", "localhostProfile": "a"})),
    ("no seccomp profile", RESTRICTED, of_pod(seccompProfile=None)),
    (
        "seccomp profile of the container alone",
        None,
        {
            "spec": {"securityContext": {"seccompProfile": None}},
            "container": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        },
    ),
    (
        "seccomp profile of one container of two",
        RESTRICTED,
        {
            "spec": {"securityContext": {"seccompProfile": None}},
            "container": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
            "init": {"securityContext": _CONTAINER},
        },
    ),
    # Sysctls
    ("sysctl that is safe", None, of_pod(sysctls=[{"name": "net.ipv4.tcp_syncookies", "value": "1"}])),
    ("sysctl of 1.32", None, of_pod(sysctls=[{"name": "net.ipv4.tcp_rmem", "value": "4096 87380 16777216"}])),
    ("sysctl of 1.37", None, of_pod(sysctls=[{"name": "net.ipv4.tcp_notsent_lowat", "value": "16384"}])),
    ("another sysctl of 1.37", None, of_pod(sysctls=[{"name": "net.ipv4.tcp_slow_start_after_idle", "value": "0"}])),
    ("sysctl that is not safe", BASELINE, of_pod(sysctls=[{"name": "net.core.somaxconn", "value": "1024"}])),
    ("sysctl of the kernel", BASELINE, of_pod(sysctls=[{"name": "kernel.msgmax", "value": "65536"}])),
    # Privilege Escalation
    ("escalation not said", RESTRICTED, container(allowPrivilegeEscalation=None)),
    ("escalation allowed", RESTRICTED, container(allowPrivilegeEscalation=True)),
    ("escalation allowed for an init container", RESTRICTED, init(allowPrivilegeEscalation=True)),
    ("no security context", RESTRICTED, {"container": {"securityContext": None}}),
    # Running as Non-root
    ("runAsNonRoot not said", RESTRICTED, of_pod(runAsNonRoot=None)),
    ("runAsNonRoot false", RESTRICTED, of_pod(runAsNonRoot=False)),
    ("runAsNonRoot false in a container", RESTRICTED, container(runAsNonRoot=False)),
    (
        "runAsNonRoot of the container alone",
        None,
        {
            "spec": {"securityContext": {"runAsNonRoot": None}},
            "container": {"securityContext": {"runAsNonRoot": True}},
        },
    ),
    (
        "runAsNonRoot false in the pod and true in the container",
        RESTRICTED,
        {
            "spec": {"securityContext": {"runAsNonRoot": False}},
            "container": {"securityContext": {"runAsNonRoot": True}},
        },
    ),
    ("runAsUser 1000", None, of_pod(runAsUser=1000)),
    ("runAsUser 0", RESTRICTED, of_pod(runAsUser=0)),
    ("runAsUser 0 in a container", RESTRICTED, container(runAsUser=0)),
    ("runAsUser 0 in an init container", RESTRICTED, init(runAsUser=0)),
    (
        "root in a user namespace",
        None,
        {"spec": {"hostUsers": False, "securityContext": {"runAsNonRoot": None, "runAsUser": 0}}},
    ),
    ("hostUsers true does not relax", RESTRICTED, {"spec": {"hostUsers": True, "securityContext": {"runAsUser": 0}}}),
)


def patched(pod: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """The pod with what a patch changes; None takes a field away."""
    pod = copy.deepcopy(pod)
    parts = pod["spec"]
    for place, change in patch.items():
        if place == "container":
            _merge(parts["containers"][0], change)
        elif place == "init":
            number = len(parts.setdefault("initContainers", []))
            parts["initContainers"].append({"name": f"init-{number}", "image": "registry.example.com/init:1"} | change)
        elif place == "init_ports":
            parts["initContainers"][-1]["ports"] = change
        elif place == "volume":
            volumes = parts.setdefault("volumes", [])
            volumes.append({"name": f"volume-{len(volumes)}"} | change)
        elif place == "annotations":
            _merge(pod["metadata"], {"annotations": change})
        else:
            _merge(parts, change)
    return {key: _stripped(part) for key, part in pod.items()}


def _merge(into: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(part) for key, part in value.items() if part is not None}
    return [_stripped(part) for part in value] if isinstance(value, list) else value


def corpus(count: int, seed: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """At least `count` pods and what each of them is: every case alone, then combinations of two to four."""
    for number, (what, _, patch) in enumerate(CASES):
        yield what, patched(restricted_pod(f"case-{number}"), patch)
    choose = random.Random(seed)
    # An API server refuses nearly all that is said of a Windows pod besides.
    linux = [case for case in CASES if case[2].get("spec", {}).get("os") != {"name": "windows"}]
    for number in range(count - len(CASES)):
        cases = choose.sample(linux, choose.choice((2, 2, 3, 4)))
        pod = restricted_pod(f"mix-{number}")
        for _, _, patch in cases:
            pod = patched(pod, patch)
        yield " + ".join(what for what, _, _ in cases), pod
