"""The configuration: what a file comes to, and what is said of one that is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from collectors.custom import Custom
from exporter.catalogue import Catalogue, Entry
from exporter.checklist import Checklist
from exporter.collector import Client, Collector, Mode, NoTarget, Options, SectionSettings, Target, item
from exporter.config import ConfigError, Loaded, load, load_default
from exporter.evidence.validity import EvidenceRule
from exporter.http import HttpSettings
from exporter.maintenance import Once, Weekly
from exporter.options import Duration, Secret, Size
from exporter.plan import Waiver
from exporter.verdict import CRITICAL, INFO, WARNING, Result, ok
from tests.exporter.bad_configurations import BAD, TARGET
from tests.exporter.samples import LINES

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CANARY = "c4n4ry-s3cr3t"

CHECKLIST = """\
# Ready

## Search Engine
- [ ] Index is fresh
- [ ] Failover is tested

## Papers
- [ ] Papers are signed

## Billing
- [ ] Invoices are sent
- [ ] Health check endpoint responds
"""


class Thresholds(Options):
    max_age: Duration = Field(timedelta(hours=1), gt=timedelta(0))
    min_free: Size = 1024
    username: str | None = None
    password: Secret | None = None


class Disk(Options):
    path: Path
    share: float = Field(0.1, gt=0, le=1)


class SearchTarget(Target, Thresholds):
    dsn: Secret
    disks: tuple[Disk, ...] = ()
    ports: tuple[int, int] | int = 80
    tokens: dict[str, Secret] = Field(default_factory=dict)
    tls: HttpSettings | None = None

    @model_validator(mode="after")
    def _user(self) -> SearchTarget:
        if self.password and not self.username:
            raise ValueError(f"password {self.password.get_secret_value()} is for no username")
        return self


class SearchSettings(SectionSettings, Thresholds):
    targets: tuple[SearchTarget, ...] = Field(min_length=1)


class Search(Collector[SearchSettings, SearchTarget]):
    Settings = SearchSettings
    Target = SearchTarget

    @item("Index is fresh", severity=CRITICAL)
    async def index_fresh(self) -> Result:
        return ok("It is.")

    @item(
        "Failover is tested", severity=WARNING, mode=Mode.EVIDENCE, evidence=EvidenceRule(valid_for=timedelta(days=30))
    )
    async def failover_tested(self) -> Result:
        return await self.attested("failover_tested")


class Papers(Collector[SectionSettings, NoTarget]):
    @item("Papers are signed", severity=INFO, mode=Mode.EVIDENCE, evidence=EvidenceRule(valid_for=timedelta(days=30)))
    async def papers_signed(self) -> Result:
        return ok("They are.")


class Engine(Client[HttpSettings]):
    name = "engine"
    Settings = HttpSettings


def entries() -> Mapping[str, Entry]:
    found = [
        Entry("search", "index_fresh", "Search Engine", "Index is fresh", "stores", CRITICAL, Mode.PROBE),
        Entry("search", "failover_tested", "Search Engine", "Failover is tested", "stores", WARNING, Mode.EVIDENCE),
        Entry("papers", "papers_signed", "Papers", "Papers are signed", "papers", INFO, Mode.EVIDENCE),
        Entry("billing", "invoices_sent", "Billing", "Invoices are sent", "money", CRITICAL, Mode.PROBE),
        Entry("billing", "health", "Billing", "Health check endpoint responds", "money", CRITICAL, Mode.PROBE),
    ]
    built: dict[str, type[Collector[Any, Any]]] = {"search": Search, "papers": Papers}
    for index, entry in enumerate(found):
        if collector := built.get(entry.section):
            found[index] = Entry(
                entry.section, entry.item, entry.heading, entry.line, entry.group, entry.severity, entry.mode,
                collector, collector.items()[entry.item],
            )  # fmt: skip
    return {entry.id: entry for entry in found}


CATALOGUE = Catalogue(
    Checklist.parse(CHECKLIST, "checklist.md"), entries(), {"search": Search, "papers": Papers}, {"engine": Engine}
)

Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a configuration text, with other files beside it, against a small catalogue."""

    def read(text: str | bytes, *, files: Mapping[str, str | bytes] | None = None, **environ: str) -> Loaded:
        for name, content in {"config.yaml": text, **(files or {})}.items():
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / name).write_bytes(data)
        return load(tmp_path / "config.yaml", environ=environ, now=lambda: NOW, catalogue=CATALOGUE)

    return read


def errors(read: Read, text: str | bytes, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **more)
    folder = caught.value.errors[0].file.rpartition("/")[0]
    assert str(caught.value) == "\n".join(map(str, caught.value.errors))
    assert list(caught.value.errors) == sorted(caught.value.errors)
    return str(caught.value).replace(f"{folder}/", "").replace("config.yaml:", "").split("\n")


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_said_of_a_bad_file(read: Read, text: str | bytes, expected: list[str]) -> None:
    assert errors(read, text) == expected


