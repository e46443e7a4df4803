"""What every dashboard has: its frame, its variables, and panels in one style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.queries import STATUSES, select

__all__ = [
    "BLUE",
    "GREEN",
    "ITEM_LINK",
    "ORANGE",
    "PURPLE",
    "RED",
    "RUNBOOK_LINK",
    "SECTION_LINK",
    "YELLOW",
    "Query",
    "bars",
    "columns",
    "curves",
    "frame",
    "number",
    "states",
    "status_texts",
    "statuses",
    "steps",
    "variable",
    "yes_no",
]

SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "checklist-exporter"

GREEN, YELLOW, ORANGE, RED, PURPLE, BLUE, GREY = "green", "yellow", "orange", "red", "purple", "blue", "#8e8e8e"
_COLOURS = dict(zip(STATUSES, (GREY, GREEN, YELLOW, BLUE, PURPLE, RED), strict=True))

Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, table.Panel, bargauge.Panel, statetimeline.Panel)


@dataclass(frozen=True)
class Query:
    """What a panel asks: PromQL, and the name of each answer where there are several."""

    promql: str
    legend: str = ""


def frame(uid: str, title: str, description: str, *variables: builders.QueryVariable) -> builders.Dashboard:
    """A dashboard without panels: not editable, linked with the others, with alerts as annotations."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, "generated"])
        .readonly()
        .time("now-24h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Checklist dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .keep_time(True)
            .include_vars(True)
            .icon("external link")
        )
        .link(
            builders.DashboardLink("The checklist itself")
            .type(models.DashboardLinkType.LINK)
            .url("$url/")
            .target_blank(True)
            .icon("doc")
        )
        .annotation(
            builders.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color(RED)
            .expr('ALERTS{job=~"$job", alertname=~"Checklist.+", alertstate="firing", severity=~"critical|warning"}')
            .title_format("{{alertname}}")
            .text_format("{{section}} {{item}}")
            .tag_keys("severity,section")
            .step("60s")
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_several("job", "label_values(checklist_exporter_build_info, job)"))
        .with_variable(_several("instance", 'label_values(checklist_exporter_build_info{job=~"$job"}, instance)'))
    )
    url = variable("url", "checklist_exporter_web_info", "external_url").hide(models.VariableHide.HIDE_VARIABLE)
    for more in (*variables, url):
        made.with_variable(more)
    return made


