"""The Kubernetes client against API servers that are slow, wrong, forgetful, busy or gone: scripted, since a real one behaves."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.config import ConfigException
from urllib3.util import ssl_

from collectors.systems.kubernetes.client.cluster import Kubernetes, KubernetesSettings, NotAllowed, NotServed
from collectors.systems.kubernetes.model.kind import Kind
from exporter.threads import Threads
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.faults import Address
from tests.servers.process import LOOPBACK

Answer = tuple[int, Mapping[str, str], bytes]
Script = Callable[[str, str, dict[str, str]], Answer]


class Named(msgspec.Struct):
    name: str


class Thing(msgspec.Struct):
    metadata: Named


PODS: Kind[Thing] = Kind("pods", Thing)
NODES: Kind[Thing] = Kind("nodes", Thing, namespaced=False)
ALLOWED = b'{"status": {"allowed": true}}'


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    return status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()


def things(*names: str, more: str = "") -> object:
    return {"metadata": {"continue": more}, "items": [{"metadata": {"name": name}} for name in names]}


def status(code: int, message: str) -> Answer:
    return answer({"kind": "Status", "message": message}, code)


@asynccontextmanager
async def scripted(script: Script, review: bytes = ALLOWED) -> AsyncIterator[tuple[str, list[str]]]:
    """An API server that answers as the script says, and every review alike; the address, and what it was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            method, target, _ = head.split("\r\n")[0].split()
            fields = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
            }
            await reader.readexactly(int(fields.get("content-length", 0)))
            url = urlsplit(target)
            if method == "POST":
                code, headers, body = answer(review, 201)
            else:
                asked.append(target)
                code, headers, body = script(method, url.path, dict(parse_qsl(url.query)))
            given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {code} X\r\n{given}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    async def until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await serve(reader, writer)

    async with faults.serving(until_end) as (host, port):
        yield f"http://{host}:{port}", asked


@asynccontextmanager
async def asking(folder: Path, url: str, **options: Any) -> AsyncIterator[Kubernetes]:
    kubeconfig = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "canary"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    options = {"kubeconfig": str(folder / "kubeconfig"), "timeout": "2s", "requests_per_second": 1000} | options
    client = Kubernetes(KubernetesSettings.model_validate_json(json.dumps(options)), Threads())
    try:
        yield client
    finally:
        await client.close()


def names(items: Any) -> list[str]:
    return [item.metadata.name for item in items]


async def test_a_list_is_read_page_by_page(tmp_path: Path, no_leftovers: None) -> None:
    def script(_method: str, path: str, query: dict[str, str]) -> Answer:
        assert (path, query["limit"], query["labelSelector"]) == ("/api/v1/pods", "2", "app=shop")
        return answer(things("c") if query.get("continue") == "two" else things("a", "b", more="two"))

    options = {"page_size": 2, "selectors": {"pods": "app=shop"}}
    async with scripted(script) as (url, asked), asking(tmp_path, url, **options) as client:
        snapshots = await asyncio.gather(*(client.list(PODS) for _ in range(20)))
    assert names(snapshots[0].items) == ["a", "b", "c"]
    assert all(snapshot is snapshots[0] for snapshot in snapshots)
    assert len(asked) == 2


async def test_namespaces_narrow_what_is_in_them(tmp_path: Path) -> None:
    def script(_method: str, path: str, _query: dict[str, str]) -> Answer:
        return answer(things(path))

    async with scripted(script) as (url, _), asking(tmp_path, url, namespaces=["shop", "orders"]) as client:
        pods, nodes = await client.list(PODS), await client.list(NODES)
    assert names(pods.items) == ["/api/v1/namespaces/shop/pods", "/api/v1/namespaces/orders/pods"]
    assert (names(nodes.items), nodes.namespaces) == (["/api/v1/nodes"], ())


async def test_ages_are_counted_by_the_clock_of_the_server(tmp_path: Path) -> None:
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)

    def script(_method: str, _path: str, _query: dict[str, str]) -> Answer:
        return answer(things("a"), Date=format_datetime(ahead, usegmt=True))

    async with scripted(script) as (url, _), asking(tmp_path, url) as client:
        assert (await client.list(PODS)).taken == ahead


