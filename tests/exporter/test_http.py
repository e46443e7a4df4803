"""Bounded HTTP against servers that misbehave in every way."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from exporter.http import Http, HttpSettings, Trust
from exporter.reply import Reply
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.certificates import Issued, authority
from tests.servers.faults import Address
from tests.servers.process import eventually


def settings(address: Address | str, **options: object) -> HttpSettings:
    url = address if isinstance(address, str) else f"http://{address[0]}:{address[1]}"
    return HttpSettings.model_validate_json(json.dumps({"url": url, "timeout": "10s"} | options))


async def ask(configured: HttpSettings, path: str = "/api", **options: object) -> Reply:
    http = Http(configured)
    try:
        return await http.get(path, **options)  # type: ignore[arg-type]
    finally:
        await http.close()


async def refusal(configured: HttpSettings, path: str = "/api") -> str:
    with pytest.raises(ProbeError) as raised:
        await ask(configured, path)
    return str(raised.value)


@asynccontextmanager
async def answering(
    answer: Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Address]:
    """An HTTP/1.1 server whose `answer` gets the request line and the headers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            headers = {}
            while (header := await reader.readline()).strip():
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            status, extra, body = answer(line.decode().strip(), headers)
            extra = {"Content-Length": str(len(body))} | extra
            head = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
            await writer.drain()

    async with faults.serving(serve, tls) as address:
        yield address


