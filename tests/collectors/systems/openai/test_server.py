"""The server of ours answers as the official document says."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.servers.openai import OpenAIServer, cost
from tests.servers.specs import validate_reply


def test_it_answers_as_the_document_says(openai_server: OpenAIServer) -> None:
    server = openai_server
    server.models = {"gpt-5": None, "gpt-4": "2026-12-01"}
    server.month, server.days = datetime(2026, 10, 1, tzinfo=UTC), [[cost(1.5)], []]
    server.rate_limits, server.alerts, server.spend_limit = (
        {"gpt-5": (5, 6)},
        [(10, ["a@example.com"])],
        (9, "inactive"),
    )
    validate_reply("openai", "/models", server.answer("GET", "/models", {}, "sk-canary-4f19d07b")[1])
    validate_reply("openai", "/models/{model}", server.model("gpt-4"))
    validate_reply("openai", "/organization/costs", server.costs({}))
    validate_reply("openai", "/organization/projects/{project_id}/rate_limits", server.limits({}))
    validate_reply("openai", "/organization/spend_alerts", server.spend_alerts({}))
    validate_reply("openai", "/organization/spend_limit", server.limit())