async def test_a_forgotten_continuation_starts_the_list_again_once(tmp_path: Path) -> None:
    gone = 1

    def script(_method: str, _path: str, query: dict[str, str]) -> Answer:
        nonlocal gone
        if "continue" not in query:
            return answer(things("a", more="two"))
        gone -= 1
        return status(410, "The provided continue parameter is too old") if gone >= 0 else answer(things("b"))

    async with scripted(script) as (url, asked), asking(tmp_path, url) as client:
        assert names((await client.list(PODS)).items) == ["a", "b"]
        assert len(asked) == 4
    gone = 99
    async with scripted(script) as (url, asked), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError, match="pods change faster than they can be listed"):
            await client.list(PODS)
        assert len(asked) == 4


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    limits: list[int] = []

    def script(_method: str, _path: str, query: dict[str, str]) -> Answer:
        limits.append(int(query["limit"]))
        start = int(query.get("continue", 0))
        end = min(start + limits[-1], 40)
        pages = [f"{number}{'x' * 500}" for number in range(start, end)]
        return answer(things(*pages, more=str(end) if end < 40 else ""))

    async with scripted(script) as (url, _), asking(tmp_path, url, page_size=40, max_bytes=8000) as client:
        assert len((await client.list(PODS)).items) == 40
    assert limits == [40, *[10] * 4]
    async with scripted(script) as (url, _), asking(tmp_path, url, max_bytes=100) as client:
        with pytest.raises(ProbeError, match="answered more than 100 bytes, which were not read"):
            await client.list(PODS)


async def test_a_page_that_comes_again_and_again_is_not_read_for_ever(tmp_path: Path) -> None:
    async with scripted(lambda *_: answer(things("a", more="two"))) as (url, asked), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError, match="answered the same page of a list twice, so its end was not read"):
            await client.list(PODS)
    assert len(asked) == 2


async def test_one_object_is_read_or_is_not_there(tmp_path: Path) -> None:
    def script(_method: str, path: str, _query: dict[str, str]) -> Answer:
        known = path == "/api/v1/namespaces/shop/pods/a%2Fb"
        return answer({"metadata": {"name": "a"}}) if known else status(404, "not found")

    async with scripted(script) as (url, _), asking(tmp_path, url) as client:
        found = await client.read(PODS, "a/b", "shop")
        assert found is not None
        assert found[0].metadata.name == "a"
        assert await client.read(PODS, "c", "shop") is None


async def test_pages_are_made_compact(tmp_path: Path) -> None:
    listings: list[list[str]] = []

    def compact() -> Callable[[Any], list[str]]:
        seen: list[str] = []
        listings.append(seen)

        def page(items: Any) -> list[str]:
            seen.append("page")
            return names(items)

        return page

    kind: Kind[str] = Kind("pods", Thing, compact=compact)

    def script(_method: str, path: str, query: dict[str, str]) -> Answer:
        if path.endswith("/z"):
            return answer({"metadata": {"name": "z"}})
        return answer(things("b") if query.get("continue") else things("a", more="two"))

    async with scripted(script) as (url, _), asking(tmp_path, url) as client:
        assert list((await client.list(kind)).items) == ["a", "b"]
        read = await client.read(kind, "z")
    assert read is not None
    assert read[0] == "z"
    assert listings == [["page", "page"], ["page"]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (answer(b"<html>"), "answered something that is not JSON, or not all of it"),
        (answer(b'{"items": [{"metadata": {"na'), "answered something that is not JSON, or not all of it"),
        (answer({"items": [{"metadata": {"name": 7}}]}), "unexpected format: Expected `str`, got `int`"),
        (answer({"items": [{"metadata": {}}]}), "missing required field `name`"),
        (answer(b"\xff"), "answered"),
        (answer(b'{"a":' * 10_000), "answered"),
        (status(500, "etcdserver: request timed out."), "answered 500: etcdserver: request timed out."),
        (answer(b"bad gateway", 502), "answered 502: an error without a message."),
        (answer(b"", 302, Location="http://example.com/"), "answered 302"),
        (status(401, "Unauthorized"), "answered 401: the token or certificate was not accepted or has expired."),
        (answer({"message": "x" * 100_000}, 500), "more than 65536 bytes"),
    ],
)
async def test_what_is_no_list_is_told(tmp_path: Path, given: Answer, told: str) -> None:
    async with scripted(lambda *_: given) as (url, _), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError) as raised:
            await client.list(PODS)
    assert told in str(raised.value)
    assert str(raised.value).endswith(".")
    assert "canary" not in str(raised.value)


