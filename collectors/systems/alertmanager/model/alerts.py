"""What the answers of Alertmanager's HTTP API hold: its status, alerts, silences."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["HeldAlert", "HeldStatus", "MemberStatus", "Silence", "SilenceMatcher"]


class _Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of a reply: only the fields that sections judge are decoded."""


class _Original(_Struct, frozen=True):
    original: str


class _Version(_Struct, frozen=True):
    version: str = ""


class _Peer(_Struct, frozen=True):
    name: str = ""


class _Cluster(_Struct, frozen=True):
    """What a member says of its cluster: the name that it has there, and all whom it sees, itself among them."""

    status: str = ""
    name: str = ""
    peers: list[_Peer] | None = None


class MemberStatus(_Struct, frozen=True):
    """What one member says of itself. `original` is its configuration as YAML, with the secrets masked."""

    config: _Original
    version_info: _Version = _Version()
    cluster: _Cluster = _Cluster()
    uptime: datetime | None = None

    @property
    def name(self) -> str:
        """Its name in the cluster; empty where it is in none."""
        return self.cluster.name

    @property
    def seen(self) -> frozenset[str]:
        """The names of all members that it sees, its own among them."""
        return frozenset(peer.name for peer in self.cluster.peers or ())

    @property
    def original(self) -> str:
        """The configuration as YAML, written again by Alertmanager, with `<secret>` for what is secret."""
        return self.config.original


class HeldStatus(_Struct, frozen=True):
    """Whether an alert is `active`, `suppressed` or `unprocessed`, and by which silences and alerts (their ids)."""

    state: str
    silenced_by: list[str] = []
    inhibited_by: list[str] = []
    muted_by: list[str] = []


class ReceiverName(_Struct, frozen=True):
    name: str


class HeldAlert(_Struct, frozen=True):
    """One alert that Alertmanager holds."""

    labels: dict[str, str]
    fingerprint: str
    starts_at: datetime
    updated_at: datetime
    ends_at: datetime
    status: HeldStatus
    receivers: list[ReceiverName] = []

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


class SilenceState(_Struct, frozen=True):
    state: str


class Silence(_Struct, frozen=True):
    """One silence; its `state` is `active`, `pending` or `expired`."""

    id: str
    matchers: list[SilenceMatcher]
    starts_at: datetime
    ends_at: datetime
    status: SilenceState
    created_by: str = ""

    @property
    def state(self) -> str:
        """`active`, `pending` or `expired`."""
        return self.status.state
