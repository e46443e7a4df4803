from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.config import ConfigError
from exporter.web import Options, access, bind
from exporter.web.access import AccessFile, CipherSuite, RateLimitOptions
from exporter.web.guard import Bucket, Users
from exporter.web.server import ListenError
from tests.exporter.samples import planned, state
from tests.exporter.web.site import Site, running
from tests.servers.certificates import Issued
from tests.servers.process import eventually, free_port
from tests.support import Clock

PASSWORD = "canary-secret-of-alice"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
LONG = "ü" * 37  # 74 bytes
USERS = f"basic_auth_users:\n  alice: {HASH}\n"

Serve = Callable[..., Coroutine[Any, Any, Site]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority() -> Issued:
    return Issued.root("checklist-exporter tests")


@pytest.fixture
def web_config(tmp_path: Path) -> Path:
    return tmp_path / "web.yaml"


@pytest.fixture
async def site_with(web_config: Path, clock: Clock) -> AsyncIterator[Serve]:
    """Starts a site with this text as its --web.config.file."""
    async with asyncio.TaskGroup() as group:
        stopping = asyncio.Event()

        async def serve(text: str, **changes: Any) -> Site:
            web_config.write_text(text)
            started: asyncio.Future[Site] = asyncio.get_running_loop().create_future()

            async def run() -> None:
                async with running(state(planned()), clock, web_config=web_config, **changes) as site:
                    started.set_result(site)
                    await stopping.wait()

            group.create_task(run())
            return await started

        yield serve
        stopping.set()


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def problems(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as raised:
        AccessFile(path)
    return str(raised.value).replace(str(path), "web.yaml").replace(f"{path.parent}/", "")


# The file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tls_server_confg: {}", "web.yaml:1:1: tls_server_confg: unknown key; did you mean 'tls_server_config'?"),
        (
            "tls_server_config: {cert_file: cert.pem}",
            "web.yaml:1:1: tls_server_config.key_file: missing, it is required",
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem}",
            "web.yaml:1:21: tls_server_config.cert_file: cert.pem cannot be read: No such file or directory",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "expected client_ca_file and a client_auth_type other than NoClientCert, or neither",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequestClientCert}",
            "expected 'NoClientCert', 'VerifyClientCertIfGiven' or 'RequireAndVerifyClientCert'",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}",
            "expected max_version to be no older than min_version",
        ),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "expected 'TLS12' or 'TLS13'"),
        ("tls_server_config: {cert_file: a, key_file: b, curve_preferences: [X25519]}", "curve_preferences: unknown key"),
        ("http_server_config: {http2: true}", "http_server_config.http2: found true of type boolean, expected False"),
        ("http_server_config: {headers: {X-Other: a}}", "http_server_config.headers"),
        ('http_server_config: {headers: {X-Frame-Options: "a\\nb: c"}}', "http_server_config.headers.X-Frame-Options"),
        ("basic_auth_users: {alice: plain-password}", "expected a bcrypt hash, as `htpasswd -nBC 10` prints it"),
        ("rate_limit: {interval: often}", "rate_limit.interval"),
        ("rate_limit: {interval: 1s, burst: 0}", "rate_limit.burst"),
        ("[1, 2]", "web.yaml:1:1: found a list, expected a mapping"),
        ("a: b: c", "web.yaml:1:"),
        (b"\xff\xfe\x00", "web.yaml:1:1: expected UTF-8 text, found other bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_told_with_its_place(web_config: Path, text: str | bytes, problem: str) -> None:
    assert problem in problems(web_config, text)


def test_pipes_in_place_of_the_files_are_refused_at_once(web_config: Path, authority: Issued, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    with pytest.raises(ConfigError, match="it is not a regular file"):
        AccessFile(tmp_path / "pipe")
    authority.issue("localhost").write(tmp_path, "server")
    text = "tls_server_config: {cert_file: server.pem, key_file: pipe}\n"
    assert "pipe cannot be read: it is not a regular file" in problems(web_config, text)
    assert time.monotonic() - started < 3


def test_a_disk_that_hangs_at_the_start_is_given_up(web_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(access, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(access, "_stamp", lambda _: release.wait(30))
    why = "the file, or one that it names, cannot be read: its disk does not answer within 0.2 s"
    assert why in problems(web_config, USERS)
    release.set()


async def test_a_disk_that_hangs_later_keeps_the_last_good_access(
    web_config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web_config.write_text(USERS)
    file = AccessFile(web_config)
    release, real = threading.Event(), access._stamp
    monkeypatch.setattr(access, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(access, "PATIENCE", 0.05)
    monkeypatch.setattr(access, "_stamp", lambda path: release.wait(30) and real(path))
    web_config.write_text(USERS.replace("alice", "carol"))
    before = threading.active_count()
    for _ in range(5):
        assert set((await file.fresh()).users) == {"alice"}
        await asyncio.sleep(0.1)
    assert threading.active_count() <= before + 1
    assert caplog.text.count("the last good one stays in force: a disk has not answered for 0.2 s.") == 1
    release.set()
    await eventually(lambda: set(file.current().users) == {"carol"}, what="the disk answers")


def test_no_problem_shows_a_credential(web_config: Path) -> None:
    assert PASSWORD not in problems(web_config, f"basic_auth_users: {{alice: {PASSWORD}}}")


def test_file_that_is_not_there_is_told(web_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"web\.yaml:1:1: the file cannot be read: No such file or directory"):
        AccessFile(web_config)


@pytest.mark.parametrize(
    "text", ["{}", "basic_auth_users: {}", "tls_server_config: null\n", "rate_limit: {interval: 0, burst: 1}"]
)
def test_file_that_asks_for_nothing_changes_nothing(web_config: Path, text: str) -> None:
    web_config.write_text(text)
    assert AccessFile(web_config).current().users == AccessFile(None).current().users == {}
    assert not AccessFile(web_config).tls


def test_certificate_of_another_key_is_told(web_config: Path, authority: Issued, tmp_path: Path) -> None:
    authority.issue("localhost").write(tmp_path, "one")
    authority.issue("localhost").write(tmp_path, "two")
    text = problems(
        web_config, f"tls_server_config: {{cert_file: {tmp_path / 'one.pem'}, key_file: {tmp_path / 'two.key'}}}"
    )
    assert "are not a certificate and its unencrypted key (KEY_VALUES_MISMATCH)" in text


def test_authorities_without_certificate_are_told(web_config: Path, authority: Issued, tmp_path: Path) -> None:
    text = (
        tls(authority, tmp_path)
        + f"  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: {tmp_path / 'server.key'}\n"
    )
    assert "server.key contains no certificate (NO_CERTIFICATE_OR_CRL_FOUND)" in problems(web_config, text)


@pytest.mark.parametrize("suite", CipherSuite)
def test_every_cipher_suite_is_known_to_openssl(suite: CipherSuite) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(suite.openssl)
    assert suite.openssl in {cipher["name"] for cipher in context.get_ciphers()}


# Users


async def test_right_password_enters_and_nothing_else_does(site_with: Serve) -> None:
    site = await site_with(USERS)
    assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
    assert (await site.get("/", **basic("alice", PASSWORD))).status_code == 200
    for path in ("/metrics", "/", "/api/v1/items", "/static/style.css", "/nowhere", "/-/reload"):
        for headers in ({}, basic("alice", "wrong"), basic("bob", PASSWORD), basic("", ""), basic("alice", LONG)):
            answer = await site.get(path, **headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Basic realm="checklist-exporter", charset="UTF-8"'
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !", "Basic YWxpY2U=", "Basic /w==", "Bearer abc", "Basic " + "A" * 8000, "Basic YWxpY2U6AA=="],
)
async def test_senseless_credentials_are_refused(site_with: Serve, header: str) -> None:
    site = await site_with(USERS)
    assert (await site.get("/metrics", authorization=header)).status_code == 401


async def test_the_kubelet_needs_no_password(site_with: Serve) -> None:
    site = await site_with(USERS, options=Options(route_prefix="/x"))
    assert (await site.get("/x/-/healthy")).status_code == 200
    assert (await site.get("/x/-/ready")).status_code == 200
    assert (await site.get("/-/healthy")).status_code == 401


async def test_password_may_have_colons_and_any_letters(site_with: Serve) -> None:
    password = "a:b:ü✓"
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    site = await site_with(f"basic_auth_users: {{zoë: {hashed}}}")
    assert (await site.get("/metrics", **basic("zoë", password))).status_code == 200


class Counted:
    """Counts bcrypt rounds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds = 0
        check = bcrypt.checkpw

        def counted(password: bytes, hashed: bytes) -> bool:
            self.rounds += 1
            return check(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", counted)


async def admitted(users: Users, user: str, password: str, hashed: str = HASH) -> bool:
    return await users.admit(basic(user, password)["authorization"].encode(), {"alice": hashed.encode()})


async def test_right_password_costs_bcrypt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, users = Counted(monkeypatch), Users()
    assert all(await asyncio.gather(*(admitted(users, "alice", PASSWORD) for _ in range(20))))
    assert counted.rounds == 1
    assert not await admitted(users, "alice", "wrong")
    assert await admitted(users, "alice", PASSWORD)
    assert counted.rounds == 2
    users.close()


async def test_unknown_user_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, users = Counted(monkeypatch), Users()
    assert await admitted(users, "alice", PASSWORD)
    for user in ("alice", "bob", ""):
        before = counted.rounds
        assert not await admitted(users, user, "wrong")
        assert counted.rounds == before + 1
    assert not await admitted(users, "bob", PASSWORD)
    assert not await admitted(users, "bob", PASSWORD)
    users.close()


async def test_changed_password_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users()
    assert await admitted(users, "alice", PASSWORD)
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    assert not await admitted(users, "alice", PASSWORD, other)
    assert await admitted(users, "alice", "other", other)
    users.close()


async def test_no_output_holds_a_credential(site_with: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site = await site_with(USERS)
    for path in ("/", "/metrics", "/api/v1/items", "/nowhere"):
        for headers in (basic("alice", PASSWORD), basic("bob", PASSWORD)):
            answer = await site.get(path, **headers)
            seen = f"{answer.text}{answer.headers}"
            assert PASSWORD not in seen
            assert HASH not in seen
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert PASSWORD not in ours
    assert HASH not in ours


# Headers and rate


async def test_headers_of_the_file_replace_the_built_in_ones(site_with: Serve) -> None:
    site = await site_with(
        "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n"
        "    Content-Security-Policy: ''\n    Strict-Transport-Security: max-age=9\n"
    )
    for path in ("/", "/metrics", "/-/healthy", "/nowhere"):
        headers = (await site.get(path)).headers
        assert headers.get_list("x-frame-options") == ["sameorigin"]
        assert headers["strict-transport-security"] == "max-age=9"
        assert "content-security-policy" not in headers
        assert headers["x-content-type-options"] == "nosniff"


async def test_too_many_requests_are_refused(site_with: Serve) -> None:
    site = await site_with("rate_limit: {interval: 1h, burst: 3}")
    codes = [(await site.get("/metrics")).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    refused = await site.get("/")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await site.get("/-/healthy")).status_code == 200


def test_bucket_fills_with_time_up_to_its_burst() -> None:
    now = 100.0
    bucket = Bucket(lambda: now)
    limit = RateLimitOptions.model_validate_json('{"interval": "2s", "burst": 2}')

    def taken() -> int:
        return sum(bucket.take(limit) for _ in range(10))

    assert taken() == 2
    now += 2
    assert taken() == 1
    now += 3600
    assert taken() == 2
    assert all(bucket.take(RateLimitOptions()) for _ in range(10))


# TLS


def tls(authority: Issued, folder: Path, name: str = "server") -> str:
    """The options for a new certificate."""
    authority.issue("localhost", "127.0.0.1").write(folder, name)
    return f"tls_server_config:\n  cert_file: {name}.pem\n  key_file: {name}.key\n"


def trusting(authority: Issued) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


async def serial(site: Site, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=context, server_hostname="localhost")
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return str(shown)


async def test_https_answers_and_http_does_not(site_with: Serve, authority: Issued, tmp_path: Path) -> None:
    site = await site_with(tls(authority, tmp_path))
    async with site.client(verify=trusting(authority)) as client:
        assert (await client.get("/metrics")).status_code == 200
    with pytest.raises(httpx.TransportError):
        await site.get("/metrics")


async def test_certificates_rotate_live(
    site_with: Serve, authority: Issued, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = await site_with(tls(authority, tmp_path))
    context = trusting(authority)
    async with site.client(verify=context) as kept:
        assert (await kept.get("/-/healthy")).status_code == 200
        before = await serial(site, context)
        authority.issue("localhost", "127.0.0.1").write(tmp_path, "next")
        (tmp_path / "next.pem").replace(tmp_path / "server.pem")
        assert await serial(site, context) == before, "half of a pair must not be used"
        assert "the last good one stays in force" in caplog.text
        (tmp_path / "next.key").replace(tmp_path / "server.key")
        assert await serial(site, context) != before
        assert (await kept.get("/-/healthy")).status_code == 200


async def test_client_certificates_are_verified(site_with: Serve, authority: Issued, tmp_path: Path) -> None:
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    asked = "  client_auth_type: {}\n  client_ca_file: clients.pem\n"
    for issuer, name in ((authority, "client"), (Issued.root("another"), "stranger")):
        issuer.issue("prometheus", usage=ExtendedKeyUsageOID.CLIENT_AUTH).write(tmp_path, name)
    known, stranger, nobody = (trusting(authority) for _ in range(3))
    known.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    stranger.load_cert_chain(tmp_path / "stranger.pem", tmp_path / "stranger.key")

    async def enters(site: Site, context: ssl.SSLContext) -> bool:
        async with site.client(verify=context) as client:
            try:
                return (await client.get("/metrics")).status_code == 200
            except (httpx.TransportError, ssl.SSLError):
                return False

    server = tls(authority, tmp_path)
    required = await site_with(server + asked.format("RequireAndVerifyClientCert"))
    assert [await enters(required, context) for context in (known, stranger, nobody)] == [True, False, False]
    optional = await site_with(server + asked.format("VerifyClientCertIfGiven"))
    assert [await enters(optional, context) for context in (known, stranger, nobody)] == [True, False, True]


async def test_versions_and_suites_are_those_of_the_file(site_with: Serve, authority: Issued, tmp_path: Path) -> None:
    suites = (
        f"  max_version: TLS12\n  prefer_server_cipher_suites: false\n  cipher_suites: [{CipherSuite.ECDSA_AES256}]\n"
    )
    site = await site_with(tls(authority, tmp_path) + suites)
    _, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=trusting(authority), server_hostname="localhost"
    )
    assert writer.get_extra_info("cipher")[:2] == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2")
    writer.close()
    newer = trusting(authority)
    newer.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", site.port, ssl=newer, server_hostname="localhost")


# Changes while it runs


async def test_users_change_without_a_restart(site_with: Serve, web_config: Path) -> None:
    site = await site_with(USERS)
    assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
    web_config.write_text(USERS.replace("alice", "carol"))
    assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 401
    assert (await site.get("/metrics", **basic("carol", PASSWORD))).status_code == 200


@pytest.mark.parametrize(
    "text", ["basic_auth_users: {alice: nonsense}", "\x00", "tls_server_config: {cert_file: a, key_file: b}"]
)
async def test_a_broken_change_opens_no_door(
    site_with: Serve, web_config: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await site_with(USERS)
    web_config.write_text(text)
    assert (await site.get("/metrics")).status_code == 401
    assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
    told = [record for record in caplog.records if "the last good one stays in force" in record.message]
    assert len(told) == 1
    web_config.unlink()
    assert (await site.get("/metrics")).status_code == 401


async def test_turning_tls_on_takes_a_restart(
    site_with: Serve, web_config: Path, authority: Issued, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = await site_with(USERS)
    web_config.write_text(tls(authority, tmp_path))
    assert (await site.get("/metrics")).status_code == 401
    assert "turns TLS on or off, which takes a restart" in caplog.text


async def test_turning_tls_off_takes_a_restart(
    site_with: Serve, web_config: Path, authority: Issued, tmp_path: Path
) -> None:
    site = await site_with(tls(authority, tmp_path))
    web_config.write_text("{}")
    async with site.client(verify=trusting(authority)) as client:
        assert (await client.get("/metrics")).status_code == 200


# Listening


def test_addresses_are_listened_on_together() -> None:
    port = free_port()
    sockets = bind(["127.0.0.1:0", f"[::1]:{port}", "localhost:0", ":0"])
    assert [opened.getsockname()[0] for opened in sockets[:2]] == ["127.0.0.1", "::1"]
    assert sockets[1].getsockname()[1] == port
    with socket.create_connection(("127.0.0.1", sockets[3].getsockname()[1])):
        pass
    for opened in sockets:
        opened.close()


def test_no_answer_waits_for_an_acknowledgement() -> None:
    for opened in bind(["127.0.0.1:0", ":0"]):
        with opened, socket.create_connection(("127.0.0.1", opened.getsockname()[1])):
            accepted, _ = opened.accept()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.close()


def test_every_interface_means_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    [opened] = bind([":0"])
    assert opened.getsockname()[1] > 0
    opened.close()


@pytest.mark.parametrize("address", ["", "9876", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "::1:80", "[::1]"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(ListenError, match=r"is not an address such as :9876, 127\.0\.0\.1:9876 or \[::1\]:9876\."):
        bind([address])


def test_address_in_use_is_told_and_leaves_nothing_open() -> None:
    first = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=rf"{address} cannot be listened on: Address already in use\.$"):
            bind([f"127.0.0.1:{first}", address])
    bind([f"127.0.0.1:{first}"])[0].close()


def test_name_that_is_none_is_told() -> None:
    with pytest.raises(ListenError, match=r"nowhere\.invalid:80 cannot be listened on: "):
        bind(["nowhere.invalid:80"])


async def test_one_application_on_several_addresses(clock: Clock) -> None:
    found = state(planned(), clock=clock)
    async with running(found, clock, addresses=("127.0.0.1:0", "[::1]:0")) as site:
        for host, port in site.addresses:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(
                    f"http://[{host}]:{port}/-/healthy" if ":" in host else f"http://{host}:{port}/-/healthy"
                )
            assert answer.status_code == 200
