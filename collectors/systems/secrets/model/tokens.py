"""Keys that sign tokens, and tokens that they signed. Pure: no token is sent anywhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.verdict import ProbeError, Reason

__all__ = ["SigningKey", "Token", "guessed", "parse_jwks", "parse_token"]

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
#: Secrets that manuals, examples and frameworks use, and that every tool tries first.
_GUESSES = (
    "secret", "Secret", "SECRET", "secret123", "password", "changeme", "change-me", "change_me", "supersecret",
    "super-secret", "super_secret", "your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret",
    "a-string-secret-at-least-256-bits-long", "your_jwt_secret", "your-jwt-secret", "your-secret-key", "your_secret_key",
    "your-secret", "mysecret", "my-secret", "my_secret", "mysecretkey", "my-secret-key", "secretkey", "secret-key",
    "secret_key", "secretKey", "jwtsecret", "jwt-secret", "jwt_secret", "jwtSecret", "JWT_SECRET", "shhhhh", "shh",
    "test", "testing", "test-secret", "dev", "dev-secret", "development", "default", "key", "private", "privatekey",
    "token", "admin", "root", "guest", "123456", "12345678", "123456789", "1234567890", "qwerty", "letmein", "abc123",
    "s3cr3t", "example", "placeholder", "todo", "none", "null", "keyboard cat", "topsecret", "top-secret",
    "0123456789abcdef", "gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C", "GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk",
)  # fmt: skip
#: Public keys whose private halves are printed in the standards: of RFC 7517 (RSA and P-256) and RFC 8037.
_PUBLISHED = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W",
    "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
)
_SMALL_PRIMES = math.prod((3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a JWKS that verifies signatures. `bits` is the size of an RSA modulus, `curve` that of another key."""

    id: str
    kind: str
    algorithm: str
    bits: int = 0
    curve: str = ""
    private: bool = False
    published: bool = False
    broken: bool = False


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
        return [_key(key) for key in keys if key.get("use", "sig") != "enc"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ProbeError(f"{where} did not answer with a JSON Web Key Set.", Reason.MALFORMED) from None


def _key(key: Mapping[str, Any]) -> SigningKey:
    modulus = int.from_bytes(_bytes(str(key.get("n", ""))))
    exponent = int.from_bytes(_bytes(str(key.get("e", ""))))
    kind = str(key.get("kty", ""))
    return SigningKey(
        id=str(key.get("kid", ""))[:80],
        kind=kind,
        algorithm=str(key.get("alg", ""))[:20],
        bits=modulus.bit_length() if kind == "RSA" else 0,
        curve=str(key.get("crv", ""))[:20],
        private=any(name in key for name in ("d", "p", "q", "dp", "dq", "qi", "k")),
        published=str(key.get("n") or key.get("x") or "").startswith(_PUBLISHED),
        broken=kind == "RSA"
        and (exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0 or math.gcd(modulus, _SMALL_PRIMES) > 1),
    )


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


def guessed(token: Token, further: Iterable[str] = ()) -> bool:
    """Whether one of the secrets that everybody tries first signed the token."""
    algorithm = _HASHES.get(token.algorithm)
    if algorithm is None:
        return False
    return any(
        hmac.compare_digest(hmac.digest(secret, token.signed, algorithm), token.signature)
        for secret in _secrets((*_GUESSES, *further))
    )


def _secrets(guesses: Iterable[str]) -> Iterator[bytes]:
    yield b""
    for guess in guesses:
        yield guess.encode()
        yield base64.b64encode(guess.encode())


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error
