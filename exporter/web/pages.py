"""What the pages show: the state, filtered, grouped and counted, in the shape that the templates want."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from exporter.document import item_document
from exporter.observations import Transition
from exporter.options import format_duration
from exporter.plan import Plan
from exporter.verdict import Reason, Severity, Status
from exporter.views import ItemView

__all__ = ["Filter", "Score", "badge", "environment", "index", "item", "launch"]

#: Paragraphs and `code` alone: a metric's name with `_*` in it is no emphasis.
_MARKDOWN = MarkdownIt("zero").enable("backticks")

#: How many regressions the first screen names, and how many lines whose evidence or waiver expires; the others unfold.
REGRESSIONS = 8
ENDINGS = 5
#: How many lines a page shows, and how many a section has at most to be drawn line by line in its heading.
LINES = 500
TAPE = 60

WORDS = {
    Status.OK: "ok",
    Status.WARNING: "warning",
    Status.FAILED: "failed",
    Status.UNKNOWN: "unknown",
    Status.WAIVED: "waived",
    Status.NOT_APPLICABLE: "not applicable",
}
#: One shape for each status, so that colour is never the only sign.
SHAPES = {
    Status.OK: "✓",
    Status.WARNING: "▲",
    Status.FAILED: "✕",
    Status.UNKNOWN: "?",
    Status.WAIVED: "◐",
    Status.NOT_APPLICABLE: "–",
}
_WEIGHT = {severity: weight for weight, severity in enumerate(Severity)}
#: Most pressing first.
ORDER = (Status.FAILED, Status.UNKNOWN, Status.WARNING, Status.WAIVED, Status.OK, Status.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to see; an empty field takes everything."""

    status: frozenset[str] = frozenset()
    severity: frozenset[str] = frozenset()
    team: frozenset[str] = frozenset()
    section: frozenset[str] = frozenset()
    text: str = ""

    @property
    def active(self) -> bool:
        """Whether anything is left out."""
        return self != Filter()

    def takes(self, view: ItemView) -> bool:
        """Whether the reader wants to see this item. The text is looked for in line, sentence, label and heading."""
        planned = view.planned
        chosen = (
            (self.status, view.status.value),
            (self.severity, planned.severity.value),
            (self.team, planned.team),
            (self.section, planned.section),
        )
        if any(wanted and value not in wanted for wanted, value in chosen):
            return False
        text = self.text.casefold()
        return not text or any(
            text in part.casefold() for part in (planned.line, view.summary, planned.id, planned.heading)
        )


@dataclass(frozen=True, slots=True)
class Score:
    """How many lines pass, of those that apply."""

    ok: int
    total: int

    @classmethod
    def of(cls, views: Iterable[ItemView]) -> Score:
        """The score of these items."""
        applicable = [view.status.is_ok for view in views if view.status is not Status.NOT_APPLICABLE]
        return cls(sum(applicable), len(applicable))


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the checklist with its lines. `views` are those that the filter takes, `all` its lines in order.

    `name` is the section of its first line, and `others` are those of the rest that no earlier heading has: places to link to.
    """

    name: str
    others: Sequence[str]
    heading: str
    group: str
    views: Sequence[ItemView]
    all: Sequence[ItemView]
    score: Score = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", Score.of(self.all))

    @property
    def unconfigured(self) -> bool:
        """Whether nothing of it can be verified yet: every line lacks configuration, or something that verifies it."""
        return all(view.reason in (Reason.NOT_CONFIGURED, Reason.NOT_VERIFIED) for view in self.all)

    @property
    def tape(self) -> Sequence[ItemView]:
        """The lines that its heading shows each by its shape; none where there are too many."""
        return self.all if len(self.all) <= TAPE else ()

    @property
    def bar(self) -> list[tuple[Status, int, int]]:
        """The bar that stands for the shapes of too many lines."""
        return [] if self.tape else _bar(Counter(view.status for view in self.all))

    @property
    def calm(self) -> bool:
        """Whether nothing in it wants attention."""
        return all(view.status in (Status.OK, Status.NOT_APPLICABLE) for view in self.all)


@dataclass(frozen=True, slots=True)
class Ending:
    """Evidence or a waiver that has expired or soon does, and whose line that changes."""

    view: ItemView
    what: str
    at: datetime

    @property
    def day(self) -> str:
        """The last day on which it counts, as it is written: a waiver's ends with the day."""
        return str(self.view.waiver.until) if self.what == "waiver" and self.view.waiver else _day(self.at)


