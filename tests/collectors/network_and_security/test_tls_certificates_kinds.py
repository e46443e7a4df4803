"""States of TLS endpoints that a simple check gets wrong, each proven by another client before the verdict."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from exporter.verdict import Reason, Status
from tests.collectors.network_and_security.test_tls_certificates import HSTS, MODERN, NAME, look, look_at
from tests.servers import faults
from tests.servers.certificates import Issued, authority, intermediate, key_usage
from tests.servers.haproxy import haproxy
from tests.servers.legacy_tls import java_server, tlslite_server
from tests.servers.nginx import nginx, server_block
from tests.servers.ocsp import response
from tests.servers.process import LOOPBACK, eventually, free_port, scratch
from tests.servers.starttls import SERVERS

EVERYTHING = "ssl_ciphers ALL:eNULL:aNULL:@SECLEVEL=0;"


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch("tls") as path:
        (path / "ca.pem").write_bytes(authority().pem)
        yield path


@pytest.fixture
def good() -> Issued:
    return intermediate().issue(NAME)


@pytest.fixture(scope="module")
def rsa_leaf() -> Issued:
    return authority().issue(NAME, kind="rsa")


def openssl(*arguments: str | Path, folder: Path | None = None) -> str:
    """What OpenSSL's program says."""
    argv = ["openssl", *map(str, arguments)]
    done = subprocess.run(argv, cwd=folder, input="", capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


async def s_client(port: int, *options: str | Path) -> str:
    return await asyncio.to_thread(openssl, "s_client", "-connect", f"{LOOPBACK}:{port}", "-servername", NAME, *options)


# What is refused is the offer, not the client


@pytest.mark.verifies("tls_certificates.tls_1_2_enforced", "failed")
async def test_a_server_that_demands_an_extended_master_secret(folder: Path, rsa_leaf: Issued) -> None:
    suites = ["TLS_RSA_WITH_AES_128_CBC_SHA", "SSL_RSA_WITH_3DES_EDE_CBC_SHA"]
    strict = {"jdk.tls.allowLegacyMasterSecret": "false", "jdk.tls.allowLegacyResumption": "false"}
    with java_server(rsa_leaf, versions=["TLSv1", "TLSv1.2"], suites=suites, properties=strict) as port:
        old = await s_client(port, "-tls1", "-cipher", "ALL:@SECLEVEL=0")
        assert "Extended master secret: yes" in old
        assert "Protocol  : TLSv1\n" in old
        seen = await look(port, folder, "tls_1_2_enforced", "strong_ciphers_configured")
    assert seen["tls_1_2_enforced"].status is Status.FAILED
    assert "accepts TLS 1.0 " in seen["tls_1_2_enforced"].summary
    assert seen["strong_ciphers_configured"].status is Status.FAILED
    assert "3DES (TLS_RSA_WITH_3DES_EDE_CBC_SHA)" in seen["strong_ciphers_configured"].summary


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until there are no more."""
    while data := await reader.read(65536):
        writer.write(data)
    with suppress(OSError):
        writer.write_eof()


@asynccontextmanager
async def front_that_drops_long_hellos(port: int, most: int) -> AsyncIterator[int]:
    """In front of a server, close connections whose ClientHello has more suites than that."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        ids = 44 + hello[43]
        if int.from_bytes(hello[ids : ids + 2], "big") // 2 > most:
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            to_upstream.write(hello)
            while data := await upstream.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            to_upstream.transport.abort()

    async with faults.serving(talk) as (_, front):
        yield front


async def test_a_front_that_drops_long_hellos_does_not_hide_weak_suites(folder: Path, good: Issued) -> None:
    port = free_port()
    block = server_block(port, good.write(folder, "good"), extra=f"ssl_protocols TLSv1.2; {EVERYTHING}")
    with nginx(block, port=port):
        assert "Cipher is ECDHE-ECDSA-NULL-SHA" in await s_client(port, "-tls1_2", "-cipher", "eNULL:@SECLEVEL=0")
        async with front_that_drops_long_hellos(port, 128) as front:
            seen = await look(front, folder, "tls_1_2_enforced", "strong_ciphers_configured")
    assert seen["tls_1_2_enforced"].status is Status.OK
    assert seen["strong_ciphers_configured"].status is Status.FAILED
    assert "NULL encryption (TLS_" in seen["strong_ciphers_configured"].summary


@pytest.mark.parametrize("most", [1, 2])
async def test_a_limit_of_concurrent_connections_is_no_refusal(folder: Path, rsa_leaf: Issued, most: int) -> None:
    """HAProxy turns away what is beyond the limit as a server turns away what it does not speak: it closes."""
    port = free_port()
    (folder / "pair.pem").write_bytes(rsa_leaf.chain_pem + rsa_leaf.key_pem)
    configuration = f"""
frontend limited
  bind {LOOPBACK}:{port} ssl crt {folder}/pair.pem ciphers ALL:@SECLEVEL=0
  stick-table type ip size 1k expire 60s store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if {{ sc0_conn_cur gt {most} }}
  tcp-request inspect-delay 1s
  default_backend nothing
backend nothing
"""
    with haproxy(configuration, port=port):

        async def turned_away() -> bool:
            with ExitStack() as held:  # HAProxy itself soon ends those that say nothing
                for _ in range(most):
                    held.enter_context(socket.create_connection((LOOPBACK, port)))
                return "no peer certificate available" in await s_client(port)

        async def old_version() -> bool:
            return "Protocol  : TLSv1\n" in await s_client(port, "-tls1", "-cipher", "ALL:@SECLEVEL=0")

        await eventually(turned_away, "HAProxy to count the connections that are held", 30)
        await eventually(old_version, "HAProxy to forget them")
        results = [await look_at("tls_1_2_enforced", port, folder) for _ in range(5)]
    # With a limit of 1 a busy HAProxy may still count the connection before, and reset the next: then nothing was observed.
    assert Status.OK not in {result.status for result in results}, results
    assert any("accepts TLS 1." in result.summary for result in results if result.status is Status.FAILED), results


async def test_a_server_that_turns_away_most_connections_is_never_ok(folder: Path, rsa_leaf: Issued) -> None:
    """It may close on what it does not speak, or on anybody: it is asked again, and for what it speaks."""
    port, count = free_port(), 0
    block = server_block(
        port, rsa_leaf.write(folder, "leaf"), extra="ssl_protocols TLSv1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"
    )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        hello = await reader.read(65536)
        if count > 2 and count % 2:  # two are let in, then every second
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            to_upstream.write(hello)
            writer.write(await upstream.read(65536))
        finally:
            to_upstream.transport.abort()

    with nginx(block, port=port):
        async with faults.serving(talk) as (_, front):
            result = await look_at("tls_1_2_enforced", front, folder)
    assert result.status is not Status.OK, result.summary


async def test_a_server_without_secure_renegotiation_is_observed(folder: Path, rsa_leaf: Issued) -> None:
    with tlslite_server(rsa_leaf, secure_renegotiation=False) as port:
        assert "unsafe legacy renegotiation disabled" in await s_client(port, "-tls1_2")
        assert "Secure Renegotiation IS NOT supported" in await s_client(port, "-tls1_2", "-legacy_server_connect")
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.OK


# Certificates that a usual client does not see


async def test_a_certificate_with_a_key_for_rsa_pss_alone(folder: Path) -> None:
    leaf, key = folder / "pss.pem", folder / "pss.key"
    authority().write(folder, "issuer", authority().pem)
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    openssl(
        *("req", "-new", "-key", key, "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
        *("-out", folder / "request.pem"),
    )
    openssl(
        *("x509", "-req", "-in", folder / "request.pem", "-CA", folder / "issuer.pem", "-CAkey", folder / "issuer.key"),
        *("-copy_extensions", "copyall", "-days", "365", "-out", leaf),
    )
    port = free_port()
    with nginx(server_block(port, (leaf, key), extra=MODERN), port=port):
        assert "RSA-PSS" in await s_client(port, "-tls1_2")
        seen = await look(port, folder, "certificates_valid", "chain_complete", "tls_1_2_enforced")
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(seen, Status.OK), seen


@contextmanager
def python_server(context: ssl.SSLContext) -> Iterator[int]:
    """Python's ssl, in a thread: hands are shaken and the connection closed."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(10)
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as client:
                    client.recv(1)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_demands_a_client_certificate_shows_its_own(
    folder: Path, good: Issued, newest: ssl.TLSVersion
) -> None:
    expired = intermediate().issue(NAME, kind="rsa", days=-2, age=90)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*good.write(folder, "good"))
    with python_server(context) as port:
        assert "Requested Signature Algorithms: " in await s_client(port), "a client certificate is asked for"
        seen = await look(port, folder, https=False)
        assert {result.status for result in seen.values()} == {Status.OK}, seen
    context.load_cert_chain(*expired.write(folder, "expired"))
    with python_server(context) as port:
        assert "notAfter" in openssl("x509", "-in", folder / "expired.pem", "-noout", "-enddate")
        assert "verify error:num=10" in await s_client(
            port, "-tls1_2", "-sigalgs", "RSA+SHA256", "-CAfile", folder / "ca.pem"
        )
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "expired on" in result.summary
    assert "(RSA)" in result.summary, "of two certificates it says which"


async def test_an_expired_certificate_beside_two_of_other_kinds(folder: Path, good: Issued) -> None:
    port = free_port()
    rsa, eddsa = intermediate().issue(NAME, kind="rsa"), intermediate().issue(NAME, kind="ed25519", days=-2, age=90)
    files = [good.write(folder, "ec"), rsa.write(folder, "rsa"), eddsa.write(folder, "ed")]
    with nginx(server_block(port, files, extra=MODERN), port=port):
        assert "Verify return code: 0" in await s_client(port, "-CAfile", folder / "ca.pem")
        assert "Verify return code: 10" in await s_client(port, "-CAfile", folder / "ca.pem", "-sigalgs", "ed25519")
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "(Ed25519)" in result.summary
    assert "expired on" in result.summary


async def test_a_connection_that_is_closed_by_chance_hides_no_certificate(folder: Path, good: Issued) -> None:
    port, count = free_port(), 0
    old = intermediate().issue(NAME, kind="rsa", days=-2, age=90)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 2:  # the one that asks for RSA
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            await asyncio.gather(pump(reader, to_upstream), pump(upstream, writer))
        finally:
            to_upstream.transport.abort()

    files = [good.write(folder, "good"), old.write(folder, "old")]
    with nginx(server_block(port, files, extra=MODERN), port=port):
        async with faults.serving(talk) as (_, front):
            result = await look_at("certificates_valid", front, folder, looks=1, connection_timeout="3s")
    assert result.status is Status.FAILED, result.summary
    assert "(RSA)" in result.summary


async def test_one_backend_of_three_has_the_old_certificate(folder: Path, good: Issued) -> None:
    port, backends = free_port(), [free_port() for _ in range(3)]
    old = intermediate().issue(NAME, days=-2, age=90).write(folder, "old")
    new = good.write(folder, "new")
    blocks = "".join(server_block(at, old if number == 1 else new) for number, at in enumerate(backends))
    servers = "\n".join(f"  server s{at} {LOOPBACK}:{at}" for at in backends)
    balancer = f"listen all\n  bind {LOOPBACK}:{port}\n  balance roundrobin\n{servers}\n"
    with nginx(blocks, port=backends[0]), haproxy(balancer, port=port):
        codes = ["code: 10 " in await s_client(port, "-CAfile", folder / "ca.pem", "-no_ticket") for _ in range(3)]
        assert sorted(codes) == [False, False, True]
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "expired on" in result.summary


@contextmanager
def balanced(port: int, blocks: str, backends: list[int]) -> Iterator[None]:
    """HAProxy at a port, before these server blocks of nginx: each connection goes to the next one."""
    servers = "\n".join(f"  server s{at} {LOOPBACK}:{at}" for at in backends)
    balancer = f"listen all\n  bind {LOOPBACK}:{port}\n  balance roundrobin\n{servers}\n"
    with nginx(blocks, port=backends[0]), haproxy(balancer, port=port):
        yield


@pytest.mark.parametrize(
    ("item", "configured", "reported"),
    [
        ("tls_1_2_enforced", "ssl_protocols TLSv1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;", "accepts TLS 1.0"),
        (
            "strong_ciphers_configured",
            "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:NULL-SHA256:@SECLEVEL=0;",
            "NULL encryption (TLS_RSA_WITH_NULL_SHA256)",
        ),
        ("hsts_configured", f"{MODERN} add_header X-Other 'no HSTS' always;", "sends no Strict-Transport-Security"),
    ],
)
@pytest.mark.parametrize("first", range(3))
async def test_one_backend_of_three_is_an_old_one(
    folder: Path, rsa_leaf: Issued, item: str, configured: str, reported: str, first: int
) -> None:
    port, backends = free_port(), [free_port() for _ in range(3)]
    files = rsa_leaf.write(folder, "leaf")
    blocks = "".join(
        server_block(at, files, extra=configured if number == 1 else MODERN + HSTS)
        for number, at in enumerate(backends)
    )
    with balanced(port, blocks, backends[first:] + backends[:first]):
        result = await look_at(item, port, folder)
    assert result.status is Status.FAILED, result.summary
    assert reported in result.summary


async def test_a_second_certificate_of_a_server_that_speaks_tls_1_3_alone(folder: Path, good: Issued) -> None:
    port = free_port()
    old = intermediate().issue(NAME, kind="rsa", days=-2, age=90)
    files = [good.write(folder, "good"), old.write(folder, "old")]
    with nginx(server_block(port, files, extra="ssl_protocols TLSv1.3;"), port=port):
        assert "Verify return code: 0" in await s_client(port, "-CAfile", folder / "ca.pem")
        only_rsa = ("-CAfile", folder / "ca.pem", "-sigalgs", "RSA-PSS+SHA256")
        assert "Verify return code: 10" in await s_client(port, *only_rsa)
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED, result.summary
    assert f"{NAME} (RSA) of {LOOPBACK}:{port} expired on" in result.summary


@pytest.mark.parametrize(
    ("curve", "reported"),
    [
        (ec.SECP224R1(), "has an elliptic-curve key of 224 bits (limit 256)."),
        (ec.BrainpoolP256R1(), "has a key on the curve brainpoolP256r1, which TLS clients do not accept by default."),
        (ec.SECP256K1(), "has a key on the curve secp256k1, which TLS clients do not accept by default."),
    ],
)
async def test_a_certificate_on_a_curve_that_no_client_takes(
    folder: Path, curve: ec.EllipticCurve, reported: str
) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, key=ec.generate_private_key(curve))
    with nginx(server_block(port, leaf.write(folder, "leaf"), extra=MODERN), port=port):
        assert "Cipher is (NONE)" in await s_client(port, "-CAfile", folder / "ca.pem"), "no usual client connects"
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED, result.summary
    assert reported in result.summary


async def test_a_mail_server_closes_on_everybody_with_a_key_that_no_client_takes(folder: Path) -> None:
    """It sends no alert as web servers do."""
    leaf = intermediate().issue(NAME, key=ec.generate_private_key(ec.SECP224R1()))
    with SERVERS["imap"](leaf.write(folder, "leaf")) as port:
        assert "Cipher is (NONE)" in await s_client(port, "-starttls", "imap")
        result = await look_at("certificates_valid", port, folder, starttls="imap")
    assert result.status is Status.FAILED, result.summary
    assert "has an elliptic-curve key of 224 bits (limit 256)." in result.summary


async def test_what_openssl_takes_and_browsers_do_not_is_a_warning(folder: Path) -> None:
    port, other = free_port(), free_port()
    eddsa = intermediate().issue(NAME, kind="ed25519").write(folder, "ed25519")
    own = intermediate().issue(NAME, extensions=[x509.BasicConstraints(ca=True, path_length=None)]).write(folder, "own")
    with nginx(server_block(port, eddsa, extra=MODERN) + server_block(other, own, extra=MODERN), port=port):
        for at in port, other:
            assert "Verify return code: 0" in await s_client(at, "-CAfile", folder / "ca.pem")
        keys = await look_at("certificates_valid", port, folder)
        authority_s = await look_at("certificates_valid", other, folder)
        internal = [await look_at("certificates_valid", at, folder, https=False) for at in (port, other)]
    assert (keys.status, keys.summary) == (
        Status.WARNING,
        f"{LOOPBACK}:{port} presents only certificates with Ed25519 keys, which browsers do not accept.",
    )
    assert authority_s.status is Status.WARNING
    assert "is one of an authority (CA:TRUE): Firefox refuses it for a server." in authority_s.summary
    assert {result.status for result in internal} == {Status.OK}


@contextmanager
def hybrid_server(files: tuple[Path, Path]) -> Iterator[int]:
    """A server that agrees on keys by ML-KEM with X25519 alone, as OpenSSL since 3.5 can."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(files[0]))
    context.use_privatekey_file(str(files[1]))
    assert SSL._lib.SSL_CTX_set1_curves_list(context._context, b"X25519MLKEM768") == 1  # type: ignore[attr-defined]
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                accepted.settimeout(10)
                connection = SSL.Connection(context, accepted)
                connection.set_accept_state()
                accepted.setblocking(True)
                with suppress(SSL.Error, OSError):
                    connection.do_handshake()
                    connection.recv(1)
                accepted.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_a_server_that_takes_hybrid_groups_alone_is_understood(folder: Path, good: Issued) -> None:
    with hybrid_server(good.write(folder, "good")) as port:
        assert "Cipher is (NONE)" in await s_client(port, "-groups", "X25519"), "clients without ML-KEM are refused"
        seen = await look(
            port, folder, "certificates_valid", "chain_complete", "tls_1_2_enforced", "strong_ciphers_configured"
        )
    assert {result.status for result in seen.values()} == {Status.OK}, seen


async def test_what_was_seen_counts_when_a_later_look_fails(folder: Path) -> None:
    port, count = free_port(), 0
    old = intermediate().issue(NAME, days=-2, age=90).write(folder, "old")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count > 1:
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            to_upstream.write(await reader.read(65536))
            while data := await upstream.read(65536):
                writer.write(data)
        finally:
            to_upstream.transport.abort()

    with nginx(server_block(port, old, extra=MODERN), port=port):
        async with faults.serving(talk) as (_, front):
            result = await look_at("certificates_valid", front, folder)
    assert result.status is Status.FAILED, result.summary
    assert "expired on" in result.summary


async def test_an_intermediate_for_clients_alone(folder: Path) -> None:
    for_clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf, port = authority().intermediate("For Clients", extensions=[for_clients]).issue(NAME), free_port()
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        assert "Verify return code: 26" in await s_client(port, "-CAfile", folder / "ca.pem")
        seen = await look(port, folder, "certificates_valid", "chain_complete")
    assert seen["certificates_valid"].status is Status.FAILED
    assert "Certificate For Clients of " in seen["certificates_valid"].summary
    assert "is not accepted by TLS clients: its extended key usage" in seen["certificates_valid"].summary
    assert seen["chain_complete"].status is Status.OK, "the chain lacks nothing"


async def test_a_key_that_may_only_sign_certificates(folder: Path) -> None:
    leaf = authority().issue(NAME, kind="rsa", extensions=[key_usage("key_cert_sign")])
    with tlslite_server(leaf) as port:
        assert "Verify return code: 26" in await s_client(port, "-CAfile", folder / "ca.pem")
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "its key usage allows neither signatures nor key exchange" in result.summary


async def test_a_root_for_mail_alone(folder: Path) -> None:
    root = Issued.root("Mail", extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])])
    (folder / "ca.pem").write_bytes(root.pem)
    port = free_port()
    with nginx(server_block(port, root.issue(NAME).write(folder, "leaf")), port=port):
        assert "Verify return code: 0" not in await s_client(port, "-CAfile", folder / "ca.pem")
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "Certificate Mail" in result.summary