def test_all_problems_are_told_at_once_in_the_order_of_the_file(read: Read) -> None:
    text = (
        "sections:\n  search: {every: x}\n  serch: {}\nconcurrency: 0\nwaivers: [{item: a.b}]\nclients: {engin: {}}\n"
    )
    said = [error.partition(": ")[0] for error in errors(read, text)]
    assert said == ["2:3", "2:12", "3:3", "4:1", "5:11", "5:11", "5:11", "6:11"]


def test_another_kind_of_file_is_refused_in_good_time(read: Read) -> None:
    told = errors(read, "".join(f"environmen{number}: 1\n" for number in range(20_000)))
    assert len(told) == 20_000
    assert (told[0], told[-1]) == (
        "1:1: environmen0: unknown key; did you mean 'environment'?",
        "20000:1: environmen19999: unknown key",
    )


def test_of_the_real_sections_only_those_of_evidence_are_looked_at_unasked() -> None:
    plan = load_default(now=lambda: NOW).plan
    looked_at = {planned.section for planned in plan.items if planned.targets}
    of_launch = {"load_tests", "security_tests", "disaster_recovery", "final_checklist"}
    assert looked_at == {"documentation", "training", "signatories", "openai", *of_launch}


def test_nothing_configured_plans_every_line_and_what_needs_no_options() -> None:
    loaded = load_default(now=lambda: NOW, catalogue=CATALOGUE)
    assert [planned.id for planned in loaded.plan.items] == list(CATALOGUE.entries)
    assert [(planned.id, planned.targets) for planned in loaded.plan.items if planned.targets] == [
        ("papers.papers_signed", ("",))
    ]
    [job] = loaded.plan.jobs
    assert (job.id, job.items, job.target_settings) == ("papers", ("papers_signed",), None)
    assert (loaded.files, loaded.secrets, loaded.clients) == ((), frozenset(), {})


def test_the_bundled_checklist_is_planned_without_a_configuration() -> None:
    loaded = load_default()
    assert len(loaded.plan.items) == len(loaded.bindings) == LINES
    assert {"documentation", "training", "signatories", "final_checklist"} <= {job.id for job in loaded.plan.jobs}


def test_each_target_has_a_job_with_what_it_inherits(read: Read) -> None:
    loaded = read("""
environment: ${ENVIRONMENT:-staging}
release: ${GIT_SHA}
clients: {engine: {url: http://engine}}
sections:
  search:
    every: 30s
    team: search
    runbook_url: https://example.com/search
    objective: 0.5
    username: reader
    password: ${PASSWORD}
    max_age: 2h
    targets:
      - {name: a, dsn: "postgresql://u:p%40w@h/db", ports: [1, 2], disks: [{path: data}]}
      - {name: b, dsn: x, max_age: 5m, min_free: 1KiB, tokens: {X-Token: "Bearer t0ken"}}
""", GIT_SHA="abc", PASSWORD="hunter22")  # fmt: skip
    plan = loaded.plan
    assert (plan.environment, plan.release, plan.objectives["search"], plan.objectives["papers"]) == (
        "staging",
        "abc",
        0.5,
        1,
    )
    a, b, papers = plan.jobs
    assert [job.id for job in plan.jobs] == ["search/a", "search/b", "papers"]
    assert (a.collector, a.items, papers.target) == (Search, ("index_fresh", "failover_tested"), "")
    assert isinstance(a.target_settings, SearchTarget)
    assert isinstance(b.target_settings, SearchTarget)
    assert (a.target_settings.max_age, b.target_settings.max_age) == (timedelta(hours=2), timedelta(minutes=5))
    assert a.target_settings.disks[0].path == loaded.files[0].parent / "data"
    assert (a.target_settings.username, b.target_settings.username) == ("reader", "reader")
    assert b.target_settings.min_free == 1024
    fresh = plan.items[0]
    assert (fresh.targets, fresh.every, fresh.stale_after) == (("a", "b"), timedelta(seconds=30), timedelta(seconds=90))
    assert (fresh.team, fresh.runbook_url, fresh.group) == ("search", "https://example.com/search", "stores")
    assert fresh.verified_by == f"{Search.__module__}.Search.index_fresh"
    assert loaded.clients["engine"][0] is Engine
    assert loaded.secrets == {"hunter22", "x", "postgresql://u:p%40w@h/db", "p%40w", "p@w", "Bearer t0ken", "t0ken"}
    assert not any(secret in repr(loaded) for secret in loaded.secrets - {"x"})


