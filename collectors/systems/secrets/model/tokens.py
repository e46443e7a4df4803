"""Keys that sign tokens, and tokens that they signed. Pure: no token is sent anywhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collectors.shared.guesses import guesses
from exporter.verdict import ProbeError, Reason

__all__ = ["SigningKey", "Token", "confused", "guessed", "parse_jwks", "parse_token", "shared_factors", "verifies"]

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
#: Public keys whose private halves are printed in the standards: of RFC 7517 (RSA and P-256) and RFC 8037.
_PUBLISHED = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W",
    "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
)
_SMALL_PRIMES = math.prod((3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a JWKS that verifies signatures. `bits` is the size of an RSA modulus, `curve` that of another key.

    `public` is the key itself, None where its numbers are those of none.
    """

    id: str
    kind: str
    algorithm: str
    bits: int = 0
    curve: str = ""
    private: bool = False
    published: bool = False
    broken: bool = False
    public: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says of its signature, and what is signed."""

    algorithm: str
    key: str
    signed: bytes
    signature: bytes


def parse_jwks(body: bytes, where: str) -> list[SigningKey]:
    """The keys of a JWKS but those for encryption alone. Raises ProbeError for what is none."""
    try:
        keys = json.loads(body)["keys"]
        return [_key(key) for key in keys if key.get("use", "sig") != "enc" and not _encrypts(str(key.get("alg", "")))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ProbeError(f"{where} did not answer with a JSON Web Key Set.", Reason.MALFORMED) from None


def _encrypts(algorithm: str) -> bool:
    return algorithm.startswith(("RSA-OAEP", "RSA1_5", "ECDH"))


def _key(key: Mapping[str, Any]) -> SigningKey:
    modulus = int.from_bytes(_bytes(str(key.get("n", ""))))
    exponent = int.from_bytes(_bytes(str(key.get("e", ""))))
    kind, curve = str(key.get("kty", "")), str(key.get("crv", ""))[:20]
    weak = kind == "RSA" and (exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0 or _is_no_product(modulus))
    public = None if weak else _public(key, kind, curve, modulus, exponent)
    return SigningKey(
        id=str(key.get("kid", ""))[:80],
        kind=kind,
        algorithm=str(key.get("alg", ""))[:20],
        bits=modulus.bit_length() if kind == "RSA" else 0,
        curve=curve,
        private=any(name in key for name in ("d", "p", "q", "dp", "dq", "qi", "k")),
        published=str(key.get("n") or key.get("x") or "").startswith(_PUBLISHED),
        broken=weak or public is None,
        public=public,
    )


def _is_no_product(modulus: int) -> bool:
    """Whether a modulus is not that of two large primes far apart: it has a small factor, or close ones, or is a prime itself."""
    if modulus < 2 or math.gcd(modulus, _SMALL_PRIMES) > 1 or _has_close_factors(modulus):
        return True
    return modulus.bit_length() <= _MOST_BITS and pow(2, modulus - 1, modulus) == 1


_MOST_BITS = 8192
_STEPS = 100


def _has_close_factors(modulus: int) -> bool:
    """Whether Fermat's method finds both primes at once, as with generators that take the next prime for the second one."""
    middle = math.isqrt(modulus)
    if middle**2 == modulus:
        return True
    if modulus.bit_length() > _MOST_BITS:
        return False
    rests = ((middle + step) ** 2 - modulus for step in range(1, _STEPS + 1))
    return any(math.isqrt(rest) ** 2 == rest for rest in rests)


def shared_factors(keys: Sequence[SigningKey]) -> list[tuple[SigningKey, SigningKey]]:
    """Pairs of RSA keys that have a prime in common, so that everybody computes the private parts of both."""
    moduli = [(key, key.public.public_numbers().n) for key in keys if isinstance(key.public, rsa.RSAPublicKey)]
    return [
        (one, other)
        for (one, first), (other, second) in itertools.combinations(moduli[:_MOST_KEYS], 2)
        if first != second and math.gcd(first, second) > 1
    ]


