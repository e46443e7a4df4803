"""A pipeline of a real FastAPI application that asks a model: answered, broken, answered by nobody, and what that may cost."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.pre_launch_validation.smoke_tests import SmokeTarget, SmokeTests
from exporter.catalogue import Catalogue
from exporter.config import ConfigError, load
from exporter.verdict import Reason, Result, Status
from tests.servers.applications.programs import fastapi
from tests.servers.openai import KEY, OpenAIServer, error
from tests.servers.pages import Pages
from tests.servers.process import LOOPBACK, free_port
from tests.support import Clock, Run, make_context

LINE = "ai_pipeline_works"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = "canary-of-the-pipeline"
BODY = '{"question": "What is $(a) plus $(b)? Answer with the number."}'
SUM = 'json.answer.contains("$(sum)")'
DIRECT: dict[str, Any] = {"path": "/ask", "body": BODY, "conditions": [SUM]}
QUEUED: dict[str, Any] = {
    "path": "/questions",
    "body": BODY,
    "extract": {"job": "json.id"},
    "poll": {"path": "/questions/$(job)", "until": 'json.status != "waiting"', "interval": "100ms", "within": "60s"},
    "conditions": [SUM],
}


class Shop:
    """Runs of one target, with a clock that a test moves, and with what a restart of the exporter leaves of the last one."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.memory: dict[str, Any] = {}
        self.measured: dict[str, float] = {}

    async def result(self, url: str, **options: Any) -> Result:
        """What one run finds."""
        allow_intrusive = options.pop("allow_intrusive", True)
        pipeline = {"url": url, "bearer_token": TOKEN, "timeout": "60s", **options}
        target = {"name": "shop", "allow_intrusive": allow_intrusive, "ai_pipeline": pipeline}
        context = make_context(now=self.clock, memory=self.memory, recall=lambda _: self.measured)
        run = Run(SmokeTests, [LINE], settings={"timeout": "4m"}, target=target, context=context, secrets=[TOKEN])
        (result,) = (await run.results()).values()
        self.measured = dict(result.measurements)
        return result

    def restart(self) -> None:
        """What the process knew is gone; what it measured is not."""
        self.memory = {}


def adding(question: str) -> str:
    """A model that can add."""
    return f"It is {sum(map(int, re.findall(r'[0-9]+', question)))}."


