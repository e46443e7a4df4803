"""A real Kubernetes control plane on loopback: etcd, API server, controllers and scheduler, with KWOK in place of kubelets."""

import json
import operator
import secrets
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization

from tests.servers.certificates import Issued, authority, new_key
from tests.servers.packages import go_program
from tests.servers.process import LOOPBACK, Server, free_port, scratch, wait_until
from tests.servers.sharing import shared

Json = dict[str, Any]

VERSION = "v1.37.2"
KWOK_NODE = {"kwok.x-k8s.io/node": "fake"}
"""The annotation of nodes that KWOK keeps ready, and whose pods it runs."""

_PACKAGE = "k8s.io/component-base/version"
_ACCOUNTS = {
    "admin": "system:masters",
    "kwok": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}
_HURRY = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--secure-port=0")
# Long enough to outlive an API server that is started again; a part that is killed has to wait so long for its own old lease.
_ELECTION = (
    "--leader-elect-lease-duration=30s",
    "--leader-elect-renew-deadline=25s",
    "--leader-elect-retry-period=500ms",
)


def component(folder: str, version: str) -> Path:
    """Return the program that is built from a folder beside this file, told which version of Kubernetes it is."""
    major, minor, _ = version.removeprefix("v").split(".")
    told = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(f"-X {_PACKAGE}.{name}={value}" for name, value in told.items())
    return go_program(Path(__file__).parent / folder, ldflags=flags)


def build() -> None:
    """Build the program that is every part of the control plane."""
    component("control_plane", VERSION)