async def test_a_kind_that_is_not_served_and_a_right_that_is_lacking_are_told_apart(tmp_path: Path) -> None:
    missing, denied = status(404, "the server could not find the requested resource"), status(403, "forbidden")
    async with scripted(lambda *_: missing) as (url, _), asking(tmp_path, url) as client:
        with pytest.raises(NotServed, match=r"The cluster serves no verticalpodautoscalers.autoscaling.k8s.io \(v1\)"):
            await client.list(Kind("verticalpodautoscalers", Thing, "autoscaling.k8s.io"))
    async with scripted(lambda *_: denied) as (url, _), asking(tmp_path, url, namespaces=["orders"]) as client:
        with pytest.raises(NotAllowed, match="cannot list pods in orders"):
            await client.list(PODS)
        with pytest.raises(NotAllowed, match="cannot get nodes: its account"):
            await client.read(NODES, "one")
        with pytest.raises(ProbeError, match="answered 403"):
            await client.get("/version")


async def test_a_kind_that_is_served_in_another_version_alone_is_not_called_absent(tmp_path: Path) -> None:
    group, served = "gateway.networking.k8s.io", {"versions": [{"version": "v1"}, {"version": "v1beta1"}]}
    plurals = {"v1": ["things"], "v1beta1": ["gateways", "gateways/status"]}
    answers = {f"/apis/{group}": answer(served)} | {
        f"/apis/{group}/{version}": answer({"resources": [{"name": name} for name in found]})
        for version, found in plurals.items()
    }
    script = lambda _method, path, _query: answers.get(path, status(404, "not found"))  # noqa: E731
    async with scripted(script) as (url, _), asking(tmp_path, url) as client:
        with pytest.raises(
            ProbeError, match=rf"serves gateways.{group} only as v1beta1, and the exporter knows only v1"
        ) as raised:
            await client.list(Kind("gateways", Thing, group))
        assert not isinstance(raised.value, NotServed)
        with pytest.raises(NotServed):
            await client.list(Kind("httproutes", Thing, group))
        answers[f"/apis/{group}"] = status(403, "forbidden")
        with pytest.raises(ProbeError, match="answered 403") as raised:
            await client.list(Kind("gatewayclasses", Thing, group))
        assert not isinstance(raised.value, NotServed)


async def test_kinds_of_groups_that_are_not_there_are_not_asked_for(tmp_path: Path) -> None:
    groups = {"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]}
    answers = {"/apis": answer(groups), "/apis/apps/v1/things": answer(things("a"))}
    script = lambda _method, path, _query: answers.get(path, status(404, "not found"))  # noqa: E731
    async with scripted(script) as (url, asked), asking(tmp_path, url) as client:
        for plural in ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"):
            with pytest.raises(NotServed, match=rf"The cluster serves no {plural}.cilium.io \(v1\)"):
                await client.list(Kind(plural, Thing, "cilium.io"))
        assert asked == ["/apis"]
        assert names((await client.list(Kind("things", Thing, "apps"))).items) == ["a"]
        with pytest.raises(NotServed):
            await client.list(Kind("others", Thing, "apps"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (status(500, "etcdserver: no leader"), "/apis answered 500: etcdserver: no leader."),
        (answer({"groups": None}), "/apis answered in an unexpected format"),
    ],
)
async def test_groups_that_cannot_be_seen_make_no_kind_absent(tmp_path: Path, given: Answer, told: str) -> None:
    async with scripted(lambda *_: given) as (url, _), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError, match=told) as raised:
            await client.list(Kind("things", Thing, "example.com"))
        assert not isinstance(raised.value, NotServed)