@pytest.mark.parametrize(
    ("dsn", "inside"),
    [
        ("host=h password='a b' user=u", {"a b"}),
        ("host=h password = pw1 user=u", {"pw1"}),
        ("postgresql://h/db?password=pw2&x=y", {"pw2"}),
        ("http://[broken", set()),
        ("host=h password=''", set()),
        ("Bearer t0ken", {"t0ken"}),
        ("redis://:p%2Fw@h", {"p%2Fw", "p/w"}),
    ],
)
def test_passwords_inside_a_secret_are_secrets(read: Read, dsn: str, inside: set[str]) -> None:
    assert read(TARGET.replace("dsn: x", "dsn: '${DSN}'"), DSN=dsn).secrets == {dsn} | inside


def test_stale_after_may_be_given(read: Read) -> None:
    [*_, papers, _, _] = read("sections: {papers: {every: 1h, stale_after: 90m}}").plan.items
    assert (papers.every, papers.stale_after) == (timedelta(hours=1), timedelta(minutes=90))


def test_variables_are_filled_in(read: Read) -> None:
    text = "environment: '${A}-${B:-b}-${C:-c}-${D:-}-$${E}-$F-{G}'"
    assert read(text, A="a", C="").config.environment == "a-b-c--${E}-$F-{G}"
    assert read("environment: ${A}", A="12").config.environment == "12"


def test_a_variable_that_is_no_text_is_told(read: Read) -> None:
    value = os.fsdecode(b"\xff")
    assert errors(read, "environment: ${A}", A=value) == [
        "1:1: environment: the environment variable A is not UTF-8 text"
    ]


def test_yaml_guesses_nothing(read: Read) -> None:
    for text in ("2026-03-02", "yes", "12:30", "0o17", "1_000"):
        assert read(f"release: {text}").config.release == text


def test_secrets_are_read_from_files(read: Read, tmp_path: Path) -> None:
    text = "release_file: version\nsections: {search: {targets: [{name: a, dsn_file: dsn}], username: u, password_file: pw}}"
    loaded = read(text, files={"dsn": "postgresql://h/db\r\n", "pw": "one\ntwo\n\n", "version": "1.2.3\n"})
    target = loaded.plan.jobs[0].target_settings
    assert isinstance(target, SearchTarget)
    assert target.dsn.get_secret_value() == "postgresql://h/db"
    assert target.password
    assert target.password.get_secret_value() == "one\ntwo\n", "only one newline is dropped"
    assert loaded.plan.release == "1.2.3"
    assert loaded.files == tuple(sorted(tmp_path / name for name in ("config.yaml", "dsn", "pw", "version")))
    assert loaded.secrets == {"postgresql://h/db", "one\ntwo\n"}


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("dsn_file: empty", "dsn_file: empty is empty"),
        ("dsn_file: huge", "dsn_file: huge is larger than 65536 bytes"),
        ("dsn_file: binary", "dsn_file: binary is not UTF-8 text"),
        ("dsn_file: absent", "dsn_file: the file that it names cannot be read: No such file or directory"),
        ("dsn_file: .", "dsn_file: . cannot be read: Is a directory"),
        ('dsn_file: "a\\0b"', "dsn_file: found something other than a path, expected the path of a file"),
        ("dsn_file: 7", "dsn_file: expected the path of a file"),
        ("dsn_file: '${NONE}'", "dsn_file: the environment variable NONE is not set"),
        ("dsn_file: good, dsn: x", "dsn_file: found beside dsn, expected only one of both"),
        ("dsn_fil: good, dsn: x", "dsn_fil: unknown key; did you mean 'dsn_file'?"),
        ("dsn: x, name_file: good", "name_file: unknown key; did you mean 'dsn_file'?"),
    ],
)
def test_bad_secret_files_are_told(read: Read, tmp_path: Path, option: str, problem: str) -> None:
    files = {"empty": "\n", "huge": "x" * 65537, "binary": b"\xff", "good": "x"}
    found = errors(read, TARGET.replace("dsn: x", option), files=files)
    assert [line.partition("targets[0].")[2].replace(f"{tmp_path}", ".") for line in found] == [problem]


def test_what_is_not_applicable_is_not_verified(read: Read) -> None:
    whole = read(
        "sections: {search: {not_applicable: No search., every: 5m}, papers: {not_applicable: {papers_signed: No.}}}"
    )
    assert [planned.not_applicable for planned in whole.plan.items] == ["No search.", "No search.", "No.", None, None]
    assert whole.plan.jobs == ()
    partly = read(TARGET.replace("targets", "not_applicable: {index_fresh: No index.}, targets"))
    assert partly.plan.jobs[0].items == ("failover_tested",)
    unbuilt = read("sections: {billing: {not_applicable: Nothing is sold.}}")
    assert unbuilt.plan.items[-1].not_applicable == "Nothing is sold."


