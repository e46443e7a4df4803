"""Whether keys of KMS would still decrypt tomorrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from collectors.systems.secrets.model.aws import KmsKey
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["key_problems"]

_SOON = timedelta(days=30)


def key_problems(keys: Iterable[KmsKey], now: datetime) -> Iterator[Result]:
    """Keys that are not Enabled, or whose material expires; a warning where AWS does not rotate one that it could."""
    for key in keys:
        if key.state == "PendingDeletion":
            when = f" on {key.deleted_on:%Y-%m-%d}" if key.deleted_on else ""
            yield failed(
                f"Key {key.name} of KMS will be deleted{when}, and all that it encrypted with it.",
                reason=Reason.MISCONFIGURED,
            )
        elif not key.state:
            yield unknown(f"AWS does not say in which state key {key.name} of KMS is.", reason=Reason.MALFORMED)
        elif key.state != "Enabled":
            yield failed(f"Key {key.name} of KMS is in state {key.state}, and decrypts nothing.", reason=Reason.DOWN)
        elif key.expires and key.expires <= now + _SOON:
            yield warning(f"The imported material of key {key.name} of KMS expires on {key.expires:%Y-%m-%d}.")
        elif key.rotates is False:
            yield warning(f"Key {key.name} of KMS is not rotated by AWS.")
