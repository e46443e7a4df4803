"""The configuration: one YAML file, read strictly, and the plan that follows from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args

from pydantic import AfterValidator, Field, SecretStr, model_validator

from exporter.catalogue import Binding, Catalogue, Entry, slug
from exporter.checklist import Checklist, ChecklistError
from exporter.collector import Client, SectionSettings, Target
from exporter.dependencies import Given, built_in, demand_no_circle, read, with_causes
from exporter.election import ElectionOptions
from exporter.evidence.objects import Buckets
from exporter.evidence.validity import MustContain
from exporter.fingerprint import fingerprint
from exporter.http import HttpSettings
from exporter.maintenance import Maintenance, MaintenanceOptions, Once
from exporter.options import Duration, Options, Said, Secret
from exporter.options_reader import Problem, Reader, Where, nearest, shapes
from exporter.plan import EVIDENCE, OwnLine, Plan, Planner, Scope, Waiver, targets_of
from exporter.positioned_yaml import Node, Position, YamlError, load_yaml, read_bounded
from exporter.runner import utc_now
from exporter.sessions import parse_dsn
from exporter.verdict import Severity

__all__ = [
    "Config",
    "ConfigError",
    "Loaded",
    "client_kinds",
    "load",
    "load_default",
    "load_options",
    "position_of",
    "section_kinds",
]

BUILTIN = "builtin"
T = TypeVar("T", dict[str, Node], list[Node])
OptionsT = TypeVar("OptionsT", bound=Options)


class ConfigError(Exception):
    """A configuration cannot be used. `errors` are all its problems, in the order of files and lines."""

    def __init__(self, errors: tuple[Problem, ...]) -> None:
        self.errors = tuple(sorted(errors))
        super().__init__("\n".join(map(str, self.errors)))


class WaiverOptions(Options):
    """Accepts that a line does not pass, until the waiver expires; an expired one is a warning and accepts nothing."""

    item: str = Field(description="The line, as `section.item`.")
    reason: Said = Field(description="Why it is accepted.")
    owner: Said = Field(description="Who is responsible for it.")
    until: date = Field(description="Last day on which it is accepted (UTC).")


class EvidenceOptions(Options):
    """Where evidence is stored, and which addresses may be opened to verify it."""

    folder: Path | None = Field(None, description="Folder with the records: YAML files, usually in git.")
    allowed_signers: Path | None = Field(None, description="OpenSSH allowed_signers file: whose signatures count.")
    revoked_keys: Path | None = Field(
        None,
        description="OpenSSH key revocation list (`ssh-keygen -k`) or file of public keys: whose signatures no longer count.",
    )
    require_must_contain: MustContain = Field(
        MustContain.AUTO,
        description="When a link needs `must_contain`: `auto` where its page may be a login page or was drawn by scripts, "
        "`always`, or `never`, which accepts any page without a password field.",
    )
    hosts: tuple[HttpSettings, ...] = Field((), description="Addresses below which links and artifacts are opened.")
    s3: Buckets | None = Field(None, description="Buckets in S3 from which artifacts (s3://bucket/key) are read.")


class ScopeOptions(Options):
    """Which part of the checklist is in scope. Everything else does not apply, and shows the reason."""

    only: tuple[str, ...] = Field((), description="Names of the sections and groups in scope; all by default.")
    reason: Said | None = Field(None, description="Why the others do not apply; required with `only`.")
    not_applicable: dict[str, Said] = Field(
        default_factory=dict, description="Names of groups that do not apply, each with the reason."
    )

    @model_validator(mode="after")
    def _reasoned(self) -> ScopeOptions:
        if self.only and not self.reason:
            raise ValueError("found only without a reason, expected why the others do not apply")
        return self


def _dsn(dsn: SecretStr) -> SecretStr:
    parse_dsn(dsn.get_secret_value())
    return dsn


class StateOptions(Options):
    """What survives a restart: in a file of one exporter, or in a database of several."""

    file: Path | None = Field(
        None, description="SQLite file for transitions and last results; without it a restart loses them."
    )
    dsn: Annotated[Secret, AfterValidator(_dsn)] | None = Field(
        None,
        description="PostgreSQL connection string or URI for transitions and last results, in place of `file`.",
    )
    keep: Duration = Field(timedelta(days=90), gt=timedelta(0), description="How long transitions are stored.")

    @model_validator(mode="after")
    def _one_place(self) -> StateOptions:
        if self.file and self.dsn:
            raise ValueError("found file and dsn, expected one of both")
        return self


class Config(Options):
    """The whole configuration."""

    environment: Said = Field("production", description="Name of the environment that is verified.")
    release: str | None = Field(
        None,
        description="The release that runs; evidence may be bound to it. Often `${GIT_SHA}`, or `release_file`.",
        json_schema_extra={"from_file": True},
    )
    checklist: Said = Field(BUILTIN, description="A Markdown file of your own, or `builtin` for the bundled checklist.")
    evidence: Path | EvidenceOptions | None = Field(None, description="Folder with evidence records, or these options.")
    clients: dict[str, Any] = Field(default_factory=dict, description="Shared connections, by name.")
    sections: dict[str, Any] = Field(default_factory=dict, description="What to verify, by section.")
    scope: ScopeOptions = Field(ScopeOptions(), description="Which part of the checklist is in scope.")
    waivers: tuple[WaiverOptions, ...] = Field((), description="Lines that are accepted although they do not pass.")
    maintenance: tuple[MaintenanceOptions, ...] = Field((), description="When lines may fail without a notification.")
    custom: tuple[Any, ...] = Field((), description="Your own lines, without code.")
    state: StateOptions = Field(StateOptions(), description="What survives a restart.")
    leader_election: ElectionOptions | None = Field(
        None, description="How several replicas agree on the one that verifies; without it each one verifies."
    )
    evidence_expiring_within: Duration = Field(
        timedelta(days=14), description="How long before it expires evidence turns its line to `warning`."
    )
    concurrency: int = Field(16, ge=1, le=1000, description="How many runs may be in progress at a time.")

    @model_validator(mode="after")
    def _followers_can_read(self) -> Config:
        if self.leader_election and not self.state.dsn:
            raise ValueError(
                "found leader_election without state.dsn, expected the database in which replicas read results"
            )
        return self


_BY_CATALOGUE = ("clients", "sections", "custom")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used.

    `bindings` are the checklist's lines in the order of `plan.items`. `clients` are classes and settings by name. `files` are all
    files that were read, `secrets` all secret texts, to be kept out of whatever is shown. `warnings` are what does not keep the
    configuration from being used and somebody should change, in the order of the file.
    """

    config: Config
    plan: Plan
    checklist: Checklist
    bindings: tuple[Binding, ...]
    catalogue: Catalogue
    evidence: EvidenceOptions
    clients: Mapping[str, tuple[type[Client[Any]], Options]]
    files: tuple[Path, ...]
    secrets: frozenset[str] = field(repr=False)
    warnings: tuple[Problem, ...] = ()