def test_a_section_that_does_not_apply_is_still_read_strictly(read: Read) -> None:
    [error] = errors(read, "sections: {search: {not_applicable: No., targts: []}}")
    assert error == "1:42: sections.search.targts: unknown key; did you mean 'targets'?"
    [error] = errors(read, "sections: {search: {not_applicable: No., max_age: x, targets: [{name: a, dsn: b}]}}")
    assert error.startswith("1:42: sections.search.max_age: found 'x'")


def test_waivers_hold_to_the_end_of_their_last_day(read: Read) -> None:
    loaded = read("waivers: [{item: papers.papers_signed, reason: Later., owner: office, until: 2026-03-02}]")
    assert loaded.plan.items[2].waiver == Waiver("Later.", "office", date(2026, 3, 2))


def test_an_expired_waiver_warns_and_never_keeps_the_configuration_from_being_used(read: Read) -> None:
    loaded = read("waivers: [{item: papers.papers_signed, reason: Later., owner: office, until: 2026-03-01}]")
    [warned] = loaded.warnings
    wanted = "the waiver of papers.papers_signed expired on 2026-03-01 and no longer waives: renew or remove it"
    assert str(warned).endswith(f"config.yaml:1:71: waivers[0].until: {wanted}")
    assert loaded.plan.items[2].waiver == Waiver("Later.", "office", date(2026, 3, 1)), "its expiry is still exported"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_expired_waiver_gives_way_to_its_renewal_on_either_side(read: Read, order: tuple[int, int]) -> None:
    both = [
        f"{{item: papers.papers_signed, reason: a, owner: b, until: {day}}}" for day in ("2026-03-01", "2026-04-01")
    ]
    loaded = read(f"waivers: [{', '.join(both[index] for index in order)}]")
    assert loaded.plan.items[2].waiver == Waiver("a", "b", date(2026, 4, 1))
    assert len(loaded.warnings) == 1


MAINTENANCE = "reason: Patches., owner: office"


def test_maintenance_is_of_sections_and_of_single_lines(read: Read) -> None:
    loaded = read(f"""maintenance:
  - {{lines: [papers, search], weekdays: [monday, sunday], at: "22:30", duration: 90m, time_zone: Europe/Berlin, {MAINTENANCE}}}
  - {{lines: [papers.papers_signed, papers], start: 2026-03-03T10:00, end: 2026-03-03T12:00+01:00, {MAINTENANCE}}}
""")
    weekly = Weekly(frozenset({0, 6}), time(22, 30), timedelta(minutes=90), ZoneInfo("Europe/Berlin"))
    once = Once(datetime(2026, 3, 3, 10, tzinfo=UTC), datetime(2026, 3, 3, 11, tzinfo=UTC))
    planned = {item.id: tuple(one.when for one in item.maintenance) for item in loaded.plan.items if item.maintenance}
    assert planned.pop("papers.papers_signed") == (weekly, once, once)
    assert len(planned) > 1
    assert set(planned.values()) == {(weekly,)}


def test_maintenance_that_is_over_only_warns(read: Read) -> None:
    loaded = read(
        f"maintenance: [{{lines: [papers, gone], start: 2026-01-02T10:00, end: 2026-01-02T12:00, {MAINTENANCE}}}]"
    )
    [warned] = loaded.warnings
    assert str(warned).endswith("maintenance[0]: the maintenance ended on 2026-01-02 12:00 UTC: remove it")
    assert not any(item.maintenance for item in loaded.plan.items)


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("lines: [paper], at: '22:00', duration: 1h", "1:24: maintenance[0].lines[0]: unknown section or item 'paper'"),
        (
            "lines: [], at: '22:00', duration: 1h",
            "1:16: maintenance[0].lines: found a list, expected 1 or more entries",
        ),
        ("lines: [papers], at: '22:00', duration: 8d", "1:15: maintenance[0]: it lasts longer than a week"),
        ("lines: [papers], at: '22:00'", "1:15: maintenance[0]: expected either start and end, or at and duration"),
        (
            "lines: [papers], start: 2026-01-02T10:00, end: 2026-01-02T11:00, weekdays: [monday]",
            "1:15: maintenance[0]: expected either start and end, or at and duration",
        ),
        (
            "lines: [papers], start: 2026-01-02T10:00, end: 2026-01-02T10:00",
            "1:15: maintenance[0]: it ends before it begins",
        ),
        (
            "lines: [papers], at: '22:00+01:00', duration: 1h",
            "1:15: maintenance[0]: found an offset in at, expected a time of time_zone",
        ),
        (
            "lines: [papers], at: '22:00', duration: 1h, time_zone: Europe",
            "this machine knows no such time zone, expected one such as Europe/Berlin",
        ),
        ("lines: [papers], at: late, duration: 1h", "1:33: maintenance[0].at: found 'late' of type string"),
    ],
)
def test_wrong_maintenance_names_line_and_key(read: Read, entry: str, wanted: str) -> None:
    [error] = errors(read, f"maintenance: [{{{entry}, {MAINTENANCE}}}]")
    assert wanted in error


