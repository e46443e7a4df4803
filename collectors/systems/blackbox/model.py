"""What blackbox_exporter answers about one port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.options import Options

__all__ = [
    "CLOSED_PORTS",
    "Canary",
    "CanaryPods",
    "Guarded",
    "Knock",
    "Outcome",
    "Ports",
    "Tried",
    "parse_canary",
    "parse_probe",
]

_SUCCESS = re.compile(r"^probe_success ([01])\s*$", re.MULTILINE)
_DOES_MORE = re.compile(r"^prober: (?!tcp\s*$)|^  tls: true\s*$", re.MULTILINE)
"""In the configuration of a module, as the exporter repeats it: a handshake that times out looks like a dropped packet."""
_ERROR = re.compile(r'\berr(?:or)?="((?:[^"\\]|\\.)*)"')


class Outcome(Enum):
    """What became of a connection, as the sentences have it."""

    OPEN = "open"
    REFUSED = "refused"
    REJECTED = "rejected"
    DROPPED = "dropped"
    OTHER = "not tried"


_WORDS = (
    ("connection refused", Outcome.REFUSED),
    ("no route to host", Outcome.REJECTED),
    ("network is unreachable", Outcome.OTHER),  # of the vantage
    ("unreachable", Outcome.REJECTED),
    ("prohibited", Outcome.REJECTED),
    ("permission denied", Outcome.REJECTED),
    ("i/o timeout", Outcome.DROPPED),
    ("deadline exceeded", Outcome.DROPPED),
    ("connection timed out", Outcome.DROPPED),
)


@dataclass(frozen=True, slots=True)
class Knock:
    """One connection to a port; `error` is the exporter's own words where they are not understood."""

    target: str
    outcome: Outcome
    error: str = ""


def parse_probe(target: str, text: str) -> Knock:
    """Read the answer of `/probe?debug=true`: why a connection failed is only in the log that it has in front of the metrics."""
    success = _SUCCESS.findall(text)
    if not success:
        return Knock(target, Outcome.OTHER, "no probe_success")
    if success[-1] == "1":
        return Knock(target, Outcome.OPEN)
    log, _, rest = text.partition("Metrics that would have been returned")
    if "Successfully dialed" in log:  # and what the module did then failed
        return Knock(target, Outcome.OPEN)
    if _DOES_MORE.search(rest.partition("Module configuration:")[2]):
        return Knock(target, Outcome.OTHER, "the module does more than connect by TCP")
    errors = _ERROR.findall(log)
    for error in errors:
        for words, outcome in _WORDS:
            if words in error.lower():
                return Knock(target, outcome)
    return Knock(target, Outcome.OTHER, errors[-1] if errors else "no reason")


@dataclass(frozen=True, slots=True)
class Tried:
    """What one canary pod shows of its ports: of those that it should reach, and of those that it should not."""

    open: tuple[Knock, ...]
    closed: tuple[Knock, ...]


_CONNECTION = re.compile(
    r'^checklist_canary_connection\{target="([^"]+)",expected="(open|closed)",outcome="([^"]+)"\} 1\s*$', re.MULTILINE
)


def parse_canary(text: str) -> Tried:
    """Read the metrics of a canary pod. An outcome that is not known is OTHER."""
    known = {outcome.value: outcome for outcome in Outcome}
    found: dict[str, list[Knock]] = {"open": [], "closed": []}
    for target, expected, outcome in _CONNECTION.findall(text):
        found[expected].append(Knock(target, known.get(outcome, Outcome.OTHER)))
    return Tried(tuple(found["open"]), tuple(found["closed"]))


_HOST = r"^(\[[0-9A-Fa-f:.]+\]|[\w.-]+)$"


def _ports(ports: tuple[int, ...]) -> tuple[int, ...]:
    if wrong := [port for port in ports if not 0 < port < 65536]:
        raise ValueError(f"{wrong[0]} is no port, expected 1 to 65535")
    return ports


Ports = Annotated[tuple[int, ...], AfterValidator(_ports)]
CLOSED_PORTS = (22, 5432, 6379, 7474, 7687, 6333, 4222, 9090, 3000)
"""What the internet should not reach: SSH, databases, brokers, monitoring."""


class Guarded(Options):
    """A host behind a firewall, by the name or address by which it is reached from outside."""

    host: str = Field(
        pattern=_HOST,
        description="Name, all of whose public addresses are tried, or address; IPv6 in brackets.",
    )
    open: Ports = Field(min_length=1, description="Ports that must be open: the control.")
    closed: Ports = Field(CLOSED_PORTS, min_length=1, description="Ports that must not be.")
    module: str = Field(
        "tcp_connect",
        min_length=1,
        description="Module of blackbox_exporter that connects by TCP and does no more. It must not refuse a family of addresses "
        "that the host has.",
    )
    control: str | None = Field(
        None,
        pattern=_HOST,
        description="A host outside that no firewall protects, where each of `closed` is open or refuses: it shows that the "
        "network of the blackbox_exporter lets these ports out.",
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := set(self.open) & set(self.closed):
            raise ValueError(f"port {min(both)} cannot be in open and closed")
        return self


class Canary(Options):
    """A path between pods that a policy closes, and one to the same place that it leaves open."""

    target: str = Field(pattern=r"^\S+:\d{1,5}$", description="host:port of the service that is protected.")
    allowed: str = Field(description="URL of a blackbox_exporter in a pod that may connect: the control.")
    denied: str = Field(description="URL of a blackbox_exporter in a pod that may not.")
    denied_control: str = Field(
        pattern=r"^\S+:\d{1,5}$", description="host:port that the second one may connect to, which shows that it works."
    )
    module: str = Field("tcp_connect", min_length=1, description="Module of both.")


_BASE = r"^https?://[^/?#@\s]+$"


class CanaryPods(Options):
    """A pair of canary pods as the chart installs them (`checklist-exporter canary`), by the names of their headless Services.

    Every pod of each is asked. What they connect to is said to them: each port that the second must not reach is one that the first
    reaches, and the second reaches another one.
    """

    allowed: str = Field(
        pattern=_BASE,
        description="Base URL of the canary that policies let through, such as http://canary-allowed.api:9115.",
    )
    denied: str = Field(pattern=_BASE, description="Base URL of the canary that they do not.")