def variable(name: str, metric: str, label: str, *matchers: str) -> builders.QueryVariable:
    """A variable with the values of a label."""
    return (
        builders.QueryVariable(name)
        .label(name)
        .datasource(SOURCE)
        .query(f"label_values({select(metric, *matchers)}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _several(name: str, query: str) -> builders.QueryVariable:
    return variable(name, "", name).label(name.capitalize()).query(query).multi(True).include_all(True).all_value(".+")


def _panel(panel: Panel, title: str, description: str, unit: str, size: tuple[int, int]) -> Panel:
    span, height = size
    return panel.title(title).description(description).datasource(SOURCE).unit(unit).span(span).height(height)


def _with(panel: Panel, queries: Sequence[Query], *, now: bool, as_table: bool = False) -> Panel:
    for place, query in enumerate(queries):
        target = prometheus.Dataquery().datasource(SOURCE).expr(query.promql).ref_id(chr(ord("A") + place))
        target = target.instant() if now else target.range()
        if as_table:
            target = target.format(PromQueryFormat.TABLE)
        if query.legend:
            target = target.legend_format(query.legend)
        panel.with_target(target)
    return panel


def steps(*colours: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """The colour from each value on; None begins."""
    found = [models.Threshold(value=value, color=colour) for value, colour in colours]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


@dataclass(frozen=True)
class DataLink:
    """A link of a value. In `url`, `${__data.fields.name}` and `${__field.labels.name}` stand for what is beside it."""

    title: str
    url: str

    def built(self, *, new_tab: bool = True) -> dict[str, object]:
        """As Grafana stores it."""
        return {"title": self.title, "url": self.url, "targetBlank": new_tab}


ITEM_LINK = DataLink("Page of the line", "${url}/items/${__data.fields.section}/${__data.fields.item}")
RUNBOOK_LINK = DataLink("Runbook", "${__value.raw}")
SECTION_LINK = DataLink(
    "The section over time",
    "/d/checklist-section?var-section=${__data.fields.section}&${datasource:queryparam}&${job:queryparam}"
    "&${instance:queryparam}&${__url_time_range}",
)


def number(
    title: str,
    description: str,
    query: str,
    *,
    unit: str = "none",
    thresholds: builders.ThresholdsConfig | None = None,
    texts: Mapping[str, tuple[str, str]] | None = None,
    link: DataLink | None = None,
    size: tuple[int, int] = (4, 4),
) -> stat.Panel:
    """One number of now. `texts` are shown instead of numbers: the text and its colour. `link` is where a click leads."""
    panel = (
        _panel(stat.Panel(), title, description, unit, size)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .thresholds(thresholds or steps((None, "text")))
        .mappings(_mappings(texts or {}))
    )
    if link is not None:
        panel.override_by_regexp(".*", [models.DynamicConfigValue(id_val="links", value=[link.built()])])
    return _with(panel, [Query(query)], now=True)


def curves(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "none",
    stacked: bool = False,
    colours: Mapping[str, str] | None = None,
    size: tuple[int, int] = (12, 8),
    least: float | None = 0,
    most: float | None = None,
) -> timeseries.Panel:
    """Values over time. `colours` are those of named answers."""
    panel = (
        _panel(timeseries.Panel(), title, description, unit, size)
        .fill_opacity(30 if stacked else 5)
        .legend(
            common.VizLegendOptions()
            .display_mode(
                common_models.LegendDisplayMode.TABLE if not stacked else common_models.LegendDisplayMode.LIST
            )
            .placement(common_models.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull"])
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    for name, colour in (colours or {}).items():
        fixed = models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
        panel.override_by_name(name, [fixed])
    return _with(panel, queries, now=False)


def statuses() -> dict[str, str]:
    """The colour of each status."""
    return dict(_COLOURS)


def states(
    title: str,
    description: str,
    query: Query,
    *,
    texts: Mapping[str, tuple[str, str]],
    size: tuple[int, int] = (24, 12),
) -> statetimeline.Panel:
    """What each of several things was when."""
    panel = (
        _panel(statetimeline.Panel(), title, description, "none", size)
        .mappings(_mappings(texts))
        .show_value(common_models.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.85)
        .fill_opacity(80)
        .line_width(0)
        .legend(common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.SINGLE))
    )
    return _with(panel, [query], now=False)


def status_texts() -> dict[str, tuple[str, str]]:
    """What stands for the codes of `queries.status_code`."""
    return {str(code): (name.replace("_", " "), _COLOURS[name]) for code, name in enumerate(STATUSES)}


def yes_no(yes: str = "OK", no: str = "not OK") -> dict[str, tuple[str, str]]:
    """What stands for 1 and 0."""
    return {"1": (yes, GREEN), "0": (no, RED)}


def bars(
    title: str,
    description: str,
    query: Query,
    *,
    thresholds: builders.ThresholdsConfig,
    size: tuple[int, int] = (12, 16),
) -> bargauge.Panel:
    """Shares of now, as bars."""
    panel = (
        _panel(bargauge.Panel(), title, description, "percentunit", size)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .min(0)
        .max(1)
        .thresholds(thresholds)
    )
    panel.override_by_regexp(
        ".*", [models.DynamicConfigValue(id_val="links", value=[_section_of_series().built(new_tab=False)])]
    )
    return _with(panel, [query], now=True)


def _section_of_series() -> DataLink:
    return DataLink(SECTION_LINK.title, SECTION_LINK.url.replace("__data.fields.section", "__field.labels.section"))


def columns(
    title: str,
    description: str,
    query: str | Mapping[str, str],
    *,
    unit: str,
    names: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    texts: Mapping[str, Mapping[str, tuple[str, str]]] | None = None,
    links: Mapping[str, DataLink] | None = None,
    sort: str = "",
    newest_first: bool = False,
    size: tuple[int, int] = (12, 8),
) -> table.Panel:
    """A table of now. `query` is one, or several by the name of their column; the columns are joined by equal labels.

    `names` are the columns in order with their headings; what is not named is not shown. `units`, `texts` and `links` are by
    heading.
    """
    asked = {"Value": query} if isinstance(query, str) else query
    panel = _panel(table.Panel(), title, description, unit, size).cell_height(common_models.TableCellHeight.SM)
    if len(asked) > 1:
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        renamed = {f"Value #{chr(ord('A') + place)}": name for place, name in enumerate(asked)}
    else:
        renamed = {"Value": "Value"}
    headings = {
        next((raw for raw, name in renamed.items() if name == column), column): names[column] for column in names
    }
    organised = {
        "indexByName": {column: place for place, column in enumerate(headings)},
        "renameByName": headings,
        "includeByName": dict.fromkeys(headings, True),
    }
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organised))
    for heading, value in (units or {}).items():
        panel.override_by_name(heading, [models.DynamicConfigValue(id_val="unit", value=value)])
    for heading, found in (texts or {}).items():
        mappings = [_value_map(found)]
        shown = models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})
        panel.override_by_name(heading, [models.DynamicConfigValue(id_val="mappings", value=mappings), shown])
    for heading, target in (links or {}).items():
        new_tab = not target.url.startswith("/d/")
        panel.override_by_name(
            heading, [models.DynamicConfigValue(id_val="links", value=[target.built(new_tab=new_tab)])]
        )
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(newest_first)])
    return _with(panel, [Query(promql) for promql in asked.values()], now=True, as_table=True)


def _value_map(texts: Mapping[str, tuple[str, str]]) -> models.ValueMap:
    found = {
        value: models.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(texts.items())
    }
    return models.ValueMap(options=found)


def _mappings(texts: Mapping[str, tuple[str, str]]) -> list[models.ValueMapping]:
    return [_value_map(texts)] if texts else []
