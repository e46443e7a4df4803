"""Sessions that nobody issued, of the kinds that careless guards accept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from datetime import datetime

__all__ = ["forged_tokens"]


def forged_tokens(now: datetime) -> Iterator[str]:
    """Something that is no token, one signed with a key of nobody's, and one without a signature, all valid for an hour."""
    yield f"forged-{secrets.token_hex(16)}"
    claims = {"sub": "forged", "name": "forged", "iat": int(now.timestamp()), "exp": int(now.timestamp()) + 3600}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.new(secrets.token_bytes(32), signed.encode(), hashlib.sha256).digest()
    yield f"{signed}.{_text(signature)}"
    yield f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _part(claims: object) -> str:
    return _text(json.dumps(claims, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
