"""What pods and all other objects are made of."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["Amounts", "Condition", "OwnerReference", "Struct"]


class Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of an object. Fields that no verdict needs are skipped while decoding."""


class OwnerReference(Struct, frozen=True):
    """Who made an object; `controller` marks the one that keeps it as it shall be."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Condition(Struct, frozen=True):
    """One condition of an object. `status` is `True`, `False` or `Unknown`."""

    type: str = ""
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int | None = None


class Amounts(Struct, frozen=True):
    """CPU and memory as quantities (`250m`, `64Mi`); None where nothing is said."""

    cpu: str | None = None
    memory: str | None = None
