"""The catalogue: what is found, what is refused, and which line of a checklist binds to what."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue import Catalogue, CatalogueError, slug
from exporter.checklist import Checklist, ChecklistError
from exporter.collector import Client, Mode
from exporter.config import load
from exporter.verdict import Severity

CHECKLIST = """\
# All

## Search Engine
- [ ] Index is fresh
- [ ] Cluster is green
- [ ] Health check endpoint responds

## Billing
- [ ] Health check endpoint responds
- [ ] Invoices are sent
"""

CATALOGUE = """\
group\tsection\titem\tseverity\tmode\theading\tline
stores\tsearch\tindex_fresh\twarning\tprobe\tSearch Engine\tIndex is fresh
stores\tsearch\tcluster_green\tcritical\tprobe\tSearch Engine\tCluster is green
stores\tsearch\thealth\tcritical\tprobe\tSearch Engine\tHealth check endpoint responds
money\tbilling\thealth\tcritical\tprobe\tBilling\tHealth check endpoint responds
money\tbilling\tinvoices_sent\tcritical\tevidence\tBilling\tInvoices are sent
"""

SEARCH = '''\
"""Search Engine"""

from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.verdict import CRITICAL, WARNING, Result, ok


class Search(Collector[SectionSettings, NoTarget]):
    """Verifies the search engine."""

    @item("Index is fresh", severity=WARNING, needs=("a user",))
    async def index_fresh(self) -> Result:
        """Stale results mislead."""
        return ok("It is.")
'''

CLIENTS = '''\
from exporter.collector import Client, Options


class Base(Client[Options]):
    """What connections have in common."""


class Engine(Base):
    """A connection."""

    name = "engine"
    Settings = Options
'''

Install = Callable[..., str]
_numbers = itertools.count()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a package of collectors (by path below it, changed from a good one) and return its name."""

    def write(changes: Mapping[str, str] | None = None) -> str:
        name = f"collectors_{os.getpid()}_{next(_numbers)}"
        contents = {
            "__init__.py": "",
            "checklist.md": CHECKLIST,
            "catalogue.tsv": CATALOGUE,
            "stores/__init__.py": "",
            "stores/search.py": SEARCH,
            "stores/helper.py": "",
            "systems/__init__.py": "",
            "systems/search/__init__.py": "",
            "systems/search/client.py": CLIENTS,
            **(changes or {}),
        }
        for path, content in contents.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        return name

    return write


def test_installed_collectors_are_a_catalogue_of_the_bundled_checklist() -> None:
    catalogue = Catalogue.load()
    bindings = catalogue.bind(catalogue.checklist)
    assert [binding.entry for binding in bindings] == list(catalogue.entries.values())
    assert [binding.number for binding in bindings] == [line.number for line in catalogue.checklist.lines]
    assert len(catalogue.sections) == 34
    entry = catalogue.entries["postgresql.slow_query_logging_enabled"]
    assert (entry.group, entry.severity, entry.mode) == ("infrastructure", Severity.WARNING, Mode.PROBE)
    assert entry.verified_by == "collectors.infrastructure.postgresql.PostgreSQL.slow_query_logging_enabled"
    assert "prometheus" in catalogue.clients


def test_collectors_items_and_clients_are_found(install: Install) -> None:
    name = install()
    catalogue = Catalogue.load(name)
    assert list(catalogue.collectors) == ["search"]
    assert catalogue.entries["search.index_fresh"].verified_by == f"{name}.stores.search.Search.index_fresh"
    assert catalogue.entries["search.cluster_green"].verified_by is None
    assert catalogue.entries["billing.health"].declared is None
    assert [client.__qualname__ for client in catalogue.clients.values()] == ["Engine"]


def test_a_collector_is_a_section_by_its_place_alone(install: Install) -> None:
    elsewhere = {"systems/search/scope.py": SEARCH, "shared/__init__.py": "", "shared/scope.py": SEARCH}
    assert list(Catalogue.load(install(elsewhere)).collectors) == ["search"]