class ControlPlane:
    """A cluster with ``nodes`` nodes, each part of it a ``Server`` that may be stopped, killed, paused and started again.

    Objects are dictionaries as the API has them. ``call`` and all that rests on it is done as a member of system:masters.
    """

    version = VERSION

    def __init__(self, directory: Path, *, nodes: int = 3, certificate: Issued | None = None) -> None:
        self.directory = directory
        self.tokens = {account: secrets.token_hex(16) for account in _ACCOUNTS}
        self.authority = authority()
        self.ports = {part: free_port() for part in ("client", "peer", "api")}
        self.url = f"https://{LOOPBACK}:{self.ports['api']}"
        self._nodes = nodes
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}
        self._context = ssl.create_default_context(cadata=self.authority.pem.decode())
        self._write_files(certificate or self.authority.issue(LOOPBACK, "localhost", "kubernetes.default.svc"))
        self.etcd = self._etcd()
        self.api_server = self._api_server()
        self.controller_manager = self._controller_manager()
        self.scheduler = self._follower("kube-scheduler", "--leader-elect=true", *_ELECTION, *_HURRY)
        self.kwok = self._kwok()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.etcd, self.api_server, self.controller_manager, self.scheduler, self.kwok):
                stack.enter_context(part)
            self.apply(*(node(f"node-{number}", version=self.version) for number in range(self._nodes)))
            self.wait(
                "/api/v1/nodes",
                lambda nodes: sum(map(is_ready, nodes["items"])) >= self._nodes,
                "its nodes to be ready",
            )
            self.wait("/api/v1/namespaces/default/serviceaccounts/default", bool, "the default service account")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        for part in (self.kwok, self.scheduler, self.controller_manager):
            part.kill()  # they have nothing to keep, and a graceful end takes seconds
        self._stack.close()

    def restore(self) -> None:
        """Start every part that has ended, and let go on those that are paused: the end of a test that broke something.

        Waits until a Deployment comes to run: parts that were started again first wait for their own old Leases to run out, and
        the others look again more and more seldom at an API server that was gone.
        """
        for part in (self.etcd, self.api_server, self.controller_manager, self.scheduler, self.kwok):
            if part.running:
                part.resume()
            else:
                part.start()
        wait_until(lambda: self.get("/readyz") == "ok", "the API server to be ready", 120)
        probe = workload(self.namespace("restored"), "probe")
        self.apply(probe)
        self.wait_ready(probe)

    # --- The parts ---

    def program(self, part: str) -> Path:
        """Return the program that a part is."""
        return component("control_plane", VERSION)

    def _write_files(self, certificate: Issued) -> None:
        certificate.write(self.directory, "server")
        (self.directory / "ca.pem").write_bytes(self.authority.pem)
        key = new_key("ec")
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = serialization.Encoding.PEM
        (self.directory / "accounts.key").write_bytes(key.private_bytes(pem, *private))
        (self.directory / "accounts.pub").write_bytes(key.public_key().public_bytes(pem, public))
        lines = (f'{self.tokens[name]},{name},{name},"{group}"\n' for name, group in _ACCOUNTS.items())
        (self.directory / "tokens.csv").write_text("".join(lines))
        self.kubeconfigs = {account: self.write_kubeconfig(account, token) for account, token in self.tokens.items()}

    def write_kubeconfig(self, name: str, token: str, *, url: str | None = None, ca: bytes | None = None) -> Path:
        """Write a kubeconfig with a token; the server and its authority are the real ones unless given."""
        file = self.directory / f"{name.replace(':', '-')}-{secrets.token_hex(4)}.kubeconfig"
        trusted = self.directory / f"{file.stem}.pem"
        trusted.write_bytes(ca or self.authority.pem)
        cluster = {"server": url or self.url, "certificate-authority": str(trusted)}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        file.write_text(json.dumps(configuration))
        return file

    def _part(self, name: str, *flags: str, ready: Any = None, env: Mapping[str, str] | None = None) -> Server:
        argv: list[str | Path] = [self.program(name), name, *flags]
        return Server(name, argv, directory=self.directory, ready=ready or (lambda: True), deadline=120, env=env)

    def _etcd(self) -> Server:
        client, peer = (f"http://{LOOPBACK}:{self.ports[port]}" for port in ("client", "peer"))
        return self._part(
            "etcd",
            "--name=test",
            f"--data-dir={self.directory / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
            ready=lambda: json.load(urllib.request.urlopen(f"{client}/health", timeout=2))["health"] == "true",
        )

    def _api_server(self) -> Server:
        folder = self.directory
        issuer = "https://kubernetes.default.svc.cluster.local"
        return self._part(
            "kube-apiserver",
            f"--etcd-servers=http://{LOOPBACK}:{self.ports['client']}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.ports['api']}",
            "--advertise-address=192.0.2.1",  # endpoints may not be loopback; nothing is sent to it
            f"--tls-cert-file={folder / 'server.pem'}",
            f"--tls-private-key-file={folder / 'server.key'}",
            f"--client-ca-file={folder / 'ca.pem'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--service-account-issuer={issuer}",
            f"--service-account-key-file={folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            ready=lambda: self.call("GET", "/readyz"),
        )

    def _follower(self, name: str, *flags: str) -> Server:
        return self._part(name, f"--kubeconfig={self.kubeconfigs[f'system:{name}']}", *flags)

    def _controller_manager(self) -> Server:
        return self._follower(
            "kube-controller-manager",
            "--leader-elect=true",
            *_ELECTION,
            *_HURRY,
            "--node-monitor-grace-period=120s",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.directory / 'accounts.key'}",
            f"--root-ca-file={self.directory / 'ca.pem'}",
        )

    def _kwok(self) -> Server:
        stages = self.directory / "stages.yaml"
        stages.write_text(
            subprocess.run([self.program("kwok"), "stages"], capture_output=True, text=True, check=True).stdout
        )
        (annotation,) = (f"{name}={value}" for name, value in KWOK_NODE.items())
        return self._part(
            "kwok",
            f"--kubeconfig={self.kubeconfigs['kwok']}",
            f"--config={stages}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={annotation}",
            "--cidr=10.244.0.0/16",
            "--node-ip=192.0.2.10",
            "--node-lease-duration-seconds=40",
            "--server-address=",
            env={"KWOK_WORKDIR": str(self.directory / "kwok")},
        )

    # --- The API ---

    def call(
        self, method: str, path: str, body: object = None, *, content: str = "application/json", **query: str
    ) -> Any:
        """Send a request; return the JSON that is answered (or the text). Raises HTTPError with the server's message."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self.tokens['admin']}", "Content-Type": content}
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as reply:
                text = reply.read().decode()
        except HTTPError as error:
            error.msg = f"{error.msg}: {error.read().decode(errors='replace')[:2000]}"
            raise
        return json.loads(text) if text.startswith("{") else text

    def get(self, path: str, **query: str) -> Any:
        """GET a path."""
        return self.call("GET", path, **query)

    def path(self, manifest: Mapping[str, Any]) -> str:
        """Return where the API server has the object that a manifest describes."""
        version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._kinds:
            for resource in self.get(root)["resources"]:
                if "/" not in resource["name"]:
                    self._kinds[version, resource["kind"]] = resource["name"], resource["namespaced"]
        plural, namespaced = self._kinds[version, kind]
        scope = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{root}{scope}/{plural}/{metadata['name']}"

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Create the objects, or make them be as the manifests say (server-side apply)."""
        for manifest in manifests:
            self.call(
                "PATCH",
                self.path(manifest),
                manifest,
                content="application/apply-patch+yaml",
                fieldManager="tests",
                force="true",
            )

    def patch_status(self, manifest: Mapping[str, Any], **status: object) -> None:
        """Change fields of an object's status, as its controller would."""
        content = "application/merge-patch+json"
        self.call("PATCH", f"{self.path(manifest)}/status", {"status": status}, content=content)

    def delete(self, *manifests: Mapping[str, Any]) -> None:
        """Delete the objects at once."""
        for manifest in manifests:
            self.call("DELETE", self.path(manifest), {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

    def wait(self, path: str, condition: Any, what: str, deadline: float = 120.0) -> Any:
        """Wait until what is at a path fulfils a condition; return it."""
        found: list[Any] = []

        def fulfilled() -> bool:
            found[:] = [self.get(path)]
            return bool(condition(found[0]))

        wait_until(fulfilled, what, deadline)
        return found[0]

    def wait_ready(self, *workloads: Mapping[str, Any]) -> None:
        """Wait until all replicas of Deployments and StatefulSets are ready, and their controllers have said so."""
        for workload in workloads:
            self.wait(self.path(workload), _is_rolled_out, f"{workload['metadata']['name']} to be ready")

    def pods(self, namespace: str, selector: str = "") -> list[Json]:
        """Return the pods of a namespace."""
        found: list[Json] = self.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
        return found

    def crash(
        self, pod: Mapping[str, Any], *, exit_code: int = 137, reason: str = "OOMKilled", restarts: int = 7
    ) -> None:
        """Make all containers of a running pod loop in a crash, as a kubelet would tell it."""
        ended = {"exitCode": exit_code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}
        statuses = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "restartCount": restarts,
                "state": {
                    "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
                },
                "lastState": {"terminated": ended},
            }
            for container in pod["spec"]["containers"]
        ]
        self.patch_status(
            {"apiVersion": "v1", "kind": "Pod", **pod},
            phase="Running",
            containerStatuses=statuses,
            conditions=not_ready(),
        )

    def namespace(self, name: str = "test", **labels: str) -> str:
        """Create a namespace of its own for a test, where pods can be made; its name begins with ``name``."""
        unique = f"{name}-{secrets.token_hex(4)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique, "labels": labels}})
        self.wait(f"/api/v1/namespaces/{unique}/serviceaccounts/default", bool, "its service account")
        return unique

    def account(
        self,
        rules: Sequence[Mapping[str, Any]] = (),
        *,
        namespaced: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        url: str | None = None,
    ) -> Path:
        """Return the kubeconfig of a new ServiceAccount with these rules in a ClusterRole, and those in Roles by namespace."""
        name = f"reader-{secrets.token_hex(4)}"
        rbac = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}})
        for namespace, granted in {"": rules, **(namespaced or {})}.items():
            kind, metadata = ("Role", {"namespace": namespace}) if namespace else ("ClusterRole", {})
            head = {"apiVersion": f"{rbac}/v1", "metadata": {"name": name, **metadata}}
            self.apply(
                {**head, "kind": kind, "rules": list(granted)},
                {
                    **head,
                    "kind": f"{kind}Binding",
                    "subjects": [subject],
                    "roleRef": {"apiGroup": rbac, "kind": kind, "name": name},
                },
            )
        return self.write_kubeconfig(name, self.token(name), url=url)

    def token(self, account: str) -> str:
        """Return a token of a ServiceAccount in the namespace ``default``."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        reply = self.call("POST", f"/api/v1/namespaces/default/serviceaccounts/{account}/token", request)
        token: str = reply["status"]["token"]
        return token

    def define(self, *definitions: Mapping[str, Any]) -> None:
        """Install CustomResourceDefinitions (see ``CRDS``), and wait until their objects can be made."""
        self.apply(*definitions)
        for definition in definitions:
            spec = definition["spec"]
            for version in filter(operator.itemgetter("served"), spec["versions"]):
                root, plural, what = (
                    f"/apis/{spec['group']}/{version['name']}",
                    spec["names"]["plural"],
                    definition["metadata"]["name"],
                )
                self.wait(f"{root}/{plural}", bool, f"{what} to be served")
                # Discovery comes after, from a controller of its own.
                self.wait(root, partial(_lists, plural), f"{what} to be discovered")

    @contextmanager
    def defining(self, *definitions: Mapping[str, Any]) -> Iterator[None]:
        """Have CustomResourceDefinitions for a while; afterwards the API server knows nothing of them any more."""
        self.define(*definitions)
        try:
            yield
        finally:
            self.delete(*definitions)
            for definition in definitions:
                wait_until(partial(self._knows_nothing_of, definition), f"{definition['metadata']['name']} to be gone")

    def _knows_nothing_of(self, definition: Mapping[str, Any]) -> bool:
        spec = definition["spec"]
        plural, served = spec["names"]["plural"], []
        for version in spec["versions"]:
            for path in ("", f"/{plural}"):
                with suppress(HTTPError):
                    found = self.get(f"/apis/{spec['group']}/{version['name']}{path}")
                    served += [one["name"] for one in found["resources"]] if "resources" in found else [plural]
        return plural not in served


def _lists(plural: str, group: Mapping[str, Any]) -> bool:
    return any(resource["name"] == plural for resource in group["resources"])


def node(name: str, *, kwok: bool = True, version: str = VERSION, **labels: str) -> Json:
    """A node for `apply`; one that KWOK does not keep ready has the status it is given with `patch_status`."""
    plain = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    amounts = {"cpu": "32", "memory": "256Gi", "pods": "2000", "ephemeral-storage": "500Gi"}
    annotations = KWOK_NODE | {"node.alpha.kubernetes.io/ttl": "0"} if kwok else {}
    about = dict.fromkeys(("bootID", "machineID", "systemUUID", "kubeProxyVersion"), "")
    about |= {"architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": version, "kernelVersion": "6.12.0"}
    about |= {"osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.4"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": plain | labels, "annotations": annotations},
        "status": {"allocatable": amounts, "capacity": amounts, "nodeInfo": about},
    }


def pod_spec(**more: Any) -> Json:
    """A pod's spec with one harmless container, as the level `restricted` wants it."""
    secure = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    amounts = {"cpu": "10m", "memory": "16Mi"}
    container = {
        "name": "main",
        "image": "registry.example.com/app:1",
        "securityContext": secure,
        "resources": {"requests": amounts, "limits": amounts},
    }
    return {"containers": [container], "terminationGracePeriodSeconds": 0} | more


