"""TLS endpoints, verified on real servers: nginx, tlslite-ng and Java, with certificates of a local authority."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import ValidationError

from collectors.network_and_security import tls_certificates
from collectors.network_and_security.tls_certificates import TlsCertificates
from collectors.systems.tls.client import handshake as handshakes
from collectors.systems.tls.model import certificates
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.options import TlsTarget
from exporter.verdict import Reason, Result, Status
from tests.servers import faults, legacy_tls
from tests.servers.certificates import Issued, authority, intermediate, key_usage
from tests.servers.legacy_tls import java_server, tlslite_server
from tests.servers.nginx import nginx, server_block
from tests.servers.ocsp import REVOKED, UNKNOWN, Responder, responder, response
from tests.servers.packages import skip_or_fail
from tests.servers.process import LOOPBACK, eventually, free_port, scratch
from tests.servers.starttls import SERVERS
from tests.support import Run, looks

NAME = "shop.example.com"
ITEMS = tuple(TlsCertificates.items())
MODERN = "ssl_protocols TLSv1.2 TLSv1.3;"
HSTS = "add_header Strict-Transport-Security 'max-age=31536000; includeSubDomains' always;"
OLD = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nginx may read, with the authority's root in `ca.pem`."""
    with scratch("tls") as path:
        (path / "ca.pem").write_bytes(authority().pem)
        yield path


@pytest.fixture
def good() -> Issued:
    """A certificate without a defect."""
    return intermediate().issue(NAME)


def make_target(port: int, folder: Path, **options: object) -> TlsTarget:
    """The target at this port, with these options; a busy machine gets its time."""
    given = {
        "name": "shop",
        "endpoint": f"{LOOPBACK}:{port}",
        "server_name": NAME,
        "ca_file": str(folder / "ca.pem"),
        "connection_timeout": "20s",
    }
    return TlsTarget.model_validate_json(json.dumps(given | options))


def run(port: int, folder: Path, *items: str, **options: object) -> Run:
    return Run(TlsCertificates, items, target=make_target(port, folder, **options))


look = looks(run)


async def look_at(item: str, port: int, folder: Path, **options: object) -> Result:
    return (await look(port, folder, item, **options))[item]


# certificates_valid


@pytest.mark.verifies("tls_certificates.certificates_valid", "ok")
async def test_a_valid_certificate_on_every_address(folder: Path, good: Issued, no_leftovers: None) -> None:
    port, files = free_port(), good.write(folder, "good")
    blocks = server_block(port, files) + server_block(port, files, host="127.0.0.2")
    with nginx(blocks, port=port):
        result = await look_at("certificates_valid", port, folder, addresses=["127.0.0.1", "127.0.0.2"])
    assert result.status is Status.OK
    assert result.summary.startswith(f"Certificate {NAME} of {LOOPBACK}:{port} is valid until 20")
    assert result.summary.count("valid until") == 1, "what is true of every address is told once"
    assert result.measurements["certificate_expiry_seconds"] == pytest.approx(365 * 86400, abs=3600)


@pytest.mark.verifies("tls_certificates.certificates_valid", "failed")
async def test_one_of_several_addresses_has_an_expired_certificate(folder: Path, good: Issued) -> None:
    port, expired = free_port(), intermediate().issue(NAME, days=-1, age=90)
    blocks = server_block(port, good.write(folder, "good"))
    blocks += server_block(port, expired.write(folder, "expired"), host="127.0.0.2")
    with nginx(blocks, port=port):
        result = await look_at("certificates_valid", port, folder, addresses=["127.0.0.1", "127.0.0.2"])
    assert result.status is Status.FAILED
    assert result.summary.startswith(f"At 127.0.0.2: Certificate {NAME} of {LOOPBACK}:{port} expired on ")
    assert result.measurements["certificate_expiry_seconds"] == pytest.approx(-86400, abs=3600), "the earliest end"


async def test_ipv6_addresses_are_looked_at(folder: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        skip_or_fail("This machine has no IPv6 loopback address.")
    port, leaf = free_port(), intermediate().issue("localhost", "::1", "127.0.0.1")
    files = leaf.write(folder, "leaf")
    with nginx(server_block(port, files) + server_block(port, files, host="[::1]"), port=port):
        both = await look(port, folder, addresses=["127.0.0.1", "::1"], endpoint=f"localhost:{port}", server_name=None)
        assert both["certificates_valid"].status is Status.OK
        assert both["tls_1_2_enforced"].status is Status.OK
        alone = await look_at("certificates_valid", port, folder, endpoint=f"[::1]:{port}", server_name=None)
        assert alone.status is Status.OK
        missing = await look_at("certificates_valid", port, folder, addresses=["::1"], address_family="ipv4")
    assert missing.status is Status.UNKNOWN
    assert "::1 could not be resolved" in missing.summary


async def test_a_name_is_resolved(folder: Path) -> None:
    port, leaf = free_port(), intermediate().issue("localhost")
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        options = {"endpoint": f"localhost:{port}", "server_name": None, "address_family": "ipv4"}
        result = await look_at("certificates_valid", port, folder, **options)
    assert result.status is Status.OK


@pytest.mark.verifies("tls_certificates.certificates_valid", "warning")
@pytest.mark.parametrize(
    ("days", "status", "said"),
    [
        (22, Status.OK, "is valid until"),
        (20.5, Status.WARNING, "in 20 days (limit 21 days)"),
        (5.5, Status.FAILED, "in 5 days (limit 7 days)"),
    ],
)
async def test_a_certificate_about_to_expire(folder: Path, days: float, status: Status, said: str) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, days=days, age=100)
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        result = await look_at("certificates_valid", port, folder)
    assert result.status is status
    assert said in result.summary


