"""Jaeger takes a trace by OTLP, gives it back, and listens on loopback only."""

import psutil

from tests.servers.jaeger import Jaeger
from tests.servers.process import LOOPBACK, call, wait_until

TRACE = "5b8efff798038103d269b633813fc60c"


def test_a_trace_is_found_where_it_was_sent(jaeger: Jaeger) -> None:
    span = {
        "traceId": TRACE,
        "spanId": "eee19b7ec3c1b174",
        "name": "GET /",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000100000000",
    }
    service = {"key": "service.name", "value": {"stringValue": "sent"}}
    resource = {"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [span]}]}
    call(f"{jaeger.otlp}/v1/traces", {"resourceSpans": [resource]})
    wait_until(lambda: call(f"{jaeger.url}/api/v3/traces/{TRACE}")["result"]["resourceSpans"], "the trace")
    assert "sent" in call(f"{jaeger.url}/api/services")["data"]
    connections = psutil.Process(jaeger.pid).net_connections("inet")
    assert {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN} == {LOOPBACK}
