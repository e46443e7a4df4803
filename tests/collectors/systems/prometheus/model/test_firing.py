"""What an expression is without its comparisons; that Prometheus takes the results, the section's tests show."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.systems.prometheus.model.firing import (
    alternatives,
    always_fires,
    clock_of,
    equals_of,
    late_by,
    never_true,
    possible,
)
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
        ("max_over_time((a > 3)[1h:5m] offset 2m) and b", "((((a) > bool (3)))) and (b)"),
        ("-a < quantile(0.5, b)", "(-(a)) < bool (quantile (0.5, b))"),
    ],
)  # fmt: skip
def test_without_comparisons(expr: str, result: str) -> None:
    assert possible(expr) == result
    parse(result)


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        ('rate(a{code=~"5..", x="}"}[5m] offset 1m)', "last_over_time(a[5m])"),
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
        ('rate(a{code="500"}[5m]) / rate(a[5m]) > 0.05', True),
        ('sum by (code) (rate(a{code="500"}[5m])) / sum by (code) (rate(a[5m])) > 0.05', True),
        ('sum without (pod) (rate(a{code="500"}[5m])) / sum without (pod) (rate(a[5m])) > 0.05', True),
        ('sum by (job) (rate(a{code="500"}[5m])) / sum by (job) (rate(a[5m])) > 0.05', False),
        ('rate(a{code="500"}[5m]) / ignoring (code) rate(b[5m]) > 0.05', False),
        ("sum(rate(a_total[5m])) >= 0", True),
        ("node_memory_MemAvailable_bytes > -1", True),
        ("absent(up) == 1", False),
        ("count(a) >= 1", False),
        ("sum(up == 0) >= 0", False),
        ("ALERTS > 0", False),
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
        ("rate(a_total[5m]) < 0", True),
        ("sum by (job) (up == 0) > 0", True),
        ("sum by (job) (up == bool 0) > 0", False),
        ('5 < sum(rate(a{code="500"}[5m])) / sum(rate(a[5m]))', True),
        ('-(sum(rate(a{code="500"}[5m])) / sum(rate(a[5m]))) < -0.05', False),
        ('sum(rate(a{code="500"}[5m])) / sum(rate(a[5m])) > 1', True),
        ("clamp_max(sum(rate(a_total[5m])), 0.04) > 0.05", True),
        ("clamp_min(a, 3) < 2", True),
        ("clamp(a, 0, 5) > 4", False),
        ("a > 5 and a < 1", True),
        ("a > 5 and a < 10", False),
        ("a > 5 unless a > 1", True),
        ("a > 5 unless a > 10", False),
        ("a > 5 and on (job) a < 1", False),
        ("(a > 0.05) < 0.01", True),
        ("a > 0.05 < 0.1", False),
        ("up == 0 and on () hour() > 23", True),
        ("up == 0 and on () day_of_week() > 5", False),
        ("up == 0 and on () vector(time()) < 0", True),
        ("a > +Inf", True),
        ("a > NaN", True),
        ("a != NaN", False),
        ("up < 0", True),
        ("present_over_time(up[5m]) == 0", True),
        ("1 - avg(rate(node_cpu_seconds_total{mode='idle'}[5m])) > 1", True),
        ("sum(rate(node_cpu_seconds_total{mode!='idle'}[5m])) > 4", False),
        ("(node_filesystem_size_bytes - node_filesystem_avail_bytes) / node_filesystem_size_bytes > 90", True),
        ("a - b > 1e9", False),
        ("a % 10 > 20", False),
        ("abs(a_bytes) % 10 > 20", True),
        ("avg_over_time((up)[1h:1m]) > 1", True),
        ("round(a) > 3", False),
        ("vector(scalar(up)) > 1", True),
        ("stddev(a) < 0", True),
        ("topk(3, up) > 1", True),
        ("a / 0 > 5", False),
        ('sum(rate(a{code="500"}[5m])) > 5 * sum(rate(a[5m]))', True),
        ('sum(rate(a{code="500"}[5m])) > sum(rate(a[5m]))', True),
        ('sum(rate(a{code="500"}[5m])) > 0.05 * sum(rate(a[5m]))', False),
        ("sum(rate(a[5m])) > sum(rate(b[5m])) * 5", False),
        ("count by (job) (up == 0) / count by (job) (up) > 1", True),
        ("count(up == 0) / count(up) > 1", True),
        ("count by (job) (up == 0) / count by (job) (up) > 0.5", False),
        ("count by (job) (up == 0) / count by (pod) (up) > 1", False),
        ("a > a", True),
        ("a > a offset 5m", False),
        ("a > on (job) a", False),
    ],
)
def test_what_no_series_can_make_true(expr: str, never: bool) -> None:
    assert bool(never_true(expr)) is never


def test_no_quantile_is_above_the_highest_bucket() -> None:
    slow = "histogram_quantile(0.99, sum by (le) (rate(a_seconds_bucket[5m])))"
    assert never_true(f"{slow} > 10", {"a_seconds_bucket": 10})
    assert never_true(f"1000 * {slow} > 10000", {"a_seconds_bucket": 10})
    assert not never_true(f"{slow} >= 10", {"a_seconds_bucket": 10})
    assert not never_true(f"{slow} > 10", {"b_seconds_bucket": 10})


@pytest.mark.parametrize(
    ("expr", "hours"),
    [
        ("up == 0", 0),
        ("min_over_time(a[6h]) > 5", 6),
        ("min_over_time(a[6h]) < 5", 0),
        ("max_over_time(up[1h]) == 0", 1),
        ("avg_over_time((a / b)[2h:1m]) > 5", 2),
        ("a offset 3h > 5", 3),
        ("a - a offset 1d > 5", 0),
        ("rate(a[6h]) > 5", 0),
    ],
)
def test_how_late_what_looks_back_comes(expr: str, hours: int) -> None:
    assert late_by(expr) == timedelta(hours=hours)


def test_what_a_rate_is_equal_to() -> None:
    assert equals_of("sum(rate(a_total[5m])) == 1") == "1"
    assert equals_of("rate(a_total[5m]) == 0 or up == 1") == ""
    assert equals_of('sum(rate(a{code="500"}[5m])) / sum(rate(a[5m])) == 1') == ""  # all fail


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        ("up == 0", "(last_over_time(up[1h])) == bool (0)"),
        ('up{job="a"} offset 5m == 0', '(last_over_time(up{job="a"}[1h])) == bool (0)'),
        ("rate(a_total[5m]) > 1", "(last_over_time(a_total[1h])) > bool (1)"),
        ('min_over_time(up{job="a[5m]"}[1d]) == 0', '(min_over_time(up{job="a[5m]"}[1d])) == bool (0)'),
        ('{__name__="up"} == 0', '(last_over_time({__name__="up"}[1h])) == bool (0)'),
    ],
)
def test_series_that_ended(expr: str, result: str) -> None:
    assert possible(expr, within=timedelta(hours=1)) == result
    selections(result)


def test_the_time_of_day_is_no_constant() -> None:
    """What can be true at noon is not asked for at night."""
    assert possible("up == 0 and on () hour() > 8") == "((up) == bool (0)) and on () ((hour()) > bool (8))"


def test_constants_stay() -> None:
    assert possible("up == 0 and on () vector(0) > 1") == "((up) == bool (0)) and on () (vector(0) > 1)"
    assert possible("up == 0 unless on () vector(1)") == "((up) == bool (0)) unless on () (vector(1))"