async def test_a_certificate_for_another_name(folder: Path) -> None:
    port, leaf = free_port(), intermediate().issue("other.example.com")
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        seen = await look(port, folder, "certificates_valid", "hsts_configured")
    assert seen["certificates_valid"].status is Status.FAILED
    assert f"is not for {NAME} but for other.example.com." in seen["certificates_valid"].summary
    assert seen["hsts_configured"].status is Status.UNKNOWN, (
        "browsers take no HSTS from a connection that is not trusted"
    )
    assert "certificate was not accepted" in seen["hsts_configured"].summary


async def test_the_name_decides_which_certificate_is_looked_at(folder: Path, good: Issued) -> None:
    port, other = free_port(), intermediate().issue("other.example.com", days=-1, age=90)
    default = server_block(port, other.write(folder, "other"), name="other.example.com")
    with nginx(default + server_block(port, good.write(folder, "good"), name=NAME), port=port):
        assert (await look_at("certificates_valid", port, folder)).status is Status.OK
        unknown_name = await look_at("certificates_valid", port, folder, server_name="new.example.com")
    assert unknown_name.status is Status.FAILED, "a name without a block of its own gets the default certificate"
    assert "is not for new.example.com but for other.example.com" in unknown_name.summary


async def test_a_self_signed_certificate(folder: Path) -> None:
    port, leaf = free_port(), Issued.root(NAME, names=[NAME])
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        seen = await look(port, folder, "certificates_valid", "chain_complete")
    assert {result.status for result in seen.values()} == {Status.FAILED}
    assert "is not trusted: self-signed certificate" in seen["certificates_valid"].summary


async def test_a_private_authority_is_not_trusted_by_default(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good")), port=port):
        result = await look_at("certificates_valid", port, folder, ca_file=None)
    assert result.status is Status.FAILED
    assert "is not trusted" in result.summary


async def test_both_certificates_of_a_server_with_two_kinds_of_keys_are_looked_at(folder: Path, good: Issued) -> None:
    port, old_rsa = free_port(), intermediate().issue(NAME, kind="rsa", days=-2, age=90)
    pair = [good.write(folder, "ec"), old_rsa.write(folder, "rsa")]
    with nginx(server_block(port, pair, extra=MODERN), port=port):
        usual = ssl.create_default_context(cafile=folder / "ca.pem")
        with (
            socket.create_connection((LOOPBACK, port)) as plain,
            usual.wrap_socket(plain, server_hostname=NAME) as client,
        ):
            assert client.version() == "TLSv1.3", "a usual client sees nothing wrong"
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "expired on" in result.summary


@pytest.mark.parametrize(
    ("closed", "status"),
    [
        ({3}, Status.OK),  # nginx says itself that it has no other certificate
        ({2}, Status.OK),
        (set(range(2, 99)), Status.UNKNOWN),
    ],
)
async def test_a_server_that_closes_on_the_other_kind_of_key_is_asked_once_more(
    folder: Path, good: Issued, closed: set[int], status: Status
) -> None:
    """It may have no other certificate, or be in trouble."""
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=MODERN), port=port):
        async with closing_unless(port, lambda _, count: count not in closed) as proxy:
            result = await look_at("certificates_valid", proxy, folder, looks=1)
    assert result.status is status