def load(
    path: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], datetime] = utc_now,
    catalogue: Catalogue | None = None,
) -> Loaded:
    """Read the configuration in a file; `environ` are the variables that `${NAME}` stands for.

    Raises ConfigError with everything that is wrong in the file, its checklist or its secret files, CatalogueError when the
    installed collectors contradict each other.
    """
    return _Loader(path, _mapping(path, " such as sections: {…}"), environ, now, catalogue or Catalogue.load()).load()


def load_options(
    path: Path, kind: type[OptionsT], check: Callable[[OptionsT, Reader], None] | None = None
) -> tuple[OptionsT, frozenset[str]]:
    """The options in a file that has nothing else, and the secrets among them. Raises ConfigError as `load` does.

    `check` may complain about options that are valid by themselves, such as files that cannot be used.
    """
    reader = Reader(path, _mapping(path), os.environ)
    options: OptionsT | None = reader.read(kind)
    if options is not None and check:
        check(options, reader)
    if options is None or reader.problems:
        raise ConfigError(tuple(reader.problems))
    return options, frozenset(reader.secrets)


def _mapping(path: Path, such_as: str = "") -> Node:
    try:
        root = load_yaml(read_bounded(path), str(path))
    except OSError as error:
        why = f"the file cannot be read: {error.strerror}"
        raise ConfigError((Problem(str(path), 1, 1, "", why),)) from None
    except YamlError as error:
        line, column = error.position.line, error.position.column
        raise ConfigError((Problem(str(path), line, column, "", error.problem),)) from None
    if not isinstance(root.value, dict):
        kind = "a list" if isinstance(root.value, list) else "a value"
        wrong = "the file is empty" if root.value is None else f"found {kind}, expected a mapping{such_as}"
        raise ConfigError((Problem(str(path), root.position.line, root.position.column, "", wrong),))
    return root


