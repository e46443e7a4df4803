"""What an expression is without its comparisons; that Prometheus takes the results, the section's tests show."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.systems.prometheus.model.firing import alternatives, always_fires, clock_of, never_true, possible
from collectors.systems.prometheus.model.promql import parse, selections


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        ("up == 0", "(up) == bool (0)"),
        ("sum by (a) (x{b='c'}) / on (a) group_left (d) y > 1", '((sum by (a) (x{b="c"})) / on (a) group_left (d) (y)) > bool (1)'),
        ("a unless on (x) b > 1", "a"),
        ('absent(up{job="a", x=~"b"})', 'label_replace(vector(1), "job", "a", "", "")'),
        ("absent_over_time(up[5m])", "vector(1)"),
        ("count without (x) (up == 1) < bool 2", "(count without (x) ((up) == bool (1))) < bool (2)"),
        ("max_over_time((a > 3)[1h:5m] offset 2m) and b", "(max_over_time((((a) > bool (3)))[1h:5m] offset 2m)) and (b)"),
        ("-a < quantile(0.5, b)", "(-(a)) < bool (quantile (0.5, b))"),
    ],
)  # fmt: skip
def test_without_comparisons(expr: str, result: str) -> None:
    assert possible(expr) == result
    parse(result)


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        ('rate(a{code=~"5..", x="}"}[5m] offset 1m)', "last_over_time(a[5m] offset 1m)"),
        ('a{job="b", code="c"}', 'a{job="b"}'),
        ('{__name__="a.b", code="c"}', '{__name__="a.b"}'),
        ('{code="c"}', '{code="c"}'),
        ('a{code="c" or code="d"} @ 5', "a @ 5.000"),
    ],
)
def test_without_filters(expr: str, result: str) -> None:
    assert possible(expr, lambda label: label == "job") == result
    parse(result)


def test_alternatives() -> None:
    found = alternatives("(a > 1 or b unless on() c) or (d)")
    assert [expr for expr, _ in found] == ["a > 1", "b unless on () c", "d"]
    assert [[one.metric for one in selected] for _, selected in found] == [["a"], ["b", "c"], ["d"]]


@pytest.mark.parametrize(
    ("expr", "always"),
    [
        ("(up < bool 1)", True),
        ("up == 0 or (up < bool 1)", True),
        ("sum(up < bool 1) > 3", False),
        ("up < 1", False),
        ("node_filesystem_avail_bytes / node_filesystem_size_bytes < 10", True),
        ('node_filesystem_avail_bytes{fstype="ext4"} * 100 / node_filesystem_size_bytes < 10', False),
        ("node_filesystem_avail_bytes / kubelet_volume_stats_capacity_bytes < 10", False),
        ("100 - 100 * kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes <= 100", True),
        ('sum(rate(a{code="500"}[5m])) / sum(rate(a[5m])) >= 0', True),
        ('sum(rate(a{code="500"}[5m])) / sum(rate(a[5m])) > 0', False),
        ("histogram_quantile(99, rate(a_bucket[5m])) > 1", True),
        ("histogram_quantile(0.99, rate(a_bucket[5m])) > 1", False),
    ],
)
def test_what_fires_whatever_is_measured(expr: str, always: bool) -> None:
    assert bool(always_fires(expr)) is always


def test_what_asks_for_the_time_of_day() -> None:
    assert clock_of("up == 0 and on () (hour() > 8 < 18)") == "hour"
    assert clock_of("time() - a_timestamp_seconds > 300") == ""


@pytest.mark.parametrize(
    ("expr", "never"),
    [
        ('sum(rate(a{code=~"5.."}[5m])) / sum(rate(a[5m])) > 5', True),
        ('(sum(rate(a{code=~"5.."}[5m])) / sum(rate(a[5m]))) > 0.05', False),
        ('sum(rate(a{code=~"5.."}[5m])) / sum(rate(a[5m])) * 100 > 5', False),
        ('100 * sum(rate(a{code=~"5.."}[5m])) / sum(rate(a[5m])) > 5', False),
        ('sum(rate(a{code=~"5.."}[5m])) * 100 / sum(rate(a[5m])) > 100', True),
        ('sum(rate(a{code=~"5.."}[5m]) * 100) / sum(rate(a[5m])) > 5', False),
        ('up == 0 and sum(rate(a{code=~"5.."}[5m])) / sum(rate(a[5m])) > 5', True),
        ("up == 0 unless count(up == 1) < 1", False),
        ("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 90", True),
        ("kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes > 90", True),
        ("node_filesystem_avail_bytes / node_filesystem_size_bytes < 10", False),
        ("histogram_quantile(0.99, sum(rate(a_bucket[5m]))) > 1", True),
        ("histogram_quantile(0.99, sum by (job) (rate(a_bucket[5m]))) > 1", True),
        ("histogram_quantile(0.99, sum without (le) (rate(a_bucket[5m]))) > 1", True),
        ("histogram_quantile(0.99, sum by (le, job) (rate(a_bucket[5m]))) > 1", False),
        ("histogram_quantile(0.99, sum without (pod) (rate(a_bucket[5m]))) > 1", False),
        ("histogram_quantile(0.99, sum(rate(a_seconds[5m]))) > 1", False),
        ("sum(rate(a_sum[5m])) / sum(rate(a_count[5m])) > 5", False),
        ('a{b="c"} / a > 5', True),
        ("count(up == 1) < 1", True),
        ("count(up == 1) == 0", True),
        ("count(up == 1) < 2", False),
        ("sum(up) < 1", False),
    ],
)
def test_what_no_series_can_make_true(expr: str, never: bool) -> None:
    assert bool(never_true(expr)) is never


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        ("up == 0", "(last_over_time(up[1h])) == bool (0)"),
        ('up{job="a"} offset 5m == 0', '(last_over_time(up{job="a"}[1h] offset 5m)) == bool (0)'),
        ("rate(a_total[5m]) > 1", "(last_over_time(a_total[1h])) > bool (1)"),
        ('min_over_time(up{job="a[5m]"}[1d]) == 0', '(min_over_time(up{job="a[5m]"}[1d])) == bool (0)'),
        ('{__name__="up"} == 0', '(last_over_time({__name__="up"}[1h])) == bool (0)'),
    ],
)
def test_series_that_ended(expr: str, result: str) -> None:
    assert possible(expr, within=timedelta(hours=1)) == result
    selections(result)


def test_constants_stay() -> None:
    assert possible("up == 0 and on () vector(0) > 1") == "((up) == bool (0)) and on () (vector(0) > 1)"
    assert possible("up == 0 unless on () vector(1)") == "((up) == bool (0)) unless on () (vector(1))"