async def test_weak_keys_and_wrong_purposes_are_seen_on_a_server(folder: Path) -> None:
    port = free_port()
    weak = intermediate().issue(NAME, kind="rsa-weak", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    with nginx(server_block(port, weak.write(folder, "weak"), extra="ssl_ciphers DEFAULT:@SECLEVEL=0;"), port=port):
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.FAILED
    assert "has an RSA key of 1024 bits (limit 2048)" in result.summary
    assert "its extended key usage does not include TLS servers" in result.summary


# chain_complete


@pytest.mark.verifies("tls_certificates.chain_complete", "ok")
async def test_a_complete_chain(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good")), port=port):
        result = await look_at("chain_complete", port, folder)
    assert result.status is Status.OK
    assert result.summary == f"{LOOPBACK}:{port} sends 2 certificates, complete up to the root Test Root."
    assert result.measurements == {"chain_length": 3}


@pytest.mark.verifies("tls_certificates.chain_complete", "failed")
@pytest.mark.parametrize("bundle", ["roots only", "with the intermediate"])
async def test_a_missing_intermediate(folder: Path, good: Issued, bundle: str) -> None:
    if bundle == "with the intermediate":
        (folder / "ca.pem").write_bytes(intermediate().pem + authority().pem)
    port = free_port()
    with nginx(server_block(port, good.write(folder, "leaf", chain=good.pem)), port=port):
        seen = await look(port, folder, "chain_complete", "certificates_valid")
    assert seen["chain_complete"].status is Status.FAILED
    assert "sends 1 certificate from which no trusted root is reached: unable to get" in seen["chain_complete"].summary
    assert seen["certificates_valid"].status is Status.FAILED


async def test_an_intermediate_of_the_same_name_with_another_key(folder: Path) -> None:
    """After an authority renewed its key, the old intermediate was left in the file; neither names keys."""
    port, leaf = free_port(), intermediate().issue(NAME, identified=False)
    chain = leaf.pem + authority().intermediate().pem
    with nginx(server_block(port, leaf.write(folder, "leaf", chain=chain)), port=port):
        seen = await look(port, folder, "chain_complete", "certificates_valid")
    assert {result.status for result in seen.values()} == {Status.FAILED}
    assert "from which no trusted root is reached: certificate signature failure" in seen["chain_complete"].summary


@pytest.mark.verifies("tls_certificates.chain_complete", "warning")
async def test_needless_certificates(folder: Path, good: Issued) -> None:
    port, stranger = free_port(), Issued.root("Stranger")
    chain = good.chain_pem + authority().pem + stranger.pem
    with nginx(server_block(port, good.write(folder, "leaf", chain=chain)), port=port):
        seen = await look(port, folder, "chain_complete", "certificates_valid")
    assert seen["chain_complete"].status is Status.WARNING
    assert seen["chain_complete"].summary.endswith("sends a complete chain and, needlessly, Test Root, Stranger.")
    assert seen["certificates_valid"].status is Status.OK
    with nginx(server_block(port, good.write(folder, "leaf", chain=good.pem + good.chain_pem)), port=port):
        twice = await look_at("chain_complete", port, folder)
    assert twice.status is Status.WARNING
    assert twice.summary.endswith(f"sends a complete chain and, needlessly, {NAME}.")


async def test_a_key_usage_without_signatures_is_a_warning(folder: Path) -> None:
    """OpenSSL and Python take it, for the sake of suites that hardly any server offers now; browsers do not."""
    port, leaf = free_port(), intermediate().issue(NAME, kind="rsa", extensions=[key_usage("key_encipherment")])
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        result = await look_at("certificates_valid", port, folder)
    assert result.status is Status.WARNING
    assert "has a key usage without digital signatures" in result.summary


async def test_the_chain_of_an_expired_certificate_is_complete(folder: Path) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, days=-1, age=90)
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        seen = await look(port, folder, "chain_complete", "certificates_valid")
    assert seen["chain_complete"].status is Status.OK
    assert seen["certificates_valid"].status is Status.FAILED


async def test_an_expired_certificate_without_its_intermediate(folder: Path) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, days=-1, age=90)
    with nginx(server_block(port, leaf.write(folder, "leaf", chain=leaf.pem)), port=port):
        seen = await look(port, folder, "chain_complete")
    assert seen["chain_complete"].status is Status.FAILED


@pytest.mark.verifies("tls_certificates.chain_complete", "unknown")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "is not a PEM file of certificates."),
        ("intermediate", "has 1 certificate and no root among them."),
    ],
)
async def test_a_ca_file_without_roots(folder: Path, good: Issued, content: bytes | str | None, said: str) -> None:
    port, file = free_port(), folder / "ca.pem"
    file.unlink()
    if content is not None:
        file.write_bytes(intermediate().pem if isinstance(content, str) else content)
    with nginx(server_block(port, good.write(folder, "good")), port=port):
        seen = await look(port, folder, "certificates_valid", "chain_complete", "ocsp_stapling_enabled")
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert all(said in result.summary for result in seen.values())


# tls_1_2_enforced


