"""What an expression is without its comparisons; that Prometheus takes the results, the section's tests show."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.systems.prometheus.model.firing import (
    alternatives,
    always_fires,
    bounds_out_of_reach,
    clock_of,
    equals_of,
    late_by,
    low_quantile_of,
    never_true,
    passing_after,
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
        ("up == 0 or up == 1", True),
        ("up == 0 or up > 0", True),
        ("up == 0 or up", True),
        ("up == 0 or vector(1)", True),
        ('up{job="a"} == 0 or up{job="b"} == 1', True),
        ("up == 0 or up{} < 1", False),
        ("up == 0 or absent(up)", False),
        ("a > 5 or a <= 5", True),
        ("a > 5 or a < 6", True),
        ("a > 5 or a < 4", False),
        ("count(up) > 5 or count(up) < 6", True),
        ("a > 5 or b <= 5", False),
        ("a > 5 or recorded", False),
        ("node_filesystem_avail_bytes < 1e18", True),
        ("sum(rate(http_requests_total[5m])) < 1e9", True),
        ("probe_http_status_code <= 199 or probe_http_status_code >= 400", False),
        ("probe_http_status_code <= 399 or probe_http_status_code >= 400", True),
        ("up == up", True),
        ("up == on (job) up", False),
        ("up == 0 and up == up", False),
        ('count(up{job="a"} == 1) > 0', True),
        ('count(up{job="a"} == 1) > 1', False),
        ('count(up{job="a"} == 0) > 0', False),
        ("count(a == 1) > 0", False),
        ("group(pg_up) == 1", True),
        ("count_over_time(up[5m]) > 0", True),
        ("count(up) > 0", True),
        ("count(up) > 3", False),
        ("count(pg_up == 0) / count(pg_up) <= 1", False),
        ("count_over_time(up[5m]) < 3", False),
        ("present_over_time(a[5m]) == 1", False),
        ("(count(up == 0) or vector(0)) >= 0", True),
        ("(count(up == 0) or vector(0)) > 0", False),
        ("sum(up) / count(up) < 50", True),
        ("sum(up) / count(up) < 0.5", False),
        ("sum by (job) (up) / count(up) < 50", False),
        ("node_memory_MemTotal_bytes > node_memory_MemAvailable_bytes", True),
        ("node_filesystem_avail_bytes < node_filesystem_size_bytes", True),
        ("node_filesystem_size_bytes - node_filesystem_avail_bytes >= 0", True),
        ("node_filesystem_avail_bytes < 0.1 * node_filesystem_size_bytes", False),
        ("node_memory_MemTotal_bytes < node_memory_MemAvailable_bytes", False),
        ("sum by (pod) (container_memory_working_set_bytes) > 0", True),
        ("container_memory_working_set_bytes > 1e9", False),
        ("rate(node_cpu_seconds_total[5m]) > 0", True),
        ("redis_connected_clients > 0", True),
        ("histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) > 0", True),
        ("histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) > 0.2", False),
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
        ('rate(http_requests_total{code="500"}[5m]) > 1e9', True),
        ('sum(rate(http_requests_total{code="500"}[5m])) > 1e5', False),
        ('sum(increase(http_requests_total{code="500"}[1m])) > 1e12', True),
        ("rate(node_network_receive_bytes_total[5m]) > 1e9", False),
        ("rate(http_response_size_bytes_sum[5m]) > 1e9", False),
        ("pg_stat_activity_count > 1e9", True),
        ("pg_stat_activity_count > 90", False),
        ("container_memory_working_set_bytes > 1e18", True),
        ("container_memory_working_set_bytes > 2e9", False),
        ("jetstream_consumer_num_pending > 1e15", True),
        ("node_load1 > 1e9", True),
        ("rate(http_errors_total[5m]) > 5 unless on() sum(rate(http_requests_total[5m])) < 10", False),
        ("pg_up < 1 and pg_up > 0.5", True),
        ("pg_up < 1 > 0.5", True),
        ("pg_up == 0.5", True),
        ("pg_up != 0 and pg_up != 1", True),
        ("a < 1 and a > 0.5", False),
        ("avg(pg_up) < 1 and avg(pg_up) > 0.5", False),
        ("changes(a[5m]) > 0 < 1", True),
        ("max_over_time(pg_up[5m]) == 0.5", True),
        ("avg_over_time(pg_up[5m]) == 0.5", False),
        ("pg_up == 0 unless on (job) pg_up == 0", True),
        ("pg_up == 0 unless on (job) pg_up == 1", False),
        ("pg_up == 0 unless on (job) pg_up", True),
        ("pg_up == 0 and on (job) pg_up == 1", False),
        ("histogram_quantile(0, sum by (le) (rate(a_bucket[5m]))) > 1", True),
        ("histogram_quantile(0, rate(a[5m])) > 1", False),
        ('histogram_quantile(0.99, rate(a_bucket{le!="+Inf"}[5m])) > 1', True),
        ('histogram_quantile(0.99, rate(a_bucket{le=~".+"}[5m])) > 1', False),
        ("sum(pg_stat_activity_count) / sum(pg_settings_max_connections) > 90", True),
        ("100 * sum(pg_stat_activity_count) / sum(pg_settings_max_connections) > 90", False),
        ("redis_connected_clients / redis_config_maxclients > 0.9", False),
        ("sum(pg_stat_activity_count) > 90 * sum(pg_settings_max_connections)", True),
        ("sum(pg_stat_activity_count) > 0.9 * sum(pg_settings_max_connections)", False),
        ("container_memory_working_set_bytes / container_spec_memory_limit_bytes > 90", True),
        ("queue_messages / worker_max_size > 90", False),
        ("rate(http_request_duration_seconds_sum[5m]) / rate(http_request_duration_seconds_count[5m]) > 1e5", True),
        ("rate(http_request_duration_ms_sum[5m]) / rate(http_request_duration_ms_count[5m]) > 1e5", False),
        ("rate(batch_duration_seconds_sum[5m]) / rate(batch_duration_seconds_count[5m]) > 1e5", False),
        ('kube_pod_status_ready{condition="true"} == 2', True),
        ('sum(kube_pod_status_ready{condition="true"}) < 2', False),
        ("nats_up > 1", True),
        ("probe_http_status_code > 1000", True),
        ("probe_http_status_code >= 500", False),
        ("scrape_duration_seconds > 1e5", True),
        ("scrape_duration_seconds > 9", False),
        ("stddev(up) > 1", True),
        ("stddev(up) > 0.4", False),
        ("stddev(node_load1) > 4", False),
        ("sgn(deriv(a[1h])) > 1", True),
        ("sgn(deriv(a[1h])) < 0", False),
        ("up % 2 > 1", True),
        ("rate(container_cpu_usage_seconds_total[5m]) > 1e7", True),
        ("sum(rate(container_cpu_usage_seconds_total[5m])) > 90", False),
        ("increase(process_cpu_seconds_total[1d]) > 50000", False),
        ("histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) < 0", True),
        ("time() - timestamp(up) > 600", True),
        ("time() - timestamp(up) > 60", False),
        ("time() - timestamp(up offset 1h) > 600", False),
        ("time() - max_over_time(timestamp(up)[1h:]) > 600", False),
        ("time() - backup_timestamp_seconds > 86400", False),
        ("a > 5 and b > 1 and a < 3", True),
        ("a > 5 and b > 1 and a < 8", False),
        ("a > 5 and on (job) b > 1 and a < 3", True),
        ("a > 5 and b > 1 and on (job) a < 3", False),
        ("a > 5 and b > 1 unless a > 2", True),
        (
            'sum by (job) (rate(node_cpu_seconds_total{mode!="idle"}[5m])) / count by (job) (node_cpu_seconds_total) > 90',
            True,
        ),
        (
            'sum(rate(node_cpu_seconds_total{mode!="idle"}[5m])) / count by (instance) (node_cpu_seconds_total) > 90',
            False,
        ),
        ("rate(c_throttled_periods_total[5m]) / rate(c_periods_total[5m]) > 25", True),
        ("rate(c_throttled_periods_total[5m]) / rate(c_periods_total[5m]) > (25 / 100)", False),
        ("100 * rate(c_throttled_periods_total[5m]) / rate(c_periods_total[5m]) > 25", False),
        ("rate(c_throttled_periods_total[5m]) / increase(c_periods_total[5m]) > 25", False),
        ("sum(rate(grpc_server_handled_total[5m])) / sum(rate(grpc_server_started_total[5m])) > 10", True),
        ("sum(rate(http_errors_total[5m])) / sum(rate(http_requests_total[5m])) > 5", True),
        ("sum(rate(http_errors_total[5m])) / sum(rate(http_requests_total[5m])) > 0.05", False),
        ("sum(rate(http_errors_total[5m])) / sum(rate(rpc_requests_total[5m])) > 5", False),
        ('sum(rate(http_errors_total[5m])) / sum(rate(http_requests_total{path="/"}[5m])) > 5', False),
        ("sum(up) > count(up)", True),
        ("sum(up) < count(up)", False),
        ('max(http_request_duration_seconds{quantile="0.99"}) > 1e5', True),
        ("max(http_server_requests_seconds_max) > 2", False),
        ('kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 2', True),
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
        ("(up offset 1d == 1) unless up == 1", 0),
        ("(a offset 1d > 1) unless b > 1", 24),
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


def test_what_is_always_there_takes_away() -> None:
    assert possible("a > 5 unless on (job) up") == "((a) > bool (5)) unless on (job) (up)"
    assert possible("a > 5 unless on (job) up <= 1") == "((a) > bool (5)) unless on (job) (up <= 1)"
    assert possible("a > 5 unless on (job) up == 0") == "(a) > bool (5)"
    assert possible("a > 5 unless on (job) ALERTS") == "(a) > bool (5)"


@pytest.mark.parametrize(
    ("expr", "minutes"),
    [
        ("up offset 5m unless up", 5),
        ("(up offset 5m == 1) unless on (job, instance) up != 0", 5),
        ("max_over_time(up[1h]) unless up", 60),
        ("group by (job) (present_over_time(up[1d] offset 1h)) unless group by (job) (up)", 1500),
        ("up offset 5m unless up or up offset 1h unless up", 60),
        ("up offset 5m unless up or up == 0", None),
        ("up unless up offset 5m", None),
        ("up offset 5m unless on () up", None),
        ("up offset 5m unless pg_up", None),
        ("count(up offset 5m) unless count(up)", None),
        ("(up offset 5m == 1) unless up == 0", None),
    ],
)
def test_how_long_what_is_gone_is_noticed(expr: str, minutes: int | None) -> None:
    assert passing_after(expr) == (None if minutes is None else timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("expr", "happened"),
    [
        ("node_filesystem_avail_bytes < 100", ["less than 100 B is left"]),
        ("node_filesystem_avail_bytes < 1e9", []),
        ("node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.00001", ["less than 0.001 % is left"]),
        ("100 * node_filesystem_avail_bytes / node_filesystem_size_bytes < 5", []),
        ("predict_linear(node_filesystem_avail_bytes[6h], 3600) < 0", []),
        (
            "rate(http_request_duration_seconds_sum[5m]) / rate(http_request_duration_seconds_count[5m]) > 500",
            ["requests take longer than 8m20s"],
        ),
        ("1000 * histogram_quantile(0.9, rate(http_request_duration_seconds[5m])) > 500", []),
        ('rate(http_request_duration_seconds_count{code="500"}[5m]) > 500', []),
    ],
)
def test_bounds_that_are_met_too_late(expr: str, happened: list[str]) -> None:
    assert list(bounds_out_of_reach(expr)) == happened


def test_quantiles_of_the_fastest() -> None:
    assert low_quantile_of("histogram_quantile(0.1, rate(a_bucket[5m])) > 1") == "0.1"
    assert low_quantile_of('a_seconds{quantile="0.25"} > 1') == "0.25"
    assert low_quantile_of("histogram_quantile(0.5, rate(a_bucket[5m])) > 1 or a < 5") == ""
    assert low_quantile_of("histogram_quantile(0.1, rate(a_bucket[5m])) < 1") == ""