VERIFIED = "true_when: up == 1"


def causes_of(loaded: Loaded) -> dict[str, set[str]]:
    return {item.id: {".".join(cause.key) for cause in item.causes} for item in loaded.plan.items if item.causes}


def test_lines_depend_on_lines_and_sections(read: Read) -> None:
    loaded = read(f"""sections:
  search: {{targets: [{{name: a, dsn: x}}], depends_on:
      {{index_fresh: [shop.open, papers], failover_tested: [papers.papers_signed]}}}}
  papers: {{depends_on: [shop]}}
custom:
  - {{section: Shop, line: Open, severity: critical, {VERIFIED}}}
  - {{section: Shop, line: Lit, {VERIFIED}, depends_on: [shop.open]}}
""")
    assert causes_of(loaded) == {
        "search.index_fresh": {"shop.open", "papers.papers_signed"},
        "search.failover_tested": {"papers.papers_signed"},
        "papers.papers_signed": {"shop.open", "shop.lit"},
        "shop.lit": {"shop.open"},
    }
    warned = [str(warning).partition("depends_on")[2] for warning in loaded.warnings]
    assert list(filter(None, warned)) == [
        ".index_fresh[1]: papers is less severe than what depends on it, which is notified of by itself",
        ".failover_tested[0]: papers.papers_signed is less severe than what depends on it, which is notified of by itself",
    ]


def test_every_line_of_a_section_may_depend_on_one_of_it(read: Read) -> None:
    loaded = read("sections: {search: {targets: [{name: a, dsn: x}], depends_on: [search.index_fresh]}}")
    assert causes_of(loaded) == {"search.failover_tested": {"search.index_fresh"}}


def test_what_is_not_verified_causes_nothing_and_has_no_causes(read: Read) -> None:
    loaded = read("""sections:
  papers: {not_applicable: There are none., depends_on: [billing]}
  search:
    targets: [{name: a, dsn: x}]
    not_applicable: {failover_tested: There is one.}
    depends_on: [papers, billing.health]
""")
    assert causes_of(loaded) == {}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            "{index_fresh: [search.index_fesh]}",
            "unknown section or item 'search.index_fesh'; did you mean 'search.index_fresh'?",
        ),
        ("[paper]", "1:64: sections.search.depends_on[0]: unknown section or item 'paper'; did you mean 'papers'?"),
        (
            "{index_fresh: [search.index_fresh]}",
            "sections.search.depends_on.index_fresh[0]: search.index_fresh depends on itself, expected another line",
        ),
        (
            "[search]",
            "sections.search.depends_on[0]: every line of search depends on every other, expected single lines",
        ),
        ("{fresh: [papers]}", "sections.search.depends_on.fresh: unknown item; did you mean 'index_fresh'?"),
        (
            "{index_fresh: [search.failover_tested], failover_tested: [search.index_fresh]}",
            "[0]: found a circle, expected lines that do not depend on themselves: search.index_fresh → search.",
        ),
        ("papers", "sections.search.depends_on: found a string, expected a list or a mapping"),
        ("[1]", "sections.search.depends_on[0]: found 1 of type integer, expected a string (put it in quotes)"),
    ],
)
def test_wrong_dependencies_name_line_and_key(read: Read, given: str, wanted: str) -> None:
    [error] = errors(read, f"sections: {{search: {{targets: [{{name: a, dsn: x}}], depends_on: {given}}}}}")
    assert wanted in error


def test_a_circle_through_lines_of_ones_own_is_an_error(read: Read) -> None:
    [error] = errors(
        read,
        f"""sections:
  papers: {{depends_on: [shop.lit]}}
custom:
  - {{section: Shop, line: Open, {VERIFIED}, depends_on: [papers]}}
  - {{section: Shop, line: Lit, {VERIFIED}, depends_on: [shop.open]}}
""",
    )
    assert "found a circle" in error
    assert all(name in error for name in ("shop.open", "shop.lit", "papers.papers_signed"))


def test_an_expired_waiver_of_a_line_that_is_gone_only_warns(read: Read) -> None:
    loaded = read("waivers: [{item: papers.burnt, reason: Later., owner: office, until: 2026-03-01}]")
    assert len(loaded.warnings) == 1