async def test_a_reply_is_read_whole() -> None:
    async with answering(lambda line, _: (200, {"Content-Type": "application/json"}, b'{"a": 1}')) as address:
        reply = await ask(settings(address))
        assert (reply.status, reply.json(), reply.text) == (200, {"a": 1}, '{"a": 1}')
        assert reply.where == f"GET http://127.0.0.1:{address[1]}/api"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"{}" * 40_000)), ("deflate", zlib.compress(b"{}" * 40_000)), ("identity", b"{}" * 40_000)],
    ids=[
        "gzip",
        "deflate",
        "identity",
    ],  # gzip writes the time into what it packs, and so would the test's name have it
)
async def test_a_packed_reply_is_unpacked(encoding: str, body: bytes) -> None:
    seen: list[str] = []

    def answer(_line: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        seen.append(headers["accept-encoding"])
        return 200, {"Content-Encoding": encoding}, body

    async with answering(answer) as address:
        assert (await ask(settings(address))).body == b"{}" * 40_000
    assert seen == ["gzip"]


BOMB = gzip.compress(bytes(100_000_000))


@pytest.mark.parametrize(
    ("encoding", "body", "told"),
    [
        ("gzip", BOMB, "answered more than 100000 bytes (limit 100000), which was not read."),
        ("gzip, gzip", gzip.compress(BOMB), "answered in the encoding 'gzip, gzip', which was not requested."),
        ("br", b"abc", "answered in the encoding 'br', which was not requested."),
        ("gzip", b"abc", "answered in the encoding gzip, but that cannot be unpacked."),
        ("gzip", gzip.compress(b"up 1\n" * 1000)[:-9], "answered in the encoding gzip, but broke off in the middle."),
    ],
    ids=["bomb", "packed twice", "not asked for", "garbage", "half"],
)
async def test_a_reply_that_swells_is_not_unpacked(encoding: str, body: bytes, told: str) -> None:
    async with answering(lambda line, _: (200, {"Content-Encoding": encoding}, body)) as address:
        tracemalloc.start()
        try:
            assert (await refusal(settings(address, max_bytes=100_000))).endswith(told)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


async def test_credentials_and_headers_are_sent_and_appear_nowhere_else() -> None:
    seen: list[dict[str, str]] = []

    def answer(_line: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        seen.append(headers)
        return 403, {}, b"no"

    async with answering(answer) as address:
        told = await refusal(settings(address, bearer_token="canary-1", headers={"X-Scope-OrgID": "canary-2"}))
        told += await refusal(settings(address, username="reader", password="canary-3"))
    assert seen[0]["authorization"] == "Bearer canary-1"
    assert seen[0]["x-scope-orgid"] == "canary-2"
    assert seen[1]["authorization"].startswith("Basic ")
    assert "canary" not in told
    assert "answered 403: the credentials have no right to it." in told


@pytest.mark.parametrize("secret", ["canary\n", " canary", "canary\r\nX-Admin: 1", "canary\x00", ""])
@pytest.mark.parametrize("option", ["bearer_token", "headers"])
def test_a_header_is_one_line(option: str, secret: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings("http://example.com", **{option: secret if option == "bearer_token" else {"X-Key": secret}})
    assert "canary" not in str(refused.value)


async def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    async with answering(lambda *_: (200, {}, b"{}")) as address:
        with pytest.raises(ProbeError, match="was not sent: a header has characters") as refused:
            await ask(settings(address), headers={"Authorization": "canary\n"})
    assert "canary" not in str(refused.value)


FAULTS: list[tuple[str, Callable[[], AbstractAsyncContextManager[Address]], str]] = [
    ("refused", faults.refused, "failed: the connection was refused."),
    ("unroutable", faults.unroutable, "did not answer within 300ms."),
    ("mute", faults.mute, "did not answer within 300ms."),
    ("hanging up", faults.hanging_up, "failed: the reply is not HTTP or ended too early."),
    (
        "half a reply",
        lambda: faults.half_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        "did not answer within 300ms.",
    ),
    ("garbage", faults.garbage, "failed: the reply is not HTTP or ended too early."),
    (
        "endless body",
        lambda: faults.endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        "answered more than 100000 bytes (limit 100000), which was not read.",
    ),
    (
        "dripping body",
        lambda: faults.endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x", 0.01),
        "did not answer within 300ms.",
    ),
    ("endless headers", lambda: faults.endless(b"HTTP/1.1 200 OK\r\n"), "failed: "),
]


@pytest.mark.parametrize(("fault", "sentence"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_a_faulty_server_is_told_in_one_sentence(
    fault: Callable[[], AbstractAsyncContextManager[Address]], sentence: str
) -> None:
    async with fault() as address:
        told = await refusal(settings(address, max_bytes=100_000, timeout="300ms" if "300ms" in sentence else "10s"))
    assert told.startswith(f"GET http://127.0.0.1:{address[1]}/api ")
    assert sentence in told
    assert told.endswith(".")


async def test_an_unknown_name_is_told() -> None:
    told = await refusal(settings("http://no-such-host.invalid", timeout="5s"))
    assert told.startswith("GET http://no-such-host.invalid/api failed: ")


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (401, {}, "answered 401: the credentials were not accepted."),
        (429, {"Retry-After": "7"}, "answered 429: too many requests (retry after 7 s)."),
        (429, {}, "answered 429: too many requests."),
        (502, {}, "answered 502 with an error (expected 200)."),
        (204, {}, "answered 204 with an empty body (expected 200)."),
    ],
)
async def test_a_status_is_told(status: int, headers: dict[str, str], sentence: str) -> None:
    async with answering(lambda line, _: (status, headers, b"")) as address:
        assert (await refusal(settings(address))).endswith(sentence)
        reply = await ask(settings(address), expect=None)
        assert reply.status == status


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>log in</html>", "an HTML page"),
        (b"", "an empty body"),
        (b'{"a": ', "6 bytes of text/plain that do not parse"),
        (b"[" * 100_000, "100000 bytes of text/plain that do not parse"),
    ],
)
async def test_what_is_no_json_is_told(body: bytes, kind: str) -> None:
    async with answering(lambda line, _: (200, {"Content-Type": "text/plain"}, body)) as address:
        reply = await ask(settings(address))
        with pytest.raises(ProbeError, match=f"answered 200 with {kind}, where JSON was expected"):
            reply.json()


async def test_redirects_stay_on_the_host_and_end() -> None:
    def answer(line: str, _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        path = line.split()[1]
        if path == "/there":
            return 200, {}, b"here"
        return 302, {"Location": {"/api": "/there", "/loop": "/loop"}.get(path, "http://login.example.com/")}, b""

    async with answering(answer) as address:
        assert (await ask(settings(address))).text == "here"
        assert (await refusal(settings(address), "/loop")).endswith("was redirected more than three times.")
        told = await refusal(settings(address), "/away")
        assert told.endswith("was redirected to another host (http://login.example.com), which was not followed.")
        assert (await ask(settings(address), "/away", expect=(302,))).status == 302


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        "https:///x",
        "https:/x",
        "mailto:a@b",
        "http://[::1",
        "http://shop:99999/",
    ],
)
async def test_a_redirect_that_leads_nowhere_is_none(location: str) -> None:
    """A trap: httpx raises at some of them what is no HTTPError, and gives others the host that was asked."""
    async with answering(lambda _line, _headers: (301, {"Location": location}, b"")) as address:
        reply = await ask(settings(address), expect=None)
        assert (reply.status, reply.headers.get("location")) == (301, None)
        assert "answered 301" in await refusal(settings(address), "/")


