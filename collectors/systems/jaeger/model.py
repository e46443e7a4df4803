"""A marker trace."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MarkerTrace", "of_others"]

_OWN = "checklist-exporter"


def of_others(services: Iterable[str]) -> list[str]:
    """Of the services with traces those that are neither the sender of markers nor Jaeger, which traces itself."""
    return [name for name in services if name != _OWN and not name.startswith("jaeger")]


@dataclass(frozen=True, slots=True)
class MarkerTrace:
    """A trace of one span that nobody else can have sent. Ids are in hexadecimal digits."""

    service: str = _OWN
    operation: str = "marker"
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def otlp(self) -> dict[str, Any]:
        """The trace as OTLP's JSON, begun and ended now."""
        end = time.time_ns()
        span = {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": self.operation,
            "kind": 1,  # internal
            "startTimeUnixNano": str(end - 1_000_000),
            "endTimeUnixNano": str(end),
        }
        service = {"key": "service.name", "value": {"stringValue": self.service}}
        scope = {"scope": {"name": "checklist-exporter"}, "spans": [span]}
        return {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [scope]}]}