@pytest.mark.verifies("smoke_tests.ai_pipeline_works", "ok")
@pytest.mark.verifies("smoke_tests.ai_pipeline_works", "failed")
async def test_a_pipeline_with_a_model(tmp_path: Path, openai_server: OpenAIServer) -> None:
    model = {"OPENAI_URL": openai_server.url, "OPENAI_KEY": KEY}
    openai_server.complete = adding
    with fastapi(tmp_path, **model) as app:
        good = await Shop().result(app.url, **DIRECT, usage="json.usage.total_tokens", max_usage=50)
        assert (good.status, good.summary) == (Status.OK, f"POST {app.url}/ask gave a result that meets its condition.")
        assert good.measurements["usage"] == 12
        queued = await Shop().result(app.url, **QUEUED)
        assert queued.status is Status.OK, queued
        assert queued.summary == f"GET {app.url}/questions/$(job) gave a result that meets its condition."
        openai_server.tokens = 5000
        dear = await Shop().result(app.url, **DIRECT, usage="json.usage.total_tokens", max_usage=50)
        assert (dear.status, dear.reason) == (Status.FAILED, Reason.LIMIT)
        assert "one run has used up 5000 (limit 50)" in dear.summary
        uncounted = await Shop().result(app.url, **DIRECT, usage="json.usage.tokens")
        assert (uncounted.status, uncounted.reason) == (Status.FAILED, Reason.MISSING)
        for wrong in (lambda _: "I do not know.", lambda question: question, lambda _: "", lambda _: "It is 17."):
            openai_server.complete = wrong
            guess = await Shop().result(app.url, **DIRECT)
            assert (guess.status, guess.reason) == (Status.FAILED, Reason.UNMET), guess
        # A quota that is used up is an error of the model, whatever the application makes of it.
        openai_server.forced["/chat/completions"] = (429, error("insufficient_quota"))
        refused = await Shop().result(app.url, **DIRECT)
        assert (refused.status, refused.reason) == (Status.FAILED, Reason.DOWN)
        later = await Shop().result(app.url, **QUEUED)
        assert later.status is Status.FAILED
        assert f"GET {app.url}/questions/$(job) answered 200 and does not meet" in later.summary
        missing = await Shop().result(app.url, **{**QUEUED, "extract": {"job": "json.number"}})
        assert (missing.status, missing.reason) == (Status.FAILED, Reason.MISSING)
        not_taken = await Shop().result(app.url, **{**QUEUED, "body": "{}"})
        assert (not_taken.status, "answered 422 and did not accept the question" in not_taken.summary) == (
            Status.FAILED,
            True,
        )
    openai_server.complete = adding
    with fastapi(tmp_path, **model, ASK="apology", QUEUE="stuck") as app:
        apology = await Shop().result(app.url, **DIRECT)
        assert (apology.status, apology.reason) == (Status.FAILED, Reason.UNMET)
        stuck = await Shop().result(app.url, **{**QUEUED, "poll": {**QUEUED["poll"], "within": "500ms"}})
        assert (stuck.status, stuck.reason) == (Status.FAILED, Reason.TIMEOUT)
        assert stuck.summary.startswith(
            f'GET {app.url}/questions/$(job) did not meet `json.status != "waiting"` within 500ms: it answered 200, '
        )
        app.pause()
        hung = await Shop().result(app.url, **{**DIRECT, "timeout": "500ms"})
        assert (hung.status, hung.reason) == (Status.FAILED, Reason.TIMEOUT)
        app.resume()


