"""What ships for Prometheus and Alertmanager. `python -m alerts` makes the PrometheusRule of the Prometheus Operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ALERTMANAGER", "PROMETHEUS_RULE", "RULES", "main", "prometheus_rule", "rules"]

_FOLDER = Path(__file__).parent
RULES = _FOLDER / "checklist.rules.yaml"
PROMETHEUS_RULE = _FOLDER / "prometheusrule.yaml"
ALERTMANAGER = _FOLDER / "alertmanager.yaml"

_HEAD = "# Made of checklist.rules.yaml by `python -m alerts`.\n"


def rules() -> dict[str, Any]:
    """The rule file as it ships."""
    return dict(yaml.safe_load(RULES.read_text(encoding="utf-8")))


def prometheus_rule(found: Mapping[str, Any]) -> str:
    """A rule file in the form that the Prometheus Operator takes, as YAML."""
    name = "checklist-exporter"
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": found,
    }
    return _HEAD + yaml.dump(resource, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people do, and everything in full, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def main() -> None:
    """Write the PrometheusRule."""
    PROMETHEUS_RULE.write_text(prometheus_rule(rules()), encoding="utf-8")