def test_the_longest_times_can_be_reckoned_with(read: Read) -> None:
    loaded = read(
        "waivers: [{item: papers.papers_signed, reason: Later., owner: office, until: 9999-12-31}]\n"
        "sections: {papers: {every: 365000d}}\n"
    )
    planned = loaded.plan.items[2]
    assert planned.waiver
    assert planned.waiver.ends_at > NOW + planned.stale_after > NOW


def test_evidence_is_a_folder_or_options(read: Read, tmp_path: Path) -> None:
    assert read("evidence: records").evidence.folder == tmp_path / "records"
    options = read("evidence: {folder: /r, allowed_signers: keys, hosts: [{url: https://wiki, password: pass-word}]}")
    assert options.evidence.folder == Path("/r")
    assert options.evidence.allowed_signers == tmp_path / "keys"
    assert options.secrets == {"pass-word"}
    assert load_default(catalogue=CATALOGUE).evidence.folder is None


CUSTOM = """
sections:
  billing: {not_applicable: {health: No.}}
  search: {every: 10m, timeout: 3s, team: s, targets: [{name: a, dsn: x}]}
custom:
  - {section: Search Engine, line: Replicas are in sync, promql: up, every: 5m}
  - {section: billing, line: Invoices are sent, promql: up, evidence: {valid_for: 90d}, team: money}
  - {section: Mail, line: "Open", evidence: {valid_for: 1d, signed_by_role: lead}, severity: critical, runbook_url: r}
"""


def test_custom_lines_take_their_place(read: Read) -> None:
    loaded = read(CUSTOM)
    assert [planned.id for planned in loaded.plan.items] == [
        "search.index_fresh", "search.failover_tested", "search.replicas_are_in_sync",
        "papers.papers_signed", "billing.invoices_sent", "billing.health", "mail.open",
    ]  # fmt: skip
    planned = {planned.id: planned for planned in loaded.plan.items}
    sync, invoices, mail = (
        planned[name] for name in ("search.replicas_are_in_sync", "billing.invoices_sent", "mail.open")
    )
    assert (sync.every, sync.team, sync.targets, sync.mode) == (timedelta(minutes=5), "s", ("",), Mode.PROBE)
    assert (sync.severity, invoices.severity, mail.severity) == (WARNING, CRITICAL, CRITICAL)
    assert (invoices.mode, mail.mode, invoices.team) == (Mode.PROBE_AND_EVIDENCE, Mode.EVIDENCE, "money")
    assert (mail.heading, mail.group, mail.runbook_url) == ("Mail", "mail", "r")
    assert mail.verified_by == "collectors.custom.Custom.open"
    jobs = {job.id: job for job in loaded.plan.jobs}
    assert list(jobs) == ["search/a", "papers", "search.replicas_are_in_sync", "billing.invoices_sent", "mail.open"]
    job = jobs["search.replicas_are_in_sync"]
    assert (job.section, job.target, job.items) == ("search", "", ("replicas_are_in_sync",))
    assert (job.settings.timeout, type(job.settings)) == (timedelta(seconds=3), SectionSettings)
    assert jobs["mail.open"].collector.items()["open"].evidence == EvidenceRule(timedelta(days=1), "lead")
    assert loaded.bindings[-1].number == 0
    assert [options.line for options in loaded.config.custom] == ["Replicas are in sync", "Invoices are sent", "Open"]
    assert read(CUSTOM).plan.jobs == loaded.plan.jobs, "an unchanged configuration is an unchanged plan"


def test_a_condition_without_a_server_to_ask_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("custom:\n  - {section: A, line: B, true_when: up == 1}\n  - {section: A, line: C, promql: up}\n")
    with pytest.raises(ConfigError) as caught:
        load(config)
    assert [str(error).partition("config.yaml:")[2] for error in caught.value.errors] == [
        "2:27: custom[0].true_when: clients.prometheus is not configured, and the condition requires it",
        "3:27: custom[1].promql: clients.prometheus is not configured, and the condition requires it",
    ]


def test_a_former_name_is_warned_of(read: Read) -> None:
    [warned] = read("custom: [{section: A, line: B, promql: up == 1}]").warnings
    assert str(warned).endswith(":1:32: custom[0].promql: promql is the former name of true_when: rename it")


def test_what_is_out_of_scope_does_not_apply_and_says_why(read: Read) -> None:
    loaded = read(TARGET + "scope: {only: [search], reason: Search is launched first.}")
    found = {planned.id: planned.not_applicable for planned in loaded.plan.items}
    assert found["search.index_fresh"] is None
    assert found["papers.papers_signed"] == found["billing.invoices_sent"] == "Search is launched first."
    assert {job.section for job in loaded.plan.jobs} == {"search"}