def test_a_package_names_its_clients_and_its_other_modules_are_not_imported(install: Install) -> None:
    package = {
        "systems/other/__init__.py": "",
        "systems/other/client/__init__.py": "from .engine import Engine\n",
        "systems/other/client/engine.py": CLIENTS.replace('"engine"', '"other"'),
        "systems/other/client/quick.py": "import no_library_of_this_name\n",
    }
    assert sorted(Catalogue.load(install(package)).clients) == ["engine", "other"]


def test_every_shared_client_is_found() -> None:
    import collectors.systems as systems

    for module in pkgutil.walk_packages(systems.__path__, f"{systems.__name__}."):
        if ".client" in module.name:
            importlib.import_module(module.name)
    named = {
        client
        for client in _subclasses(Client)
        if client.__module__.startswith("collectors.") and "name" in vars(client)
    }
    assert set(Catalogue.load().clients.values()) == named


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _subclasses(cls)


def test_without_its_extras_everything_is_found() -> None:
    code = "import sys; sys.modules |= {'aioquic': None, 'boto3': None, 'botocore': None}; from exporter.catalogue import Catalogue"
    code += "; catalogue = Catalogue.load(); print(len(catalogue.collectors), *catalogue.broken)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["34"]


def test_heavy_libraries_are_not_imported_for_the_catalogue() -> None:
    """A section's client library is imported only when that section is configured."""
    heavy = ["aioquic", "boto3", "botocore", "psycopg", "redis", "neo4j", "nats", "qdrant_client", "kubernetes"]
    code = f"import sys; from exporter.catalogue import Catalogue; Catalogue.load(); print(*({{*{heavy!r}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == []


CONTRADICTIONS: list[tuple[dict[str, str], str]] = [
    (
        {
            "stores/search.py": SEARCH
            + '\n    @item("Index is fresh", severity=WARNING)\n    async def twice(self): ...\n'
        },
        "{p}.stores.search.Search.twice and index_fresh both verify the line 'Index is fresh'.",
    ),
    (
        {"stores/search.py": SEARCH.replace("Index is fresh", "Index is old")},
        "{p}.stores.search.Search.index_fresh quotes 'Index is old', which is no line under 'Search Engine'.",
    ),
    (
        {"stores/search.py": SEARCH.replace('"""Search Engine"""', '"""Search"""')},
        "{p}.stores.search has the docstring 'Search', not the heading 'Search Engine'.",
    ),
    (
        {"stores/search.py": SEARCH.replace("def index_fresh", "def indexFresh")},
        "Item name 'indexFresh' is not snake_case.",
    ),
    (
        {"stores/search.py": SEARCH.replace("def index_fresh", "def index_young")},
        "{p}.stores.search.Search.index_young has name index_young, the catalogue says index_fresh.",
    ),
    (
        {"stores/search.py": SEARCH.replace("severity=WARNING", "severity=CRITICAL")},
        "{p}.stores.search.Search.index_fresh has severity critical, the catalogue says warning.",
    ),
    (
        {"stores/search.py": SEARCH.replace("severity=WARNING", 'severity=WARNING, mode="derived"')},
        "{p}.stores.search.Search.index_fresh has mode derived, the catalogue says probe.",
    ),
    (
        {"stores/search.py": SEARCH.replace("severity=WARNING", 'severity=WARNING, mode="evidence"')},
        "{p}.stores.search.Search.index_fresh has mode evidence without a rule for evidence.",
    ),
    (
        {"stores/search.py": SEARCH + "\n\nclass Second(Search): ...\n"},
        "{p}.stores.search defines 2 collectors, a section is verified by one.",
    ),
    (
        {"stores/search.py": '"""Search Engine"""\n'},
        "{p}.stores.search defines 0 collectors, a section is verified by one.",
    ),
    (
        {"stores/cache.py": SEARCH},
        "{p}.stores.cache.Search verifies section cache, which the catalogue does not have.",
    ),
    (
        {"money/__init__.py": "", "money/search.py": SEARCH, "stores/search.py": SEARCH},
        "{p}.money.search.Search and {p}.stores.search.Search are both section search.",
    ),
    (
        {"money/__init__.py": "", "money/search.py": SEARCH},
        "{p}.money.search.Search.index_fresh has group money, the catalogue says stores.",
    ),
    (
        {"systems/other/__init__.py": "", "systems/other/client.py": CLIENTS},
        "{p}.systems.other.client.Engine and {p}.systems.search.client.Engine are both client engine.",
    ),
    (
        {"systems/search/client.py": CLIENTS.replace('"engine"', '"The Engine"')},
        "Client name 'The Engine' is not snake_case.",
    ),
    (
        {"catalogue.tsv": CATALOGUE.replace("\tInvoices are sent", "\tInvoices are paid")},
        "The catalogue names the line 'Invoices are paid' under 'Billing', which the checklist does not have.",
    ),
    (
        {"catalogue.tsv": CATALOGUE.replace("\tInvoices are sent", "\tInvoices are paid")},
        "The catalogue gives no name to the line 'Invoices are sent' under 'Billing'.",
    ),
    (
        {"catalogue.tsv": CATALOGUE.replace("invoices_sent", "health")},
        "The catalogue names 2 lines billing.health.",
    ),
    (
        {"catalogue.tsv": CATALOGUE.replace("money\tbilling", "money\tBilling")},
        "Section name 'Billing' is not snake_case.",
    ),
]