async def test_a_server_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    refusals = 2

    def script(_method: str, _path: str, _query: dict[str, str]) -> Answer:
        nonlocal refusals
        refusals -= 1
        return answer(b"", 429, Retry_After="0") if refusals >= 0 else answer(things("a"))

    async with scripted(script) as (url, asked), asking(tmp_path, url) as client:
        assert names((await client.list(PODS)).items) == ["a"]
        assert len(asked) == 3


async def test_a_storm_of_429_is_not_answered_with_one_of_requests(tmp_path: Path, no_leftovers: None) -> None:
    async with scripted(lambda *_: answer(b"", 429, Retry_After="30")) as (url, asked), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError, match="answered 429: the API server is overloaded and asks to retry in 30 s"):
            await client.list(PODS)
        for kind in (PODS, NODES):
            with pytest.raises(ProbeError, match="was not sent within 2s: the API server asked to wait"):
                await client.list(kind)
        assert len(asked) == 1


async def test_patience_that_is_asked_for_without_end_has_one(tmp_path: Path) -> None:
    refusals = 1

    def script(_method: str, _path: str, _query: dict[str, str]) -> Answer:
        nonlocal refusals
        refusals -= 1
        return answer(b"", 429, Retry_After="9" * 400) if refusals >= 0 else answer(things("a"))

    async with scripted(script) as (url, _), asking(tmp_path, url) as client:
        with pytest.raises(ProbeError, match="and asks to retry in 60 s"):
            await client.list(PODS)


async def test_no_more_than_the_rate_is_asked(tmp_path: Path) -> None:
    def script(_method: str, _path: str, query: dict[str, str]) -> Answer:
        page = int(query.get("continue", 0))
        return answer(things("a", more=str(page + 1) if page < 4 else ""))

    async with scripted(script) as (url, _), asking(tmp_path, url, requests_per_second=50) as client:
        before = asyncio.get_running_loop().time()
        await client.list(PODS)
        assert asyncio.get_running_loop().time() - before >= 5 / 50


CLOSED = b"HTTP/1.1 201 OK\r\nConnection: close\r\n\r\n["
FAULTS: list[tuple[Callable[[], AbstractAsyncContextManager[Address]], str]] = [
    (faults.refused, r"failed: the connection was refused\."),
    (faults.unroutable, r"did not answer within 200ms\."),
    (faults.mute, r"did not answer within 200ms\."),
    (faults.hanging_up, ""),  # or too late for so short a time
    (faults.garbage, ""),
    (lambda: faults.half_reply(b"HTTP/1.1 201 OK\r\nContent-Length: 100\r\n\r\n{"), r"did not answer within 200ms\."),
    (lambda: faults.endless(CLOSED), "answered "),
    # On a busy machine it may even fail to trickle.
    (
        lambda: faults.endless(CLOSED, b" ", every=0.02),
        r"(bytes after 200ms, and not all|did not answer within 200ms)\.",
    ),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS)
async def test_a_faulty_server_is_told_in_time_and_leaves_nothing(
    tmp_path: Path, fault: Callable[[], AbstractAsyncContextManager[Address]], told: str, no_leftovers: None
) -> None:
    async with fault() as (host, port):
        for _ in range(3):
            async with asking(tmp_path, f"http://{host}:{port}", timeout="200ms", max_bytes=100_000) as client:
                with pytest.raises(ProbeError, match=f"{host}:{port}.*{told}"):
                    await client.list(PODS)


async def test_a_server_that_speaks_no_tls_is_told(tmp_path: Path, no_leftovers: None) -> None:
    async with faults.garbage() as (host, port), asking(tmp_path, f"https://{host}:{port}") as client:
        with pytest.raises(ProbeError, match="failed: the TLS handshake failed"):
            await client.list(PODS)


