"""Tokens that a verifier must refuse, made of one that it accepts."""

from __future__ import annotations

import base64
import json
import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["expiry", "forged"]

_LETTERS = string.ascii_letters + string.digits


def forged(token: str) -> dict[str, str]:
    """What was done to it, and the token that came of it: garbage, `alg: none` and a wrong signature of a JWT.

    What is no JWT is replaced by other characters of the same kind, so that its form is right.
    """
    parts = _jwt(token)
    if parts is None:
        return {"a made-up value": "".join(secrets.choice(_LETTERS) if char.isalnum() else char for char in token)}
    header, payload, signature = parts
    claims = _claims(payload) or {}
    if "exp" in claims:
        claims |= {"exp": int(datetime.now(UTC).timestamp()) + 300}
    none = _encode({**(_claims(header) or {}), "alg": "none"})
    wrong = base64.urlsafe_b64encode(secrets.token_bytes(max(1, len(signature) * 3 // 4))).decode().rstrip("=")
    return {
        "garbage": "".join(secrets.choice(_LETTERS) for _ in range(24)),
        "alg: none": f"{none}.{_encode(claims)}.",
        "a wrong signature": f"{header}.{payload}.{wrong}",
    }


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
    return base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).decode().rstrip("=")
