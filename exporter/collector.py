"""What a collector is made of: Collector, item, fetched, settings and targets. Its verdicts are those of `exporter.verdict`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, ParamSpec, Protocol, Self, TypeAlias, TypeVar, cast

from pydantic import Field

from exporter.evidence.records import Link, Record
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration, Options
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason, Result, Severity, Status, worst
from exporter.words import counted, listed

__all__ = [
    "Client",
    "Collector",
    "Context",
    "EvidenceSettings",
    "Item",
    "LineView",
    "Mode",
    "NoTarget",
    "Options",
    "PlannedLine",
    "SectionSettings",
    "Target",
    "evidence_item",
    "fetched",
    "item",
    "sign_off",
]


class Mode(StrEnum):
    """How a line is verified."""

    PROBE = "probe"
    EVIDENCE = "evidence"
    PROBE_AND_EVIDENCE = "probe+evidence"
    DERIVED = "derived"


class Target(Options):
    """One thing that a section looks at. An option that its section has as well is given there for all targets."""

    name: str = Field(pattern=r"^\S(.{0,126}\S)?$", description="Name of the target, used as the `target` label.")
    not_applicable: dict[str, str] = Field(
        default_factory=dict, description="Item name to why it does not apply to this target; the reason is shown."
    )


class SectionSettings(Options):
    """Options that every section has."""

    every: Duration = Field(timedelta(minutes=1), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    stale_after: Duration | None = Field(
        None,
        gt=timedelta(0),
        description="Age from which a result counts as `unknown`; three times `every` by default.",
    )
    team: str = Field("", description="Team that owns the section: the `team` label, and what the page filters by.")
    runbook_url: str = Field("", description="Runbook to follow when a line of the section does not pass.")
    objective: float = Field(1.0, ge=0, le=1, description="Share of the section's lines that must pass (0 to 1).")
    not_applicable: str | dict[str, str] | None = Field(
        None, description="Why the section, or each item named, does not apply; the reason is shown."
    )
    depends_on: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        (),
        description="Lines (`section.item`) or sections without which the section's lines, or each item named, cannot pass: "
        "while one of them is the cause, its notification names them.",
    )
    valid_for: dict[str, Duration] = Field(
        default_factory=dict,
        description="Item name to how long its evidence is valid, instead of the default.",
    )
    approvers: dict[str, Annotated[int, Field(ge=1, le=10)]] = Field(
        default_factory=dict,
        description="Item name to how many different people must each have signed evidence for it; 1 by default.",
    )


class EvidenceSettings(SectionSettings):
    """Options of a section whose evidence links pages. They are opened at every run, so it runs rarely."""

    every: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )


SettingsT = TypeVar("SettingsT", bound=SectionSettings)
TargetT = TypeVar("TargetT", bound="Target | None")
ClientT = TypeVar("ClientT", bound="Client[Any]")
P = ParamSpec("P")
T = TypeVar("T")

NoTarget: TypeAlias = None
"""For sections that look at no configured targets: `Collector[Settings, NoTarget]`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist and the method that verifies it."""

    name: str
    line: str
    severity: Severity
    mode: Mode
    description: str
    needs: tuple[str, ...]
    evidence: EvidenceRule | None
    verify: Callable[[Any], Awaitable[Result]]
    judged_by: tuple[type[Options], ...] | None = None


def item(
    line: str,
    *,
    severity: Severity,
    mode: Mode = Mode.PROBE,
    needs: Iterable[str] = (),
    evidence: EvidenceRule | None = None,
    judged_by: Iterable[type[Options]] | None = None,
) -> Callable[[Callable[[Any], Awaitable[Result]]], Any]:
    """Declare that a method verifies `line` (verbatim).

    The method's name is the item's name, its docstring the explanation shown on the item's page. `needs` names the rights and
    settings it takes. `evidence` is the rule by which records for it are judged, for the modes that take evidence.
    `judged_by` is for what all targets share, such as the cluster that they are parts of: the options of a target that the
    verdict depends on, and on nothing else of it. Among targets with the same ones, the item is verified on the first alone.
    """

    def declare(method: Callable[[Any], Awaitable[Result]]) -> Callable[[Any], Awaitable[Result]]:
        declared = Item(
            name=cast("Any", method).__name__,
            line=line,
            severity=severity,
            mode=mode,
            description=method.__doc__ or "",
            needs=tuple(needs),
            evidence=evidence,
            verify=method,
            judged_by=None if judged_by is None else tuple(judged_by),
        )
        cast("Any", method).__checklist_item__ = declared
        return method

    return declare


Reading: TypeAlias = Callable[[Any, Record], Awaitable[Result | None]]
"""A method that reads a valid record: it returns what else it shows, or None where the record alone decides."""


def evidence_item(
    line: str, rule: EvidenceRule, *, how: str = "", severity: Severity, needs: Iterable[str] = ("evidence",)
) -> Callable[[Reading], Any]:
    """Declare that evidence alone verifies `line` (verbatim), by `rule`.

    The method is called with the record, once that is valid in itself; what it returns is judged with it, and None adds nothing.
    Its docstring says why the line matters. How it is verified is said by the rule and by `how`, in a clause or two that follow
    "Verified by a record that is at most N days old, …", and the command that writes the record is added.
    """

    def declare(method: Reading) -> Any:
        name, section = cast("Any", method).__name__, method.__module__.rpartition(".")[2]

        @functools.wraps(method)
        async def verify(self: Collector[Any, Any]) -> Result:
            attested = await self.attested(name)
            if not attested.status.is_ok:
                return attested
            shown = await method(self, attested.evidence[0])
            return worst(attested, replace(shown, evidence=shown.evidence or attested.evidence)) if shown else attested

        verify.__doc__ = _explained(method.__doc__ or "", rule, how, f"{section}.{name}")
        return item(line, severity=severity, mode=Mode.EVIDENCE, needs=needs, evidence=rule)(verify)

    return declare


def sign_off(line: str, *, severity: Severity = Severity.CRITICAL) -> Callable[[Reading], Any]:
    """Declare that a role signs off `line` (verbatim), for the running release and 30 days. The method's name is the role."""

    def declare(method: Reading) -> Any:
        role = cast("Any", method).__name__
        rule = EvidenceRule(valid_for=timedelta(days=30), signed_by_role=role, bound_to_release=True)
        needs = ("evidence", "evidence.allowed_signers", "release")
        how = f"with a valid OpenSSH signature by a key that allowed_signers lists both for the signer and for {role}"
        return evidence_item(line, rule, how=how, severity=severity, needs=needs)(method)

    return declare