# Chains


@pytest.mark.parametrize(
    "forbids",
    [
        x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None),
        x509.BasicConstraints(ca=True, path_length=0),
    ],
)
async def test_what_an_authority_forbids_leaves_the_chain_complete(folder: Path, forbids: x509.ExtensionType) -> None:
    upper = authority().intermediate("Upper", extensions=[forbids])
    leaf = upper.intermediate("Lower").issue(NAME)
    port = free_port()
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        assert "Verify return code: 0" not in await s_client(port, "-CAfile", folder / "ca.pem")
        seen = await look(port, folder, "certificates_valid", "chain_complete")
    assert seen["certificates_valid"].status is Status.FAILED
    assert seen["chain_complete"].status is Status.OK, seen["chain_complete"].summary


async def test_a_cross_signed_root_is_sent_for_older_clients(folder: Path) -> None:
    older, newer = Issued.root("Older Root"), Issued.root("Newer Root")
    cross = Issued(older.intermediate("Newer Root", key=newer.key).certificate, newer.key, older)
    below = newer.intermediate("Below")
    leaf = below.issue(NAME)
    (folder / "ca.pem").write_bytes(newer.pem + older.pem)
    (folder / "older.pem").write_bytes(older.pem)
    port, chain = free_port(), leaf.pem + below.pem + cross.pem
    with nginx(server_block(port, leaf.write(folder, "leaf", chain=chain)), port=port):
        for file in "ca.pem", "older.pem":
            assert "Verify return code: 0" in await s_client(port, "-CAfile", folder / file)
        result = await look_at("chain_complete", port, folder)
        older_clients = await look_at("chain_complete", port, folder, ca_file=str(folder / "older.pem"))
    assert result.status is Status.OK, result.summary
    assert older_clients.status is Status.OK, older_clients.summary


