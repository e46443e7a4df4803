"""OCSP responses: who may sign them, and what they must say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from collectors.systems.tls.model import ocsp
from tests.servers.certificates import Issued, KeyKind
from tests.servers.ocsp import response

NAME = "shop.example.com"
ROOT = Issued.root("Issuer")
LEAF = ROOT.issue(NAME, responder="http://127.0.0.1/", must_staple=True)
PLAIN = ROOT.issue(NAME)


def judge(staple: bytes, leaf: Issued = LEAF) -> datetime:
    assert leaf.issuer
    _, until = ocsp.good_until(staple, leaf.certificate, leaf.issuer.certificate, datetime.now(UTC))
    return until


def test_what_a_certificate_says_of_ocsp() -> None:
    assert ocsp.responder(LEAF.certificate) == "http://127.0.0.1/"
    assert ocsp.responder(PLAIN.certificate) is None
    assert ocsp.demands_staple(LEAF.certificate)
    assert not ocsp.demands_staple(PLAIN.certificate)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_signed_by_the_issuer(kind: KeyKind) -> None:
    leaf = Issued.root("Issuer", kind=kind).issue(NAME)
    assert judge(response(leaf), leaf) == pytest.approx(datetime.now(UTC) + timedelta(days=1), abs=timedelta(minutes=5))


def test_signed_by_a_responder_that_the_issuer_authorised() -> None:
    delegate = ROOT.issue("responder", usage=ExtendedKeyUsageOID.OCSP_SIGNING)
    assert judge(response(LEAF, signer=delegate)) > datetime.now(UTC)


@pytest.mark.parametrize(
    "signer",
    [
        ROOT.issue("responder"),
        ROOT.issue("responder", usage=ExtendedKeyUsageOID.OCSP_SIGNING, days=-1, age=90),
        Issued.root("Issuer").issue("responder", usage=ExtendedKeyUsageOID.OCSP_SIGNING),
        Issued.root("Stranger"),
    ],
    ids=["for another purpose", "expired", "of a namesake", "a stranger"],
)
def test_signed_by_someone_else(signer: Issued) -> None:
    with pytest.raises(ocsp.BadStaple, match="is not signed by the certificate's issuer"):
        judge(response(LEAF, signer=signer))


def test_signed_with_a_key_of_another_kind_than_the_issuers() -> None:
    delegate = ROOT.issue("responder", kind="ed25519", usage=ExtendedKeyUsageOID.OCSP_SIGNING)
    assert judge(response(LEAF, signer=delegate)) > datetime.now(UTC)
    with pytest.raises(ocsp.BadStaple, match="is not signed by the certificate's issuer"):
        judge(response(LEAF, signer=Issued.root("Stranger", kind="ed25519")))


def test_about_a_certificate_with_the_same_number_of_another_issuer() -> None:
    other = Issued.root("Other").issue(NAME)
    with pytest.raises(ocsp.BadStaple, match="is about another certificate"):
        judge(response(other), LEAF)


def test_an_error_of_the_responder() -> None:
    staple = x509_ocsp.OCSPResponseBuilder.build_unsuccessful(x509_ocsp.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(ocsp.BadStaple, match="is an error of the responder: TRY_LATER"):
        judge(staple.public_bytes(Encoding.DER))


@given(st.binary(max_size=200))
def test_garbage_never_vouches(staple: bytes) -> None:
    with pytest.raises(ocsp.BadStaple, match="is not an OCSP response"):
        judge(staple)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_damaged_response_never_vouches(flip: int) -> None:
    whole = response(LEAF)
    parsed = x509_ocsp.load_der_ocsp_response(whole)
    for part in (
        parsed.tbs_response_bytes,
        parsed.signature,
    ):  # around them is encoding that the signature does not cover
        start = whole.index(part)
        for position in range(start, start + len(part)):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            with pytest.raises(ocsp.BadStaple):
                judge(bytes(damaged))