@pytest.mark.parametrize(("changes", "problem"), CONTRADICTIONS, ids=[problem for _, problem in CONTRADICTIONS])
def test_contradictions_are_refused(install: Install, changes: dict[str, str], problem: str) -> None:
    name = install(changes)
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(name)
    assert problem.format(p=name) in caught.value.problems


def own(text: str, package: str) -> list[tuple[str, str, str, int]]:
    checklist = Checklist.parse(textwrap.dedent(text), "own.md")
    bindings = Catalogue.load(package).bind(checklist)
    return [(b.entry.id, b.entry.group, b.line, b.number) for b in bindings]


def test_lines_of_an_own_checklist_bind_by_heading_annotation_or_text(install: Install) -> None:
    text = """\
    # Launch
    ## Billing
    - [ ] Health check endpoint responds
    ## Everything
    - [ ] Cluster is green
    - [ ] The index was built today <!-- item: search.index_fresh -->
    - [ ] Index is fresh <!-- item: none -->
    """
    assert own(text, install()) == [
        ("billing.health", "money", "Health check endpoint responds", 3),
        ("search.cluster_green", "stores", "Cluster is green", 5),
        ("search.index_fresh", "stores", "The index was built today", 6),
        ("everything.index_is_fresh", "launch", "Index is fresh", 7),
    ]


def test_lines_that_bind_to_nothing_get_names_of_their_own(install: Install) -> None:
    text = """\
    # Search
    - [ ] It's up (≥ 99.9 %)
    - [ ] It's up! 99 9
    # Search Engine
    - [ ] Replicas are in sync
    # Rollout
    - [ ] 2 people watch
    ## Search
    - [ ] Deep
    # Größe
    - [ ] ≥ 5
    """
    assert own(text, install()) == [
        ("search.it_s_up_99_9_ea8ba6", "search", "It's up (≥ 99.9 %)", 2),
        ("search.it_s_up_99_9", "search", "It's up! 99 9", 3),
        ("search.replicas_are_in_sync", "search", "Replicas are in sync", 5),
        ("rollout.line_2_people_watch", "rollout", "2 people watch", 7),
        ("search.deep", "rollout", "Deep", 9),
        ("grosse.line_5_890373", "grosse", "≥ 5", 11),
    ]