def workload(
    namespace: str, name: str, *, kind: str = "Deployment", replicas: int = 1, spec: Mapping[str, Any] | None = None
) -> Json:
    """A Deployment or StatefulSet whose pods are labelled ``app: name``."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": dict(spec or pod_spec())}
    wanted: Json = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        wanted["serviceName"] = name
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": wanted,
    }


def not_ready(since: str | None = None) -> list[Json]:
    """The conditions of a pod that runs and is not ready."""
    at = since or _now()
    ready = {"Initialized": "True", "PodScheduled": "True", "Ready": "False", "ContainersReady": "False"}
    return [{"type": name, "status": value, "lastTransitionTime": at} for name, value in ready.items()]


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Say whether a node's or a pod's condition Ready is True."""
    conditions = thing.get("status", {}).get("conditions", ())
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def _is_rolled_out(found: Json) -> bool:
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")]
    return current and counts == [wanted] * 3


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def definition(group: str, kind: str, plural: str, *versions: str, namespaced: bool = True) -> Json:
    """A CustomResourceDefinition whose objects may have any field, with the subresource `status`."""
    schema = {
        "type": "object",
        "properties": {
            name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True} for name in ("spec", "status")
        },
        "x-kubernetes-preserve-unknown-fields": True,
    }
    served = [
        {
            "name": version,
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        }
        for version in versions
    ]
    annotations = {"api-approved.kubernetes.io": "unapproved, for tests"} if group.endswith(".k8s.io") else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": served,
        },
    }