def test_a_group_may_be_left_out_and_groups_may_be_wanted(read: Read) -> None:
    loaded = read("scope: {not_applicable: {money: The service is free.}}")
    found = {planned.id: planned.not_applicable for planned in loaded.plan.items}
    assert found["billing.health"] == "The service is free."
    assert found["papers.papers_signed"] is None
    loaded = read(
        "scope: {only: [money], reason: Later.}\ncustom: [{section: Mail, line: Open, evidence: {valid_for: 1d}}]"
    )
    found = {planned.id: planned.not_applicable for planned in loaded.plan.items}
    assert found["billing.health"] is None
    assert found["papers.papers_signed"] == "Later."
    assert found["mail.open"] is None, "what the configuration verifies itself is wanted"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scope: {only: [serch], reason: a}", "1:16: scope.only[0]: unknown section or group 'serch'; did you mean 'search'?"),
        ("scope: {only: [search]}", "1:1: scope: found only without a reason, expected why the others do not apply"),
        ("scope: {not_applicable: {mony: a}}", "1:26: scope.not_applicable.mony: unknown group; did you mean 'money'?"),
        (
            "scope: {not_applicable: {money: ''}}",
            "1:26: scope.not_applicable.money: found '' of type string, expected a text that is not blank",
        ),
        (
            TARGET + "scope: {only: [papers], reason: a}",
            "1:12: sections.search: configured here and left out by scope, expected one of both",
        ),
    ],
)  # fmt: skip
def test_a_scope_that_contradicts_is_refused(read: Read, text: str, problem: str) -> None:
    assert errors(read, text) == [problem]


def test_a_line_that_nothing_verifies_names_the_ways_out(read: Read) -> None:
    found = {
        item.id: item.unverified
        for item in read("checklist: own.md", files={"own.md": OWN[: OWN.index("- [ ] Tea")]}).plan.items
    }
    assert found["search.index_fresh"] == (
        "Section search is not configured, so nothing was checked. Add sections.search, or declare it not_applicable."
    )
    told = found["office.coffee_is_hot"] or ""
    assert all(way in told for way in ("bind", "custom", "not_applicable in sections.office", "scope.only"))
    assert (read("environment: x").plan.items[3].unverified or "").startswith(
        "No collector verifies this line yet. Add a custom entry"
    )
    assert read("environment: x").plan.items[2].unverified is None


OWN = "# Search Engine\n- [ ] Index is fresh\n# Office\n- [ ] Coffee is hot\n- [ ] Tea <!-- item: office.tea -->\n"


def test_an_own_checklist_is_planned(read: Read, tmp_path: Path) -> None:
    text = """
checklist: own.md
sections: {office: {team: facility, objective: 0.9}, search: {targets: [{name: a, dsn: x}]}}
custom: [{section: Office, line: Tea is hot, item: tea, promql: up}]
waivers: [{item: office.coffee_is_hot, reason: Machine is ordered., owner: facility, until: 2026-04-01}]
"""
    loaded = read(text, files={"own.md": OWN})
    assert [(b.entry.id, b.line, b.number) for b in loaded.bindings] == [
        ("search.index_fresh", "Index is fresh", 2),
        ("office.coffee_is_hot", "Coffee is hot", 4),
        ("office.tea", "Tea", 5),
    ]
    coffee = loaded.plan.items[1]
    assert (coffee.mode, coffee.declared, coffee.targets, coffee.team) == (None, None, (), "facility")
    assert coffee.waiver
    assert [job.id for job in loaded.plan.jobs] == ["search/a", "office.tea"]
    assert loaded.plan.objectives == {"search": 1.0, "office": 0.9}
    assert tmp_path / "own.md" in loaded.files


def test_problems_of_an_own_checklist_are_told_with_the_others(read: Read) -> None:
    waiver = "{item: office.tea, reason: a, owner: b, until: 2027-01-01}"
    text = f"checklist: own.md\nconcurrency: 0\nsections: {{office: {{}}}}\nwaivers: [{waiver}]\n"
    assert errors(read, text, files={"own.md": b"# A\n- [ ] \xff\n"}) == [
        "2:1: concurrency: found 0 of type integer, expected a value greater than or equal to 1",
        "own.md:2:1: The checklist is not UTF-8 text.",
    ]
    [_, unknown] = errors(read, text, files={"own.md": "# A\n- [ ] a <!-- item: b.c -->\n"})
    assert unknown == "own.md:2:1: The annotation names the unknown item 'b.c'."


def test_a_section_without_lines_in_the_checklist_is_told(read: Read) -> None:
    found = errors(read, f"checklist: own.md\n{TARGET}", files={"own.md": "# A\n- [ ] a\n"})
    assert found == ["2:12: sections.search: the checklist has no line of this section"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path, catalogue=CATALOGUE)
        assert str(caught.value) == f"{path}:1:1: the file cannot be read: {why}"


