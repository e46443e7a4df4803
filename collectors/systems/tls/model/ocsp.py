"""OCSP responses as servers staple them to a handshake (RFC 6960, RFC 6961), judged without asking anyone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

__all__ = ["BadStaple", "demands_staple", "good_until", "responder"]


#: How far the responder's clock may be ahead.
_SKEW = timedelta(minutes=5)


class BadStaple(Exception):
    """The stapled response does not vouch for the certificate; its text is a clause that completes "The staple …"."""


def responder(certificate: x509.Certificate) -> str | None:
    """The OCSP responder that a certificate names, if it names one: without it there is nothing that a server could staple."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    uris = (one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP)
    return next(uris, None)


def demands_staple(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that it is not to be accepted without a staple (RFC 7633, "must-staple")."""
    try:
        features = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except x509.ExtensionNotFound:
        return False
    return x509.TLSFeatureType.status_request in features


def good_until(
    staple: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> tuple[datetime, datetime]:
    """From when until when a staple (DER) vouches for the certificate `leaf` of `issuer`.

    Raises BadStaple when it does not: it is no OCSP response, an error, for another certificate, not signed by the issuer or a
    responder that the issuer has authorised, out of date, or says anything but GOOD.
    """
    try:
        response = ocsp.load_der_ocsp_response(staple)
    except ValueError:
        raise BadStaple("is not an OCSP response") from None
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise BadStaple(f"is an error of the responder: {response.response_status.name}")
    try:
        single = _about(response, leaf, issuer)
        signed = any(_signed_by(response, signer) for signer in _signers(response, issuer, now))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadStaple(f"cannot be verified: {error}") from None
    if not signed:
        raise BadStaple("is not signed by the certificate's issuer")
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise BadStaple(f"says that the certificate is {single.certificate_status.name}")
    if single.this_update_utc > now + _SKEW:
        raise BadStaple(f"is from the future ({single.this_update_utc:%Y-%m-%d %H:%M} UTC)")
    until = single.next_update_utc
    if until is None:
        raise BadStaple("does not say until when it holds")
    if until <= now:
        raise BadStaple(f"expired on {until:%Y-%m-%d %H:%M} UTC")
    return single.this_update_utc, until


def _about(response: ocsp.OCSPResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> ocsp.OCSPSingleResponse:
    for single in response.responses:
        request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, single.hash_algorithm).build()
        if (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
            request.serial_number,
            request.issuer_name_hash,
            request.issuer_key_hash,
        ):
            return single
    raise BadStaple("is about another certificate")


def _signers(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> Iterable[x509.Certificate]:
    """Who may sign for an issuer: itself, and responders to which it gave a certificate for that purpose (RFC 6960 §4.2.2.2)."""
    yield issuer
    for delegate in response.certificates:
        if delegate.not_valid_before_utc <= now < delegate.not_valid_after_utc and _may_sign(delegate, issuer):
            yield delegate


def _may_sign(delegate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        usages = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        delegate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages


def _signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, signature, signed = signer.public_key(), response.signature, response.tbs_response_bytes
    if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        return isinstance(key, rsa.RSAPublicKey) and any(
            _pss(key, signature, signed, digest) for digest in _PSS_DIGESTS
        )
    digest = response.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and digest:
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest:
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except InvalidSignature:
        return False
    return True


#: The hashes that RSA-PSS is used with; which one it was stands in parameters that the library does not show of a response.
_PSS_DIGESTS = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def _pss(key: rsa.RSAPublicKey, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm) -> bool:
    try:
        key.verify(signature, signed, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
    except InvalidSignature:
        return False
    return True