def test_the_name_of_a_line_never_depends_on_what_stands_around_it(install: Install) -> None:
    """Inserting a line moves neither the labels nor the history of another."""
    package = install()
    lines = [
        "数据库备份",
        "数据库",
        "Резервная копия",
        "Ready < 1 h",
        "Ready > 1 h",
        "Ready 1 h",
        "a-b",
        "x" * 90,
        "x" * 91,
        "✅ done",
    ]
    alone = {line: own(f"# A\n- [ ] {line}\n", package)[0][0] for line in lines}
    together = own("# A\n" + "".join(f"- [ ] {line}\n" for line in reversed(lines)), package)
    assert {line: name for name, _, line, _ in together} == alone
    assert len(set(alone.values())) == len(lines)
    assert alone["数据库"].startswith("a.shu_ju_ku_")
    assert alone["Резервная копия"].startswith("a.rezervnaya_kopiya_")


def test_numbers_of_places_move_nothing(install: Install) -> None:
    package = install()
    search = "## {0}. Search\n- [ ] {0}.1 Shards are spread\n- [ ] {0}.2 No shard is lost\n"
    before = [one[0] for one in own(search.format(3), package)]
    after = [one[0] for one in own(f"## 3. Mail\n- [ ] 3.1 It arrives\n{search.format(4)}", package)]
    assert before == ["search.shards_are_spread", "search.no_shard_is_lost"]
    assert after == ["mail.it_arrives", *before]


def test_a_comment_pins_the_name_of_a_line_and_of_a_heading(install: Install) -> None:
    text = """\
    # Rand <!-- name: edge -->
    - [ ] Alles läuft <!-- name: all_runs -->
    - [ ] Mehr
    """
    assert [name for name, *_ in own(text, install())] == ["edge.all_runs", "edge.mehr"]
    for wrong, problem in (
        ("- [ ] a <!-- name: b -->\n- [ ] c <!-- name: b -->", "x.md:3: The comment names it 'b', as another line"),
        ("- [ ] a <!-- name: B-b -->", "x.md:2: The comment names it 'B-b', expected a name such as index_fresh."),
    ):
        with pytest.raises(ChecklistError, match=re.escape(problem)):
            Catalogue.load(install()).bind(Checklist.parse(f"# A\n{wrong}\n", "x.md"))


@pytest.mark.parametrize(
    "line",
    [
        "**Index** is fresh",
        "Index is _fresh_.",
        "[Index](https://example.com) is  fresh",
        "Index is fresh <!-- since 2024 -->",
        "Index is `fresh`",
        "Index\N{NO-BREAK SPACE}is fresh:",
        "Index is <b>fresh</b>",
        "Index\n  is fresh",
    ],
)
def test_a_line_binds_by_what_is_shown_of_it(install: Install, line: str) -> None:
    [(name, _, title, _)] = own(f"# **Search Engine**\n- [ ] {line}\n", install())
    assert name == "search.index_fresh"
    assert "*" not in title
    assert "<" not in title


@pytest.mark.parametrize("line", ["Index is fresher", "The index is fresh", "Index was fresh", "index is fresh"])
def test_a_near_miss_is_never_bound(install: Install, line: str) -> None:
    [(name, *_)] = own(f"# Search Engine\n- [ ] {line}\n", install())
    assert name != "search.index_fresh"


def test_one_heading_is_one_section(install: Install) -> None:
    text = "# Edge\n- [ ] a\n# Other\n- [ ] b\n# **Edge**\n- [ ] c\n"
    assert [name for name, *_ in own(text, install())] == ["edge.a", "other.b", "edge.c"]