# Groups


@pytest.mark.verifies("tls_certificates.strong_ciphers_configured", "warning")
async def test_a_small_group_of_diffie_hellman(folder: Path, rsa_leaf: Issued) -> None:
    port = free_port()
    for bits, status in ((1024, Status.WARNING), (2048, Status.OK)):
        openssl("dhparam", "-dsaparam", "-out", folder / "group.pem", str(bits))
        extra = (
            f"ssl_protocols TLSv1.2; ssl_dhparam {folder}/group.pem; ssl_ciphers DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0;"
        )
        with nginx(server_block(port, rsa_leaf.write(folder, "leaf"), extra=extra), port=port):
            assert f"Server Temp Key: DH, {bits} bits" in await s_client(port, "-cipher", "DHE:@SECLEVEL=0")
            result = await look_at("strong_ciphers_configured", port, folder)
        assert result.status is status, result.summary
    assert "group" not in result.summary


@pytest.mark.parametrize("bits", [512, 768])
async def test_a_group_of_diffie_hellman_that_can_be_broken(folder: Path, rsa_leaf: Issued, bits: int) -> None:
    prime = int(openssl("prime", "-generate", "-bits", str(bits)))
    with tlslite_server(rsa_leaf, exchanges=("dhe_rsa",), group=(2, prime)) as port:
        weakest = ("-tls1_2", "-cipher", "DHE:@SECLEVEL=0")
        refused = "dh key too small" in await s_client(port, "-tls1_2", "-cipher", "DHE")
        assert refused or f"DH, {bits} bits" in await s_client(port, *weakest)
        result = await look_at("strong_ciphers_configured", port, folder)
    assert result.status is Status.FAILED, result.summary
    assert f"accepts DHE with a group of {bits} bits, which can be broken (limit 2048)." in result.summary


