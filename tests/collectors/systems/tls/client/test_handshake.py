"""Handshakes that judge nothing, roots that hide nothing, and names."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from collectors.systems.tls.client import handshake as handshakes
from collectors.systems.tls.client.tcp import connected, resolve
from collectors.systems.tls.model import certificates
from collectors.systems.tls.model.addresses import Address
from exporter.verdict import ProbeError
from tests.servers import faults
from tests.servers.certificates import Issued, authority, intermediate, new_key
from tests.servers.process import LOOPBACK, scratch

NAME = "shop.example.com"


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch("tls") as path:
        yield path


def served_by(folder: Path, leaf: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf.write(folder, "leaf"))
    return context


async def shake(port: int, name: str = NAME, keys: certificates.Keys = certificates.Keys.ANY) -> certificates.Served:
    return await handshakes.handshake(Address(socket.AF_INET, (LOOPBACK, port)), name, timeout=20, keys=keys)


async def test_certificates_are_given_as_they_were_sent(folder: Path, no_leftovers: None) -> None:
    leaf = intermediate().issue(NAME)
    async with faults.mute(served_by(folder, leaf)) as (_, port):
        served = await shake(port)
    assert served.sent == (leaf.certificate, intermediate().certificate)
    assert served.leaf == leaf.certificate
    assert served.staple == b""
    assert served.other_keys == (certificates.Keys.RSA,)


async def test_a_kind_of_key_that_the_server_has_not(folder: Path, no_leftovers: None) -> None:
    async with faults.mute(served_by(folder, intermediate().issue(NAME))) as (_, port):
        with pytest.raises(handshakes.NotServed, match="the TLS handshake") as refused:
            await shake(port, keys=certificates.Keys.RSA)
    assert not refused.value.explicit  # asyncio closes without an alert


async def test_a_certificate_that_cannot_be_read(folder: Path, no_leftovers: None) -> None:
    leaf, key = intermediate().issue(NAME), new_key("ec")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x09\x82\x02ab")
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(leaf.certificate.not_valid_before_utc)
        .not_valid_after(leaf.certificate.not_valid_after_utc)
        .add_extension(broken, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = leaf.write(folder, "leaf", chain=leaf.pem + Issued(certificate, key).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    async with faults.mute(context) as (_, port):
        with pytest.raises(ProbeError, match=rf"127\.0\.0\.1:{port} presents a certificate that cannot be read: "):
            await shake(port)


async def test_a_connection_that_breaks(monkeypatch: pytest.MonkeyPatch, no_leftovers: None) -> None:
    async def reset(*_: object) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")

    async with faults.mute() as (_, port):
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", reset)
        with pytest.raises(handshakes.NotServed, match="broke off the TLS handshake: Connection reset by peer"):
            await shake(port)


async def test_more_bytes_than_a_handshake_has(monkeypatch: pytest.MonkeyPatch, no_leftovers: None) -> None:
    monkeypatch.setattr(handshakes, "_MAX_BYTES", 1000)
    fragment = bytes.fromhex("1603034000") + b"\x02\x00\x80\x00" + bytes(16380)
    async with faults.endless(fragment[:5] + fragment[5:2000]) as (_, port):
        with pytest.raises(ProbeError, match="sent more than 1000 bytes without completing a TLS handshake"):
            await shake(port)


async def test_an_address_without_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    address = Address(socket.AF_INET6, ("2001:db8::1", 443, 0, 0))
    with pytest.raises(ProbeError, match=r"\[2001:db8::1\]:443 could not be reached: Network is unreachable\."):
        async with connected(address):
            pass


def test_names_are_resolved_to_each_address_once() -> None:
    assert [str(address) for address in resolve("127.0.0.1", 443)] == ["127.0.0.1:443"]


def test_a_context_is_made_once_per_kind_of_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def contexts() -> set[SSL.Context]:
        *before, only_since = certificates.Keys
        older = {handshakes._client_context(keys) for keys in before}
        return older | {handshakes._client_context(keys, tls_1_3=True) for keys in (*before[1:], only_since)}

    first = contexts()
    monkeypatch.setattr(SSL, "Context", None)
    assert contexts() == first
    assert len(first) == 6


def test_roots_are_read_once_until_the_file_changes(folder: Path) -> None:
    file = folder / "ca.pem"
    file.write_bytes(authority().pem)
    first = handshakes.roots(file)
    assert handshakes.roots(file) is first
    assert handshakes.roots(None) is handshakes.roots(handshakes.PUBLIC_ROOTS)
    stranger = Issued.root("Stranger")
    file.write_bytes(stranger.pem)
    os.utime(file, (1, 1))
    assert handshakes.roots(file).path([stranger.issue(NAME).certificate])[-1] == stranger.certificate
    with pytest.raises(certificates.Untrusted):
        handshakes.roots(file).path([authority().issue(NAME).certificate])


def test_a_root_that_has_expired_is_still_a_root(folder: Path) -> None:
    old = Issued.root("Old", days=-1, age=900)
    (folder / "ca.pem").write_bytes(old.pem)
    leaf = old.issue(NAME)
    assert handshakes.roots(folder / "ca.pem").path([leaf.certificate]) == (leaf.certificate, old.certificate)


def test_a_forged_certificate_under_a_root_that_has_expired(folder: Path) -> None:
    old = Issued.root("Old", days=-1, age=900)
    (folder / "ca.pem").write_bytes(old.pem)
    der = bytearray(ssl.PEM_cert_to_DER_cert(old.issue(NAME).pem.decode()))
    der[-1] ^= 1
    with pytest.raises(certificates.Untrusted, match="certificate signature failure"):
        handshakes.roots(folder / "ca.pem").path([x509.load_der_x509_certificate(bytes(der))])


def test_a_path_that_is_valid_now_is_preferred(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(authority().pem)
    key = new_key("ec")
    old = authority().intermediate("Twice", key=key, days=-1, age=900)
    new = authority().intermediate("Twice", key=key)
    leaf = new.issue(NAME)
    path = handshakes.roots(folder / "ca.pem").path([leaf.certificate, old.certificate, new.certificate])
    assert path == (leaf.certificate, new.certificate, authority().certificate)


def test_a_root_under_a_new_key_signed_by_the_old_one_is_an_intermediate(folder: Path) -> None:
    old, key = Issued.root("Rollover"), new_key("ec")
    link = Issued(old.intermediate("Rollover", key=key).certificate, key)
    (folder / "ca.pem").write_bytes(link.pem)
    with pytest.raises(ProbeError, match="has 1 certificate and no root among them"):
        handshakes.roots(folder / "ca.pem")


def test_a_private_root_is_none_of_the_public_ones() -> None:
    with pytest.raises(certificates.Untrusted, match="self-signed certificate"):
        handshakes.roots(None).path([authority().certificate])


@pytest.mark.parametrize(
    ("names", "host", "expected"),
    [
        ([NAME], NAME, True),
        ([NAME], "SHOP.Example.com", True),
        ([NAME], f"{NAME}.", True),
        ([NAME], "example.com", False),
        ([NAME], f"x.{NAME}", False),
        (["*.example.com"], NAME, True),
        (["*.EXAMPLE.com"], NAME, True),
        (["*.example.com"], "a.b.example.com", False),
        ([f"{NAME}."], NAME, False),
        (["*.example.com"], "example.com", False),
        (["*.com"], "example.com", False),
        (["sh*.example.com"], NAME, False),
        (["*"], "localhost", False),
        (["localhost"], "localhost", True),
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["::1"], "0:0::1", True),
        ([NAME], "127.0.0.1", False),
        ([], NAME, False),
    ],
)
def test_names(names: list[str], host: str, expected: bool) -> None:
    assert certificates.matches(authority().issue(*names).certificate, host) is expected


def test_the_common_name_does_not_count() -> None:
    certificate = Issued.root(NAME).certificate
    assert certificate.subject.rfc4514_string() == f"CN={NAME}"
    assert not certificates.matches(certificate, NAME)