@pytest.mark.verifies("tls_certificates.tls_1_2_enforced", "ok")
@pytest.mark.parametrize(
    ("protocols", "spoken"),
    [
        (MODERN, "TLS 1.2 and TLS 1.3"),
        ("ssl_protocols TLSv1.3;", "TLS 1.3"),
        # nginx 1.22 says TLSv1 by default, OpenSSL 3 forbids it and calls it an internal error.
        ("", "TLS 1.2"),
    ],
)
async def test_old_versions_are_refused(folder: Path, good: Issued, protocols: str, spoken: str) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=protocols), port=port):
        result = await look_at("tls_1_2_enforced", port, folder)
    assert result.status is Status.OK
    assert result.summary == f"{LOOPBACK}:{port} refuses SSL 3, TLS 1.0 and TLS 1.1 and speaks {spoken}."


@pytest.mark.verifies("tls_certificates.tls_1_2_enforced", "failed")
async def test_old_versions_are_accepted(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=OLD), port=port):
        usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        usual.load_verify_locations(folder / "ca.pem")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            usual.minimum_version = usual.maximum_version = ssl.TLSVersion.TLSv1
        with socket.create_connection((LOOPBACK, port)) as plain, pytest.raises(ssl.SSLError, match="NO_CIPHERS"):
            usual.wrap_socket(plain, server_hostname=NAME)  # the trap: this looks like a refusal and is none
        result = await look_at("tls_1_2_enforced", port, folder)
    assert result.status is Status.FAILED
    assert result.summary == f"{LOOPBACK}:{port} accepts TLS 1.0 and TLS 1.1 (limit TLS 1.2)."


@pytest.mark.parametrize(
    ("oldest", "newest", "said"),
    [
        (legacy_tls.SSL_3, legacy_tls.TLS_1_3, "accepts SSL 3, TLS 1.0 and TLS 1.1"),
        (legacy_tls.SSL_3, legacy_tls.SSL_3, "accepts SSL 3 "),
        (legacy_tls.TLS_1_0, legacy_tls.TLS_1_0, "accepts TLS 1.0 "),
        (legacy_tls.TLS_1_1, legacy_tls.TLS_1_2, "accepts TLS 1.1 "),
    ],
)
async def test_versions_that_openssl_no_longer_speaks(
    folder: Path, rsa_leaf: Issued, oldest: legacy_tls.Version, newest: legacy_tls.Version, said: str
) -> None:
    with tlslite_server(rsa_leaf, oldest=oldest, newest=newest, ciphers=["aes128gcm", "aes128", "3des"]) as port:
        result = await look_at("tls_1_2_enforced", port, folder)
    assert result.status is Status.FAILED
    assert said in result.summary


@pytest.fixture(scope="module")
def rsa_leaf() -> Issued:
    """A certificate that old software understands: RSA, straight from a root."""
    return authority().issue(NAME, kind="rsa")