@pytest.mark.parametrize(
    "text",
    [
        "# A\n" + "- [ ] same\n" * 5000,
        "# A\n" + "- [ ] 数据库备份每天运行\n" * 5000,
        "".join(f"# H{number}\n- [ ] 数据库{number}\n" for number in range(5000)),
    ],
    ids=["equal", "Chinese", "headings"],
)
def test_the_time_grows_with_the_lines_alone(install: Install, text: str) -> None:
    """It was quadratic. A tenth of the lines has to take more than a fortieth of the time."""
    catalogue = Catalogue.load(install())
    lines = text.split("\n")

    def seconds(text: str) -> float:
        started = time.process_time()
        bindings = catalogue.bind(Checklist.parse(text, "x.md"))
        assert len({binding.entry.id for binding in bindings}) == len(bindings)
        return time.process_time() - started

    few = min(seconds("\n".join(lines[:501]) + "\n") for _ in range(3))
    assert min(seconds(text) for _ in range(3)) < 40 * few


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "# Else\n- [ ] Health check endpoint responds\n",
            (
                "own.md:2: 'Health check endpoint responds' could be each of search.health, billing.health: "
                "add <!-- item: section.item --> behind it to say which (<!-- item: none --> for none)."
            ),
        ),
        (
            "# Else\n- [ ] Fresh <!-- item: search.index_fesh -->\n",
            "own.md:2: The annotation names the unknown item 'search.index_fesh'; did you mean 'search.index_fresh'?",
        ),
        (
            "# Else\n- [ ] Fresh <!-- item: x -->\n",
            "own.md:2: The annotation names the unknown item 'x'.",
        ),
        (
            "# Else\n- [ ] Index is fresh\n- [ ] Index is fresh\n",
            (
                "own.md:3: The line stands for search.index_fresh, which line 2 stands for already: "
                "add <!-- item: section.item --> behind it to say which (<!-- item: none --> for none)."
            ),
        ),
    ],
)
def test_lines_that_could_stand_for_several_items_are_refused(install: Install, text: str, problem: str) -> None:
    with pytest.raises(ChecklistError) as caught:
        own(text, install())
    assert str(caught.value) == problem


def test_a_custom_line_has_the_place_of_its_section(install: Install) -> None:
    catalogue = Catalogue.load(install())
    assert catalogue.place("Search Engine") == ("search", "stores", "Search Engine")
    assert catalogue.place("search") == ("search", "stores", "Search Engine")
    assert catalogue.place("Search") == ("search", "stores", "Search Engine"), "a heading that is the name of a section"
    assert catalogue.place("Mail") == ("mail", "mail", "Mail")


@given(st.text())
def test_a_slug_is_a_name(text: str) -> None:
    assert slug(text).replace("_", "").isalnum()
    assert slug(text).isascii()
    assert slug(text)[0].islower()
    assert len(slug(text)) <= 85


FOREIGN = '''\
"""Search"""

from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.verdict import CRITICAL, Result, ok


class Search(Collector[SectionSettings, NoTarget]):
    """Verifies a search engine."""

    @item("Index is fresh", severity=CRITICAL)
    async def index_fresh(self) -> Result:
        """Stale results mislead."""
        return ok("It is.")
'''

SHOW = """
import sys
from exporter.catalogue import Catalogue
from exporter.checklist import Checklist

bindings = Catalogue.load().bind(Checklist.parse(sys.argv[1], "own.md"))
print(*((b.entry.id, str(b.entry.severity), b.entry.verified_by) for b in bindings))
"""


def distribution(folder: Path, modules: Mapping[str, str], point: str) -> None:
    """Install another distribution into a folder: its modules, and the metadata with an entry point."""
    for name, content in modules.items():
        (folder / f"{name}.py").write_text(content)
    metadata = folder / "search_checks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: search-checks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[checklist_exporter.collectors]\n{point}\n")