_MOST_KEYS = 50
_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


_DIGESTS: Mapping[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "256": hashes.SHA256(),
    "256K": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


def _public(key: Mapping[str, Any], kind: str, curve: str, modulus: int, exponent: int) -> PublicKey | None:
    try:
        if kind == "RSA":
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        x = _bytes(str(key.get("x", "")))
        if kind == "EC" and curve in _CURVES:
            point = int.from_bytes(x), int.from_bytes(_bytes(str(key.get("y", ""))))
            return ec.EllipticCurvePublicNumbers(*point, _CURVES[curve]).public_key()
        if kind == "OKP" and curve == "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(x)
        if kind == "OKP" and curve == "Ed448":
            return ed448.Ed448PublicKey.from_public_bytes(x)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return None


def parse_token(text: str) -> Token:
    """What a JWT says of its signature. Raises ProbeError for what is none; its text is not repeated."""
    head, _, rest = text.strip().partition(".")
    payload, _, signature = rest.partition(".")
    try:
        header = json.loads(_bytes(head))
        algorithm, key = str(header["alg"]), str(header.get("kid", ""))
        return Token(algorithm[:20], key[:80], f"{head}.{payload}".encode(), _bytes(signature))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ProbeError("A token of `tokens` is no JSON Web Token.", Reason.MISCONFIGURED) from None


def verifies(key: SigningKey, token: Token) -> bool:
    """Whether a key of a set signed the token."""
    try:
        _verify(key.public, token)
    except (InvalidSignature, ValueError):
        return False
    return True


def _verify(public: PublicKey | None, token: Token) -> None:
    """Raises InvalidSignature or ValueError unless the key signed the token by the algorithm that it says."""
    family, size = token.algorithm[:2], token.algorithm[2:]
    if isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        public.verify(token.signature, token.signed)
        return
    digest = _DIGESTS.get(size)
    if digest is None:
        raise ValueError("no known algorithm")
    if isinstance(public, rsa.RSAPublicKey) and family in ("RS", "PS"):
        pss = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
        public.verify(token.signature, token.signed, pss if family == "PS" else padding.PKCS1v15(), digest)
    elif isinstance(public, ec.EllipticCurvePublicKey) and family == "ES":
        half = len(token.signature) // 2
        numbers = (int.from_bytes(part) for part in (token.signature[:half], token.signature[half:]))
        public.verify(utils.encode_dss_signature(*numbers), token.signed, ec.ECDSA(digest))
    else:
        raise ValueError("a key of another kind")


def confused(token: Token, keys: Iterable[SigningKey]) -> bool:
    """Whether a public key of a set was taken for a shared secret, in one of the forms that a program may have it in."""
    forms = [form for key in keys if key.public is not None for form in secret_forms(key.public).values()]
    return _signed_by_one(token, forms)


def secret_forms(public: PublicKey) -> dict[str, bytes]:
    """The bytes that a program may have a public key in, and take for a shared secret, by what they are."""
    forms: dict[str, bytes] = {}
    for name, style in (("SPKI", PublicFormat.SubjectPublicKeyInfo), ("PKCS #1", PublicFormat.PKCS1)):
        if style is PublicFormat.PKCS1 and not isinstance(public, rsa.RSAPublicKey):
            continue
        text = public.public_bytes(Encoding.PEM, style)
        forms |= {f"{name} as PEM": text, f"{name} as PEM without its last line end": text.strip()}
        forms[f"{name} as DER"] = public.public_bytes(Encoding.DER, style)
    return forms


def guessed(token: Token) -> bool:
    """Whether one of the secrets that everybody tries first signed the token."""
    return _signed_by_one(token, guesses())


def _signed_by_one(token: Token, secrets: Iterable[bytes]) -> bool:
    algorithm = _HASHES.get(token.algorithm)
    if algorithm is None:
        return False
    return any(hmac.compare_digest(hmac.digest(secret, token.signed, algorithm), token.signature) for secret in secrets)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error