@asynccontextmanager
async def closing_unless(port: int, is_welcome: object) -> AsyncIterator[int]:
    """In front of a server, close connections without a word unless `is_welcome(version, count)` (of the ClientHello)."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        hello = await reader.read(65536)
        assert callable(is_welcome)
        if not is_welcome(int.from_bytes(hello[9:11], "big"), count):
            return
        upstream, to_upstream = await asyncio.open_connection(LOOPBACK, port)
        try:
            to_upstream.write(hello)
            while data := await upstream.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            to_upstream.transport.abort()

    async with faults.serving(talk) as (_, proxy):
        yield proxy


async def test_closing_the_connection_refuses_a_version(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=MODERN), port=port):
        async with closing_unless(port, lambda version, _: version >= 0x0303) as proxy:
            result = await look_at("tls_1_2_enforced", proxy, folder)
    assert result.status is Status.OK


@pytest.mark.verifies("tls_certificates.tls_1_2_enforced", "unknown")
@pytest.mark.verifies("tls_certificates.strong_ciphers_configured", "unknown")
async def test_a_server_that_closes_everything_after_a_while_has_refused_nothing(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=MODERN), port=port):
        async with closing_unless(port, lambda _, count: count <= 2) as proxy:
            versions = await look_at("tls_1_2_enforced", proxy, folder)
        async with closing_unless(port, lambda _, count: count <= 5) as proxy:
            suites = await look_at("strong_ciphers_configured", proxy, folder)
    for result in versions, suites:
        assert result.status is Status.UNKNOWN
        assert (
            "no longer accepts what it accepted before, so what it refused meanwhile proves nothing" in result.summary
        )


async def test_refusals_prove_nothing_without_an_acceptance(folder: Path, good: Issued) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra="ssl_protocols TLSv1;"), port=port):
        seen = await look(port, folder, "tls_1_2_enforced", "strong_ciphers_configured")
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert "agreed to no version of TLS" in seen["tls_1_2_enforced"].summary


# strong_ciphers_configured


@pytest.mark.verifies("tls_certificates.strong_ciphers_configured", "ok")
async def test_strong_suites(folder: Path, rsa_leaf: Issued) -> None:
    port, strict = free_port(), "ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305;"
    with nginx(server_block(port, rsa_leaf.write(folder, "leaf"), extra=MODERN + strict), port=port):
        for policy in "intermediate", "strict":
            result = await look_at("strong_ciphers_configured", port, folder, tls_policy=policy)
            assert result.status is Status.OK
            assert (
                "accepts no weak cipher suites (NULL encryption, anonymous key exchange, EXPORT, RC4, DES, 3DES"
                in result.summary
            )


@pytest.mark.verifies("tls_certificates.strong_ciphers_configured", "failed")
async def test_suites_that_nginx_accepts_by_default_are_too_weak_for_the_strict_policy(
    folder: Path, rsa_leaf: Issued
) -> None:
    port = free_port()
    with nginx(server_block(port, rsa_leaf.write(folder, "leaf")), port=port):
        intermediate_policy = await look_at("strong_ciphers_configured", port, folder)
        strict = await look_at("strong_ciphers_configured", port, folder, tls_policy="strict")
    assert intermediate_policy.status is Status.OK
    assert strict.status is Status.FAILED
    assert "RSA key exchange (TLS_RSA_WITH_" in strict.summary
    assert "CBC with SHA-1 (" in strict.summary


async def test_suites_without_encryption_or_authentication(folder: Path, good: Issued) -> None:
    port, extra = free_port(), MODERN + "ssl_ciphers ALL:eNULL:aNULL:@SECLEVEL=0;"
    with nginx(server_block(port, good.write(folder, "good"), extra=extra), port=port):
        result = await look_at("strong_ciphers_configured", port, folder)
    assert result.status is Status.FAILED
    assert "NULL encryption (TLS_" in result.summary
    assert "anonymous key exchange (TLS_" in result.summary


@pytest.mark.parametrize(
    ("ciphers", "newest", "said"),
    [
        (["aes128gcm", "rc4"], legacy_tls.TLS_1_2, "RC4 (TLS_ECDHE_RSA_WITH_RC4_128_SHA)"),
        (["aes128gcm", "3des"], legacy_tls.TLS_1_3, "3DES (TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA)"),
        (["3des"], legacy_tls.SSL_3, "3DES (TLS_"),
    ],
)
async def test_suites_that_openssl_no_longer_offers(
    folder: Path, rsa_leaf: Issued, ciphers: list[str], newest: legacy_tls.Version, said: str
) -> None:
    oldest = min(newest, legacy_tls.TLS_1_2)
    with tlslite_server(rsa_leaf, oldest=oldest, newest=newest, ciphers=ciphers) as port:
        result = await look_at("strong_ciphers_configured", port, folder)
    assert result.status is Status.FAILED
    assert said in result.summary


async def test_des_and_export_suites_that_only_java_still_speaks(folder: Path, rsa_leaf: Issued) -> None:
    suites = ["SSL_RSA_WITH_DES_CBC_SHA", "SSL_RSA_EXPORT_WITH_RC4_40_MD5", "TLS_RSA_WITH_AES_128_CBC_SHA"]
    with java_server(rsa_leaf, versions=["TLSv1"], suites=suites) as port:
        seen = await look(port, folder, "strong_ciphers_configured", "tls_1_2_enforced")
    assert seen["strong_ciphers_configured"].status is Status.FAILED
    assert (
        "EXPORT (TLS_RSA_EXPORT_WITH_RC4_40_MD5), DES (TLS_RSA_WITH_DES_CBC_SHA)"
        in seen["strong_ciphers_configured"].summary
    )
    assert "accepts TLS 1.0 " in seen["tls_1_2_enforced"].summary


# hsts_configured


@pytest.mark.verifies("tls_certificates.hsts_configured", "ok")
async def test_hsts_on_every_page_and_a_redirect(folder: Path, good: Issued) -> None:
    port, http_port = free_port(), free_port()
    plain = f"server {{ listen {LOOPBACK}:{http_port}; return 301 https://$host$request_uri; }}"
    with nginx(server_block(port, good.write(folder, "good"), name=NAME, extra=HSTS) + plain, port=port):
        options = {"http_port": http_port, "hsts_include_subdomains": True}
        result = await look_at("hsts_configured", port, folder, **options)
    assert result.status is Status.OK
    assert f"{LOOPBACK}:{port} sends HSTS that holds for 365 days." in result.summary
    assert f"Port {http_port} of {LOOPBACK} redirects to https." in result.summary
    assert result.measurements == {"hsts_max_age_seconds": 31536000}


@pytest.mark.verifies("tls_certificates.hsts_configured", "failed")
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "sends no Strict-Transport-Security header with its first page."),
        (HSTS.replace(" always", ""), "header with a page that does not exist (status 404)."),
        ("add_header Strict-Transport-Security max-age=86400 always;", "holds for 1 day (limit 365d)."),
        ("add_header Strict-Transport-Security max-age=0 always;", "holds for 0 seconds (limit 365d)."),
        ("add_header Strict-Transport-Security max-age=31536000 always;", "without includeSubDomains."),
        ("add_header Strict-Transport-Security includeSubDomains always;", "that browsers ignore as malformed."),
    ],
)
async def test_hsts_that_does_not_protect(folder: Path, good: Issued, header: str, said: str) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=header), port=port):
        result = await look_at("hsts_configured", port, folder, hsts_include_subdomains=True)
    assert result.status is Status.FAILED
    assert said in result.summary


async def test_plain_http_is_not_redirected(folder: Path, good: Issued) -> None:
    port, http_port = free_port(), free_port()
    plain = f"server {{ listen {LOOPBACK}:{http_port}; {HSTS} return 200 hello; }}"
    with nginx(server_block(port, good.write(folder, "good"), extra=HSTS) + plain, port=port):
        result = await look_at("hsts_configured", port, folder, http_port=http_port)
        gone = await look_at("hsts_configured", port, folder, http_port=free_port())
    assert result.status is Status.FAILED
    assert result.summary == (
        f"Port {http_port} of {LOOPBACK} answers GET http://{LOOPBACK}:{http_port}/ with 200, no redirect to https."
    )
    assert gone.status is Status.UNKNOWN
    assert "refused" in gone.summary


@pytest.mark.parametrize(
    "to", ["https:///", "https:/x", "javascript:alert(1)", "//shop.example.com/", "/login", "HTTP://shop.example.com/"]
)
async def test_a_redirect_that_does_not_lead_to_https(folder: Path, good: Issued, to: str) -> None:
    port, http_port = free_port(), free_port()
    plain = f"server {{ listen {LOOPBACK}:{http_port}; absolute_redirect off; return 301 '{to}'; }}"
    with nginx(server_block(port, good.write(folder, "good"), extra=HSTS) + plain, port=port):
        result = await look_at("hsts_configured", port, folder, http_port=http_port)
    assert result.status is Status.FAILED
    assert "with 301, no redirect to https." in result.summary


async def test_a_target_that_is_declared_to_serve_no_browsers(folder: Path) -> None:
    async with faults.refused() as (_, port):
        result = await look_at("hsts_configured", port, folder, https=False)
    assert result.status is Status.OK
    assert "declared not to serve HTTP (https: false)" in result.summary


@pytest.mark.verifies("tls_certificates.hsts_configured", "unknown")
async def test_an_endless_page(folder: Path, good: Issued) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*good.write(folder, "good"))
    async with faults.endless(b"HTTP/1.1 200 OK\r\n\r\n", every=0.02, tls=context) as (_, port):
        seen = await look(port, folder, "hsts_configured", "chain_complete", connection_timeout="2s")
    assert seen["chain_complete"].status is Status.OK
    assert seen["hsts_configured"].status is Status.UNKNOWN
    assert "did not answer within 2s" in seen["hsts_configured"].summary


# ocsp_stapling_enabled


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses between the tries for a staple that will not come."""
    monkeypatch.setattr(tls_certificates, "_STAPLE_PAUSE", timedelta(seconds=0.05))