# Staples


async def stapled(folder: Path, leaf: Issued, staple: bytes) -> tuple[Status, str]:
    port = free_port()
    (folder / "staple.der").write_bytes(staple)
    extra = f"ssl_stapling on; ssl_stapling_file {folder}/staple.der;"
    with nginx(server_block(port, leaf.write(folder, "leaf"), extra=extra), port=port):
        assert "OCSP Response Status: successful" in await s_client(port, "-status")
        result = await look_at("ocsp_stapling_enabled", port, folder)
    return result.status, result.summary


@pytest.mark.parametrize(("seconds_ahead", "status"), [(3, Status.OK), (240, Status.OK), (400, Status.FAILED)])
async def test_the_clock_of_a_responder_may_be_ahead(folder: Path, seconds_ahead: int, status: Status) -> None:
    leaf = intermediate().issue(NAME, responder="http://127.0.0.1/")
    found, summary = await stapled(folder, leaf, response(leaf, age=-seconds_ahead / 3600))
    assert found is status, summary


@pytest.mark.verifies("tls_certificates.ocsp_stapling_enabled", "warning")
async def test_a_staple_that_expires_in_minutes(folder: Path) -> None:
    leaf = intermediate().issue(NAME, responder="http://127.0.0.1/")
    status, summary = await stapled(folder, leaf, response(leaf, age=96, hours=2 / 60 + 0.001))
    assert status is Status.WARNING
    assert "in 2 minutes" in summary


