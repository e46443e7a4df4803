"""Which servers must not let in the login that they are delivered with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from collectors.shared.host_port import split_host_port
from exporter.http import BaseUrl, Trust
from exporter.options import Duration, Options

__all__ = ["DefaultLogin", "demand_distinct"]

Kind = Literal["grafana", "postgresql", "redis", "neo4j", "nats"]

_TITLES: Mapping[Kind, str] = {
    "grafana": "Grafana",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "neo4j": "Neo4j",
    "nats": "NATS",
}
_BY: Mapping[Kind, str] = {
    "grafana": "user admin with the password that it is delivered with",
    "postgresql": "role postgres with the password of examples, or without one",
    "redis": "clients without a password, or with that of its example configuration",
    "neo4j": "user neo4j with the password that it is delivered with",
    "nats": "clients without credentials",
}


class DefaultLogin(Options):
    """A server that must not let its default login in. Where section neo4j verifies a server, it tries that by itself."""

    kind: Kind = Field(description="What listens there.")
    address: str = Field(description="`host:port`; for Grafana its base URL.")
    tls: Trust | None = Field(
        None,
        description="TLS for all but Grafana, whose URL decides: trusted authorities; without it, the connection is plain.",
    )
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="How long one try may take.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.kind == "grafana":
            DefaultUrl(url=self.address)
        else:
            split_host_port(self.address)
        return self

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port."""
        if self.kind != "grafana":
            return split_host_port(self.address)
        parts = urlsplit(self.address)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def key(self) -> str:
        """What identifies the login, in measurements, however its address is spelled."""
        host, port = self.endpoint
        digest = hashlib.sha256(f"{host.lower()} {port}".encode()).hexdigest()[:8]
        return f"default_login_{self.kind}_{digest}"

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        return f"{_TITLES[self.kind]} {self.address}"

    @property
    def entrant(self) -> str:
        """Who comes, in sentences."""
        return _BY[self.kind]

    @property
    def locks(self) -> bool:
        """Whether wrong passwords may lock the user: there is one, and the server or its directory may count them."""
        return self.kind not in ("redis", "nats")


class DefaultUrl(Options):
    """The address of Grafana."""

    url: BaseUrl


def demand_distinct(logins: Iterable[DefaultLogin]) -> None:
    """Raise ValueError where one login is configured twice: it would be tried twice a day."""
    known: set[str] = set()
    for login in logins:
        if login.key in known:
            raise ValueError(f"expected {login.title} once in default_logins")
        known.add(login.key)