@pytest.fixture
def ocsp_responder() -> Iterator[Responder]:
    with responder() as running:
        yield running


@pytest.mark.verifies("tls_certificates.ocsp_stapling_enabled", "ok")
async def test_a_staple_that_comes_with_the_second_handshake(folder: Path, ocsp_responder: Responder) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, responder=ocsp_responder.url, must_staple=True)
    ocsp_responder.answer = lambda: response(leaf)
    chain = intermediate().pem + authority().pem
    (folder / "trusted.pem").write_bytes(chain)
    stapling = f"ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate {folder}/trusted.pem;"
    with nginx(server_block(port, leaf.write(folder, "leaf"), extra=stapling), port=port):
        first = await tls_handshake(port)
        assert first.staple == b"", "nginx asks the responder only when it is asked"
        await eventually(lambda: ocsp_responder.asked, "nginx to ask the responder")
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.OK
    assert "has a staple that expires on 20" in result.summary
    assert result.measurements["ocsp_expiry_seconds"] == pytest.approx(86400, abs=600)


async def test_an_empty_first_handshake_is_tried_again(folder: Path, ocsp_responder: Responder) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, responder=ocsp_responder.url)
    ocsp_responder.answer = lambda: response(leaf)
    with nginx(server_block(port, leaf.write(folder, "leaf"), extra="ssl_stapling on;"), port=port):
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.OK
    assert ocsp_responder.asked == 1


async def tls_handshake(port: int) -> certificates.Served:
    address = Address(socket.AF_INET, (LOOPBACK, port))
    return await handshakes.handshake(address, NAME, timeout=3)


