"""The Kubernetes client on a real control plane: rights, credentials, and every way in which a cluster goes away and comes back."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from collectors.systems.kubernetes.client.cluster import Kubernetes, KubernetesSettings, NotAllowed, NotServed
from collectors.systems.kubernetes.client.watch import Listing
from collectors.systems.kubernetes.model import kinds as kubernetes_kinds
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.kinds import (
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    VERTICAL_POD_AUTOSCALERS,
)
from collectors.systems.kubernetes.model.objects import Named
from collectors.systems.kubernetes.model.pods import pods_in
from collectors.systems.kubernetes.model.rbac import may_ask, may_get, may_list, roles
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.collectors.systems.kubernetes.clusters import listing, reader
from tests.servers.certificates import Issued
from tests.servers.kubernetes import CRDS, ControlPlane, workload
from tests.servers.process import LOOPBACK, eventually

Rules = list[dict[str, Any]]

EVERYTHING = tuple(
    kind
    for name in kubernetes_kinds.__all__
    for found in [getattr(kubernetes_kinds, name)]
    for kind in (found if isinstance(found, tuple) else (found,))
    if isinstance(kind, Kind)
)


@asynccontextmanager
async def asking(kubeconfig: Path | None, **options: Any) -> AsyncIterator[Kubernetes]:
    given = {"timeout": "20s", "requests_per_second": 1000} | options
    if kubeconfig:
        given["kubeconfig"] = str(kubeconfig)
    client = Kubernetes(KubernetesSettings.model_validate_json(json.dumps(given)), Threads())
    try:
        yield client
    finally:
        await client.close()


def rules(*rights: Any) -> Rules:
    """The rules of the ClusterRole for these rights."""
    (role,) = roles(rights, (), watch=False)
    granted: Rules = role["rules"]
    return granted


async def listed(client: Kubernetes, kind: Kind[Any]) -> bool:
    """Whether a kind can be listed now; roles take a moment to be known."""
    await client.list(kind)
    return True


async def complaint(client: Kubernetes, kind: Kind[Any] = NODES) -> str:
    try:
        await client.list(kind)
    except ProbeError as why:
        return str(why)
    return ""


async def test_a_cluster_is_seen_with_the_rights_that_are_printed(
    control_plane: ControlPlane, no_leftovers: None
) -> None:
    namespace = control_plane.namespace()
    app = workload(namespace, "app", replicas=3)
    control_plane.apply(app)
    control_plane.wait_ready(app)
    account = control_plane.account(
        rules(may_list(PODS, DEPLOYMENTS, NODES), may_ask("/readyz")),
        namespaced={
            "kube-system": roles([may_get(LEASES, "kube-scheduler", namespace="kube-system")], (), watch=False)[0][
                "rules"
            ]
        },
    )
    async with asking(account, page_size=2, max_age="1ms") as client:
        await eventually(lambda: listed(client, NODES), "the role to be known")
        pods = await client.list(PODS)
        mine = [found for found in pods.items if found.namespace == namespace]
        assert pods_in(mine) == 3
        assert {found.workload for found in mine} == {("Deployment", "app")}
        assert all(found.state.ready for found in mine)
        assert abs((pods.taken - datetime.now(UTC)).total_seconds()) < 60
        assert (await client.get("/readyz")).text == "ok"
        assert json.loads((await client.get("/version")).body)["gitVersion"].startswith("v1.")
        found = await client.read(LEASES, "kube-scheduler", "kube-system")
        assert found is not None
        assert found[0].name == "kube-scheduler"
        with pytest.raises(
            NotAllowed, match=r"cannot get leases.coordination.k8s.io in kube-system: its account has no right"
        ):
            await client.read(LEASES, "kube-controller-manager", "kube-system")
        with pytest.raises(NotAllowed, match="cannot list namespaces: its account has no right to it"):
            await client.list(NAMESPACES)


async def test_rights_in_namespaces_are_enough_where_only_those_are_looked_at(control_plane: ControlPlane) -> None:
    shop, orders = control_plane.namespace("shop"), control_plane.namespace("orders")
    granted = rules(may_list(PODS))
    account = control_plane.account(namespaced={shop: granted, orders: granted})
    async with asking(account, namespaces=[shop, orders], max_age="1ms") as client:
        await eventually(lambda: listed(client, PODS), "the role to be known")
        assert (await client.list(PODS)).namespaces == (shop, orders)
        with pytest.raises(NotAllowed, match=f"cannot list deployments.apps in {shop}: "):
            await client.list(DEPLOYMENTS)
    async with asking(account) as client:
        with pytest.raises(NotAllowed, match="cannot list pods in all namespaces: "):
            await client.list(PODS)


async def outcome(client: Kubernetes, kind: Kind[Any]) -> str:
    try:
        await client.list(kind)
    except NotAllowed:
        return "denied"
    except NotServed:
        return "not served"
    return "seen"


async def test_each_kind_needs_its_own_right_and_no_other(control_plane: ControlPlane) -> None:
    account = control_plane.account(rules(may_list(*EVERYTHING)))
    async with asking(account, max_age="1ms") as client:
        await eventually(lambda: listed(client, NODES), "the role to be known")
        before = {str(kind): await outcome(client, kind) for kind in EVERYTHING}
    assert "denied" not in before.values()
    assert before["pods"] == before["customresourcedefinitions.apiextensions.k8s.io"] == "seen"
    for left_out in EVERYTHING:
        others = [kind for kind in EVERYTHING if kind is not left_out]
        account = control_plane.account(rules(may_list(*others)))
        async with asking(account, max_age="1ms") as client:
            await eventually(lambda: listed(client, others[0]), "the role to be known")  # noqa: B023
            assert await outcome(client, left_out) == "denied"
            assert await outcome(client, others[-1]) == before[str(others[-1])]


def expired(control_plane: ControlPlane) -> str:
    """A token that the control plane has signed, whose hour is over."""

    def part(value: object) -> str:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    _, claims, _ = json.loads(control_plane.account().read_text())["users"][0]["user"]["token"].split(".")
    ended = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"iat": 1, "nbf": 1, "exp": 3600}
    signed = f"{part({'alg': 'ES256'})}.{part(ended)}"
    key = serialization.load_pem_private_key((control_plane.directory / "accounts.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{part(r.to_bytes(32) + s.to_bytes(32))}"


async def test_a_token_that_expired_is_told_and_its_successor_taken_up(control_plane: ControlPlane) -> None:
    kubeconfig = control_plane.account()
    configuration = json.loads(kubeconfig.read_text())
    user = configuration["users"][0]
    user["user"] = {"token": expired(control_plane)}
    kubeconfig.write_text(json.dumps(configuration))
    async with asking(kubeconfig, max_age="1ms") as client:
        told = await complaint(client)
        assert told.endswith("answered 401: the token or certificate was not accepted or has expired.")
        user["user"] = {"token": control_plane.tokens["admin"]}
        kubeconfig.write_text(json.dumps(configuration))
        assert await listed(client, NODES)


async def test_an_authority_that_is_replaced_is_taken_up(control_plane: ControlPlane) -> None:
    token = control_plane.tokens["admin"]
    kubeconfig = control_plane.write_kubeconfig("rotating", token, ca=Issued.root("Another Root").pem)
    trusted = Path(json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority"])
    async with asking(kubeconfig) as client:
        with pytest.raises(ProbeError, match=r"failed: the certificate was not accepted \(.*certificate"):
            await client.list(NODES)
        trusted.write_bytes(control_plane.authority.pem)
        assert await listed(client, NODES)


async def test_a_certificate_for_another_name_is_not_accepted(control_plane: ControlPlane) -> None:
    kubeconfig = control_plane.write_kubeconfig(
        "misnamed", control_plane.tokens["admin"], url=control_plane.url.replace(LOOPBACK, "127.0.0.2")
    )
    configuration = json.loads(kubeconfig.read_text())
    configuration["clusters"][0]["cluster"] |= {"server": control_plane.url, "tls-server-name": "api.example.com"}
    kubeconfig.write_text(json.dumps(configuration))
    async with asking(kubeconfig) as client:
        with pytest.raises(ProbeError, match=r"the certificate was not accepted .*api.example.com"):
            await client.list(NODES)


async def test_an_exec_plugin_gives_the_credentials(control_plane: ControlPlane, tmp_path: Path) -> None:
    kubeconfig = control_plane.write_kubeconfig("plugin", "unused")
    version = "client.authentication.k8s.io/v1"
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": control_plane.tokens["admin"]}}
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    configuration = json.loads(kubeconfig.read_text())
    plugin = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "credential.json")]}
    configuration["users"][0]["user"] = {"exec": plugin}
    kubeconfig.write_text(json.dumps(configuration))
    async with asking(kubeconfig) as client:
        assert await listed(client, NODES)


async def test_in_a_pod_its_service_account_is_used(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(control_plane.tokens["admin"])
    (tmp_path / "ca.crt").write_bytes(control_plane.authority.pem)
    module = "kubernetes.config.incluster_config"
    monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{module}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", LOOPBACK)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(control_plane.ports["api"]))
    async with asking(None) as client:
        assert await listed(client, NODES)
    (tmp_path / "token").unlink()
    async with asking(None) as client:
        with pytest.raises(
            ProbeError, match="from the pod's service account cannot be used: Service token file does not exist"
        ):
            await client.list(NODES)


async def test_a_definition_that_is_removed_is_told(control_plane: ControlPlane) -> None:
    definitions = CRDS["vpa"]
    control_plane.define(*definitions)
    async with asking(control_plane.kubeconfigs["admin"], max_age="1ms") as client:
        assert await listed(client, VERTICAL_POD_AUTOSCALERS)
        control_plane.delete(*definitions)

        async def gone() -> bool:
            return await outcome(client, VERTICAL_POD_AUTOSCALERS) == "not served"

        await eventually(gone, "the kind to be gone")


@pytest.fixture
def mortal(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster, whole again afterwards."""
    yield control_plane
    control_plane.restore()


