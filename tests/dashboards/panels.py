"""The dashboards as they are committed, panel by panel, and what Grafana puts in for their variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from dashboards import FOLDER

Json = dict[str, Any]

NAMES = ("readiness", "section", "exporter")


@cache
def dashboard(name: str) -> Json:
    """A dashboard as it is committed."""
    found: Json = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def panels(name: str) -> Iterator[Json]:
    """Every panel of a dashboard."""
    yield from dashboard(name)["panels"]


def variables(name: str) -> dict[str, Json]:
    """Every variable of a dashboard, by name."""
    return {variable["name"]: variable for variable in dashboard(name)["templating"]["list"]}


def filled(query: str, values: Mapping[str, str]) -> str:
    """A query with the variables' values in their places; fails for a variable without a value."""
    return re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: values[found[1]], query)
