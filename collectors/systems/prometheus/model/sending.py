"""What Prometheus does to alerts before it sends them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collectors.shared.re2 import anchored
from exporter.positioned_yaml import YamlError, load_yaml
from exporter.verdict import ProbeError, Reason

__all__ = ["Sending", "Sent", "parse_sending"]

_BLOCK = re.compile(r"^([a-z_]+):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known of an alert when it is sent: its labels, and the names of those whose values only it will have."""

    labels: dict[str, str]
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sending:
    """What Prometheus does to alerts before it sends them: labels that it adds, and rules by which it changes labels."""

    external_labels: Mapping[str, str] = field(default_factory=dict)
    relabelling: tuple[Mapping[str, Any], ...] = ()

    def of_series(self, own: Mapping[str, str], series: Mapping[str, str]) -> Sent | None:
        """The same of an alert of which a series gives further labels: those of the rule, and what Prometheus adds, come first.

        Raises ProbeError where it cannot be known whether the alert is sent.
        """
        return self.sent({**series, **own})

    def labels(self, own: Mapping[str, str]) -> dict[str, str] | None:
        """The labels that are known of an alert with these, when it is sent; None when it is dropped.

        A label whose value is not known is left out. Raises ProbeError where it cannot be known whether the alert is sent.
        """
        sent = self.sent(own)
        return None if sent is None else sent.labels

    def sent(self, own: Mapping[str, str]) -> Sent | None:
        """What is known of an alert with these labels when it is sent, of which some may be templates; None when it is dropped.

        Raises ProbeError where it cannot be known whether the alert is sent.
        """
        unknown = {name for name, value in own.items() if "{{" in value}
        known = {**self.external_labels, **{name: value for name, value in own.items() if name not in unknown}}
        for name in unknown & known.keys():
            del known[name]
        for rule in self.relabelling:
            if not _relabel(known, unknown, rule):
                return None
        return Sent(known, frozenset(unknown))


def _relabel(known: dict[str, str], unknown: set[str], rule: Mapping[str, Any]) -> bool:
    """Change the labels as one of alert_relabel_configs does; False when it drops the alert."""
    action = str(rule.get("action", "replace")).lower()
    matches = anchored(str(rule.get("regex", "(.*)")), dot_all=True)
    sources = [str(name) for name in rule.get("source_labels", ())]
    value = (
        str(rule.get("separator", ";")).join(known[name] for name in sources) if known.keys() >= set(sources) else None
    )
    if action in ("labeldrop", "labelkeep"):
        for name in [name for name in known if matches(name) is (action == "labeldrop")]:
            del known[name]
        unknown -= {name for name in unknown if matches(name) is (action == "labeldrop")}
    elif action in ("keep", "drop"):
        if value is None:
            raise ProbeError(
                f"Prometheus may drop alerts by {', '.join(sources)} (alert_relabel_configs), whose values are not known.",
                Reason.NOT_CONFIGURED,
            )
        return matches(value) is (action == "keep")
    elif action in ("replace", "lowercase", "uppercase", "hashmod"):
        target, replacement = str(rule.get("target_label", "")), str(rule.get("replacement", "$1"))
        if action == "replace" and value is not None and not matches(value):
            return True
        if action == "replace" and value is not None and "$" not in replacement:
            known[target] = replacement
            unknown.discard(target)
        else:
            known.pop(target, None)
            unknown.add(target)
    else:
        raise ProbeError(
            f"Prometheus changes the labels of alerts by {action} (alert_relabel_configs), which is not followed."
        )
    return True


@functools.lru_cache(maxsize=8)
def parse_sending(configuration: str) -> Sending:
    """Read it off Prometheus's configuration as its API shows it. Raises ProbeError when that is not understood."""
    # The configuration as a whole may be megabytes of scrape_configs: only the two blocks that matter are read.
    blocks = dict(zip(*[iter(_BLOCK.split(configuration)[1:])] * 2, strict=True))
    try:
        document = load_yaml(
            "".join(f"{name}:{blocks[name]}" for name in ("global", "alerting") if name in blocks), "configuration"
        ).plain()
    except YamlError as error:
        raise ProbeError(f"Prometheus's configuration was not understood: {error}.", Reason.MALFORMED) from None
    document = document if isinstance(document, dict) else {}
    common, alerting = (document.get(name) or {} for name in ("global", "alerting"))
    if any(manager.get("alert_relabel_configs") for manager in alerting.get("alertmanagers") or ()):
        raise ProbeError("Prometheus changes the labels of alerts for one Alertmanager apart, which is not followed.")
    external = {name: str(value) for name, value in (common.get("external_labels") or {}).items()}
    return Sending(external, tuple(alerting.get("alert_relabel_configs") or ()))