def position_of(path: Path, *where: str) -> Position:
    """Where a key of a configuration file stands, or what there is of its way. Raises ConfigError as `load` does."""
    return _mapping(path).where(where)


def load_default(*, now: Callable[[], datetime] = utc_now, catalogue: Catalogue | None = None) -> Loaded:
    """The bundled checklist with nothing configured."""
    return _Loader(None, Node({}, Position(1, 1)), {}, now, catalogue or Catalogue.load()).load()


def section_kinds(catalogue: Catalogue) -> dict[str, type[SectionSettings]]:
    """The options of each section of the catalogue, those that every section has where no collector verifies it."""
    collectors = {name: collector.Settings for name, collector in catalogue.collectors.items()}
    return dict.fromkeys(catalogue.sections, SectionSettings) | collectors


def client_kinds(catalogue: Catalogue) -> dict[str, type[Options]]:
    """The options of each shared client."""
    return {name: client.Settings for name, client in catalogue.clients.items()}


class _Loader:
    """Reads the parts of a configuration in the order in which they depend on each other, collecting every problem."""

    def __init__(
        self,
        path: Path | None,
        root: Node,
        environ: Mapping[str, str],
        now: Callable[[], datetime],
        catalogue: Catalogue,
    ) -> None:
        self._root = root
        self._values = cast("dict[str, Node]", root.value)
        self._now = now
        self._catalogue = catalogue
        self._reader = Reader(path or Path("configuration"), root, environ)
        self._files = {path} if path else set()
        self._problems: list[Problem] = []
        self._trusted = True  # whether the names of lines are known: their checklist could be used
        self._places: dict[str, Where] = {}  # of the configuration's own lines

    def load(self) -> Loaded:
        """Everything, or ConfigError."""
        fixed = {name: node for name, node in self._values.items() if name not in _BY_CATALOGUE}
        config = self._reader.read(Config, (), Node(fixed, self._root.position, self._root.keys)) or Config()
        custom = self._custom()
        checklist = self._checklist()
        bindings = self._bindings(checklist, custom)
        clients = self._clients()
        sections = self._sections(bindings)
        self._check(sections, bindings)
        waivers = self._waivers(bindings)
        maintenance = self._maintenance(bindings)
        wanted = read(
            self._depends_on(sections, custom, bindings), _entries(bindings), self._reader, trusted=self._trusted
        )
        scope = self._scope(config.scope, bindings, sections)
        if problems := (*self._problems, *self._reader.problems):
            raise ConfigError(problems)
        planner = Planner(self._catalogue, sections, custom, waivers, maintenance, scope)
        items = planner.items(bindings)
        jobs = tuple(planner.jobs(items))
        known = built_in(jobs)
        demand_no_circle(wanted, known, self._reader)
        if self._reader.problems:
            raise ConfigError(tuple(self._reader.problems))
        plan = Plan(
            environment=config.environment,
            release=config.release,
            items=with_causes(items, wanted, known),
            jobs=jobs,
            objectives=planner.objectives(items),
            evidence_expiring_within=config.evidence_expiring_within,
        )
        evidence = config.evidence
        evidence = evidence if isinstance(evidence, EvidenceOptions) else EvidenceOptions(folder=evidence)
        judged_by = {"environment": config.environment, "release": config.release}
        judged_by["expiring_within"] = str(config.evidence_expiring_within)
        sources = {name: fingerprint(settings) for name, settings in clients.items()}
        sources[EVIDENCE] = fingerprint(evidence, judged_by)
        named = {"clients": clients, "sections": sections, "custom": tuple(line.options for line in custom.values())}
        return Loaded(
            config=config.model_copy(update=named),
            plan=replace(plan, sources=sources),
            checklist=checklist,
            bindings=bindings,
            catalogue=self._catalogue,
            evidence=evidence,
            clients={name: (self._catalogue.clients[name], settings) for name, settings in clients.items()},
            files=tuple(sorted(self._files | self._reader.files)),
            secrets=frozenset(self._reader.secrets),
            warnings=tuple(sorted((*self._reader.warnings, *_warnings(checklist), *self._unmentioned()))),
        )

    def _unmentioned(self) -> Iterator[Problem]:
        """The broken plug-ins that no section of the configuration mentions."""
        for name, why in self._catalogue.broken.items():
            if name not in self._given("sections", dict) or name in self._catalogue.collectors:
                yield Problem(self._reader.file, 1, 1, "", f"a plug-in is broken, its lines are unknown: {why}")

    def _checklist(self) -> Checklist:
        """The checklist, even where something else in the file is wrong: what is wrong in it is reported with the rest."""
        chosen = self._reader.read(str, ("checklist",)) if "checklist" in self._values else BUILTIN
        self._trusted &= chosen is not None
        if chosen in (None, BUILTIN):
            return self._catalogue.checklist
        path = self._reader.resolved(chosen)
        self._files.add(path)
        try:
            return Checklist.read(path)
        except ChecklistError as error:
            self._refused(error)
            return self._catalogue.checklist

    def _refused(self, error: ChecklistError) -> None:
        self._trusted = False
        self._problems += [Problem(error.file, max(line, 1), 1, "", text) for line, text in error.problems]

    def _bindings(self, checklist: Checklist, custom: Mapping[str, OwnLine]) -> tuple[Binding, ...]:
        try:
            configured = self._given("sections", dict)
            return self._catalogue.bind(checklist, [line.entry for line in custom.values()], configured)
        except ChecklistError as error:
            self._refused(error)
            return self._catalogue.bind(self._catalogue.checklist)

    def _given(self, name: str, kind: type[T]) -> T:
        """The nodes under a key whose options depend on what is installed: a mapping or a list."""
        node = self._values.get(name)
        if node is None:
            return kind()
        if not isinstance(node.value, kind):
            self._reader.read(kind, (name,))
            return kind()
        return node.value

    def _custom(self) -> dict[str, OwnLine]:
        """The configuration's own lines, by id."""
        lines: dict[str, OwnLine] = {}
        for index, _ in enumerate(self._given("custom", list)):
            where: Where = ("custom", index)
            options = self._reader.read(self._catalogue.custom.Line, where)
            if options is None:
                self._trusted = False
            elif line := self._custom_line(options, where, lines):
                lines[line.entry.id] = line
                self._places[line.entry.id] = where
        return lines

    def _custom_line(self, options: Any, where: Where, others: Mapping[str, OwnLine]) -> OwnLine | None:
        section, group, heading = self._catalogue.place(options.section)
        known = next((entry for entry in self._catalogue.section(section) if entry.line == options.line), None)
        if known and known.declared:
            self._reader.complain(where, f"{known.id} verifies this line already")
            return None
        if known and options.item not in (None, known.item):
            self._reader.complain((*where, "item"), f"found '{options.item}', expected '{known.item}', the line's name")
            return None
        for option, client in options.requires.items():
            if client in self._catalogue.clients and client not in self._given("clients", dict):
                needed = f"clients.{client} is not configured, and the condition requires it"
                self._reader.complain((*where, option), needed)
        for option, name in options.former.items():
            self._reader.warn((*where, option), f"{option} is the former name of {name}: rename it")
        item = known.item if known else options.item or slug(options.line)
        severity = options.severity or (known.severity if known else Severity.WARNING)
        collector = self._catalogue.custom.verifying(options, section, item, severity)
        entry = Entry(
            section, item, heading, options.line, group, severity, options.mode, collector, collector.items()[item]
        )
        if entry.id in others or (known is None and entry.id in self._catalogue.entries):
            self._reader.complain(where, f"there is another line {entry.id}: give this one another item")
            return None
        return OwnLine(entry, options, collector)

    def _clients(self) -> dict[str, Options]:
        """The settings of every configured client, by name."""
        found: dict[str, Options] = {}
        kinds = client_kinds(self._catalogue)
        for name in self._given("clients", dict):
            where: Where = ("clients", name)
            if name not in kinds:
                self._reader.complain(where, f"unknown client{nearest(name, kinds)}")
            elif (settings := self._reader.read(kinds[name], where)) is not None:
                found[name] = settings
        return found

    def _sections(self, bindings: tuple[Binding, ...]) -> dict[str, SectionSettings]:
        """The settings of every configured section, by name."""
        found: dict[str, SectionSettings] = {}
        kinds = dict.fromkeys((binding.entry.section for binding in bindings), SectionSettings)
        kinds |= section_kinds(self._catalogue)
        for name, node in self._given("sections", dict).items():
            where: Where = ("sections", name)
            known = node.value if isinstance(node.value, dict) else {}
            if name in self._catalogue.broken and name not in self._catalogue.collectors:
                if (settings := self._broken_section(name, where)) is not None:
                    found[name] = settings
            elif name not in kinds:
                if self._trusted:
                    self._reader.complain(where, f"unknown section{nearest(name, kinds)}")
            elif "not_applicable" not in known and self._unbuilt(name):
                self._reader.complain(where, "no collector verifies this section yet")
            elif (settings := self._section(kinds[name], where)) is not None:
                found[name] = settings
        return found

    def _broken_section(self, name: str, where: Where) -> SectionSettings | None:
        """What every section has of the options for a broken plug-in, whose own options nobody knows."""
        self._reader.warn(
            where, f"nothing verifies this section, as its plug-in is broken: {self._catalogue.broken[name]}"
        )
        plain = self._reader.plain(SectionSettings, where, _common(self._root.find(where)))
        settings: SectionSettings | None = self._reader.validate(SectionSettings, plain, where)
        return settings

    def _unbuilt(self, section: str) -> bool:
        return section in self._catalogue.sections and section not in self._catalogue.collectors

    def _section(self, kind: type[SectionSettings], where: Where) -> SectionSettings | None:
        plain = self._reader.plain(kind, where)
        if isinstance(plain, dict):
            self._inherit(kind, plain, where)
            if isinstance(plain.get("not_applicable"), str) and any(
                field.is_required() and name not in plain for name, field in kind.model_fields.items()
            ):  # what a section that does not apply would need is not asked for
                kind, plain = SectionSettings, {k: v for k, v in plain.items() if k in SectionSettings.model_fields}
        settings: SectionSettings | None = self._reader.validate(kind, plain, where)
        return settings

    def _inherit(self, kind: type[SectionSettings], plain: Any, where: Where) -> None:
        """Copy the section's options to the targets that have them and do not set them."""
        targets = plain.get("targets") if isinstance(plain, dict) else None
        if not isinstance(targets, list) or not (target := _target(kind)):
            return
        for index, options in enumerate(targets):
            for option in (target.model_fields.keys() & plain.keys()) - Target.model_fields.keys():
                if isinstance(options, dict) and option not in options:
                    options[option] = plain[option]
                    self._reader.inherit((*where, "targets", index, option), (*where, option))

    def _check(self, sections: Mapping[str, SectionSettings], bindings: tuple[Binding, ...]) -> None:
        """The names in the sections' options: of targets, of items that do not apply, of items with another validity."""
        for name, settings in sections.items():
            where: Where = ("sections", name)
            entries = {entry.item: entry for entry in self._catalogue.section(name)}
            entries |= {binding.entry.item: binding.entry for binding in bindings if binding.entry.section == name}
            if name in self._catalogue.broken:
                continue
            if self._trusted and not any(binding.entry.section == name for binding in bindings):
                self._reader.complain(where, "the checklist has no line of this section")
            if settings.not_applicable is not None and not all(map(str.strip, _texts(settings.not_applicable))):
                self._reader.complain((*where, "not_applicable"), "found no reason, expected why it does not apply")
            for option in ("not_applicable", "valid_for", "approvers"):
                self._check_items((*where, option), getattr(settings, option), entries)
            self._check_evidence(where, settings, entries)
            first: dict[str, int] = {}
            for index, target in enumerate(targets_of(settings)):
                excused: Where = (*where, "targets", index, "not_applicable")
                if not all(map(str.strip, target.not_applicable.values())):
                    self._reader.complain(excused, "found no reason, expected why it does not apply")
                self._check_items(excused, target.not_applicable, entries)
                if (other := first.setdefault(target.name, index)) != index:
                    twice = f"'{target.name}' is the name of targets[{other}] too, expected another"
                    self._reader.complain((*where, "targets", index, "name"), twice)

    def _check_items(self, where: Where, given: object, entries: Mapping[str, Entry]) -> None:
        """The keys of a mapping are items of the section."""
        for item in given if isinstance(given, dict) else ():
            if item not in entries:
                self._reader.complain((*where, item), f"unknown item{nearest(item, entries)}")

    def _check_evidence(self, where: Where, settings: SectionSettings, entries: Mapping[str, Entry]) -> None:
        """The options on evidence are for items that take some."""
        for option in ("valid_for", "approvers"):
            for item in getattr(settings, option).keys() & entries.keys():
                declared = entries[item].declared
                if declared is not None and declared.evidence is None:
                    self._reader.complain((*where, option, item), "the item takes no evidence")

    def _depends_on(
        self,
        sections: Mapping[str, SectionSettings],
        custom: Mapping[str, OwnLine],
        bindings: tuple[Binding, ...],
    ) -> Iterator[Given]:
        """What sections, their items and the configuration's own lines depend on; items that do not exist are complained of."""
        lines = {entry.id: entry for entry in _entries(bindings)}
        for name, settings in sections.items():
            where: Where = ("sections", name, "depends_on")
            of = {entry.item: entry for entry in lines.values() if entry.section == name}
            if isinstance(settings.depends_on, tuple):
                yield Given(where, tuple(of.values()), settings.depends_on)
                continue
            if self._trusted and name not in self._catalogue.broken:
                self._check_items(where, settings.depends_on, of)
            for item, names in settings.depends_on.items():
                if item in of:
                    yield Given((*where, item), (of[item],), names)
        for name, own in custom.items():
            if name in lines:
                yield Given((*self._places[name], "depends_on"), (lines[name],), own.options.depends_on)

    def _scope(
        self, options: ScopeOptions, bindings: tuple[Binding, ...], sections: Mapping[str, SectionSettings]
    ) -> Scope:
        """What is wanted; each name must be one of the checklist's, and what is left out may not be configured."""
        groups = {binding.entry.group for binding in bindings} | {
            entry.group for entry in self._catalogue.entries.values()
        }
        names = groups | {binding.entry.section for binding in bindings} | set(self._catalogue.sections)
        for index, name in enumerate(options.only if self._trusted else ()):
            if name not in names:
                unknown = f"unknown section or group '{name}'{nearest(name, names)}"
                self._reader.complain(("scope", "only", index), unknown)
        for name in options.not_applicable if self._trusted else ():
            if name not in groups:
                self._reader.complain(("scope", "not_applicable", name), f"unknown group{nearest(name, groups)}")
        scope = Scope(frozenset(options.only), options.reason or "", options.not_applicable)
        of = {binding.entry.section: binding.entry.group for binding in bindings}
        for name, settings in sections.items():
            left_out = name in of and scope.leaves_out(name, of[name]) is not None
            if left_out and not isinstance(settings.not_applicable, str):
                self._reader.complain(("sections", name), "configured here and left out by scope, expected one of both")
        return scope

    def _waivers(self, bindings: tuple[Binding, ...]) -> dict[str, Waiver]:
        """The waivers by item; each must be for an item of the checklist.

        One that expired only warns, whatever its item: time alone keeps nothing from being verified. It is planned all the same,
        as its expiry is exported, unless another one took its place.
        """
        known = {binding.entry.id for binding in bindings}
        waivers: dict[str, Waiver] = {}
        for index, _ in enumerate(self._given("waivers", list)):
            where: Where = ("waivers", index)
            option: WaiverOptions | None = self._reader.read(WaiverOptions, where)
            if option is None:
                continue
            waiver = Waiver(option.reason, option.owner, option.until)
            if waiver.ends_at <= self._now():
                expired = (
                    f"the waiver of {option.item} expired on {option.until} and no longer waives: renew or remove it"
                )
                self._reader.warn((*where, "until"), expired)
                waivers.setdefault(option.item, waiver)
                continue
            if (
                option.item not in known
                and self._trusted
                and option.item.partition(".")[0] not in self._catalogue.broken
            ):
                self._reader.complain((*where, "item"), f"unknown item '{option.item}'{nearest(option.item, known)}")
            if option.item in waivers and waivers[option.item].ends_at > self._now():
                self._reader.complain(
                    (*where, "item"), f"'{option.item}' is waived already, expected one waiver an item"
                )
            waivers[option.item] = waiver
        return waivers

    def _maintenance(self, bindings: tuple[Binding, ...]) -> dict[str, tuple[Maintenance, ...]]:
        """What is planned, by the name of a section or an item of the checklist; what is over only warns."""
        known = {name for binding in bindings for name in (binding.entry.section, binding.entry.id)}
        planned: dict[str, tuple[Maintenance, ...]] = {}
        for index, _ in enumerate(self._given("maintenance", list)):
            where: Where = ("maintenance", index)
            option: MaintenanceOptions | None = self._reader.read(MaintenanceOptions, where)
            if option is None:
                continue
            when = option.when
            if over := isinstance(when, Once) and when.end <= self._now():
                self._reader.warn(where, f"the maintenance ended on {when.end:%Y-%m-%d %H:%M %Z}: remove it")
            for number, name in enumerate(option.lines):
                if over or name in known or not self._trusted or name.partition(".")[0] in self._catalogue.broken:
                    continue
                self._reader.complain(
                    (*where, "lines", number), f"unknown section or item '{name}'{nearest(name, known)}"
                )
            maintenance = Maintenance(when, option.reason, option.owner)
            for name in dict.fromkeys(option.lines if not over else ()):
                planned[name] = (*planned.get(name, ()), maintenance)
        return planned


def _entries(bindings: Iterable[Binding]) -> list[Entry]:
    return [binding.entry for binding in bindings]


def _common(node: Node) -> Node:
    """The options that every section has."""
    if not isinstance(node.value, dict):
        return node
    known = {name: value for name, value in node.value.items() if name in SectionSettings.model_fields}
    return Node(known, node.position, node.keys)


def _warnings(checklist: Checklist) -> Iterator[Problem]:
    return (Problem(checklist.name, line, 1, "", text) for line, text in checklist.warnings)


def _texts(reasons: str | dict[str, str]) -> Iterable[str]:
    return [reasons] if isinstance(reasons, str) else reasons.values()


def _target(kind: type[SectionSettings]) -> type[Target] | None:
    """The options of the section's targets, when it has targets."""
    field = kind.model_fields.get("targets")
    members = get_args(next(shapes(field.annotation))) if field else ()
    return next((member for member in members if isinstance(member, type) and issubclass(member, Target)), None)