def _explained(why: str, rule: EvidenceRule, how: str, item: str) -> str:
    """The explanation of a line that evidence alone verifies: why it matters, how it is verified, how to record it."""
    demands = [f"is at most {counted(rule.valid_for.days, 'day')} old"]
    if rule.bound_to_release:
        demands.append("is for the running release")
    if rule.links:
        demands.append(f"has at least {counted(rule.links, 'link')}, each of which must answer with its page")
    if rule.measured:
        demands.append(f"measures {listed(f'`{name}`' for name in rule.measured)}")
    if rule.artifact:
        demands.append("names the document as `artifact`, with its hash")
    if rule.window:
        demands.append("names a `window` (start and end)")
    key = " --key ~/.ssh/id_ed25519" if rule.signed else ""
    verified = f"Verified by a record that {listed(demands, most=9)}{f', {how}' if how else ''}."
    return f"{why.rstrip()}\n\n{verified}\n\nRecord it: `checklist-exporter attest {item}{key}`."


def fetched(method: Callable[[Any], Coroutine[Any, Any, T]]) -> Callable[[Any], Coroutine[Any, Any, T]]:
    """Ask once a run, share the answer (or the exception) among the items.

    The question runs in a task of its own, so that an item that runs out of time does not cancel it for the others.
    """

    @functools.wraps(method)
    async def shared(self: Collector[Any, Any]) -> T:
        return cast("T", await self.share(method.__name__, functools.partial(method, self)))

    return shared


