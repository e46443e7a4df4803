"""The Grafana dashboards and the code that makes them: `python -m dashboards` writes their JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import exporter, readiness, section

__all__ = ["FOLDER", "dashboards", "main"]

FOLDER = Path(__file__).parent


def dashboards() -> dict[str, str]:
    """The JSON of every dashboard, by the name of its file."""
    made = {"readiness": readiness, "section": section, "exporter": exporter}
    return {
        f"{name}.json": json.dumps(module.dashboard().build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, module in made.items()
    }


def main() -> None:
    """Write every dashboard."""
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
