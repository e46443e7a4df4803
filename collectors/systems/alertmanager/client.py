"""Alertmanager, alone or several as a cluster: readiness, configuration, alerts, silences, receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import Field, field_validator

from collectors.shared.decoding import decode
from collectors.shared.single_flight import Shared
from collectors.systems.alertmanager.model.alerts import HeldAlert, MemberStatus, ReceiverName, Silence
from exporter.collector import Client
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason

__all__ = ["Alertmanager", "AlertmanagerSettings", "Member"]

T = TypeVar("T")


class AlertmanagerSettings(HttpSettings):
    """How to reach Alertmanager. A path prefix belongs to `url`, a tenant (X-Scope-OrgID) to `headers`."""

    peers: tuple[str, ...] = Field(
        (), description="Base URLs of the cluster's other members, queried with the same credentials."
    )
    max_age: Duration = Field(
        timedelta(seconds=15), description="How long a response is shared before it is requested again."
    )

    @field_validator("peers")
    @classmethod
    def _addresses(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(HttpSettings(url=peer).url for peer in peers)


class Member:
    """One Alertmanager. Everything raises ProbeError when there is no complete answer."""

    def __init__(self, settings: AlertmanagerSettings, url: str) -> None:
        self.url = url
        self._http = Http(settings.model_copy(update={"url": url}))
        age = settings.max_age
        self._status = Shared(lambda: self._ask("/api/v2/status", MemberStatus), age)
        self._alerts = Shared(lambda: self._ask("/api/v2/alerts", list[HeldAlert]), age)
        self._silences = Shared(lambda: self._ask("/api/v2/silences", list[Silence]), age)
        self._receivers = Shared(lambda: self._ask("/api/v2/receivers", list[ReceiverName]), age)

    async def ready(self) -> None:
        """Return when it says that it is ready; raises ProbeError otherwise. Never shared."""
        reply = await self._http.get("/-/ready", max_bytes=65_536)
        if reply.text.lstrip().startswith("<"):
            raise ProbeError(
                f"{reply.where} answered 200 with {reply.kind}, where Alertmanager says OK.", Reason.MALFORMED
            )

    async def status(self) -> MemberStatus:
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

        Raises ProbeError when no member has it, or when two of them have different ones.
        """
        answers = await self._reachable([member.status() for member in self.members])
        (first, status), *others = answers
        for member, other in others:
            if other.original != status.original:
                raise ProbeError(
                    f"Alertmanagers {first.url} and {member.url} have different configurations.", Reason.CONTRADICTED
                )
        return status.original

    async def alerts(self) -> list[HeldAlert]:
        """The alerts of the first member that has them. Raises ProbeError when none does."""
        answers = await self._reachable([member.alerts() for member in self.members])
        return answers[0][1]

    async def statuses(self) -> dict[str, MemberStatus]:
        """What the members that answer say of themselves, by their addresses. Raises ProbeError when none does."""
        answers = await self._reachable([member.status() for member in self.members])
        return {member.url: status for member, status in answers}

    async def silences(self) -> list[Silence]:
        """The silences of the first member that has them. Raises ProbeError when none does."""
        answers = await self._reachable([member.silences() for member in self.members])
        return answers[0][1]

    async def _reachable(self, asked: list[Coroutine[Any, Any, T]]) -> list[tuple[Member, T]]:
        """The answers of those that answer; raises why the first did not when none does."""
        answers = await asyncio.gather(*asked, return_exceptions=True)
        replies: list[tuple[Member, T]] = []
        for member, answer in zip(self.members, answers, strict=True):
            if not isinstance(answer, BaseException):
                replies.append((member, answer))
            elif not isinstance(answer, ProbeError):
                raise answer
        if not replies:
            raise next(answer for answer in answers if isinstance(answer, ProbeError))
        return replies

    async def close(self) -> None:
        """Close the connections to every member."""
        for member in self.members:
            await member.close()