def _endings(views: Iterable[ItemView]) -> list[Ending]:
    """All evidence and waivers that count now, the first to expire first."""
    found = []
    for view in views:
        if view.valid_until and view.status not in (Status.WAIVED, Status.NOT_APPLICABLE):
            found.append(Ending(view, "evidence", view.valid_until))
        if view.waiver:
            found.append(Ending(view, "waiver", view.waiver.ends_at))
    return sorted(found, key=lambda ending: ending.at)


def _blocks_launch(view: ItemView) -> bool:
    return view.planned.severity is Severity.CRITICAL and view.status in (Status.FAILED, Status.UNKNOWN)


def _sections(views: Sequence[ItemView], chosen: Filter) -> list[Section]:
    by_heading: dict[str, list[ItemView]] = {}
    for view in views:
        by_heading.setdefault(view.planned.heading, []).append(view)
    linked: set[str] = set()
    sections: list[Section] = []
    for heading, found in by_heading.items():
        names = [name for name in dict.fromkeys(view.planned.section for view in found) if name not in linked]
        linked.update(names)
        taken = [view for view in found if chosen.takes(view)]
        name, *others = names or [f"{found[0].planned.section}-{len(sections)}"]
        sections.append(Section(name, others, heading, found[0].planned.group, taken, found))
    return sections


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of a long list that one page shows: numbers `first` to `last` of `total`, on page `number` of `pages`."""

    first: int
    last: int
    total: int
    number: int
    pages: int


def _paged(sections: Sequence[Section], number: int) -> tuple[list[Section], Part]:
    """The sections with those of their views that stand on this page, the last one where there are fewer pages."""
    total = sum(len(section.views) for section in sections)
    pages = max(1, -(-total // LINES))
    number = min(max(1, number), pages)
    start = (number - 1) * LINES
    shown, before = [], 0
    for section in sections:
        if views := section.views[max(0, start - before) : max(0, start + LINES - before)]:
            shown.append(replace(section, views=views))
        before += len(section.views)
    return shown, Part(start + 1, min(start + LINES, total), total, number, pages)


def index(views: Sequence[ItemView], plan: Plan, chosen: Filter, now: datetime, page: int = 1) -> dict[str, Any]:
    """What the first page shows; `page` counts from 1 where there are more lines than a page has."""
    sections = _sections(views, chosen)
    shown, part = _paged(sections, page)
    counts = Counter(view.status for view in views)
    regressed = [view for view in views if view.last_ok and view.status in (Status.FAILED, Status.UNKNOWN)]
    regressed.sort(key=lambda view: (_WEIGHT[view.planned.severity], -view.since.timestamp()))
    soon = now + plan.evidence_expiring_within
    endings = [ending for ending in _endings(views) if ending.at <= soon]
    return {
        "plan": plan,
        "now": now,
        "filter": chosen,
        "score": Score.of(views),
        "severities": [
            (severity, Score.of(view for view in views if view.planned.severity is severity)) for severity in Severity
        ],
        "counts": [(status, counts[status]) for status in ORDER],
        "bar": _bar(counts),
        "regressed": {"first": regressed[:REGRESSIONS], "more": regressed[REGRESSIONS:]},
        "seen": any(view.status not in (Status.UNKNOWN, Status.NOT_APPLICABLE) for view in views),
        "blocking": sum(map(_blocks_launch, views)),
        "critical": Score.of(view for view in views if view.planned.severity is Severity.CRITICAL),
        "endings": {"first": endings[:ENDINGS], "more": endings[ENDINGS:]},
        "overview": _by_group(sections),
        "groups": _by_group(shown),
        "part": part,
        "teams": sorted({view.planned.team for view in views if view.planned.team}),
    }


def launch(views: Sequence[ItemView], plan: Plan, now: datetime) -> dict[str, Any]:
    """What decides on the launch: the critical lines that block it, those that a waiver accepts, those declared not
    applicable, and what the passing ones rest on until when. Each list shows `LINES` at most.
    """
    critical = [view for view in views if view.planned.severity is Severity.CRITICAL]
    blocking = sorted(filter(_blocks_launch, critical), key=lambda view: (view.status is not Status.FAILED, view.since))
    waived = [view for view in critical if view.status is Status.WAIVED]
    endings = [ending for ending in _endings(critical) if ending.view.status.is_ok or ending.what == "waiver"]
    return {
        "plan": plan,
        "now": now,
        "critical": Score.of(critical),
        "blocking": blocking,
        "teams": Counter(view.planned.team for view in blocking).most_common(),
        "waived": sorted(waived, key=lambda view: view.waiver.ends_at if view.waiver else now),
        "not_applicable": [view for view in critical if view.status is Status.NOT_APPLICABLE],
        "next": next((ending for ending in endings if ending.at > now), None),
        "endings": [ending for ending in endings if ending.what == "evidence"],
        "limit": LINES,
    }


def _by_group(sections: Sequence[Section]) -> list[tuple[str, list[Section]]]:
    found: dict[str, list[Section]] = {}
    for section in sections:
        found.setdefault(section.group, []).append(section)
    return list(found.items())


def _bar(counts: Mapping[Status, int]) -> list[tuple[Status, int, int]]:
    """Status, start and length of each piece of the bar that shows the counts; true lines first."""
    pieces, start = [], 0
    for status in (Status.OK, Status.WARNING, Status.WAIVED, Status.UNKNOWN, Status.FAILED):
        if count := counts[status]:
            pieces.append((status, start, count))
            start += count
    return pieces


def item(view: ItemView, plan: Plan, history: Sequence[Transition], now: datetime) -> dict[str, Any]:
    """What the page of one item shows."""
    declared = view.planned.declared
    return {
        "plan": plan,
        "now": now,
        "view": view,
        "planned": view.planned,
        "measured": sorted({name for target in view.targets for name in target.measurements}),
        "description": _prose(declared.description) if declared else "",
        "needs": declared.needs if declared else (),
        "evidence": item_document(view)["evidence"],
        "history": history,
        "paged": len(plan.items) > LINES,
        "selector": f'checklist_item_ok{{section="{view.planned.section}",item="{view.planned.item}"}}',
    }


def _prose(text: str) -> Markup:
    """A docstring as HTML: its paragraphs, and what stands in backticks as code. HTML in it is text."""
    return Markup(_MARKDOWN.render(inspect.cleandoc(text)))  # noqa: S704  # escaped by markdown-it


def _inline(text: str) -> Markup:
    """The same of one line, without a paragraph."""
    return Markup(_MARKDOWN.renderInline(text))  # noqa: S704  # as above


def badge(views: Sequence[ItemView]) -> dict[str, Any]:
    """What the badge shows: the score, red while a critical line does not pass."""
    score = Score.of(views)
    critical = Score.of(view for view in views if view.planned.severity is Severity.CRITICAL)
    colour = "#1a7f37" if score.ok == score.total else "#9a6700" if critical.ok == critical.total else "#b42318"
    return {"score": score, "text": f"{score.ok}/{score.total}", "colour": colour}


def _age(moment: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: `4 min`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _safe_url(url: object) -> str | None:
    """The address when a browser may be sent there: nothing but http and https."""
    try:
        return str(url) if urlsplit(str(url)).scheme in ("http", "https") else None
    except ValueError:
        return None


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def environment(**shared: Any) -> Environment:
    """The templates. `shared` is what every page knows: `base`, `metrics_path`, `version`."""
    made = Environment(
        loader=PackageLoader("exporter.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        age=_age,
        day=_day,
        duration=format_duration,
        inline=_inline,
        moment=_moment,
        number=_number,
        safe_url=_safe_url,
        title_of=_title,
    )
    made.globals.update(shared, words=WORDS, shapes=SHAPES, Status=Status, Severity=Severity)
    return made