@pytest.mark.verifies("tls_certificates.ocsp_stapling_enabled", "failed")
@pytest.mark.parametrize("must_staple", [False, True])
async def test_nothing_is_stapled(folder: Path, quick: None, must_staple: bool) -> None:
    port = free_port()
    leaf = intermediate().issue(NAME, responder=None if must_staple else "http://127.0.0.1/", must_staple=must_staple)
    with nginx(server_block(port, leaf.write(folder, "leaf")), port=port):
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.FAILED
    said = "demands a staple (must-staple)" if must_staple else "names an OCSP responder"
    assert f"{said} and nothing was stapled in 3 tries." in result.summary


async def test_a_certificate_without_a_responder_has_nothing_to_staple(
    folder: Path, good: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_certificates, "_STAPLE_PAUSE", timedelta(hours=1))  # there is nothing to try again for
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra="ssl_stapling on;"), port=port):
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.OK
    assert "names no OCSP responder, so there is nothing to staple." in result.summary


BAD_STAPLES = {
    "says that the certificate is REVOKED": {"status": REVOKED},
    "says that the certificate is UNKNOWN": {"status": UNKNOWN},
    "expired on 20": {"hours": -1, "age": 30},
    "is from the future": {"age": -2},
    "does not say until when it holds": {"hours": None},
    "is about another certificate": {"about": intermediate().issue(NAME)},
    "is not signed by the certificate's issuer": {
        "signer": Issued.root("Stranger").issue(usage=ExtendedKeyUsageOID.OCSP_SIGNING)
    },
}


@pytest.mark.parametrize("said", BAD_STAPLES)
async def test_a_staple_that_does_not_vouch(folder: Path, said: str) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, responder="http://127.0.0.1/")
    (folder / "staple.der").write_bytes(response(leaf, **BAD_STAPLES[said]))  # type: ignore[arg-type]
    stapling = f"ssl_stapling on; ssl_stapling_file {folder}/staple.der;"
    with nginx(server_block(port, leaf.write(folder, "leaf"), extra=stapling), port=port):
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.FAILED
    assert f"The OCSP response stapled for {NAME} by {LOOPBACK}:{port} {said}" in result.summary


@pytest.mark.verifies("tls_certificates.ocsp_stapling_enabled", "unknown")
async def test_a_staple_without_the_issuer(folder: Path) -> None:
    port, leaf = free_port(), intermediate().issue(NAME, responder="http://127.0.0.1/")
    (folder / "staple.der").write_bytes(response(leaf))
    stapling = f"ssl_stapling on; ssl_stapling_file {folder}/staple.der;"
    with nginx(server_block(port, leaf.write(folder, "leaf", chain=leaf.pem), extra=stapling), port=port):
        result = await look_at("ocsp_stapling_enabled", port, folder)
    assert result.status is Status.UNKNOWN
    assert "comes without its issuer" in result.summary


# Faults

FAULTS = {
    "refused": (faults.refused, "refused"),
    "unroutable": (faults.unroutable, "did not"),
    "mute": (faults.mute, "did not"),
    "hanging up": (faults.hanging_up, ""),
    "half a handshake": (lambda: faults.half_reply(bytes.fromhex("160303007a020000760303")), "did not"),
    "garbage": (faults.garbage, ""),
    "endless": (lambda: faults.endless(b""), ""),
    "endless warnings": (lambda: faults.endless(b"", more=bytes.fromhex("15030300020170") * 1000), ""),
    "endless certificates": (lambda: faults.endless(bytes.fromhex("16030340000bffffff"), more=bytes(65536)), ""),
}


@pytest.mark.verifies("tls_certificates.certificates_valid", "unknown")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_server_is_unknown_within_the_deadline(folder: Path, fault: str, no_leftovers: None) -> None:
    serve, said = FAULTS[fault]
    manager: AbstractAsyncContextManager[tuple[str, int]] = serve()
    async with manager as (_, port):
        started = time.monotonic()
        seen = await look(port, folder, connection_timeout="500ms")
        assert time.monotonic() - started < 30
    assert {name: result.status for name, result in seen.items()} == dict.fromkeys(ITEMS, Status.UNKNOWN)
    for name, result in seen.items():
        assert str(port) in result.summary, name
        assert result.summary.endswith("."), name
        assert said in result.summary, name


async def test_a_name_that_does_not_exist(folder: Path, no_leftovers: None) -> None:
    seen = await look(443, folder, endpoint="nowhere.invalid:443", server_name=None, connection_timeout="5s")
    assert {result.status for result in seen.values()} == {Status.UNKNOWN}
    assert all("nowhere.invalid" in result.summary for result in seen.values())


async def test_a_name_that_is_never_resolved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_certificates, "resolve", lambda *_: time.sleep(0.5))
    seen = await look(443, folder, endpoint="slow.example.com:443", connection_timeout="50ms")
    assert {result.summary for result in seen.values()} == {"The name slow.example.com was not resolved within 0.05 s."}


