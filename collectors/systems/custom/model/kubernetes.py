"""Kubernetes: objects of one kind."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from collectors.shared.cel import Language
from collectors.systems.custom.model.probe import Probe
from collectors.systems.kubernetes.model.selectors import parse_selector
from exporter.options import Duration
from exporter.words import listed

__all__ = ["KubernetesObjects"]

_OBJECTS = Language(object="dyn", objects="list(dyn)")
_SECRET = ("Secret", "SecretList")


def _not_mixed(text: str) -> str:
    if _OBJECTS.names(text) >= {"object", "objects"}:
        raise ValueError("found object and objects in one condition, expected one of them: write two conditions")
    return text


Condition = Annotated[str, _OBJECTS.condition, AfterValidator(_not_mixed)]


def _kind(text: str) -> str:
    if text in _SECRET:
        raise ValueError("found Secret, expected another kind: the exporter never reads Secrets")
    return text


def _selector(text: str) -> str:
    parse_selector(text)
    return text


class KubernetesObjects(Probe):
    """Objects of a cluster, each of which must meet conditions."""

    language: ClassVar[Language] = _OBJECTS
    client: ClassVar[str] = "kubernetes"

    api_version: Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?v[a-z0-9]+$")] = Field(
        description="Group and version, as in a manifest's `apiVersion`, such as `apps/v1`; `v1` for the core group."
    )
    kind: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$"), AfterValidator(_kind)] = Field(
        description="Kind, as in a manifest, such as `Deployment`. Never Secret."
    )
    namespaces: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")], ...] = Field(
        (), max_length=100, description="Namespaces to read; those of `clients.kubernetes` by default, which are all."
    )
    selector: Annotated[str, AfterValidator(_selector)] | None = Field(
        None, description="Label selector as kubectl takes it, such as `app=shop,tier in (web, api)`."
    )
    min_objects: int = Field(
        1, ge=0, description="Minimum number of objects; with 0 a selection without objects passes."
    )
    timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="How long reading the objects may take."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `object` is each of the objects in turn, `objects` is the list of all. Objects "
        "that are being deleted are left out, unless a condition names `deletionTimestamp`.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def counts_deleted(self) -> bool:
        """Whether objects that are being deleted are checked."""
        return any("deletionTimestamp" in text for text in (*self.conditions, *self.warn_unless))

    @property
    def longest(self) -> timedelta:
        """How long it may take."""
        return self.timeout

    @property
    def subject(self) -> str:
        """What is checked."""
        where = f" in {listed(self.namespaces)}" if self.namespaces else ""
        which = f" with `{self.selector}`" if self.selector else ""
        return f"the {self.kind} objects{which}{where} are as wanted"