@pytest.mark.parametrize("digest", ["sha256", "sha384"])
async def test_a_response_that_is_signed_with_rsa_pss(folder: Path, digest: str) -> None:
    root = Issued.root("RSA Root", kind="rsa")
    (folder / "ca.pem").write_bytes(root.pem)
    leaf = root.issue(NAME, responder="http://127.0.0.1/")
    root.write(folder, "issuer", root.pem)
    leaf.write(folder, "server")
    (folder / "index.txt").write_text(f"V\t400101000000Z\t\t{leaf.certificate.serial_number:X}\tunknown\t/CN={NAME}\n")
    (folder / "index.txt").write_text(
        f"V\t400101000000Z\t\t{leaf.certificate.serial_number:040X}\tunknown\t/CN={NAME}\n"
    )
    command = (
        "ocsp -index index.txt -rsigner issuer.pem -rkey issuer.key -CA issuer.pem -issuer issuer.pem -cert server.pem"
        f" -respout staple.der -ndays 4 -rmd {digest} -rsigopt rsa_padding_mode:pss -noverify"
    )
    openssl(*command.split(), folder=folder)
    text = openssl("ocsp", "-respin", "staple.der", "-CAfile", "issuer.pem", "-resp_text", folder=folder)
    assert "Signature Algorithm: rsassaPss" in text
    assert "Response verify OK" in text
    found, summary = await stapled(folder, leaf, (folder / "staple.der").read_bytes())
    assert found is Status.OK, summary


