"""Models, completions, limits and errors of a server that others made: llmock, behind a check of keys, which it has none of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from collectors.third_party_integrations.openai import Openai
from exporter.verdict import Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.llmock import FORCE, llmock
from tests.servers.openai import error
from tests.servers.overriding import Overridden, overriding
from tests.support import Run, make_context, sees

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN
KEY = "sk-canary-4f19d07b"
RPM, TPM = 600, 100_000

evidence = evidence_of("openai")


@pytest.fixture(scope="module")
def api() -> Iterator[Overridden]:
    refusal = error("invalid_api_key", "Incorrect API key provided.")
    with llmock(requests=RPM, tokens=TPM) as server, overriding(server.url, {KEY: KEY}, refusal) as front:
        yield front


def run(evidence: Folder, item: str, api: Overridden, *models: dict[str, Any], **settings: Any) -> Run:
    asked = {"url": f"{api.url}/v1", "bearer_token": KEY, "models": models or [{"name": "gpt-4o"}], **settings}
    context = make_context(**evidence.context)
    return Run(Openai, [item], settings={"api": asked}, context=context, secrets=[KEY])


seen = sees(run)


async def test_a_server_that_only_lists_its_models(evidence: Folder, api: Overridden) -> None:
    assert (await seen(evidence, "api_key_configured", api)).status is OK
    result = await seen(evidence, "api_key_configured", api, {"name": "gpt-9"})
    assert (result.status, "gpt-9 does not exist" in result.summary) == (FAILED, True), result.summary
    result = await seen(evidence, "api_key_configured", api, bearer_token="sk-another")
    assert (result.status, "rejected" in result.summary) == (FAILED, True), result.summary


async def test_each_model_is_requested_where_the_product_does(evidence: Folder, api: Overridden) -> None:
    models = (
        {"name": "gpt-4o"},
        {"name": "gpt-4o-mini", "endpoint": "responses"},
        {"name": "text-embedding-3-small", "endpoint": "embeddings"},
    )
    api.asked.clear()
    result = await seen(evidence, "api_key_configured", api, *models, completion=True)
    assert result.status is OK, result.summary
    assert {"/v1/chat/completions", "/v1/responses", "/v1/embeddings"} <= {path for path, _ in api.asked}


@pytest.mark.parametrize(
    ("status", "verdict", "summary"),
    [
        (401, FAILED, "the key was rejected"),
        (403, FAILED, "may not use gpt-4o"),
        (404, UNKNOWN, "answered 404"),
        (429, UNKNOWN, "too many requests"),
        (500, UNKNOWN, "answered 500"),
    ],
)
async def test_errors_of_completions(
    evidence: Folder, api: Overridden, status: int, verdict: Status, summary: str
) -> None:
    result = await seen(evidence, "api_key_configured", api, completion=True, headers={FORCE: str(status)})
    assert (result.status, summary in result.summary) == (verdict, True), result.summary


async def test_limits_of_a_minute(evidence: Folder, api: Overridden) -> None:
    def wanted(requests: int, tokens: int) -> dict[str, Any]:
        return {"name": "gpt-4o", "min_requests_per_minute": requests, "min_tokens_per_minute": tokens}

    result = await seen(evidence, "quota_limits_verified", api, wanted(RPM, TPM), completion=True)
    assert result.status is OK, result.summary
    result = await seen(evidence, "quota_limits_verified", api, wanted(RPM + 1, TPM + 1), completion=True)
    assert result.status is FAILED
    assert f"limited to {RPM} requests a minute" in result.summary
    assert f"limited to {TPM} tokens a minute" in result.summary
