"""One-time passwords by time (TOTP, RFC 6238), for synthetic users with a second factor."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from exporter.options import Options, Secret

__all__ = ["OTP", "Totp"]

OTP = "otp"
"""The variable that has the password."""


def _key(secret: SecretStr) -> bytes:
    text = "".join(secret.get_secret_value().split()).rstrip("=").upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def _readable(secret: SecretStr) -> SecretStr:
    try:
        key = _key(secret)
    except (binascii.Error, ValueError):
        raise ValueError("expected a secret in Base32, as it is shown when the second factor is set up") from None
    if not key:
        raise ValueError("expected a secret in Base32, found nothing")
    return secret


class Totp(Options):
    """A second factor by time, as authenticator apps have it."""

    secret: Annotated[Secret, AfterValidator(_readable)] = Field(description="Shared secret in Base32.")
    digits: int = Field(6, ge=6, le=8, description="Number of digits.")
    period: int = Field(30, ge=5, le=300, description="For how many seconds a password is valid.")
    algorithm: Literal["sha1", "sha256", "sha512"] = Field("sha1", description="Hash.")

    def left(self, at: float) -> float:
        """For how many seconds the password of this moment (seconds since 1970) remains valid."""
        return self.period - at % self.period

    def password(self, at: float) -> str:
        """The password of this moment (seconds since 1970)."""
        counter = int(at // self.period).to_bytes(8, "big")
        digest = hmac.digest(_key(self.secret), counter, self.algorithm)
        start = digest[-1] & 0xF
        number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
        return str(number % 10**self.digits).zfill(self.digits)