async def test_connections_are_kept_and_bounded_and_closed() -> None:
    lines: list[str] = []

    def answer(line: str, _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        lines.append(line)
        return 200, {}, b"{}"

    async with answering(answer) as address, faults.Proxy(*address) as proxy:
        http = Http(settings(proxy.address), connections=2)
        await asyncio.gather(*(http.get("/a") for _ in range(20)))
        assert proxy.accepted <= 2
        await http.close()
        await http.close()
        async with asyncio.timeout(5):
            while proxy.open:
                await asyncio.sleep(0.01)
        assert len(lines) == 20


async def test_hundreds_of_failures_leave_nothing_behind() -> None:
    async with faults.mute() as silent, faults.refused() as closed, faults.garbage() as babbling:
        tasks, files = asyncio.all_tasks(), psutil.Process().num_fds()
        for address in [silent, closed, babbling] * 70:
            await refusal(settings(address, timeout="10ms"))
        gc.collect()
        # but for the servers' own ends
        await eventually(lambda: psutil.Process().num_fds() <= files + 3, "the sockets to be closed")
        await eventually(lambda: len(asyncio.all_tasks() - tasks) <= 3, "the tasks to end")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a", "starts with http"),
        ("http://", "names a host"),
        ("http://u:canary@a", "no credentials in the address"),
        ("http://a/?token=canary", "without query"),
    ],
)
def test_an_address_is_plain(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as raised:
        HttpSettings(url=url)
    assert "canary" not in str(raised.value)


# -- TLS


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for `name` and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name.replace(".", "").isdigit():
        alternative = x509.IPAddress(ip_address(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def server_context(cert: tuple[Path, Path], client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


async def test_certificates_are_verified(tmp_path: Path) -> None:
    right, wrong = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "other.example.com")
    async with answering(lambda line, _: (200, {}, b"{}"), server_context(right)) as address:
        url = f"https://127.0.0.1:{address[1]}"
        assert (await ask(settings(url, tls={"ca_file": str(right[0])}))).status == 200
        assert "certificate was not accepted (self-signed certificate)" in await refusal(settings(url))
        assert (await ask(settings(url, tls={"insecure_skip_verify": True}))).status == 200
    async with answering(lambda line, _: (200, {}, b"{}"), server_context(wrong)) as address:
        url = f"https://127.0.0.1:{address[1]}"
        told = await refusal(settings(url, tls={"ca_file": str(wrong[0])}))
        assert "IP address mismatch" in told
        named = {"ca_file": str(wrong[0]), "server_name": "other.example.com"}
        assert (await ask(settings(url, tls=named))).status == 200
    async with faults.garbage() as address:
        told = await refusal(settings(f"https://127.0.0.1:{address[1]}"))
        assert "the TLS handshake failed" in told


@pytest.mark.parametrize("anchor", ["root", "intermediate"])
async def test_certificates_are_verified_as_curl_and_go_do(tmp_path: Path, anchor: str) -> None:
    """Without an Authority Key Identifier, which Python 3.13 alone demands; and up to an intermediate that is trusted."""
    root = Issued.root(identified=False)
    intermediate = root.intermediate(identified=False)
    leaf = intermediate.issue("127.0.0.1", identified=False)
    trusted, _ = (root if anchor == "root" else intermediate).write(
        tmp_path, "ca", (root if anchor == "root" else intermediate).pem
    )
    served = server_context(leaf.write(tmp_path, "server"))
    async with answering(lambda line, _: (200, {}, b"{}"), served) as address:
        url = f"https://127.0.0.1:{address[1]}"
        assert (await ask(settings(url, tls={"ca_file": str(trusted)}))).status == 200
        strict = ssl.create_default_context(cafile=trusted)
        strict.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        with pytest.raises(ssl.SSLCertVerificationError, match="Missing Authority Key Identifier"):
            await asyncio.open_connection(*address, ssl=strict)
        stranger, _ = Issued.root().write(tmp_path, "stranger")
        assert "certificate was not accepted" in await refusal(settings(url, tls={"ca_file": str(stranger)}))


async def test_strict_verifiers_accept_the_certificates_of_the_tests(tmp_path: Path) -> None:
    ca, _ = authority().write(tmp_path, "ca")
    served = server_context(authority().intermediate().issue("127.0.0.1").write(tmp_path, "server"))
    strict = ssl.create_default_context(cafile=ca)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    async with answering(lambda line, _: (200, {}, b"{}"), served) as address:
        _, writer = await asyncio.open_connection(*address, ssl=strict)
        writer.close()


async def test_a_client_certificate_is_shown_and_its_rotation_noticed(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "client.example.com")
    async with answering(lambda line, _: (200, {}, b"{}"), server_context(server, client[0])) as address:
        trust = {"ca_file": str(server[0]), "cert_file": str(client[0]), "key_file": str(client[1])}
        url = f"https://127.0.0.1:{address[1]}"
        assert (await ask(settings(url, tls=trust))).status == 200
        first = settings(url, tls=trust).tls.context
        assert settings(url, tls=trust).tls.context is first
        certificate(tmp_path, "client.example.com")
        assert settings(url, tls=trust).tls.context is not first


async def test_connections_under_a_certificate_that_was_replaced_are_closed(tmp_path: Path, no_leftovers: None) -> None:
    server, client = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "client.example.com")
    trust = {"ca_file": str(server[0]), "cert_file": str(client[0]), "key_file": str(client[1])}
    async with (
        answering(lambda line, _: (200, {}, b"{}"), server_context(server)) as (host, port),
        faults.Proxy(host, port) as proxy,
    ):
        http = Http(settings(f"https://127.0.0.1:{proxy.address[1]}", tls=trust, timeout="5s"))
        await http.get("/a")
        certificate(tmp_path, "client.example.com")
        await http.get("/a")
        assert proxy.accepted == 2
        await eventually(lambda: proxy.open == 1, "the first connection to be closed", deadline=15)
        await http.get("/a")
        assert proxy.accepted == 2, "the second one is kept"
        certificate(tmp_path, "client.example.com")
        await http.get("/a")
        await http.close()
        await eventually(lambda: proxy.open == 0, "every connection to be closed", deadline=4)


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_bad_tls_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProbeError, match=r"ca\.pem cannot be (read|used)"):
        _ = Trust(ca_file=path).context


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{trap.getsockname()[1]}")
        async with answering(lambda line, _: (200, {}, b"{}")) as address:
            assert (await ask(settings(address))).status == 200