def test_a_validators_message_shows_no_secret(read: Read) -> None:
    found = errors(read, TARGET.replace("dsn: x", f"dsn: x, password: {CANARY}"))
    assert found == ["1:31: sections.search.targets[0]: password *** is for no username"]


MISPLACED = [
    "dsn: [{0}]", "dsn: {{{0}: {0}}}", "dsn: x, pasword: {0}", "dsn: x, tokens: {0}", "dsn: x, tokens: [{0}]",
    "dsn: x, tokens: {{A: [{0}]}}", "dsn: x, tls: {0}", "dsn: x, tls: {{url: 'http://u:{0}@h'}}",
    "dsn: x, password: {0}, max_age: 1",
    "dsn: {0}, min_free: x", "dsn_file: secret, max_age: y", "dsn: '${{S}}', max_age: y", "dsn: '${{S', max_age: y",
]  # fmt: skip


@pytest.mark.parametrize("options", MISPLACED)
def test_a_misplaced_secret_is_not_shown(read: Read, options: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(TARGET.replace("dsn: x", options.format(CANARY)), files={"secret": CANARY}, S=CANARY)
    assert CANARY not in f"{caught.value} {caught.value!r} {caught.value.errors!r}"


def credentials(model: type[Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of every credential option in a model; `*` is an entry of a list, `?` of a mapping."""
    found = []
    for name, node in model.model_json_schema(mode="validation").get("properties", {}).items():
        found += _credentials(
            node, (*path, name), model.model_json_schema()["$defs"] if "$ref" in json.dumps(node) else {}
        )
    return found


def _credentials(node: Any, path: tuple[str, ...], kinds: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if node.get("format") == "password":
        return [path]
    found: list[tuple[str, ...]] = []
    for one in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        found += _credentials(one, path, kinds)
    if "$ref" in node:
        for name, child in kinds[node["$ref"].rpartition("/")[2]].get("properties", {}).items():
            found += _credentials(child, (*path, name), kinds)
    if isinstance(items := node.get("items"), dict):
        found += _credentials(items, (*path, "*"), kinds)
    if isinstance(values := node.get("additionalProperties"), dict):
        found += _credentials(values, (*path, "?"), kinds)
    return found


REAL = Catalogue.load()
EVERY = [
    *(("sections", name, *path) for name, kind in REAL.collectors.items() for path in credentials(kind.Settings)),
    *(("clients", name, *path) for name, kind in REAL.clients.items() for path in credentials(kind.Settings)),
]


def nested(path: tuple[str, ...], value: Any) -> Any:
    for part in reversed(path):
        value = [value] if part == "*" else {"entry" if part == "?" else part: value}
    return value


@pytest.mark.parametrize("path", EVERY, ids=".".join)
def test_no_credential_of_any_section_is_shown(tmp_path: Path, path: tuple[str, ...]) -> None:
    """Each in its place beside an error, and where something else belongs."""
    file = tmp_path / "config.yaml"
    for value in (CANARY, [CANARY], {"a": CANARY}, {"a": [CANARY]}):
        for depth in range(3, len(path) + 1):
            file.write_text(json.dumps({"zzz": 1, **nested(path[:depth], value)}))
            with pytest.raises(ConfigError) as caught:
                load(file, catalogue=REAL, environ={})
            assert CANARY not in f"{caught.value} {caught.value!r} {caught.value.errors!r}"


GOOD = (
    CUSTOM
    + """
environment: "pro\\x64"
clients: {engine: {url: "http://e", headers: {X-A: b}}}
waivers: [{item: papers.papers_signed, reason: Later., owner: office, until: 2026-03-02}]
state: {keep: 5d}
"""
)


@given(cut=st.integers(0, len(GOOD)), junk=st.text(max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_torn_file_is_an_error_or_a_configuration(read: Read, cut: int, junk: str) -> None:
    data = (GOOD[:cut] + junk).encode("utf-8", "surrogatepass")
    try:
        read(data)
    except ConfigError:
        return


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_random_bytes_are_an_error(read: Read, data: bytes) -> None:
    try:
        read(data)
    except ConfigError:
        return


KEYS = {
    "environment", "release_file", "checklist", "evidence", "clients", "sections", "waivers", "custom", "state", "engine",
    "url", "search", "papers", "billing", "targets", "name", "dsn", "dsn_file", "tokens", "tls", "disks", "path", "ports",
    "not_applicable", "valid_for", "item", "index_fresh", "section", "line", "promql", "every",
}  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["${A}", "1h", "a"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), VALUES, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_tree_is_an_error_or_a_configuration(read: Read, tree: dict[str, Any]) -> None:
    try:
        read(json.dumps(tree))
    except ConfigError:
        return


def test_custom_is_what_the_catalogue_takes_for_own_lines() -> None:
    assert CATALOGUE.custom is Custom
