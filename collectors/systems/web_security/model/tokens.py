"""Tokens that a verifier must refuse, made of one that it accepts."""

from __future__ import annotations

import base64
import functools
import hmac
import json
import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from collectors.shared.guesses import guesses

__all__ = ["careless", "confused", "expiry", "forged", "has_known_secret", "key_id", "subject"]

_LETTERS = string.ascii_letters + string.digits
_NOTHING = {"the word null as a token": "null", "the word undefined as a token": "undefined", "an empty token": ""}
"""What scripts send that have no token."""


_LONG = 12
"""From where on half of a value is no guess."""


def forged(token: str) -> dict[str, str]:
    """What was done to it, and the token that came of it: garbage, `alg: none` and a wrong signature of a JWT.

    What is no JWT is replaced by other characters of the same kind, so that its form is right.
    """
    parts = _jwt(token)
    if parts is None:
        made_up = "".join(secrets.choice(_LETTERS) if char.isalnum() else char for char in token)
        half = {"a value of which half is right": f"{token[: len(token) // 2]}{made_up[len(token) // 2 :]}"}
        return {"a made-up value": made_up, **(half if len(token) >= _LONG else {}), **_altered(token)}
    header, payload, signature = parts
    claims = _claims(payload) or {}
    if "exp" in claims:
        claims |= {"exp": int(datetime.now(UTC).timestamp()) + 300}
    none = _encode({**(_claims(header) or {}), "alg": "none"})
    wrong = base64.urlsafe_b64encode(secrets.token_bytes(max(1, len(signature) * 3 // 4))).decode().rstrip("=")
    return {
        "garbage": "".join(secrets.choice(_LETTERS) for _ in range(24)),
        "alg: none": f"{none}.{_encode(claims)}.",
        "alg: NoNe": f"{_encode({**(_claims(header) or {}), 'alg': 'NoNe'})}.{_encode(claims)}.",
        "an empty signature": f"{header}.{payload}.",
        "a wrong signature": f"{header}.{payload}.{wrong}",
        "a key that the token brings along (jwk)": _with_own_key(claims),
        "an empty file as the key (kid: /dev/null)": _with_empty_file(claims),
    }


def careless(token: str) -> dict[str, str]:
    """What only a guard that compares carelessly takes for a token, and what scripts send that have none."""
    parts = _jwt(token)
    if parts is None:
        return dict(_NOTHING)
    header, payload, signature = parts
    half = signature[: len(signature) // 2]
    rest = "".join(secrets.choice(_LETTERS) for _ in signature[len(half) :])
    return {"a signature of which half is right": f"{header}.{payload}.{half}{rest}", **_NOTHING}


def _with_own_key(claims: Mapping[str, Any]) -> str:
    """A token that is verified by the key in its header, if its verifier takes that one."""
    numbers = _own_key().public_key().public_numbers()
    key = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    signed = f"{_encode({'alg': 'RS256', 'typ': 'JWT', 'jwk': key})}.{_encode(claims)}"
    return f"{signed}.{_base64(_own_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@functools.cache
def _own_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _number(number: int) -> str:
    return _base64(number.to_bytes((number.bit_length() + 7) // 8))


def _with_empty_file(claims: Mapping[str, Any]) -> str:
    """A token that is signed with nothing, which is what a verifier finds that reads its key from the file that `kid` names."""
    signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT', 'kid': '../../../../../../dev/null'})}.{_encode(claims)}"
    return f"{signed}.{_base64(hmac.digest(b'', signed.encode(), 'sha256'))}"


def _altered(value: str) -> dict[str, str]:
    """What is not signed can be altered by anybody: an object in JSON, and a number."""
    if value.isdecimal() and len(value) < 10:
        return {"another number": str(int(value) + 1)}
    text = unquote(value)
    try:
        content = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {"altered content": base64.b64encode(json.dumps({**content, "pc7x": 1}).encode()).decode()}


def confused(token: str, forms: Mapping[str, bytes]) -> dict[str, str]:
    """Tokens like this one, each signed with bytes that everybody knows, by what these are; none where it is no JWT."""
    parts = _jwt(token)
    if parts is None:
        return {}
    claims = _claims(parts[1]) or {}
    if "exp" in claims:
        claims |= {"exp": int(datetime.now(UTC).timestamp()) + 300}
    signed = f"{_encode({**(_claims(parts[0]) or {}), 'alg': 'HS256'})}.{_encode(claims)}"
    return {what: f"{signed}.{_base64(hmac.digest(key, signed.encode(), 'sha256'))}" for what, key in forms.items()}


def key_id(token: str) -> str:
    """The key that a JWT says it is signed with; empty where it says none."""
    parts = _jwt(token)
    return str((_claims(parts[0]) or {}).get("kid", "")) if parts else ""


def subject(token: str | None) -> str:
    """Whom a JWT is about; empty for what is none, and for one that does not say."""
    parts = _jwt(token) if token is not None else None
    return str((_claims(parts[1]) or {}).get("sub", "")) if parts else ""


_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def has_known_secret(token: str) -> bool:
    """Whether a JWT is signed with a secret that tutorials and lists of passwords have."""
    parts = _jwt(token)
    name = _HASHES.get(str((_claims(parts[0]) or {}).get("alg"))) if parts else None
    if parts is None or name is None:
        return False
    signed = f"{parts[0]}.{parts[1]}".encode()
    return any(
        hmac.compare_digest(_base64(hmac.digest(secret, signed, name)).encode(), parts[2].encode())
        for secret in guesses()
    )


def expiry(token: str) -> datetime | None:
    """When a JWT expires; None for what is none, and for one that never does."""
    parts = _jwt(token)
    exp = (_claims(parts[1]) or {}).get("exp") if parts else None
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return None
    try:
        return datetime.fromtimestamp(exp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _jwt(token: str) -> tuple[str, str, str] | None:
    parts = token.split(".")
    header = _claims(parts[0]) if len(parts) == 3 else None
    return (parts[0], parts[1], parts[2]) if header and "alg" in header else None


def _claims(part: str) -> dict[str, Any] | None:
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _encode(claims: Mapping[str, Any]) -> str:
    return _base64(json.dumps(claims, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
