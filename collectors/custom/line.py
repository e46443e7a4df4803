"""The options of a line of a user's own: what verifies it, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from collectors.systems.custom.model.command import Command
from collectors.systems.custom.model.dns import Dns
from collectors.systems.custom.model.file import Files
from collectors.systems.custom.model.kubernetes import KubernetesObjects
from collectors.systems.custom.model.probe import Probe
from collectors.systems.custom.model.sql import Sql
from collectors.systems.custom.model.tcp import Tcp
from collectors.systems.custom.model.tls import Tls
from collectors.systems.http.model.apis import Endpoints
from collectors.systems.http.model.endpoints import Endpoint
from collectors.systems.prometheus.check.conditions import Condition
from collectors.systems.prometheus.model.conditions import alert
from exporter.collector import Mode, Options, Target
from exporter.options import Duration
from exporter.verdict import Severity
from exporter.words import listed

__all__ = ["CustomEvidence", "CustomLine", "Requests"]


def _readable(text: str) -> str:
    alert(text)
    return text


Alert = Annotated[str, AfterValidator(_readable)]


def _asking(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    for endpoint in endpoints:
        if not endpoint.is_safe:
            raise ValueError(
                f"found {endpoint.method}, expected GET, HEAD or OPTIONS: a line of your own changes nothing"
            )
    return endpoints


class Requests(Endpoints):
    """Requests to an HTTP service, and what must be true of their answers."""

    endpoints: Annotated[tuple[Endpoint, ...], AfterValidator(_asking)] = Field(
        min_length=1, description="What to request (GET, HEAD or OPTIONS), and the conditions on each answer."
    )

    def __hash__(self) -> int:  # headers are a mapping, which has no hash
        return hash((self.url, self.endpoints))


class CustomEvidence(Options):
    """Evidence that a line requires."""

    valid_for: Duration = Field(gt=timedelta(0), description="Longest validity of a record.")
    signed_by_role: str | None = Field(None, description="Role that must have signed the record.")
    bound_to_release: bool = Field(False, description="Whether a record is valid only for the running release.")
    approvers: int = Field(
        1, ge=1, le=10, description="How many different people must each have signed a record of their own."
    )


class CustomLine(Options):
    """Your own line; docs/custom.md has many to copy."""

    section: str = Field(pattern=r"\S", description="Heading or name of its section; a new section if none has it.")
    line: str = Field(pattern=r"\S", description="The line, as in the checklist if it is there.")
    item: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", description="The `item` label; made from the line by default."
    )
    severity: Severity | None = Field(None, description="How much the line matters; `warning` by default.")
    true_when: Condition | None = Field(
        None,
        description="PromQL condition that every series of its left side must satisfy, such as `up == 1`. Requires "
        "`clients.prometheus`.",
    )
    alert_when: Alert | None = Field(
        None,
        description="Expression of an alerting rule: the line passes while it returns nothing and the series that it "
        "selects exist. Requires `clients.prometheus`.",
    )
    promql: Condition | None = Field(None, description="Former name of `true_when`.", deprecated=True)
    http: Requests | None = Field(
        None, description="Requests whose answers must meet conditions on status, headers, body or latency, in CEL."
    )
    tcp: Tcp | None = Field(None, description="Addresses that must accept connections, and what must be said there.")
    tls: Tls | None = Field(None, description="Servers that must present a certificate that meets conditions.")
    dns: Dns | None = Field(None, description="Names that must have records that meet conditions.")
    sql: Sql | None = Field(None, description="A query to PostgreSQL whose one row must meet conditions.")
    kubernetes: KubernetesObjects | None = Field(
        None, description="Objects of a cluster that must meet conditions. Requires `clients.kubernetes`."
    )
    file: Files | None = Field(None, description="Files that must exist and meet conditions.")
    command: Command | None = Field(
        None,
        description="A program whose exit status and output must meet conditions. Runs only with `--enable-commands`.",
    )
    min_series: int | None = Field(
        None, ge=1, description="Minimum number of series that `true_when` or `alert_when` must select; 1 by default."
    )
    evidence: CustomEvidence | None = Field(
        None, description="Evidence that the line requires, with or without a condition."
    )
    depends_on: tuple[str, ...] = Field(
        (),
        description="Lines (`section.item`) or sections without which it cannot pass: while one of them is the cause, its "
        "notification names this line.",
    )
    every: Duration | None = Field(
        None, gt=timedelta(0), description="How often it is verified; as often as its section by default."
    )
    timeout: Duration | None = Field(
        None,
        gt=timedelta(0),
        description="How long verifying it may take before it is `unknown`; as long as its section's, or longer where what it asks "
        "may take longer.",
    )
    team: str | None = Field(None, description="Team that owns it; the section's team by default.")
    runbook_url: str | None = Field(None, description="Runbook of the line; the section's by default.")

    @model_validator(mode="after")
    def _verifiable(self) -> Self:
        found = [name for name in _KINDS if self._given(name) is not None]
        if not found and self.evidence is None:
            raise ValueError(
                f"expected {listed(_WRITTEN, most=20).replace(' and ', ' or ')}: without one of them nothing verifies the line"
            )
        if len(found) > 1:
            raise ValueError(f"found {listed(found, most=20)}, expected one of them: write a line for each")
        if self.min_series is not None and not set(found) & set(_PROMQL):
            raise ValueError("found min_series without a condition, expected true_when or alert_when")
        return self

    @property
    def requires(self) -> Mapping[str, str]:
        """The client that each of its options requires, by option."""
        found = {name: "prometheus" for name in _PROMQL if self._given(name)}
        return found | {name: probe.client for name, probe in self._probes() if probe.client}

    @property
    def needs(self) -> tuple[str, ...]:
        """What it requires, in words."""
        return (*(f"clients.{client}" for client in self.requires.values()), *(self.probe.needs if self.probe else ()))

    def _given(self, name: str) -> object:
        return self.__dict__[name]  # not by attribute: pydantic warns of what is deprecated

    def _probes(self) -> Iterator[tuple[str, Probe]]:
        for name in _KINDS:
            if isinstance(probe := self._given(name), Probe):
                yield name, probe

    @property
    def former(self) -> Mapping[str, str]:
        """Options under a former name that are given, and what each is called now."""
        return {"promql": "true_when"} if self._given("promql") else {}

    @property
    def condition(self) -> str | None:
        """The PromQL condition that verifies the line, if one does."""
        return next((str(text) for name in _PROMQL if (text := self._given(name))), None)

    @property
    def probe(self) -> Probe | None:
        """What is checked to verify the line, if it is that."""
        return next((probe for _, probe in self._probes()), None)

    @property
    def parts(self) -> tuple[Target, ...]:
        """What it is verified on, each by itself; none where it has no targets."""
        return self.probe.parts if self.probe else ()

    @property
    def longest(self) -> timedelta:
        """How long verifying it on one target may take."""
        if self.http:
            return self.http.timeout * len(self.http.endpoints) + _MARGIN
        return self.probe.longest + _MARGIN if self.probe else timedelta(0)

    @property
    def observes(self) -> bool:
        """Whether something is observed, and not only attested."""
        return any(self._given(name) is not None for name in _KINDS)

    @property
    def mode(self) -> Mode:
        """How the line is verified."""
        if self.evidence is None:
            return Mode.PROBE
        return Mode.PROBE_AND_EVIDENCE if self.observes else Mode.EVIDENCE


_PROMQL = ("true_when", "alert_when", "promql")
_KINDS = (*_PROMQL, "http", "tcp", "tls", "dns", "sql", "kubernetes", "file", "command")
_WRITTEN = (*(name for name in _KINDS if name != "promql"), "evidence")
_MARGIN = timedelta(seconds=1)