# HSTS and redirects


@pytest.mark.parametrize(
    ("status", "verdict"), [(301, Status.OK), (302, Status.OK), (303, Status.OK), (308, Status.OK)]
)
async def test_every_kind_of_redirect_leads_to_https(folder: Path, good: Issued, status: int, verdict: Status) -> None:
    port, http_port = free_port(), free_port()
    plain = f"server {{ listen {LOOPBACK}:{http_port}; return {status} https://$host$request_uri; }}"
    long = "add_header Strict-Transport-Security max-age=31536000000 always;"
    with nginx(server_block(port, good.write(folder, "good"), extra=long) + plain, port=port):
        result = await look_at("hsts_configured", port, folder, http_port=http_port)
    assert result.status is verdict, result.summary


@pytest.mark.parametrize(
    ("leads_to", "status", "told"),
    [
        (
            "https://{name}:{http_port}/",
            Status.FAILED,
            "redirects to https on the same port, which does not serve TLS.",
        ),
        ("https://{name}.:443/", Status.OK, "redirects to https."),
    ],
)
async def test_where_a_redirect_leads(folder: Path, good: Issued, leads_to: str, status: Status, told: str) -> None:
    port, http_port = free_port(), free_port()
    location = leads_to.format(name=NAME.upper(), http_port=http_port)
    plain = f"server {{ listen {LOOPBACK}:{http_port}; return 301 {location}; }}"
    with nginx(server_block(port, good.write(folder, "good"), extra=HSTS) + plain, port=port):
        result = await look_at("hsts_configured", port, folder, http_port=http_port)
    assert result.status is status
    assert told in result.summary