@pytest.mark.verifies("smoke_tests.ai_pipeline_works", "unknown")
async def test_a_pipeline_that_cannot_be_asked(pages: Pages) -> None:
    allowed = await Shop().result(pages.url, **DIRECT, allow_intrusive=False)
    assert (allowed.status, allowed.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
    assert "set `allow_intrusive: true` on the target" in allowed.summary
    nobody = await Shop().result(f"http://{LOOPBACK}:{free_port()}", **DIRECT)
    assert (nobody.status, nobody.reason) == (Status.UNKNOWN, Reason.UNREACHABLE)
    get: dict[str, Any] = {"path": "/ask", "method": "GET", "conditions": ["json.answer == 'yes'"]}
    pages.add("/ask", '{"answer": "yes"}', Age="30")
    cached = await Shop().result(pages.url, **get)
    assert (cached.status, cached.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    pages.add("/ask", "{}", 429, Retry_After="30")
    limited = await Shop().result(pages.url, **get)
    assert (limited.status, limited.reason) == (Status.UNKNOWN, Reason.REFUSED)
    for status in (401, 403):
        pages.add("/ask", "{}", status)
        denied = await Shop().result(pages.url, **get)
        assert (denied.status, denied.reason) == (Status.UNKNOWN, Reason.DENIED)
    pages.add("/ask", '{"id": "canary/job"}')
    polled: dict[str, Any] = {
        **get,
        "extract": {"job": "json.id"},
        "poll": {"path": "/jobs/$(job)", "until": "status == 200"},
    }
    pages.add("/jobs/canary%2Fjob", "{}", 429)
    waiting = await Shop().result(pages.url, **polled)
    assert (waiting.status, "/jobs/$(job) answered 429" in waiting.summary) == (Status.UNKNOWN, True)
    assert "canary" not in waiting.summary


async def test_no_more_is_spent_than_is_allowed(pages: Pages) -> None:
    run, url = Shop(), pages.url
    options: dict[str, Any] = {
        "path": "/ask",
        "method": "GET",
        "conditions": ["json.ok"],
        "usage": "json.used",
        "max_usage": 40,
        "max_usage_per_day": 100,
    }
    pages.add("/ask", '{"ok": true, "used": 30}')
    assert (await run.result(url, **options)).status is Status.OK
    run.clock.advance(minutes=59)
    again = await run.result(url, **options)
    assert (again.status, len(pages.seen)) == (Status.OK, 1)
    assert again.summary.endswith("It was asked at 03:04:05 UTC and is not asked again before 04:04:05 UTC.")
    run.restart()
    restarted = await run.result(url, **options)
    assert (restarted.status, len(pages.seen)) == (Status.OK, 1)
    assert restarted.summary.startswith(f"{url} passed before the exporter was restarted. It was asked at 03:04:05 UTC")
    run.clock.advance(minutes=2)
    assert (await run.result(url, **options)).measurements["usage_of_the_day"] == 60
    run.clock.advance(hours=2)
    pages.add("/ask", '{"ok": false, "used": 30}')
    assert (await run.result(url, **options)).status is Status.FAILED
    run.restart()
    forgotten = await run.result(url, **options)
    assert (forgotten.status, forgotten.reason) == (Status.UNKNOWN, Reason.PENDING)
    run.clock.advance(hours=2)
    for _ in range(2):
        spent = await run.result(url, **options)
        assert (spent.status, spent.reason) == (Status.UNKNOWN, Reason.LIMIT)
        assert "90 of max_usage_per_day (100) is used up" in spent.summary
        run.restart()
    assert len(pages.seen) == 3
    run.clock.advance(days=1)
    pages.add("/ask", '{"ok": true, "used": 30}')
    assert (await run.result(url, **options)).measurements["usage_of_the_day"] == 30
    changed = {**options, "max_runs_per_day": 1}
    run.clock.advance(minutes=6)
    assert "max_runs_per_day (1) is reached" in (await run.result(url, **changed)).summary
    # A run that tells no usage, or that was cut short, counts as what it may use at most.
    pages.add("/ask", '{"ok": true}')
    run.clock.advance(hours=1)
    assert (await run.result(url, **options)).measurements["usage_of_the_day"] == 70


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"body": "{"}, "expected `body` to be JSON"),
        ({"body": '{"a": "$(c)"}'}, "body uses $(c), which is not known there"),
        ({"conditions": ['json.a == "$(word)"']}, "conditions uses $(word)"),
        ({"conditions": ["json.a == $(sum)"]}, "expected a condition in CEL"),
        ({"conditions": ["true"]}, "the same for every answer"),
        ({"conditions": []}, "expected 1 or more entries"),
        ({"extract": {"job": "json.id"}}, "expected `poll` where `extract` is set"),
        ({"poll": {"path": "/jobs/$(job)", "until": "status == 200"}}, "poll.path uses $(job)"),
        (
            {"poll": {"path": "/jobs", "until": "status == 200"}, "extract": {"job": "json.id"}},
            "the variable job is extracted, and poll.path does not use it",
        ),
        ({"max_usage": 5}, "expected `usage`"),
        ({"usage": "json.used", "max_usage": 5, "max_usage_per_day": 4}, "to suffice for one run"),
        ({"usage": "json.used == 1"}, "expected a number in CEL"),
        ({"every": "1m"}, "greater than or equal to 5 minutes"),
        ({"timeout": "40s"}, "to be longer than a run of shop's ai_pipeline may take (40s)"),
    ],
)
def test_wrong_pipelines_name_line_and_key(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    pipeline = {"url": "http://shop", "path": "/ask", "conditions": ["json.ok"], "bearer_token": TOKEN, **wrong}
    file = tmp_path / "config.yaml"
    target = json.dumps({"name": "shop", "ai_pipeline": pipeline})
    file.write_text(f"sections:\n  smoke_tests:\n    targets:\n      - {target}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=Catalogue.load(), environ={})
    assert f"{file}:" in str(caught.value)
    assert "smoke_tests" in str(caught.value)
    assert told in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_an_unusual_option_of_a_pipeline_is_refused() -> None:
    with pytest.raises(ValidationError):
        SmokeTarget.model_validate_json('{"name": "shop", "ai_pipeline": {"url": "http://shop", "path": "ask"}}')
