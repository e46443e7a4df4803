"""Alertmanager, alone or several as a cluster: readiness, configuration, alerts, silences, receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pydantic import Field, field_validator

from collectors.shared.clients import Shared, decode
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.verdict import ProbeError

if TYPE_CHECKING:
    from exporter.threads import Threads

__all__ = [
    "Alertmanager",
    "AlertmanagerSettings",
    "HeldAlert",
    "HeldStatus",
    "Member",
    "Silence",
    "SilenceMatcher",
    "Status",
]

T = TypeVar("T")


class AlertmanagerSettings(HttpSettings):
    """How to reach Alertmanager. A path prefix belongs to `url`, a tenant (X-Scope-OrgID) to `headers`."""

    peers: tuple[str, ...] = Field(
        (), description="Base addresses of the cluster's other members, which are asked with the same credentials."
    )
    max_age: Duration = Field(
        timedelta(seconds=15), description="How long an answer is shared before it is asked again."
    )

    @field_validator("peers")
    @classmethod
    def _addresses(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(HttpSettings(url=peer).url for peer in peers)


class _Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of a reply: only the fields that sections judge are decoded."""


class _Original(_Struct, frozen=True):
    original: str


class _Version(_Struct, frozen=True):
    version: str = ""


class _Cluster(_Struct, frozen=True):
    status: str = ""


class Status(_Struct, frozen=True):
    """What one member says of itself. `original` is its configuration as YAML, with the secrets masked."""

    config: _Original
    version_info: _Version = _Version()
    cluster: _Cluster = _Cluster()
    uptime: datetime | None = None

    @property
    def original(self) -> str:
        """The configuration as YAML, written anew by Alertmanager, with `<secret>` for what is secret."""
        return self.config.original


class HeldStatus(_Struct, frozen=True):
    """Whether an alert is `active`, `suppressed` or `unprocessed`, and by which silences and alerts (their ids)."""

    state: str
    silenced_by: list[str] = []
    inhibited_by: list[str] = []
    muted_by: list[str] = []


class _Name(_Struct, frozen=True):
    name: str


class HeldAlert(_Struct, frozen=True):
    """One alert that Alertmanager holds."""

    labels: dict[str, str]
    fingerprint: str
    starts_at: datetime
    updated_at: datetime
    ends_at: datetime
    status: HeldStatus
    receivers: list[_Name] = []

    @property
    def receiver_names(self) -> list[str]:
        """The receivers that it is routed to."""
        return [receiver.name for receiver in self.receivers]


class SilenceMatcher(_Struct, frozen=True):
    """One condition of a silence. `is_equal` is missing before 0.22, where it is true."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class _State(_Struct, frozen=True):
    state: str


class Silence(_Struct, frozen=True):
    """One silence; its `state` is `active`, `pending` or `expired`."""

    id: str
    matchers: list[SilenceMatcher]
    starts_at: datetime
    ends_at: datetime
    status: _State
    created_by: str = ""

    @property
    def state(self) -> str:
        """`active`, `pending` or `expired`."""
        return self.status.state


class Member:
    """One Alertmanager. Everything raises ProbeError when there is no complete answer."""

    def __init__(self, settings: AlertmanagerSettings, url: str) -> None:
        self.url = url
        self._http = Http(settings.model_copy(update={"url": url}))
        age = settings.max_age
        self._status = Shared(lambda: self._ask("/api/v2/status", Status), age)
        self._alerts = Shared(lambda: self._ask("/api/v2/alerts", list[HeldAlert]), age)
        self._silences = Shared(lambda: self._ask("/api/v2/silences", list[Silence]), age)
        self._receivers = Shared(lambda: self._ask("/api/v2/receivers", list[_Name]), age)

    async def ready(self) -> None:
        """Return when it says that it is ready; raises ProbeError otherwise. Never shared."""
        reply = await self._http.get("/-/ready", max_bytes=65_536)
        if reply.text.lstrip().startswith("<"):
            raise ProbeError(f"{reply.where} answered 200 with {reply.kind}, where Alertmanager says OK.")

    async def status(self) -> Status:
        """Its configuration and version, at most `max_age` old."""
        return await self._status.get()

    async def alerts(self) -> list[HeldAlert]:
        """All alerts that it holds, suppressed ones too, at most `max_age` old."""
        return await self._alerts.get()

    async def silences(self) -> list[Silence]:
        """All silences, expired ones too, at most `max_age` old."""
        return await self._silences.get()

    async def receivers(self) -> list[str]:
        """The names of all receivers, routed to or not, at most `max_age` old. What they notify is in the configuration alone."""
        return [receiver.name for receiver in await self._receivers.get()]

    async def _ask(self, path: str, answer: type[T]) -> T:
        return decode(await self._http.get(path), answer)

    async def close(self) -> None:
        """Stop what is being fetched and close the connections."""
        for shared in (self._status, self._alerts, self._silences, self._receivers):
            await shared.close()
        await self._http.close()


class Alertmanager(Client[AlertmanagerSettings]):
    """Asks the members of a cluster, of which each routes alerts and gossips silences with the others."""

    name = "alertmanager"
    Settings = AlertmanagerSettings

    def __init__(self, settings: AlertmanagerSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        urls = dict.fromkeys((settings.url, *settings.peers))
        self.members = tuple(Member(settings, url) for url in urls)

    async def configuration(self) -> str:
        """The configuration that all reachable members have in common, as YAML with masked secrets.

        Raises ProbeError when no member tells it, or when two of them have different ones.
        """
        told = await self._reachable([member.status() for member in self.members])
        (first, status), *others = told
        for member, other in others:
            if other.original != status.original:
                raise ProbeError(f"Alertmanagers {first.url} and {member.url} have different configurations.")
        return status.original

    async def alerts(self) -> list[HeldAlert]:
        """The alerts of the first member that tells them. Raises ProbeError when none does."""
        told = await self._reachable([member.alerts() for member in self.members])
        return told[0][1]

    async def silences(self) -> list[Silence]:
        """The silences of the first member that tells them. Raises ProbeError when none does."""
        told = await self._reachable([member.silences() for member in self.members])
        return told[0][1]

    async def _reachable(self, asked: list[Coroutine[Any, Any, T]]) -> list[tuple[Member, T]]:
        """The answers of those that answer; raises why the first did not when none does."""
        answers = await asyncio.gather(*asked, return_exceptions=True)
        told: list[tuple[Member, T]] = []
        for member, answer in zip(self.members, answers, strict=True):
            if not isinstance(answer, BaseException):
                told.append((member, answer))
            elif not isinstance(answer, ProbeError):
                raise answer
        if not told:
            raise next(answer for answer in answers if isinstance(answer, ProbeError))
        return told

    async def close(self) -> None:
        """Close the connections to every member."""
        for member in self.members:
            await member.close()
