"""What the answers of Grafana's HTTP API hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

__all__ = [
    "Dashboard",
    "Frames",
    "Health",
    "Opened",
    "Panel",
    "Variable",
    "Variables",
    "from_library",
    "has_data",
    "newest",
    "panels_in",
    "panels_of",
    "queries_of",
    "sources_of",
    "unfilled",
]


class Health(msgspec.Struct, frozen=True):
    """What Grafana says of itself. `database` is `ok` or `failing`."""

    database: str
    version: str = ""


class Dashboard(msgspec.Struct, frozen=True, rename="camel"):
    """One dashboard. `folder_title` is empty for those in no folder."""

    uid: str
    title: str
    type: str = "dash-db"
    folder_title: str = ""


class Panel(msgspec.Struct, frozen=True):
    """One panel and its queries, as the dashboard has them; rows that are folded hold panels.

    `library` names the library panel that has the queries in its place.
    """

    id: int = 0
    title: str = ""
    type: str = ""
    datasource: dict[str, Any] | str | None = None
    targets: list[dict[str, Any]] | None = None
    panels: list[Panel] | None = None
    library: dict[str, Any] | None = msgspec.field(name="libraryPanel", default=None)


class Variable(msgspec.Struct, frozen=True):
    """One variable of a dashboard."""

    name: str = ""


class Variables(msgspec.Struct, frozen=True):
    """The variables of a dashboard."""

    variables: list[Variable] | None = msgspec.field(name="list", default=None)


class Opened(msgspec.Struct, frozen=True):
    """A dashboard as it is kept. `rows` are those of dashboards that were made before Grafana 5."""

    panels: list[Panel] | None = None
    rows: list[Panel] | None = None
    templating: Variables | None = None

    @property
    def parts(self) -> list[Panel]:
        """Its panels, and the rows that have some; a row that is unfolded has none itself."""
        return [
            *(panel for panel in self.panels or () if panel.type != "row" or panel.panels),
            *(row for row in self.rows or () if row.panels),
        ]

    @property
    def undefined(self) -> set[str]:
        """Variables that select data sources, and that the dashboard does not have: those that an import left unfilled."""
        variables = (self.templating.variables if self.templating else None) or ()
        asked = {found[1] for uid in _named_sources(self.parts) if (found := _SELECTED.fullmatch(uid))}
        return asked - {variable.name for variable in variables}


class Frames(msgspec.Struct, frozen=True):
    """What one query returned: frames of columns, or an error."""

    frames: list[dict[str, Any]] | None = None
    error: str = ""
    status: int = 200


def panels_of(panels: list[Panel]) -> Iterator[Panel]:
    """All panels that have queries, those in rows too."""
    for panel in panels:
        yield from panels_of(panel.panels or [])
        if panel.targets:
            yield panel


def panels_in(elements: Mapping[str, Any]) -> list[Panel]:
    """The panels of a dashboard of schema v2, as those of the schema before it; what is no panel is left out.

    Up to v2alpha1 the data source stands beside a query, and its kind is the query's; later it is the query's own.
    """
    panels = []
    for element in elements.values():
        kind, spec = _part(element)
        if kind == "LibraryPanel":
            panels.append(Panel(title=str(spec.get("title", "")), library=_mapping(spec.get("libraryPanel"))))
        elif kind == "Panel":
            queries = _part(spec.get("data"))[1].get("queries")
            targets = [_target(_part(query)[1]) for query in (queries if isinstance(queries, list) else ())]
            number = spec.get("id")
            panels.append(
                Panel(number if isinstance(number, int) else 0, str(spec.get("title", "")), targets=targets or None)
            )
    return panels


def _target(query: Mapping[str, Any]) -> dict[str, Any]:
    kind, asked = _part(query.get("query"))
    own = _mapping(_mapping(query.get("query")).get("datasource"))
    beside = _mapping(query.get("datasource"))
    source = {"uid": own.get("name") or beside.get("uid"), "type": _mapping(query.get("query")).get("group") or kind}
    found = {"refId": query.get("refId", "A"), "hide": query.get("hidden", False), **asked}
    return found | ({"datasource": source} if source["uid"] else {})


def _part(value: object) -> tuple[str, dict[str, Any]]:
    """Kind and content of what has both, as everything in schema v2 has."""
    part = _mapping(value)
    return str(part.get("kind", "")), _mapping(part.get("spec"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def from_library(panels: list[Panel]) -> bool:
    """Whether any panel has its queries elsewhere, in a library panel."""
    return any(
        (panel.library is not None and not panel.targets) or from_library(panel.panels or []) for panel in panels
    )


def sources_of(panels: list[Panel]) -> set[str]:
    """The uids of the data sources that panels name, but for those that Grafana has by itself and those that a variable selects.

    What only names a data source by its title, as dashboards before Grafana 8 do, or leaves it to the default, is left out.
    """
    return {uid for uid in _named_sources(panels) if _UID.fullmatch(uid) and uid not in _BUILT_IN}


def _named_sources(panels: list[Panel]) -> set[str]:
    asked = [
        source
        for panel in panels_of(panels)
        for source in (panel.datasource, *(target.get("datasource") for target in panel.targets or ()))
    ]
    sources = (source for source in asked if isinstance(source, dict) and source.get("type") not in _BUILT_IN)
    return {uid for source in sources if isinstance(uid := source.get("uid"), str)}


_SELECTED = re.compile(r"\$\{?(\w+)\}?")

_UID = re.compile(r"[\w-]{1,64}")  # neither `-- Mixed --` nor `${source}`
_BUILT_IN = ("grafana", "datasource", "__expr__")
_INVENTED = ("grafana", "testdata", "grafana-testdata-datasource", "datasource")
"""Kinds of data sources that make their data up, or take it from another panel."""
#: A variable as `$name`, `${name}`, `${name:format}`, `${name.field}`, `[[name]]`.
_WRITTEN = re.compile(r"\$(\w+)|\$\{(\w+)(?:[.:][^}]*)?\}|\[\[(\w+)(?:[.:][^\]]*)?\]\]")
_VARIABLE = re.compile(r"\$\{?(?!__)([A-Za-z]\w*)|\[\[(\w+)\]\]")


def unfilled(queries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Variables that are left in queries: what those return says nothing."""
    texts = [str(query.get(key, "")) for query in queries for key in ("expr", "query", "rawSql", "datasource")]
    return {left or bracketed for text in texts for left, bracketed in _VARIABLE.findall(text)}