@pytest.mark.parametrize("point", ["search = search_checks:Search", "search = search_checks"])
def test_another_package_brings_a_section(tmp_path: Path, point: str) -> None:
    distribution(tmp_path, {"search_checks": FOREIGN}, point)
    done = subprocess.run(
        [sys.executable, "-c", SHOW, "# Search\n- [ ] Index is fresh\n- [ ] other\n"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == (
        "('search_checks.index_fresh', 'critical', 'search_checks.Search.index_fresh') "
        "('search_checks.other', 'warning', None)"
    )


@pytest.mark.parametrize(
    ("content", "point", "problem"),
    [
        (None, "x = {m}", "Entry point 'x' ({m}) cannot be loaded: No module named '{m}'."),
        ("class (:\n", "x = {m}", "Entry point 'x' ({m}) cannot be loaded: invalid syntax ({m}.py, line 1)."),
        ("", "x = {m}:X", "Entry point 'x' ({m}:X) cannot be loaded: module '{m}' has no attribute 'X'."),
        ("", "x = {m}", "Entry point 'x' ({m}) is not a collector, nor a module that defines one."),
        ("X = 1", "x = {m}:X", "Entry point 'x' ({m}:X) is not a collector, nor a module that defines one."),
        (
            FOREIGN.replace('"""Search"""\n', ""),
            "x = {m}:Search",
            "{m} has no docstring, which would be the heading of its section.",
        ),
        (
            FOREIGN.replace("def index_fresh", "def indexFresh"),
            "x = {m}:Search",
            "Item name 'indexFresh' is not snake_case.",
        ),
        (
            FOREIGN.replace("    @item", "    section = classmethod(lambda cls: 'My Search')\n\n    @item"),
            "x = {m}:Search",
            "Section name 'My Search' is not snake_case.",
        ),
        (
            FOREIGN.replace("    @item", "    section = classmethod(lambda cls: 'search')\n\n    @item"),
            "x = {m}:Search",
            "{p}.stores.search.Search and {m}.Search are both section search.",
        ),
        (
            FOREIGN.replace("[SectionSettings, NoTarget]", "[SectionSettings, Target]")
            .replace('    """Verifies a search engine."""', "    Target = Target")
            .replace("Collector, NoTarget, SectionSettings", "Collector, SectionSettings, Target"),
            "x = {m}:Search",
            "{m}.Search has a Target, but its settings have no targets: add targets: tuple[Target, ...].",
        ),
        (
            FOREIGN.replace("async def", "def"),
            "x = {m}:Search",
            "{m}.Search.index_fresh is not a coroutine: write 'async def index_fresh(self) -> Result'.",
        ),
        (
            FOREIGN.partition("    @item")[0],
            "x = {m}:Search",
            "{m}.Search declares no item: decorate a method with @item.",
        ),
    ],
)
def test_a_broken_plugin_stops_nobody_and_is_told(
    install: Install, tmp_path: Path, content: str | None, point: str, problem: str
) -> None:
    package = install()
    module = package.replace("collectors", "foreign")
    distribution(tmp_path, {} if content is None else {module: content}, point.format(m=module))
    catalogue = Catalogue.load(package)
    assert tuple(catalogue.broken.values()) == (problem.format(m=module, p=package),)
    assert list(catalogue.collectors) == ["search"]
    assert catalogue.entries["search.index_fresh"].declared is not None


MANY = FOREIGN.replace("[SectionSettings, NoTarget]", "[Many, NoTarget]").replace(
    'class Search(Collector[Many, NoTarget]):\n    """Verifies a search engine."""',
    "class Many(SectionSettings):\n    targets: tuple[str, ...] = ()\n\n\n"
    "class Search(Collector[Many, NoTarget]):\n    Settings = Many",
)


def test_the_lines_of_a_broken_plugin_are_unknown_and_say_why(install: Install, tmp_path: Path) -> None:
    package = install()
    module = package.replace("collectors", "foreign")
    distribution(tmp_path, {module: MANY}, f"x = {module}")
    catalogue = Catalogue.load(package)
    why = f"{module}.Search has no Target, but its settings have targets: set Target to their class."
    assert catalogue.broken == {module: why}
    own, config = tmp_path / "own.md", tmp_path / "config.yaml"
    own.write_text(
        f"# Search\n- [ ] Index is fresh <!-- item: {module}.index_fresh -->\n- [ ] b <!-- item: {module}.gone -->\n"
    )
    waived = f"waivers: [{{item: {module}.later, reason: a, owner: b, until: 9999-01-01}}]"
    config.write_text(f"checklist: own.md\nsections: {{{module}: {{index: x, team: s}}}}\n{waived}\n")
    loaded = load(config, catalogue=catalogue)
    assert [item.id for item in loaded.plan.items] == [f"{module}.index_fresh", f"{module}.gone"]
    assert {item.unverified for item in loaded.plan.items} == {f"The plug-in that verifies this line is broken: {why}"}
    assert loaded.plan.jobs == ()
    assert [warned.key for warned in loaded.warnings] == [f"sections.{module}"]


@pytest.mark.parametrize(
    ("content", "checklist", "items"),
    [
        (FOREIGN, "# Shop\n- [ ] Orders work\n", ["shop.orders_work", "{m}.index_fresh"]),
        (FOREIGN, "# Search\n- [ ] Index is fresh\n- [ ] Other\n", ["{m}.index_fresh", "{m}.other"]),
        (FOREIGN.replace("async def", "def"), "# Shop\n- [ ] Orders work\n", ["shop.orders_work", "{m}.index_fresh"]),
        ("import nothing_of_this_name", "# Shop\n- [ ] Orders work\n", ["shop.orders_work", "{m}.plugin_loaded"]),
    ],
    ids=["not in the checklist", "in the checklist", "broken", "not loaded"],
)
def test_the_lines_of_a_configured_plugin_are_added_where_the_checklist_has_none_of_them(
    install: Install, tmp_path: Path, content: str, checklist: str, items: list[str]
) -> None:
    package = install()
    module = package.replace("collectors", "foreign")
    distribution(tmp_path, {module: content}, f"x = {module}")
    (tmp_path / "own.md").write_text(checklist)
    (tmp_path / "config.yaml").write_text(f"checklist: own.md\nsections: {{{module}: {{}}}}\n")
    catalogue = Catalogue.load(package)
    loaded = load(tmp_path / "config.yaml", catalogue=catalogue)
    assert [item.id for item in loaded.plan.items] == [item.format(m=module) for item in items]
    verified = [item.id for item in loaded.plan.items if item.unverified is None]
    assert verified == ([] if catalogue.broken else [f"{module}.index_fresh"])
    broken = [item.unverified for item in loaded.plan.items if item.problem]
    assert len(broken) == len(catalogue.broken)
    (tmp_path / "config.yaml").write_text("checklist: own.md\n")
    unasked = load(tmp_path / "config.yaml", catalogue=catalogue).plan.items
    assert len(unasked) == checklist.count("[ ]"), "what is not configured adds nothing"


@pytest.mark.parametrize("raised", ["1 / 0", "raise SystemExit(3)", "raise ExceptionGroup('x', [ValueError()])"])
def test_whatever_a_plugin_raises_is_its_problem_alone(install: Install, tmp_path: Path, raised: str) -> None:
    package = install()
    module = package.replace("collectors", "foreign")
    distribution(tmp_path, {module: f"{raised}\n"}, f"x = {module}")
    assert "cannot be loaded: it raised" in Catalogue.load(package).broken[module]


def test_a_section_of_another_package_is_found(install: Install, tmp_path: Path) -> None:
    package = install()
    module = package.replace("collectors", "foreign")
    distribution(tmp_path, {module: FOREIGN}, f"x = {module}")
    entry = Catalogue.load(package).entries[f"{module}.index_fresh"]
    assert (entry.heading, entry.group, entry.severity) == ("Search", "search", Severity.CRITICAL)