async def test_only_the_first_page_is_redirected(folder: Path, good: Issued) -> None:
    port, http_port = free_port(), free_port()
    plain = f"server {{ listen {LOOPBACK}:{http_port}; location = / {{ return 301 https://$host/; }}"
    plain += " location / { return 200 'in clear'; } }"
    with nginx(server_block(port, good.write(folder, "good"), extra=HSTS) + plain, port=port):
        result = await look_at("hsts_configured", port, folder, http_port=http_port)
    assert result.status is Status.FAILED
    assert result.reason is Reason.MISCONFIGURED
    assert (
        f"Port {http_port} of {LOOPBACK} answers GET http://{LOOPBACK}:{http_port}/checklist-exporter-"
        in result.summary
    )


# Errors that help


async def test_an_error_hints_at_the_name(folder: Path, good: Issued) -> None:
    port = free_port()
    (folder / "pair.pem").write_bytes(good.chain_pem + good.key_pem)
    front = (
        f"frontend f\n  bind {LOOPBACK}:{port} ssl strict-sni crt {folder}/pair.pem\n  default_backend b\nbackend b\n"
    )
    with haproxy(front, port=port):
        assert "unrecognized name" in await s_client(port, "-servername", "other.example.com")
        result = await look_at("certificates_valid", port, folder, server_name="other.example.com")
    assert result.status is Status.UNKNOWN
    assert result.reason is Reason.REFUSED
    assert "see the option server_name" in result.summary


# More states, found by attack