#: What makes a query of PromQL or LogQL return a value where nothing was measured, and queries that measure nothing.
_FALLBACK = re.compile(
    r"\bor\s+(?:on\s*\(\s*\)\s*)?(?:vector\(\s*-?[\d.]+\s*\)|\(\s*vector\(\s*-?[\d.]+\s*\)\s*\))", re.IGNORECASE
)
_ABSENCE = re.compile(r"\babsent(?:_over_time)?\s*\(", re.IGNORECASE)
_CONSTANT = re.compile(r"[\s()]*(?:vector\((?:[\d.\s-]|time\(\))*\)|time\(\)|-?[\d.]+)[\s()]*", re.IGNORECASE)


def queries_of(panel: Panel, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """The panel's queries as the API takes them, with the variables of its dashboard filled in; hidden ones are left out.

    So are those that return a value whatever is measured, or because nothing is: constants, the part of a query that stands in for
    missing data, and absent().
    """
    queries = []
    computed = any(_is_expression(target) for target in panel.targets or () if not target.get("hide"))
    for number, target in enumerate(panel.targets or ()):
        if target.get("hide") and not computed:  # what is computed needs those that are hidden
            continue
        source = target.get("datasource") or panel.datasource
        query = {"refId": chr(65 + number % 26), "intervalMs": 60_000, "maxDataPoints": 100} | target
        if isinstance(source, dict) and source.get("type") in _INVENTED:
            continue
        if isinstance(expression := query.get("expr"), str):
            query["expr"] = measured = _FALLBACK.sub("", expression)
            if _CONSTANT.fullmatch(measured) or _ABSENCE.search(measured):
                continue
        if source is not None:
            query["datasource"] = {"uid": source} if isinstance(source, str) else source
        queries.append(_filled(query, variables))
    return queries


def _is_expression(target: Mapping[str, Any]) -> bool:
    source = target.get("datasource")
    return isinstance(source, dict) and "__expr__" in (source.get("type"), source.get("uid"))


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(entry, variables) for name, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, variables) for entry in value]
    if isinstance(value, str):
        return _WRITTEN.sub(lambda found: variables.get(found[1] or found[2] or found[3], found[0]), value)
    return value


def has_data(frames: Frames) -> bool:
    """Whether any column but the time has a value that is not null."""
    return newest(frames) is not None


def newest(frames: Frames) -> float | None:
    """When the newest value that is not null was measured, in seconds since 1970; infinity where a value is of no series over time.

    None without any value.
    """
    found: float | None = None
    for frame in frames.frames or ():
        schema = frame.get("schema") or {}
        fields = schema.get("fields") or []
        columns = (frame.get("data") or {}).get("values") or []
        named = list(zip((field.get("type") for field in fields), columns, strict=False))
        times = next((column or [] for kind, column in named if kind == "time"), [])
        for kind, column in named:
            present = [] if kind == "time" else [row for row, value in enumerate(column or ()) if value is not None]
            if present:
                moment = times[present[-1]] if _over_time(schema) and len(times) > present[-1] else None
                seconds = moment / 1000 if isinstance(moment, int | float) else math.inf
                found = seconds if found is None else max(found, seconds)
    return found


def _over_time(schema: Mapping[str, Any]) -> bool:
    """Whether the frame says that it is a series; the times in a table may be of anything."""
    return str((schema.get("meta") or {}).get("type", "")).startswith("timeseries")
