"""Keys of KMS and secrets of Secrets Manager, as AWS describes them; never what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["KmsKey", "StoredSecret"]


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key of KMS. `rotates` is None where AWS rotates keys of its kind never, or does not say."""

    name: str
    state: str
    origin: str
    deleted_on: datetime | None = None
    expires: datetime | None = None
    rotates: bool | None = None

    @property
    def kept_by_aws(self) -> bool:
        """Whether AWS made the key, keeps it durably, and gives it to nobody, so that no copy of it is needed or possible."""
        return self.origin == "AWS_KMS"


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret of Secrets Manager. `created` is when the version was stored that is current."""

    name: str
    rotation: bool
    rotated: datetime | None = None
    next_rotation: datetime | None = None
    created: datetime | None = None
    deleted: datetime | None = None