@pytest.mark.parametrize("protocol", ["mysql", "ftp"])
async def test_what_is_said_in_clear_after_an_alert_hides_nothing(
    folder: Path, rsa_leaf: Issued, protocol: str
) -> None:
    """MariaDB and vsftpd go on in clear when a handshake fails."""
    with SERVERS[protocol](rsa_leaf.write(folder, "leaf")) as port:
        assert "alert" in await s_client(
            port, "-starttls", protocol, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"
        )
        seen = await look(port, folder, starttls=protocol)
    assert {result.status for result in seen.values()} == {Status.OK}, seen


@pytest.mark.parametrize("group", ["ffdhe2048", "secp521r1"])
async def test_a_server_with_one_group_is_understood(folder: Path, good: Issued, group: str) -> None:
    port = free_port()
    extra = f"ssl_protocols TLSv1.3; ssl_ecdh_curve {group};"
    with nginx(server_block(port, good.write(folder, "good"), extra=extra), port=port):
        assert "New, TLSv1.3, Cipher is" in await s_client(port, "-tls1_3")
        seen = await look(port, folder, "tls_1_2_enforced", "strong_ciphers_configured")
    assert {result.status for result in seen.values()} == {Status.OK}, seen


async def test_the_brainpool_curves_hide_no_old_version(folder: Path, good: Issued) -> None:
    port = free_port()
    extra = f"ssl_protocols TLSv1 TLSv1.2; ssl_ecdh_curve brainpoolP256r1; {EVERYTHING}"
    with nginx(server_block(port, good.write(folder, "good"), extra=extra.replace("eNULL:aNULL:", "")), port=port):
        old = await s_client(port, "-tls1", "-cipher", "ALL:@SECLEVEL=0", "-groups", "brainpoolP256r1")
        assert "Protocol  : TLSv1\n" in old
        result = await look_at("tls_1_2_enforced", port, folder)
    assert result.status is Status.FAILED, result.summary


async def test_one_staple_of_two_certificates(folder: Path) -> None:
    ec, rsa = (intermediate().issue(NAME, kind=kind, responder="http://127.0.0.1/") for kind in ("ec", "rsa"))
    (folder / "staple.der").write_bytes(response(ec))
    extra = f"{MODERN} ssl_stapling on; ssl_stapling_file {folder}/staple.der;"
    port = free_port()
    with nginx(server_block(port, [ec.write(folder, "ec"), rsa.write(folder, "rsa")], extra=extra), port=port):
        assert "Cert Status: good" in await s_client(port, "-status")
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.FAILED
    assert f"stapled for {NAME} (RSA) by" in result.summary


async def test_one_chain_of_two_is_incomplete(folder: Path, good: Issued) -> None:
    rsa, port = intermediate().issue(NAME, kind="rsa"), free_port()
    files = [good.write(folder, "ec"), rsa.write(folder, "rsa", chain=rsa.pem)]
    with nginx(server_block(port, files, extra=MODERN), port=port):
        assert "Verify return code: 21" in await s_client(
            port, "-tls1_2", "-sigalgs", "RSA+SHA256", "-CAfile", folder / "ca.pem"
        )
        result = await look_at("chain_complete", port, folder)
    assert result.status is Status.FAILED
    assert "sends 1 certificate (RSA) from which no trusted root is reached" in result.summary


async def test_weak_suites_of_tls_1_2_are_found_where_its_full_offer_is_refused(folder: Path, rsa_leaf: Issued) -> None:
    """As on servers that take the first suite in their own order and fail over it."""
    port = free_port()
    suites = "ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:NULL-SHA256:@SECLEVEL=0;"
    block = server_block(port, rsa_leaf.write(folder, "leaf"), extra=f"{MODERN} {suites}")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        ids = 44 + hello[43]
        offers_strong = b"\xc0\x2f" in hello[ids + 2 : ids + 2 + int.from_bytes(hello[ids : ids + 2], "big")]
        if offers_strong and b"\x03\x04" not in hello[ids:]:
            writer.write(bytes.fromhex("15030300020228"))  # handshake_failure
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            to_upstream.write(hello)
            while data := await upstream.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            to_upstream.transport.abort()

    with nginx(block, port=port):
        async with faults.serving(talk) as (_, front):
            assert "Cipher is (NONE)" in await s_client(front, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
            result = await look_at("strong_ciphers_configured", front, folder)
    assert result.status is Status.FAILED, result.summary
    assert "NULL encryption (TLS_RSA_WITH_NULL_SHA256)" in result.summary
