"""What Prometheus does to alerts before it sends them."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.systems.prometheus.model.sending import Sending, parse_sending
from exporter.verdict import ProbeError


def test_only_what_matters_is_read_of_a_large_configuration() -> None:
    scrapes = "".join(f"- job_name: j{number}\n  odd: [unclosed\n" for number in range(5000))
    text = f"""\
global:
  scrape_interval: 15s
  external_labels:
    cluster: eu
    shard: 1
alerting:
  alert_relabel_configs:
  - regex: replica
    action: labeldrop
scrape_configs:
{scrapes}"""
    sending = parse_sending(text)
    assert sending.external_labels == {"cluster": "eu", "shard": "1"}
    assert sending.labels({"replica": "a", "cluster": "us"}) == {"cluster": "us", "shard": "1"}
    assert parse_sending("scrape_configs: []\n") == Sending()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("global: {a: [}\n", "Prometheus's configuration was not understood"),
        ("alerting:\n  alertmanagers:\n  - alert_relabel_configs:\n    - action: drop\n", "for one Alertmanager apart"),
    ],
)
def test_what_is_not_understood_is_told(text: str, told: str) -> None:
    with pytest.raises(ProbeError, match=told):
        parse_sending(text)


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        ({"action": "labelkeep", "regex": "a|b"}, {"a": "1", "b": "2"}),
        ({"action": "drop", "source_labels": ["a", "b"], "regex": "1;2"}, None),
        (
            {"action": "drop", "source_labels": ["a", "b"], "separator": "-", "regex": "1;2"},
            {"a": "1", "b": "2", "c": "3"},
        ),
        ({"action": "keep", "source_labels": ["a"], "regex": "2"}, None),
        ({"action": "replace", "target_label": "c", "replacement": "x"}, {"a": "1", "b": "2", "c": "x"}),
        ({"source_labels": ["a"], "target_label": "c"}, {"a": "1", "b": "2"}),
        ({"source_labels": ["z"], "target_label": "c", "replacement": "x"}, {"a": "1", "b": "2"}),
        ({"action": "lowercase", "source_labels": ["a"], "target_label": "c"}, {"a": "1", "b": "2"}),
        (
            {"action": "hashmod", "source_labels": ["a"], "target_label": "d", "modulus": 2},
            {"a": "1", "b": "2", "c": "3"},
        ),
    ],
)
def test_relabelling(rule: dict[str, Any], labels: dict[str, str] | None) -> None:
    assert Sending(relabelling=(rule,)).labels({"a": "1", "b": "2", "c": "3"}) == labels


def test_what_only_the_alert_will_have_is_named() -> None:
    sent = Sending(relabelling=({"target_label": "severity", "source_labels": ["team"]},)).sent(
        {"a": "{{ $value }}", "b": "1"}
    )
    assert sent is not None
    assert sent.labels == {"b": "1"}
    assert sent.unknown == {"a", "severity"}
