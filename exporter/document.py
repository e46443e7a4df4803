"""The state of a checklist as one JSON document: what `check --format json` prints and `/api/v1/items` answers.

`exporter/schemas/items.schema.json` describes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from pydantic_core import to_jsonable_python

from exporter.maintenance import Period
from exporter.observations import Transition
from exporter.plan import Plan, Waiver
from exporter.verdict import Status
from exporter.views import ItemView

__all__ = ["document", "item_document", "schema", "transition_document"]


def document(views: Iterable[ItemView], plan: Plan, now: datetime) -> dict[str, Any]:
    """All `views`, as of `now`, ready for `json.dumps`. Times are UTC in ISO 8601, measurements in base units."""
    return {
        "environment": plan.environment,
        "release": plan.release,
        "generated_at": _time(now),
        "items": [item_document(view) for view in views],
    }


def item_document(view: ItemView) -> dict[str, Any]:
    """One element of `items`.

    `waiver` is the one that accepts the present status, `maintenance` that which is under way; null where there is none. `causes`
    are the lines because of which it does not pass.
    """
    planned = view.planned
    return {
        "section": planned.section,
        "item": planned.item,
        "line": planned.line,
        "group": planned.group,
        "severity": planned.severity.value,
        "mode": planned.mode.value if planned.mode else None,
        "team": planned.team,
        "status": view.status.value,
        "reason": view.reason.value if view.reason else None,
        "summary": view.summary,
        "targets": [
            {
                "target": target.target,
                "status": target.status.value,
                "reason": target.reason.value if target.reason else None,
                "summary": target.summary,
                "measurements": _finite(target.measurements),
            }
            for target in view.targets
        ]
        + [_excused(target, reason) for target, reason in planned.excused if view.targets],
        "measurements": _finite(view.measurements),
        "since": _time(view.since),
        "last_run": _time(view.last_run),
        "last_ok": _time(view.last_ok),
        "valid_until": _time(view.valid_until),
        "waiver": _waiver(view.waiver),
        "maintenance": _maintenance(view.maintenance),
        "causes": [
            {"section": cause.section, "item": cause.item, "status": cause.status.value} for cause in view.causes
        ],
        "evidence": [to_jsonable_python(record) for record in view.evidence],
    }


def _excused(target: str, reason: str) -> dict[str, Any]:
    """A target that the item does not apply to."""
    return {
        "target": target,
        "status": Status.NOT_APPLICABLE.value,
        "reason": None,
        "summary": reason,
        "measurements": {},
    }


def transition_document(transition: Transition) -> dict[str, Any]:
    """One change of status, as `/api/v1/transitions` lists it. `from` is null when the item had never been verified."""
    return {
        "section": transition.section,
        "item": transition.item,
        "from": transition.from_status.value if transition.from_status else None,
        "to": transition.to_status.value,
        "at": _time(transition.at),
        "why": transition.why,
    }


def schema() -> dict[str, Any]:
    """The JSON Schema of `document`."""
    text = files("exporter").joinpath("schemas", "items.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _finite(measurements: Mapping[str, float]) -> dict[str, float]:
    """JSON has no NaN and no infinity: what could not be measured is left out."""
    return {name: value for name, value in measurements.items() if math.isfinite(value)}


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def _waiver(waiver: Waiver | None) -> dict[str, str] | None:
    if waiver is None:
        return None
    return {"reason": waiver.reason, "owner": waiver.owner, "until": waiver.until.isoformat()}


def _maintenance(period: Period | None) -> dict[str, str | None] | None:
    if period is None:
        return None
    return {"reason": period.maintenance.reason, "owner": period.maintenance.owner, "until": _time(period.end)}
