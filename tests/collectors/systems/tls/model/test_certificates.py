"""Whether certificates may serve TLS, in agreement with OpenSSL's purpose sslserver, by which most clients judge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from collectors.systems.tls.client.handshake import roots
from collectors.systems.tls.judge import judge_certificates
from collectors.systems.tls.model.certificates import Served
from collectors.systems.tls.model.options import TlsTarget
from tests.servers.certificates import Issued, key_usage
from tests.servers.process import scratch

NAME = "shop.example.com"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_SGC = tuple(map(x509.ObjectIdentifier, ("1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1")))


def _netscape(bits: int) -> x509.UnrecognizedExtension:
    """The old extension nsCertType; the first bit is for clients, the second for servers, the sixth for their authorities."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), bytes((3, 2, 0, bits)))


EXTENSIONS: dict[str, Sequence[x509.ExtensionType]] = {
    "nothing": (),
    "EKU serverAuth": (x509.ExtendedKeyUsage([SERVER]),),
    "EKU clientAuth": (x509.ExtendedKeyUsage([CLIENT]),),
    "EKU both": (x509.ExtendedKeyUsage([CLIENT, SERVER]),),
    "EKU any": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),),
    "EKU emailProtection": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]),),
    "EKU OCSPSigning": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]),),
    "EKU Microsoft's gated cryptography": (x509.ExtendedKeyUsage([_SGC[0]]),),
    "EKU Netscape's gated cryptography": (x509.ExtendedKeyUsage([_SGC[1]]),),
    "EKU of nobody": (x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")]),),
    **{
        f"KU {usage}": (key_usage(*usage.split()),)
        for usage in (
            "digital_signature",
            "key_encipherment",
            "key_agreement",
            "data_encipherment",
            "content_commitment",
            "key_cert_sign",
            "crl_sign",
            "digital_signature key_cert_sign",
            "key_cert_sign crl_sign",
        )
    },
    "nsCertType client": (_netscape(0x80),),
    "nsCertType server": (_netscape(0x40),),
    "nsCertType server and its authority": (_netscape(0x44),),
    "authority": (x509.BasicConstraints(ca=True, path_length=None),),
    "no authority": (x509.BasicConstraints(ca=False, path_length=None),),
    "path length 0": (x509.BasicConstraints(ca=True, path_length=0),),
}


WITHOUT: dict[str, Sequence[type[x509.ExtensionType]]] = {
    "no basicConstraints": (x509.BasicConstraints,),
    "no KU": (x509.KeyUsage,),
    "neither": (x509.BasicConstraints, x509.KeyUsage),
    "no identifiers": (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch("purposes") as path:
        yield path


def openssl_accepts(folder: Path, root: Issued, intermediate: Issued, leaf: Issued) -> bool:
    for name, one in (("root", root), ("intermediate", intermediate), ("leaf", leaf)):
        (folder / f"{name}.pem").write_bytes(one.pem)
    command = "openssl verify -purpose sslserver -CAfile root.pem -untrusted intermediate.pem leaf.pem"
    return subprocess.run(command.split(), cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("place", ["root", "intermediate", "leaf"])
def test_purposes_are_those_of_openssl(folder: Path, place: str) -> None:
    target = TlsTarget.model_validate({"name": "shop", "endpoint": f"{NAME}:443"})
    accepted = {}
    for name in (*EXTENSIONS, *WITHOUT):
        at = {place: EXTENSIONS.get(name, ())}
        less = {place: WITHOUT.get(name, ())}
        root = Issued.root("Purpose Root", extensions=at.get("root", ()), without=less.get("root", ()))
        options = {"extensions": at.get("intermediate", ()), "without": less.get("intermediate", ())}
        intermediate = root.intermediate("Purpose Intermediate", **options)
        without = [*less.get("leaf", ())]
        if place == "leaf" and not name.startswith("EKU"):
            without.append(x509.ExtendedKeyUsage)
        leaf = intermediate.issue(NAME, extensions=at.get("leaf", ()), without=without)
        accepted[name] = openssl_accepts(folder, root, intermediate, leaf)
        served = Served((leaf.certificate, intermediate.certificate), b"")
        result = judge_certificates(target, [served], roots(folder / "root.pem"), datetime.now(UTC))
        assert result.status.is_ok == accepted[name], f"{name} at the {place}: {result.summary}"
    assert accepted["EKU serverAuth"]
    assert not accepted["EKU clientAuth"], "the test would prove nothing if OpenSSL took everything"
