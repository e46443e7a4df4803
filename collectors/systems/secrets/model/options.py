"""What may be set for settings and secrets."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from exporter.options import Options

__all__ = ["ExpectedVariables", "RequiredVariables", "SettingsOptions"]

_Named = TypeVar("_Named", dict[str, tuple[str, ...]], dict[str, dict[str, str]])


def _reasoned(allowed: dict[str, str]) -> dict[str, str]:
    if without := next((name for name, reason in allowed.items() if not reason.strip()), None):
        raise ValueError(f"expected a reason why {without} is allowed")
    if wrong := next((name for name in allowed if name.count("/") < 2), None):
        raise ValueError(f"expected namespace/object/name, not {wrong}")
    return allowed


def _workloads(required: _Named) -> _Named:
    for path, names in required.items():
        if path.count("/") not in (1, 2) or not all(path.split("/")):
            raise ValueError(f"expected namespace/workload or namespace/workload/container, not {path}")
        if not names:
            raise ValueError(f"expected the names that {path} requires")
    return required


RequiredVariables = Annotated[dict[str, tuple[str, ...]], AfterValidator(_workloads)]
"""Workloads, as namespace/name or namespace/name/container, to the environment variables that each needs."""
ExpectedVariables = Annotated[dict[str, dict[str, str]], AfterValidator(_workloads)]
"""The same, with the value that each variable has to have."""


class SettingsOptions(Options):
    """What workloads require, and what is allowed although a rule finds it."""

    required: RequiredVariables = Field(
        default_factory=dict,
        description="Workload, as namespace/name (or namespace/name/container), to the environment variables that it needs.",
    )
    allowed: Annotated[dict[str, str], AfterValidator(_reasoned)] = Field(
        default_factory=dict,
        description="What a rule finds and is none, as namespace/object/name (`*` matches any characters), to the reason.",
    )

    def allows(self, namespace: str, thing: str, name: str) -> bool:
        """Whether a finding is allowed."""
        return any(fnmatchcase(f"{namespace}/{thing}/{name}", pattern) for pattern in self.allowed)
