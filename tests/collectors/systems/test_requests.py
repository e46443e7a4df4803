"""What third parties are asked is what their official documents describe: Prism refuses everything else.

Its replies are made up from the documents, so nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.systems.oncall.client import OnCallOptions, read_rosters
from collectors.systems.openai.client import OpenAIApi, Organization, ask_models, costs, rate_limits, spending
from collectors.systems.openai.model import Budget
from collectors.systems.twilio.client import TwilioApi, TwilioSettings
from exporter.http import Http, HttpSettings
from exporter.verdict import ProbeError
from tests.servers.prism import Asked, prism

NOW = datetime(2026, 10, 13, 12, tzinfo=UTC)
ACCOUNT, KEY = f"AC{'0' * 32}", f"SK{'1' * 32}"


def paths(asked: Asked) -> set[str]:
    return {path.partition("?")[0] for path, _, _ in asked.requests}


async def settle(*calls: Any) -> None:
    """Have each be asked, whatever is made of the replies."""
    for call in calls:
        with suppress(ProbeError):
            await call


def each(asked: Asked, wanted: Iterable[str]) -> None:
    """Everything that was to be asked was, and nothing was refused."""
    assert asked.refused == []
    assert paths(asked) >= set(wanted), paths(asked)


async def test_openai() -> None:
    with prism("openai") as asked:
        common = {"url": asked.url, "bearer_token": "sk-test", "timeout": "60s"}
        api = OpenAIApi.model_validate({**common, "models": [{"name": "gpt-4.1"}]}, strict=False)
        organization = Organization.model_validate({**common, "project": "proj_1"}, strict=False)
        budget = Budget.model_validate({"monthly": 5.0})
        await settle(
            ask_models(api), rate_limits(organization), costs(organization, budget, NOW), spending(organization)
        )
        organizations = ("costs", "projects/proj_1/rate_limits", "spend_limit")
        each(asked, ["/models/gpt-4.1", *(f"/organization/{path}" for path in organizations)])
        # What the proof is worth: without its beginning the same request is refused.
        async with Http(HttpSettings.model_validate({"url": asked.url, "bearer_token": "sk-test"})) as http:
            reply = await http.get("/organization/costs", expect=None)
        assert (reply.status, len(asked.refused)) == (422, 1)


async def test_twilio() -> None:
    with prism("twilio") as asked:
        given = {"url": asked.url, "account": ACCOUNT, "username": KEY, "password": "secret", "timeout": "60s"}
        twilio = TwilioApi(TwilioSettings.model_validate(given, strict=False))
        try:
            await settle(
                twilio.account(),
                twilio.balance(),
                twilio.number("+15005550006"),
                twilio.outcomes(NOW),
                twilio.talked("+15005550006", NOW - timedelta(days=90)),
            )
        finally:
            await twilio.close()
        names = ("Balance", "IncomingPhoneNumbers", "Messages", "Calls")
        each(asked, [f"/2010-04-01/Accounts/{ACCOUNT}/{name}.json" for name in names])


async def test_pagerduty() -> None:
    with prism("pagerduty") as asked:
        given = {"url": asked.url, "token": "t", "escalation_policies": ["PT20YPA"], "timeout": "60s"}
        options = OnCallOptions.model_validate({"pagerduty": given}, strict=False)
        await settle(read_rosters(options, NOW))
        each(asked, ["/escalation_policies/PT20YPA", "/oncalls"])


async def test_opsgenie() -> None:
    with prism("opsgenie") as asked:
        given = {"url": asked.url, "token": "t", "schedules": ["primary"], "timeout": "60s"}
        options = OnCallOptions.model_validate({"opsgenie": given}, strict=False)
        await settle(read_rosters(options, NOW))
        each(asked, ["/v2/schedules/primary/on-calls"])