async def test_a_fault_on_one_address_does_not_hide_what_another_shows(folder: Path, good: Issued) -> None:
    port, expired = free_port(), intermediate().issue(NAME, days=-1, age=90)
    with nginx(server_block(port, expired.write(folder, "expired"), extra=MODERN), port=port):
        seen = await look(port, folder, addresses=["127.0.0.1", "127.0.0.2"])
    assert seen["certificates_valid"].status is Status.FAILED
    assert seen["tls_1_2_enforced"].status is Status.UNKNOWN
    assert seen["tls_1_2_enforced"].summary == f"127.0.0.2:{port} refused the connection."


async def test_a_server_that_dies_in_the_middle_of_a_run(folder: Path, good: Issued, no_leftovers: None) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=MODERN + HSTS), port=port) as server:

        def dies_at_the_fifth(_version: int, count: int) -> bool:
            if count == 5:
                server.kill()
            return True

        async with closing_unless(port, dies_at_the_fifth) as proxy:
            seen = await look(proxy, folder)
    assert not server.running
    assert Status.FAILED not in {result.status for result in seen.values()}
    assert seen["strong_ciphers_configured"].status is Status.UNKNOWN


async def test_hundreds_of_runs_leave_nothing_behind(folder: Path, good: Issued, no_leftovers: None) -> None:
    port = free_port()
    with nginx(server_block(port, good.write(folder, "good"), extra=MODERN + HSTS), port=port):
        async with faults.Proxy(LOOPBACK, port) as proxy:
            for number in range(200):
                proxy.cut() if number % 2 else proxy.resume()
                seen = await look(proxy.address[1], folder)
                expected = Status.UNKNOWN if number % 2 else Status.OK
                assert {result.status for result in seen.values()} == {expected}, number


async def test_what_was_not_foreseen_is_not_taken_for_something_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(handshakes, "handshake", broken)
    result = (await run(443, folder, "certificates_valid").whatever())["certificates_valid"]
    assert result.status is Status.UNKNOWN
    assert "RuntimeError: a defect" in result.summary
    assert "RuntimeError" in caplog.text


# STARTTLS


async def test_a_mail_server_is_judged_as_any_other(folder: Path) -> None:
    expiring = intermediate().issue(NAME, kind="rsa", days=5.5, age=100)
    with SERVERS["smtp"](expiring.write(folder, "leaf")) as port:
        seen = await look(port, folder, starttls="smtp")
    assert seen["certificates_valid"].status is Status.FAILED
    assert "in 5 days (limit 7 days)" in seen["certificates_valid"].summary
    assert seen["chain_complete"].status is Status.OK
    assert seen["tls_1_2_enforced"].status is Status.OK
    assert seen["strong_ciphers_configured"].status is Status.OK
    assert seen["hsts_configured"].summary.endswith(
        "is declared not to serve HTTP (starttls: smtp), so HSTS has no meaning for it."
    )


async def test_a_server_that_does_not_offer_tls_fails_every_line_about_it(folder: Path) -> None:
    with SERVERS["smtp"](None) as port:
        seen = await look(port, folder, starttls="smtp")
    assert seen.pop("hsts_configured").status is Status.OK
    for name, result in seen.items():
        assert result.status is Status.FAILED, name
        assert result.reason is Reason.MISCONFIGURED
        assert result.summary.startswith(f"{LOOPBACK}:{port} does not offer TLS in smtp: "), name


async def test_an_error_hints_at_the_option_that_is_missing(folder: Path) -> None:
    with SERVERS["smtp"](None) as port:
        mail = await look_at("certificates_valid", port, folder)
    assert mail.status is Status.UNKNOWN
    assert mail.reason is Reason.MALFORMED
    assert "see the option starttls" in mail.summary


# Options


@pytest.mark.parametrize(
    "endpoint",
    ["shop", "shop:", "shop:0", "shop:65536", "user@shop:443", "shop:443/path", ":443", "a b:443", "a..b:443"],
)
def test_an_endpoint_that_is_none(endpoint: str, folder: Path) -> None:
    with pytest.raises(ValidationError, match="expected host:port"):
        make_target(443, folder, endpoint=endpoint)


def test_a_name_that_cannot_be_asked_for(folder: Path) -> None:
    with pytest.raises(ValidationError, match="xn-- form"):
        make_target(443, folder, server_name="bücher.example.com")


def test_an_endpoint_is_taken_apart(folder: Path) -> None:
    target = make_target(443, folder, endpoint="[2001:db8::1]:8443", server_name=None)
    assert (target.host, target.port, target.expected_name) == ("2001:db8::1", 8443, "2001:db8::1")
    rooted = make_target(443, folder, endpoint="shop.example.com.:443", server_name=None)
    assert (rooted.host, rooted.expected_name) == ("shop.example.com.", "shop.example.com")