async def test_an_api_server_that_dies_in_the_middle_of_a_list_is_told(
    mortal: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig, pages = mortal.kubeconfigs["admin"], 0
    add = Listing.add

    def counted(listing: Listing[Any], page: Any, reply: Any) -> None:
        nonlocal pages
        pages += 1
        add(listing, page, reply)

    monkeypatch.setattr(Listing, "add", counted)
    async with asking(kubeconfig, page_size=1, requests_per_second=1, max_age="1ms") as slow:
        listing = asyncio.create_task(complaint(slow, NAMESPACES))
        await eventually(lambda: pages, "the first of at least four pages, which come each second")
        mortal.api_server.kill()
        told = await listing
        assert "/api/v1/namespaces failed: " in told
        assert "the connection was refused" in await complaint(slow)
        await asyncio.to_thread(mortal.restore)
        await eventually(lambda: listed(slow, NODES), "it to be back")


async def test_a_mute_api_server_is_told_in_time(mortal: ControlPlane) -> None:
    async with asking(mortal.kubeconfigs["admin"], timeout="1s", max_age="1ms") as client:
        await eventually(lambda: listed(client, NODES), "the nodes")
        mortal.api_server.pause()
        assert "/api/v1/nodes did not answer within 1s." in await complaint(client)
        mortal.api_server.resume()
        await eventually(lambda: listed(client, NODES), "it to be back")


async def test_a_cluster_without_etcd_is_not_called_ready(mortal: ControlPlane) -> None:
    async with asking(mortal.kubeconfigs["admin"], max_age="1ms", timeout="5s") as client:
        await eventually(lambda: listed(client, NODES), "the nodes")
        mortal.etcd.kill()

        async def red() -> bool:
            ready = await client.get("/readyz")
            return ready.status == 500 and "[-]etcd" in ready.text

        await eventually(red, "readyz to be red")
        await asyncio.to_thread(mortal.restore)

        async def green() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(green, "readyz to be green", 60)
        await eventually(lambda: listed(client, NODES), "the nodes")


def found_names(items: Sequence[Named]) -> set[str]:
    return {item.name for item in items}


async def test_a_real_watch_follows_and_ages(mortal: ControlPlane) -> None:
    kubeconfig = mortal.kubeconfigs["admin"]
    kind: Kind[Named] = Kind("configmaps", Named)
    namespace = mortal.namespace()
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}}
    async with asking(kubeconfig, watch=True, namespaces=[namespace], stale_after="3s") as client:
        await client.list(kind)

        async def has(name: str, *, there: bool) -> bool:
            return (name in found_names((await client.list(kind)).items)) is there

        mortal.apply(one)
        await eventually(lambda: has("one", there=True), "the object to be seen")
        mortal.delete(one)
        await eventually(lambda: has("one", there=False), "the object to be gone")
        mortal.api_server.kill()
        told = await eventually(lambda: complaint(client, kind), "the watch to be too old")
        assert told.startswith("The watch of configmaps has been silent for ")
        await asyncio.to_thread(mortal.restore)
        mortal.apply(one)
        await eventually(lambda: has("one", there=True), "the watch to be taken up again", 60)


async def test_what_is_asked_for_again_is_followed_where_that_is_allowed(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = control_plane.namespace()
    watching = reader(control_plane, roles([may_list(NAMESPACES)], (), watch=True))
    for kubeconfig, is_followed in ((watching, True), (listing(control_plane, NAMESPACES), False)):
        async with asking(kubeconfig, max_age="1ms") as client:
            await client.list(NAMESPACES)
            await client.list(NAMESPACES)
            assert not client._followers  # a run that is made once lists
            monkeypatch.setattr("collectors.systems.kubernetes.client.cluster._FOLLOWED_AFTER", 0.0)
            found = await client.list(NAMESPACES)
            assert bool(client._followers) is is_followed
            assert namespace in {one.name for one in found.items}
            monkeypatch.undo()