CRDS: Mapping[str, Sequence[Json]] = {
    "vpa": (definition("autoscaling.k8s.io", "VerticalPodAutoscaler", "verticalpodautoscalers", "v1"),),
    "gateway": (
        definition("gateway.networking.k8s.io", "GatewayClass", "gatewayclasses", "v1", namespaced=False),
        definition("gateway.networking.k8s.io", "Gateway", "gateways", "v1"),
        definition("gateway.networking.k8s.io", "HTTPRoute", "httproutes", "v1"),
    ),
    "routes": (
        definition("gateway.networking.k8s.io", "GRPCRoute", "grpcroutes", "v1"),
        definition("gateway.networking.k8s.io", "TLSRoute", "tlsroutes", "v1alpha2"),
    ),
    "prometheus": (
        definition("monitoring.coreos.com", "ServiceMonitor", "servicemonitors", "v1"),
        definition("monitoring.coreos.com", "PodMonitor", "podmonitors", "v1"),
        definition("monitoring.coreos.com", "PrometheusRule", "prometheusrules", "v1"),
    ),
    "cnpg": (
        definition("postgresql.cnpg.io", "Cluster", "clusters", "v1"),
        definition("postgresql.cnpg.io", "Backup", "backups", "v1"),
        definition("postgresql.cnpg.io", "ScheduledBackup", "scheduledbackups", "v1"),
    ),
    "istio": (definition("security.istio.io", "PeerAuthentication", "peerauthentications", "v1"),),
    "kyverno": (
        definition("kyverno.io", "ClusterPolicy", "clusterpolicies", "v1", namespaced=False),
        definition("kyverno.io", "Policy", "policies", "v1"),
    ),
    "cert-manager": (
        definition("cert-manager.io", "Certificate", "certificates", "v1"),
        definition("cert-manager.io", "ClusterIssuer", "clusterissuers", "v1", namespaced=False),
    ),
    "metrics": (
        definition("metrics.k8s.io", "PodMetrics", "pods", "v1beta1"),
        definition("metrics.k8s.io", "NodeMetrics", "nodes", "v1beta1", namespaced=False),
    ),
}
"""Small definitions of our own, by what they are of: the names are real, and every field is taken."""


@pytest.fixture(scope="session")
@shared
def control_plane() -> Iterator[ControlPlane]:
    """A cluster with three nodes, shared by the tests of a file: each makes namespaces of its own."""
    with scratch("kubernetes") as folder, ControlPlane(folder) as cluster:
        yield cluster