class Client(Generic[T]):
    """A connection to a shared server (`clients.<name>` in the configuration), one per process, used by several sections.

    Subclasses set `name` (the key), `Settings` (its options) and override `close`. A client connects when first asked, never in
    `__init__`, and bounds time, size and connections itself.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Options]]

    def __init__(self, settings: T, threads: Threads) -> None:
        self.settings = settings
        self.threads = threads

    async def close(self) -> None:
        """Let go of every connection. Called when the process ends and when the client's settings changed."""


class PlannedLine(Protocol):
    """Which line a view is of."""

    @property
    def section(self) -> str:
        """The `section` label."""

    @property
    def item(self) -> str:
        """The `item` label."""

    @property
    def id(self) -> str:
        """`section.item`."""

    @property
    def severity(self) -> Severity:
        """How much it matters that it passes."""


class LineView(Protocol):
    """One line as it is now: what derived items read. `exporter.views.ItemView` is the real one."""

    @property
    def planned(self) -> PlannedLine:
        """Which line it is."""

    @property
    def status(self) -> Status:
        """Its status, with staleness, expiry and waivers taken into account."""


class EvidenceView(Protocol):
    """The evidence as a run judges by it. `exporter.evidence.validity.Evidence` is the real one."""

    async def judge(self, section: str, item: str, rule: EvidenceRule, roles: Collection[str] = ()) -> Result:
        """The verdict on the evidence for an item, with the records that it rests on."""

    async def every(self, section: str, item: str, rule: EvidenceRule, roles: Collection[str] = ()) -> list[Result]:
        """The verdict on each record for an item, the newest first."""

    async def links(self, links: Iterable[Link]) -> list[Result]:
        """Whether each page answers with its document."""

    async def artifact(self, record: Record) -> bytes:
        """The record's artifact, whose hash is right; see there for what it raises."""


