"""Which alerts are recognised, by what they select."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from collectors.systems.prometheus.judge.rules import (
    KINDS,
    compared_totals,
    doubts,
    evaluation_problems,
    filtered_labels,
    unmatched,
    watched,
)
from collectors.systems.prometheus.model.answers import Rule, RuleGroup
from collectors.systems.prometheus.model.rules import Evaluated, evaluated, needed_series, series_queries
from exporter.verdict import Status

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def alerting(expr: str, name: str = "A", severity: str = "critical", **more: object) -> Rule:
    return Rule("alerting", name, expr, labels={"severity": severity}, **more)  # type: ignore[arg-type]


def read(*rules: Rule) -> list[Evaluated]:
    found, missing = evaluated([RuleGroup("g", "f", list(rules), 15)], "severity", ["critical"])
    assert not missing
    return found


@pytest.mark.parametrize(
    ("expr", "kinds"),
    [
        ("up == 0", ["service_down_alert"]),
        ("up", []),
        ('absent(up{job="a"})', ["service_down_alert"]),
        ("shop_orders_late > 5 and on() up == 1", []),
        ("shop_orders_late > 5 and on() (0 < sum(up))", []),
        ("shop_orders_late > 5 and on() count(up) >= 1", []),
        ("shop_orders_late > 5 and on() max_over_time(up[5m]) != 0", []),
        ("sum by (job) (up) < 2", ["service_down_alert"]),
        ("1 > (up)", ["service_down_alert"]),
        ("up != 1", ["service_down_alert"]),
        ("count(up == 1) < 2", ["service_down_alert"]),
        ("count(up == 0) > 1", ["service_down_alert"]),
        ("1 - avg(up) > 0.1", ["service_down_alert"]),
        ("avg_over_time(up[5m]) < 0.9", ["service_down_alert"]),
        ("changes(up[1h]) > 5", []),
        ("min_over_time(up[10m:1m] offset 5m) == 0", ["service_down_alert"]),
        ('absent(up{job="a"} == 1)', ["service_down_alert"]),
        ("absent(up)", []),
        ("absent(probe_success)", ["service_down_alert"]),
        ("(up offset 5m == 1) unless up == 1", ["service_down_alert"]),
        ("(up offset 5m == 1) unless up == 0", []),
        ("up offset 5m unless on () up", []),
        ("scrape_samples_scraped == 0", ["service_down_alert"]),
        ("scrape_samples_post_metric_relabeling < 1", ["service_down_alert"]),
        ("scrape_samples_scraped > 10000", []),
        ("scrape_samples_post_metric_relabeling / scrape_samples_scraped < 0.5", []),
        ("absent(scrape_samples_scraped)", []),
        ("probe_success < 1", ["service_down_alert"]),
        ('sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) > 0.01', ["high_error_rate_alert"]),
        ('rate(http_server_requests_seconds_count{outcome="SERVER_ERROR"}[5m]) > 1', ["high_error_rate_alert"]),
        ('rate(app_requests_total{status="5xx"}[5m]) > 1', ["high_error_rate_alert"]),
        ('rate(grpc_server_handled_total{grpc_code=~"Unavailable|Internal"}[5m]) > 1', ["high_error_rate_alert"]),
        ("rate(http_request_errors_total[5m]) > 1", ["high_error_rate_alert"]),
        ('rate(http_requests_total{code!="200"}[5m]) > 1', ["high_error_rate_alert"]),
        ('rate(http_requests_total{code="200"}[5m]) < 1', []),
        ('rate(http_requests_total{path="/error"}[5m]) > 1', []),
        ("rate(prometheus_notifications_errors_total[5m]) > 0", []),
        ('rate(prometheus_http_requests_total{code=~"5.."}[5m]) > 1', []),
        ("histogram_quantile(0.99, sum by (le) (rate(shop_basket_seconds_bucket[5m]))) > 1", ["high_latency_alert"]),
        ("histogram_quantile(0.99, rate(http_server_request_duration_seconds[5m])) > 1", ["high_latency_alert"]),
        ("rate(http_request_duration_seconds_sum[5m]) / rate(http_request_duration_seconds_count[5m]) > 1", ["high_latency_alert"]),
        ("histogram_quantile(0.9, rate(prometheus_tsdb_compaction_duration_seconds_bucket[5m])) > 1", []),
        ("scrape_duration_seconds > 5", []),
        # The error alert of most people selects the count of a histogram of durations.
        ('rate(http_request_duration_seconds_count{code=~"5.."}[5m]) > 1', ["high_error_rate_alert"]),
        ('sum(rate(took_seconds_count{code=~"5.."}[5m])) / sum(rate(took_seconds_count[5m])) > 0.01', ["high_error_rate_alert"]),
        ('kube_node_status_condition{condition="Ready", status="true"} == 0', []),
        ('kube_job_status_failed{reason="Error"} > 0', []),
        ("histogram_quantile(0.9, rate(upload_size_bytes_bucket[5m])) > 1e6", []),
        ("histogram_quantile(0.9, rate(apiserver_request_duration_seconds_bucket[5m])) > 1", []),
        ("probe_ssl_earliest_cert_expiry - time() < 86400", []),
        ("backup_duration_seconds > 3600", []),
        ("http_request_duration_seconds_sum > 100", []),
        ("rate(http_request_duration_seconds_count[5m]) < 1", []),
        ("histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))", []),
        ("histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) < 0.001", []),
        ('sum(rate(took_seconds_bucket{le="0.5"}[5m])) / sum(rate(took_seconds_count[5m])) < 0.95', ["high_latency_alert"]),
        ('1 - sum(rate(took_seconds_bucket{le="0.5"}[5m])) / sum(rate(took_seconds_count[5m])) > 0.05', ["high_latency_alert"]),
        ('histogram_quantile(0.99, rate({"http.server.request.duration"}[5m])) > 1', ["high_latency_alert"]),
        ("http_server_requests_seconds_sum / http_server_requests_seconds_count > 1", ["high_latency_alert"]),
        ("rate(http_server_requests_seconds_sum[5m]) / rate(http_server_requests_seconds_count[5m]) > 1", ["high_latency_alert"]),
        ('http_request_duration_seconds{quantile="0.99"} > 1', ["high_latency_alert"]),
        ("aws_applicationelb_target_response_time_average > 1", ["high_latency_alert"]),
        ('rate(grpc_server_handled_total{grpc_code!="OK"}[5m]) > 1', ["high_error_rate_alert"]),
        ('1 - sum(rate(requests_total{code!~"5.."}[5m])) / sum(rate(requests_total[5m])) > 0.01', ["high_error_rate_alert"]),
        ('sum(rate(http_requests_total{code=~"2.."}[5m])) / sum(rate(http_requests_total[5m])) < 0.99', ["high_error_rate_alert"]),
        ('sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) < 0.01', []),
        ('rate(app_requests_total{status_class="5xx"}[5m]) > 1', ["high_error_rate_alert"]),
        ('rate(http_server_request_duration_seconds_count{error_type!=""}[5m]) > 1', ["high_error_rate_alert"]),
        ('rate(http_server_requests_seconds_count{exception!="None"}[5m]) > 1', ["high_error_rate_alert"]),
        ("aws_applicationelb_httpcode_target_5_xx_count_sum > 10", ["high_error_rate_alert"]),
        ('rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class="5"}[5m]) > 1', ["high_error_rate_alert"]),
        ("go_sql_open_connections / go_sql_max_open_connections > 0.9", ["database_connection_alert"]),
        ("sum by (pod) (cnpg_backends_total) > 80", ["database_connection_alert"]),
        ("cnpg_collector_up == 0", ["database_connection_alert"]),
        ("aws_rds_database_connections_average > 90", ["database_connection_alert"]),
        ("pg_settings_max_connections < 100", []),
        ('coredns_cache_errors_total > 1', []),
        ("container_fs_usage_bytes / container_fs_limit_bytes > 0.9", ["disk_space_alert"]),
        ("aws_rds_free_storage_space_average < 1e9", ["disk_space_alert"]),
        ('(node_filesystem_size_bytes - node_filesystem_avail_bytes) / node_filesystem_size_bytes > 0.9', ["disk_space_alert"]),
        ("predict_linear(node_filesystem_avail_bytes[6h], 4 * 3600) < 0", ["disk_space_alert"]),
        ("node_filesystem_avail_bytes > 1e9", []),
        ("node_filesystem_files_free / node_filesystem_files < 0.03", []),
        ("node_filesystem_readonly == 1", []),
        ('kube_node_status_condition{condition="DiskPressure", status="true"} == 1', ["disk_space_alert"]),
        ("increase(node_vmstat_oom_kill[5m]) > 0", ["memory_usage_alert"]),
        ('kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1', ["memory_usage_alert"]),
        ("aws_rds_freeable_memory_average < 1e8", ["memory_usage_alert"]),
        ("node_memory_MemTotal_bytes < 1e9", []),
        ("(node_memory_MemTotal_bytes - node_memory_MemFree_bytes) / node_memory_MemTotal_bytes > 0.9", ["memory_usage_alert"]),
        ('rate(node_cpu_seconds_total{mode="idle"}[5m]) > 0.9', []),
        ("aws_rds_cpuutilization_average > 90", ["cpu_usage_alert"]),
        ("workqueue_depth > 100", []),
        ('sum(rate(traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR"}[5m])) > 1', ["high_error_rate_alert"]),
        ("max(http_server_requests_seconds_max) > 2", ["high_latency_alert"]),
        ('rate(http_requests_total{code=~"4.."}[5m]) > 1', []),
        ("time() - http_last_request_timestamp_seconds > 600", []),
        # Of public rule sets.
        ("increase(cassandra_client_request_failures_total[1m]) > 5", []),
        ('increase(azurerm_stats_metric_requests{result="error"}[15m]) > 5', []),
        ('changes(mgob_scheduler_backup_total{status="500"}[1h]) > 0', []),
        ("cloudwatch_exporter_scrape_duration_seconds > 300", []),
        ("ceph_osd_apply_latency_ms > 5000", []),
        ("max(sidekiq_queue_latency_seconds) > 60", ["queue_depth_alert"]),
        ('sum by (datname) (pg_stat_activity_count{datname!~"template.*"}) < 5', []),
        ("redis_connected_clients_connections < 5", []),
        ("rabbitmq_queue_consumers == 0", []),
        ("1 - (node_memory_SwapFree_bytes / node_memory_SwapTotal_bytes) > 0.8", []),
        ("process_memory_map_areas / process_memory_map_areas_limit > 0.8", []),
        ('avg without (cpu) (rate(node_cpu_seconds_total{mode="iowait"}[5m])) > 0.1', []),
        ("aws_sqs_approximate_number_of_messages_visible_average > 100", ["queue_depth_alert"]),
        ("jetstream_consumer_num_pending < 1", []),
        ("pg_up == 0", ["database_connection_alert"]),
        ("absent(pg_up)", []),
        ("absent(pg_up == 1)", ["database_connection_alert"]),
        ("shop_orders_late > 5 and on() pg_up == 1 and on() redis_up > 0", []),
        ("sum(pg_stat_activity_count) / sum(pg_settings_max_connections) > 0.9", ["database_connection_alert"]),
        ("mysql_global_status_threads_connected > 100", ["database_connection_alert"]),
        ("hikaricp_connections_pending > 0", ["database_connection_alert", "queue_depth_alert"]),
        ("pg_replication_lag > 60", []),
        ("redis_up == 0", ["cache_connection_alert"]),
        ("increase(redis_rejected_connections_total[5m]) > 0", ["cache_connection_alert"]),
        ("redis_connected_slaves < 1", []),
        ("redis_memory_used_bytes > 1e9", []),
        ("jetstream_consumer_num_pending > 1000", ["queue_depth_alert"]),
        ("rabbitmq_queue_messages_ready > 1000", ["queue_depth_alert"]),
        ("sum by (consumergroup) (kafka_consumergroup_lag) > 1000", ["queue_depth_alert"]),
        ("prometheus_notifications_queue_length > 10", []),
        ("node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1", ["disk_space_alert"]),
        ("kubelet_volume_stats_available_bytes < 1e9", ["disk_space_alert"]),
        ("node_memory_MemAvailable_bytes < 1e9", ["memory_usage_alert"]),
        ("container_memory_working_set_bytes > 1e9", ["memory_usage_alert"]),
        ("rate(container_cpu_cfs_throttled_periods_total[5m]) > 1", ["cpu_usage_alert"]),
        ('1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m])) > 0.9', ["cpu_usage_alert"]),
        ("node_load5 > 8", ["cpu_usage_alert"]),
        ('vector(1) and on() label_replace(x, "redis_up", "cpu_seconds", "", "")', []),
        ("shop_orders_late > 5 unless on() (pg_up == 0 or redis_up == 0)", []),
        ("vector(1) unless on() redis_up == 1", ["cache_connection_alert"]),
        ("redis_up == 0 unless on() maintenance_mode == 1", ["cache_connection_alert"]),
    ],
)  # fmt: skip
def test_kinds(expr: str, kinds: list[str]) -> None:
    (rule,) = read(alerting(expr))
    assert [name for name, kind in KINDS.items() if watched(kind, rule, None)] == kinds


def test_a_recorded_name_says_nothing_of_what_is_recorded() -> None:
    recorded = Rule("recording", "job:http_request_duration_seconds:p99", "count(kube_pod_info)")
    (rule,) = read(recorded, alerting("job:http_request_duration_seconds:p99 > 1"))
    assert not watched(KINDS["high_latency_alert"], rule, None)


@pytest.mark.parametrize(
    ("jobs_of", "jobs", "seen"),
    [
        ({"http_requests_total": {"api", "prometheus"}}, ["api", "web"], {("failed requests", "api")}),
        ({"http_requests_total": {"monitoring/thanos-query"}}, [], set()),
        ({"http_requests_total": {"monitoring/thanos-query"}}, ["api"], set()),
        ({"http_requests_total": {"shop"}}, [], {("failed requests", "")}),
    ],
)
def test_whose_requests_they_are(jobs_of: dict[str, set[str]], jobs: list[str], seen: set[tuple[str, str]]) -> None:
    (rule,) = read(alerting('rate(http_requests_total{code=~"5.."}[5m]) > 1'))
    assert watched(KINDS["high_error_rate_alert"], rule, None, jobs, jobs_of=jobs_of) == seen


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            Rule("alerting", "A", "up == 0", labels={"v": "{{ $value }}"}, duration=300),
            "its label v has the value in it, so with each change of the value another alert begins to wait for 5m.",
        ),
        (Rule("alerting", "A", "up == 0", labels={"v": "{{ $value }}"}), ""),
        (Rule("alerting", "A", "up == 0", duration=7 * 86400), "waits 7d before it fires (limit 6h)."),
        (Rule("alerting", "A", "up < bool 1"), "its comparison has the modifier bool, which filters nothing."),
        (Rule("alerting", "A", "sum(up == bool 1) < 3"), ""),
        (
            Rule("alerting", "A", "up offset 5m unless up", duration=300),
            "can never fire: what was there 5m ago and is gone is so for no longer than that, and the rule waits 5m.",
        ),
        (Rule("alerting", "A", "up offset 5m unless up", duration=120), ""),
        (Rule("alerting", "A", "up == 0 or up == 1"), "its part up == 1 is true of what is up."),
        (
            Rule("alerting", "A", "histogram_quantile(0.1, rate(a_seconds_bucket[5m])) > 1"),
            "asks for the quantile 0.1, which is that of the fastest: slow ones do not change it.",
        ),
    ],
)
def test_rules_whose_alerts_are_never_sent_or_always(rule: Rule, told: str) -> None:
    rule = msgspec.structs.replace(rule, health="ok", last_evaluation=NOW)
    (one,), _ = evaluated([RuleGroup("g", "f", [rule], 15)], "severity")
    problems = [problem.summary for problem in evaluation_problems(one, NOW, timedelta(hours=6))]
    assert bool(problems) is bool(told)
    assert told in " ".join(problems)


@pytest.mark.parametrize(
    ("expr", "totals"),
    [
        ("http_errors_total > 100", ["http_errors_total"]),
        ("sum(http_errors_total) / sum(http_requests) > 0.1", ["http_errors_total"]),
        ("http_errors_total - http_errors_total offset 5m > 5", []),
        ("increase(http_errors_total[5m]) > 5", []),
        ("node_load1 / count(node_cpu_seconds_total) > 2", []),
        ("job:http_errors:rate > 5", []),
        ("absent(http_errors_total)", []),
    ],
)
def test_counters_that_are_compared_as_they_are(expr: str, totals: list[str]) -> None:
    recording = Rule("recording", "job:http_errors:rate", "sum by (job) (rate(http_errors_total[5m]))", health="ok")
    (one,), _ = evaluated([RuleGroup("g", "f", [recording, Rule("alerting", "A", expr)], 15)], "severity")
    assert compared_totals(one) == totals
    assert [doubt.status for doubt in doubts(one, totals)] == [Status.WARNING] * len(totals)


def test_a_rule_that_asks_for_the_time_of_day() -> None:
    rule = Rule("alerting", "A", "rate(http_errors_total[5m]) > 5 and on () hour() > 8")
    (one,), _ = evaluated([RuleGroup("g", "f", [rule], 15)], "severity")
    (doubt,) = doubts(one)
    assert doubt.summary == "Alerting rule A can fire at some times only, as its expression asks for hour()."


def test_recording_rules_are_followed_and_do_not_turn_in_circles() -> None:
    rules = [
        Rule("recording", "a:cpu", "b:cpu * 2"),
        Rule("recording", "b:cpu", "sum(rate(node_cpu_seconds_total[5m])) + 0 * a:cpu"),
        alerting("a:cpu > 1"),
    ]
    (rule,) = read(*rules)
    assert {selection.metric for selection in rule.underlying} == {"a:cpu", "b:cpu", "node_cpu_seconds_total"}
    assert set(map(str, needed_series(rule, ()))) == {"a:cpu"}


def test_what_is_asked_of_a_recording_rule_is_asked_of_what_it_selects() -> None:
    recorded = [
        Rule("recording", "job:up:avg", "avg by (job) (up)"),
        Rule("recording", "job:requests:rate5m", "sum by (job, code) (rate(requests_total[5m]))"),
    ]
    down = KINDS["service_down_alert"]
    (rule,) = read(*recorded, alerting('job:up:avg{job="api"} < 0.5'))
    assert watched(down, rule, None, ["api", "web"]) == {("up is 0", "api")}
    (rule,) = read(*recorded, alerting('absent(job:up:avg{job="api"})'))
    assert watched(down, rule, None) == {("up is absent", "")}
    (rule,) = read(*recorded, alerting('job:requests:rate5m{code=~"5.."} > 1'))
    assert watched(KINDS["high_error_rate_alert"], rule, None)
    (rule,) = read(*recorded, alerting("shop_orders_late > 1 unless on() job:up:avg == 0"))
    assert not watched(down, rule, None)


@pytest.mark.parametrize(
    ("expr", "jobs"),
    [
        ("absent(up)", []),
        ('absent(up{job=~".+"})', []),
        ('absent(up{job!="a"})', []),
        ('absent(up{job=~"a|b"})', []),
        ('absent(up{job=~"a"} == 1)', ["a"]),
        ('absent(up{job="a"}) or absent(up{job="b"})', ["a", "b"]),
        ("absent(probe_success)", []),
        ('absent_over_time(up{job="c"}[5m])', []),
        ('vector(1) unless on() up{job="b"}', ["b"]),
        ("up offset 5m unless up", ["a", "b"]),
        ('(up{job="b"} offset 5m == 1) unless up{job="b"} == 1', ["b"]),
        ("count by (job) (up offset 5m) unless count by (job) (up)", ["a", "b"]),
        ("count(up offset 5m) unless count(up)", []),
    ],
)
def test_jobs_of_which_it_is_noticed_that_they_are_absent(expr: str, jobs: list[str]) -> None:
    (rule,) = read(alerting(expr))
    seen = watched(KINDS["service_down_alert"], rule, None, ["a", "b"])
    assert sorted(job for part, job in seen if part == "up is absent") == jobs


def test_other_severities_are_left_out_and_what_is_not_understood_is_told() -> None:
    groups = [RuleGroup("g", "f", [alerting("up == 0", severity="warning"), alerting("up smoothed", "New")], 15)]
    found, missing = evaluated(groups, "severity", ["critical"])
    assert found == []
    assert str(missing[0]).startswith("Alerting rule New was not judged. The expression up smoothed was not")


@pytest.mark.parametrize(
    ("rule", "status", "told"),
    [
        (alerting("up", health="ok", last_evaluation=NOW - timedelta(seconds=15)), None, ""),
        (alerting("up", health="err", last_error="no\nmatch."), Status.FAILED, "cannot be evaluated: no match."),
        (alerting("up", health="unknown"), Status.UNKNOWN, "was not evaluated yet (its health is unknown)."),
        (alerting("up", health="ok"), Status.UNKNOWN, "was not evaluated yet"),
        (
            alerting("up", health="ok", last_evaluation=NOW - timedelta(minutes=10)),
            Status.FAILED,
            "was last evaluated 600 s ago (its group shall be every 15 s).",
        ),
    ],
)  # fmt: skip
def test_rules_that_are_not_evaluated(rule: Rule, status: Status | None, told: str) -> None:
    problem = next(evaluation_problems(read(rule)[0], NOW, timedelta(hours=6)), None)
    assert (problem and problem.status) is status
    assert told in (problem.summary if problem else "")


def test_what_a_rule_needs() -> None:
    (rule,) = read(alerting('a > 0 and on() absent(b) and c unless ALERTS or {__name__=~"d.*", x="y"} or {x="\\"y"}'))
    assert set(map(str, needed_series(rule, ["c"]))) == {"a", '{__name__=~"d.*"}', '{x="\\"y"}'}


@pytest.mark.parametrize(
    ("expr", "series"),
    [
        ('up{job="api", instance="a"} == 0', ['up{job="api"}']),
        ('up{job=~"a|b", job!="b"} == 0 or up{job="c"} == 0', ['up{job=~"a|b", job!="b"}', 'up{job="c"}']),
        ('{__name__=~"d.*", job="e", x="y"}', ['{__name__=~"d.*", job="e"}']),
        ("a unless b", ["a"]),
        ("a unless on() (b or c) or d", ["a", "d"]),
        ("vector(1) unless on() a", []),
        ("(sum(rate(a[5m])) or vector(0)) / sum(rate(b[5m] offset 5m))", ["a", "b"]),
        ("max_over_time((a - b)[1h:5m] @ end())", ["a", "b"]),
    ],
)
def test_series_that_a_rule_needs(expr: str, series: list[str]) -> None:
    (rule,) = read(alerting(expr))
    assert sorted(map(str, needed_series(rule, ()))) == sorted(series)
    assert needed_series(rule, series) == set()


def test_series_are_asked_for_in_parts() -> None:
    assert list(series_queries(["b", "a"])) == ['group by (__name__, job) ({__name__=~"a|b"})']
    assert list(series_queries(["a.b"])) == ['group by (__name__, job) ({__name__=~"a\\\\x{2e}b"})']
    many = list(series_queries(f"metric_{number:04}" for number in range(1000)))
    assert len(many) == 3
    assert all(len(query) < 6000 for query in many)
    assert list(series_queries([])) == []


@pytest.mark.parametrize(
    ("conditions", "values", "told"),
    [
        ('code=~"5.."', {"code": ["200"]}, ""),  # it comes with the first error
        (
            'code="5xx"',
            {"code": ["200", "404"]},
            "a has values such as 200 in the label code, of which code=5xx selects none",
        ),
        ('code=~"5[0-9]."', {"code": ["2xx"]}, "a has values such as 2xx in the label code"),
        ('code="5xx"', {"code": ["2xx"]}, ""),
        ('code=~"^5"', {"code": ["200"]}, "a has values such as 200 in the label code"),
        ('code="ERROR"', {"code": ["OK"]}, ""),
        ('mountpoint="/data"', {"mountpoint": [""]}, "no series of a has the label mountpoint"),
        ('mountpoint="/data"', {"mountpoint": ["/"]}, "no series of a has mountpoint=/data"),
        ('mountpoint!="/data"', {"mountpoint": ["/data"]}, ""),
        ('error_type="timeout"', {"error_type": [""]}, ""),  # set only where there is one
        ('path="/never"', {"path": ["/"]}, ""),
        ('path="/never"', {}, ""),
        ('path!=""', {"path": [""]}, "no series of a has the label path"),
        ('path=~".*"', {"path": [""]}, ""),
    ],
)
def test_filters_that_nothing_meets(conditions: str, values: dict[str, list[str]], told: str) -> None:
    (rule,) = read(alerting(f"rate(a{{{conditions}}}[5m]) > 1"))
    (selection,) = rule.selected
    labels = {("a", label): found for label, found in values.items()}
    assert unmatched(selection, labels).startswith(told)
    assert bool(unmatched(selection, labels)) is bool(told)


def test_which_labels_a_series_has_to_have() -> None:
    (rule,) = read(alerting('rate(a{code="5xx", path!="/", job="b"}[5m]) > 1 unless on () c{d="e"} > 1'))
    assert filtered_labels(rule.selected) == {("a", "code")}