async def test_a_right_that_is_refused_by_review_is_named_without_asking(tmp_path: Path) -> None:
    denied = json.dumps({"status": {"allowed": False}}).encode()
    async with scripted(lambda *_: answer(things("a")), review=denied) as (url, asked), asking(tmp_path, url) as client:
        for _ in range(2):
            with pytest.raises(NotAllowed, match="cannot list pods in all namespaces: its account has no right to it"):
                await client.list(PODS)
    assert asked == []


async def test_closing_ends_what_is_under_way(tmp_path: Path, no_leftovers: None) -> None:
    reply = b"HTTP/1.1 201 OK\r\nContent-Length: 100\r\n\r\n{"
    async with faults.half_reply(reply) as (host, port):
        async with asking(tmp_path, f"http://{host}:{port}", timeout="1m") as client:
            asked = asyncio.create_task(client.list(PODS))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.3)
        with pytest.raises((ProbeError, asyncio.CancelledError)):
            await asked


@pytest.mark.parametrize(
    ("kubeconfig", "told"),
    [
        ("", "cannot be used"),
        ("current-context: lost\ncontexts: []\nclusters: []", "cannot be used"),
        ("{", "cannot be used"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path, kubeconfig: str, told: str) -> None:
    file = tmp_path / "broken"
    file.write_text(kubeconfig)
    async with asking(tmp_path, "http://127.0.0.1", kubeconfig=str(file)) as client:
        with pytest.raises(ProbeError, match=f"kubeconfig {file} {told}"):
            await client.list(PODS)


def kubeconfig_of(
    file: Path, user: object, server: str = "http://127.0.0.1", cluster: Mapping[str, str] | None = None
) -> None:
    """Write a kubeconfig of this user."""
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    clusters, users = [{"name": "c", "cluster": cluster or {"server": server}}], [{"name": "c", "user": user}]
    file.write_text(json.dumps({"current-context": "c", "contexts": [context], "clusters": clusters, "users": users}))


async def test_a_kubeconfig_without_credentials_is_told(tmp_path: Path) -> None:
    file = tmp_path / "anonymous"
    failing = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
    for user in ({}, {"exec": failing}):
        kubeconfig_of(file, user, "https://127.0.0.1")
        async with asking(tmp_path, "http://127.0.0.1", kubeconfig=str(file)) as client:
            with pytest.raises(ProbeError, match="has no credentials: neither a token nor a certificate"):
                await client.list(PODS)


async def test_a_token_that_ends_with_a_line_break_is_taken_and_never_told(tmp_path: Path) -> None:
    file, token = tmp_path / "written", tmp_path / "token"
    async with scripted(lambda *_: answer(things("a"))) as (url, _):
        for user in ({"tokenFile": str(token)}, {"token": "canary\n"}):
            token.write_text("canary\n")
            kubeconfig_of(file, user, url)
            async with asking(tmp_path, url, kubeconfig=str(file)) as client:
                assert names((await client.list(PODS)).items) == ["a"]
        for odd in ("canary\ncanary", "canary…"):
            kubeconfig_of(file, {"token": odd}, url)
            async with asking(tmp_path, url, kubeconfig=str(file)) as client:
                with pytest.raises(
                    ProbeError, match="written cannot be sent: it has characters that no token has"
                ) as raised:
                    await client.list(PODS)
                assert "canary" not in str(raised.value)


async def test_a_password_in_the_address_is_never_told(tmp_path: Path) -> None:
    async with faults.refused() as (host, port), asking(tmp_path, f"http://user:canary@{host}:{port}") as client:
        with pytest.raises(ProbeError, match=rf"http://{host}:{port}/.* failed: the connection was refused") as raised:
            await client.list(PODS)
        assert "canary" not in str(raised.value)


async def test_credentials_that_cannot_be_renewed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise ConfigException("Token file exists but empty.")

    monkeypatch.setattr("collectors.systems.kubernetes.client.api._AUTHORIZED_FOR", 0.0)
    async with scripted(lambda *_: answer(things("a"))) as (url, _), asking(tmp_path, url, max_age="1ms") as client:
        await client.list(PODS)
        monkeypatch.setattr("kubernetes.client.ApiClient.update_params_for_auth", gone)
        with pytest.raises(ProbeError, match=r"kubeconfig could not be renewed: Token file exists but empty\."):
            await client.list(PODS)


async def test_an_exec_plugin_that_does_not_end_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leftovers: None
) -> None:
    monkeypatch.setattr("collectors.systems.kubernetes.client.api._CONFIGURED_WITHIN", timedelta(seconds=0.3))
    file, runs = tmp_path / "plugin", tmp_path / "runs"
    runs.touch()
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never"}
    kubeconfig_of(file, {"exec": plugin | {"args": ["-c", f"while [ -e {runs} ]; do sleep 0.05; done"]}})
    async with asking(tmp_path, "http://127.0.0.1", kubeconfig=str(file)) as client:
        for kind in (PODS, NODES):
            with pytest.raises(ProbeError, match="plugin was not read within 300ms: its exec plugin does not finish"):
                await client.list(kind)
    runs.unlink()  # only now: what closes the client does not wait for it


def test_what_is_never_read_cannot_be_named() -> None:
    for plural in ("secrets", "pods/exec", "nodes/proxy", "services/proxy", "serviceaccounts/token"):
        with pytest.raises(ValueError, match="is never read"):
            Kind(plural, Thing)
    assert str(Kind("secrets", Thing, "example.com")) == "secrets.example.com"


async def test_only_what_the_server_says_of_itself_is_got_raw(tmp_path: Path) -> None:
    async with scripted(lambda *_: answer(b"[-]etcd failed", 500)) as (url, _), asking(tmp_path, url) as client:
        ready = await client.get("/readyz")
        assert (ready.status, ready.text) == (500, "[-]etcd failed")
        with pytest.raises(ValueError, match="is not what an API server says of itself"):
            await client.get("/api/v1/namespaces/shop/secrets")


def served_as_eks_does(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """An authority without keyUsage whose basicConstraints are not critical, and what serves with its certificate: without an
    Authority Key Identifier."""
    now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    pem = serialization.Encoding.PEM
    for file, key, is_authority in (("ca", keys[0], True), ("server", keys[1], False)):
        subject = name if is_authority else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        if is_authority:
            made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        else:
            address = x509.IPAddress(ip_address(host))
            made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        (folder / f"{file}.pem").write_bytes(made.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.key").write_bytes(keys[1].private_bytes(pem, *private))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", tls


async def test_certificates_are_verified_as_kubectl_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 and later are stricter, and refuse what EKS serves: here every Python is made to be so."""
    create = ssl_.create_urllib3_context

    def strict(*args: Any, **options: Any) -> ssl.SSLContext:
        context = create(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl_, "create_urllib3_context", strict)
    ca, tls = served_as_eks_does(tmp_path, LOOPBACK)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                body = ALLOWED if head.startswith(b"POST") else json.dumps(things("a")).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()

    async with faults.serving(serve, tls) as (host, port):
        url = f"https://{host}:{port}"
        with socket.create_connection((host, port)) as plain:
            refusing = ssl.create_default_context(cafile=str(ca))
            refusing.verify_flags |= ssl.VERIFY_X509_STRICT
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(refusing.wrap_socket, plain, server_hostname=host)
        for trusted, accepted in ((ca, True), (None, False)):
            cluster = {"server": url} | ({"certificate-authority": str(trusted)} if trusted else {})
            file = tmp_path / "eks"
            kubeconfig_of(file, {"token": "canary"}, cluster=cluster)
            async with asking(tmp_path, url, kubeconfig=str(file)) as client:
                if accepted:
                    assert names((await client.list(PODS)).items) == ["a"]
                else:
                    with pytest.raises(ProbeError, match="the certificate was not accepted"):
                        await client.list(PODS)