@dataclass(slots=True)
class Context:
    """What a run may use besides its settings.

    `memory` is the target's own and outlives the run (for deltas between two looks); `recall` gives what was last measured of
    one of the section's items on the target, however long ago, and is None where nothing outlives the process; `view` reads
    the present state of every item (for derived items). `may_run_commands` says that who started the exporter allows to run
    the configuration's own commands.
    """

    environment: str
    release: str | None
    now: Callable[[], datetime]
    evidence: EvidenceView
    threads: Threads
    clients: Mapping[str, Client[Any]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    recall: Callable[[str], Mapping[str, float]] | None = None
    view: Callable[[], Iterable[LineView]] = tuple
    may_run_commands: bool = False


@functools.cache  # every run asks for them
def _items_of(kind: Any) -> dict[str, Item]:
    found = {}
    for base in reversed(kind.__mro__):
        for name, value in vars(base).items():
            if isinstance(declared := getattr(value, "__checklist_item__", None), Item):
                found[name] = declared
    return found


class Collector(Generic[SettingsT, TargetT]):
    """Verifies one section of the checklist. One instance is one run, on one target.

    A subclass lives in `collectors/<group>/<section>.py`, whose docstring is the section's heading, verbatim. It sets `Settings`
    (and `Target`, when it looks at targets), declares items with `@item` and facts with `@fetched`. `rights` shows how to
    create the least privileged account it needs; `list` prints it.
    """

    Settings: ClassVar[type[SectionSettings]] = SectionSettings
    Target: ClassVar[type[Target] | None] = None
    rights: ClassVar[str] = ""
    second_look: ClassVar[timedelta | None] = None
    """How far apart two looks are that items compare (through `context.memory`); `check` then looks twice."""

    def __init__(self, settings: SettingsT, target: TargetT, context: Context) -> None:
        self.settings = settings
        self.target = target
        self.context = context
        self.resources = AsyncExitStack()
        self._facts: dict[str, asyncio.Task[Any]] = {}

    @classmethod
    def items(cls) -> dict[str, Item]:
        """The items that the class declares, by name, in their order."""
        return _items_of(cast("Any", cls))

    @classmethod
    def section(cls) -> str:
        """The `section` label: the name of the class's module."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def provides(cls, target: Any) -> Mapping[str, Iterable[str]]:
        """What is missing while an item does not pass on a target, by item: names that `relies_on` of others gives too."""
        return {}

    @classmethod
    def relies_on(cls, target: Any) -> Mapping[str, Iterable[str]]:
        """What an item cannot pass without on a target, by item, such as the address of a store; see `provides`."""
        return {}

    async def open(self) -> None:
        """Set up what every item of the run shares; override when there is such a thing. May raise: all items are then unknown."""

    @asynccontextmanager
    async def running(self, timeout: float | None = None) -> AsyncIterator[Self]:  # of opening alone
        """One run: opened within `timeout` seconds, and closed whatever happens. Facts still being fetched are cancelled first.

        Raises what `open` raises; TimeoutError when it takes too long.
        """
        async with self.resources:
            try:
                async with asyncio.timeout(timeout):
                    await self.open()
                yield self
            finally:
                for task in self._facts.values():
                    task.cancel()
                await asyncio.gather(*self._facts.values(), return_exceptions=True)

    async def share(self, name: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to `ask`, asked at most once a run under this name.

        Raises what `ask` raises, for every caller, and ProbeError when it was cancelled.
        """
        task = self._facts.get(name)
        if task is None:
            task = self._facts[name] = asyncio.create_task(ask(), name=f"{self.section()}.{name}")
        try:
            return cast("T", await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled() and not cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise ProbeError(f"{self.section()} could not read its {name}: the query was cancelled.") from None
            raise

    async def blocking(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a bounded thread; raises ProbeError when the section's threads are all stuck."""
        return await self.context.threads.run(self.section(), functools.partial(call, *args, **kwargs))

    def client(self, kind: type[ClientT]) -> ClientT:
        """The shared client of this kind; raises ProbeError when the configuration has none."""
        found = self.context.clients.get(kind.name)
        if not isinstance(found, kind):
            raise ProbeError(f"clients.{kind.name} is not configured, so it was not queried.", Reason.NOT_CONFIGURED)
        return found

    def has_client(self, kind: type[Client[Any]]) -> bool:
        """Whether the configuration has a client of this kind."""
        return kind.name in self.context.clients

    async def attested(self, name: str) -> Result:
        """The verdict on the evidence for this section's item `name`, by the rule in its decorator; judged once a run."""
        return await self.share(f"evidence for {name}", functools.partial(self._attested, name))

    async def attested_each(self, name: str) -> list[Result]:
        """The verdict on each record for this section's item `name`, the newest first; judged once a run."""

        async def judged() -> list[Result]:
            rule, roles = self._rule(name)
            return await self.context.evidence.every(self.section(), name, rule, roles)

        return await self.share(f"every evidence for {name}", judged)

    async def _attested(self, name: str) -> Result:
        rule, roles = self._rule(name)
        return await self.context.evidence.judge(self.section(), name, rule, roles)

    def _rule(self, name: str) -> tuple[EvidenceRule, set[str]]:
        """By which rule an item's evidence is judged under these settings, and the roles that the section's items ask for."""
        items = self.items()
        if (rule := items[name].evidence) is None:
            raise TypeError(f"{self.section()}.{name} declares no evidence rule.")
        if (valid_for := self.settings.valid_for.get(name)) is not None:
            rule = replace(rule, valid_for=valid_for)
        if (approvers := self.settings.approvers.get(name)) is not None:
            rule = replace(rule, approvers=approvers)
        roles = {item.evidence.signed_by_role or "" for item in items.values() if item.evidence}
        return rule, roles
