"""OpenAI API"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from collectors.shared.attempts import attempt
from collectors.shared.expressions import Regexes
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.openai.client import (
    OpenAIApi,
    Organization,
    ask_models,
    ask_with_a_wrong_key,
    costs,
    rate_limits,
    spending,
)
from collectors.systems.openai.judge import (
    budget_problems,
    key_problems,
    limiter_problems,
    limits_of,
    quota_problems,
)
from collectors.systems.openai.model import Answer, Budget, ModelAnswer, ModelLimits, RateLimits, Spending
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.reports.check import report_of, summarised
from collectors.systems.reports.judge.tests import age_problems, case_problems
from collectors.systems.reports.model.report import Kind, Report
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, evidence_item, fetched, item
from exporter.evidence.records import Record
from exporter.evidence.rules import EvidenceRule
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, ok
from exporter.words import counted

_TESTED = EvidenceRule(valid_for=timedelta(days=90), bound_to_release=True, artifact=True, reads=summarised(Kind.TESTS))


class OpenaiSettings(EvidenceSettings, ModelLimits):
    """Options of the section."""

    api: OpenAIApi | None = Field(None, description="The API as the product uses it.")
    organization: Organization | None = Field(None, description="OpenAI's administration API, for limits and costs.")
    limiter_query: str | None = Field(
        None,
        min_length=1,
        description="PromQL that evaluates to one number: the requests a minute that the product limits itself to, of all its "
        "replicas together.",
    )
    error_cases: Regexes = Field(
        (r"(^|\D)401(\D|$)", r"(^|\D)429(\D|$)", r"(^|\D)50\d(\D|$)", "(?i)time.?out"),
        min_length=1,
        description="Regular expressions, each of which must be found in the name of a test that passed.",
    )


class Openai(Collector[OpenaiSettings, NoTarget]):
    """May the product use its models, as often as it has to, at a price that someone watches?"""

    Settings = OpenaiSettings
    rights = """\
A key that may read models (api.model.read), or with `completion` one that may use them (model.request).
With `organization`: an admin key that may read costs, spend alerts, spend limit and rate limits. It is asked by GET alone.
"""

    @property
    def _api(self) -> OpenAIApi:
        if self.settings.api is None:
            raise ProbeError("Option api is not set, so no model was requested.", Reason.NOT_CONFIGURED)
        if self.settings.api.bearer_token is None and not self.settings.api.headers:
            raise ProbeError("Option api.bearer_token is not set, so no key was checked.", Reason.NOT_CONFIGURED)
        return self.settings.api

    @fetched
    async def answers(self) -> list[ModelAnswer | ProbeError]:
        """What the API answers for each model."""
        return await ask_models(self._api)

    @fetched
    async def control(self) -> Answer | ProbeError:
        """What the API answers to a wrong key, or why that is not known: it must not hide what the right one showed."""
        return await attempt(ask_with_a_wrong_key(self._api))

    @fetched
    async def spending(self) -> Spending | None:
        """What watches the spending; None without `organization`."""
        return await spending(self.settings.organization) if self.settings.organization else None

    @fetched
    async def limits(self) -> dict[str, RateLimits]:
        """The account's limits of each model. Raises ProbeError where nothing shows any."""
        api, organization = self._api, self.settings.organization
        project = await rate_limits(organization) if organization and organization.project else {}
        if not project and not api.completion:
            raise ProbeError(
                "Neither organization.project nor api.completion shows the limits of the account.",
                Reason.NOT_CONFIGURED,
            )
        return limits_of(api.models, await self._completions(), project)

    async def _completions(self) -> list[ModelAnswer | ProbeError]:
        """What the API answers, where completions are requested."""
        return await self.answers() if self._api.completion else []

    @item("API key is configured correctly", severity=CRITICAL, needs=("api", "api.bearer_token: api.model.read"))
    async def api_key_configured(self) -> Result:
        """A key is revoked, belongs to another project, or works today for a model that is shut down next week.

        Each of `api.models` is requested with the key: it has to exist for this key, and not to shut down within
        `shutdown_warning`. A wrong key has to be rejected, or the right one proves nothing. A key that may not read models is
        unknown, not wrong. With `api.completion`, a completion of a few tokens proves that the key may use the model.

        To fix it: create a key in the project that may use the models, and replace models that are announced to shut down.
        """
        answers, control = await self.answers(), await self.control()
        tried = "" if self._api.completion else " No completion was requested."
        good = ok(f"The key is accepted for {counted(len(answers), 'model')}, and a wrong key is not.{tried}")
        return verdict(key_problems(answers, control, self.settings, self.context.now().date()), good)

    @item(
        "API quota limits are verified",
        severity=WARNING,
        needs=(
            "api.models with min_requests_per_minute or min_tokens_per_minute",
            "organization.project or completion",
        ),
    )
    async def quota_limits_verified(self) -> Result:
        """The limits of a new account are those of a try-out: the launch meets them within minutes.

        The limits of the project (`organization.project`) and those that a completion names have to be at least
        `min_requests_per_minute` and `min_tokens_per_minute` of each model; a limit of requests a day has to last for an hour of
        that, and is a warning if it does not last for the day. A quota that is used up and a spend limit that is
        reached fail; a rate limit that is reached at this moment is a warning, as is less than `min_headroom` of it.

        To fix it: ask OpenAI for a higher tier, add credit, or raise the limits of the project.
        """
        models = self._api.models
        if not any(model.min_requests_per_minute or model.min_tokens_per_minute for model in models):
            raise ProbeError("No model has min_requests_per_minute or min_tokens_per_minute.", Reason.NOT_CONFIGURED)
        limits, answers = await self.limits(), await self._completions()
        good = ok(f"The limits of {counted(len(models), 'model')} are as high as wanted.")
        return verdict(quota_problems(models, limits, answers, await self.spending(), self.settings), good)

    @item(
        "Rate limiting is configured",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("limiter_query and clients.prometheus, or evidence", "organization.project or api.completion"),
        evidence=EvidenceRule(valid_for=timedelta(days=90), measured=("requests_per_minute",)),
    )
    async def rate_limiting_configured(self) -> Result:
        """A product without a limit of its own spends the account's in one loop, for all of its users.

        `limiter_query` evaluates to the requests a minute that the product limits itself to; without it, a record that is at most
        90 days old measures `requests_per_minute`. It has to be a limit, and at most what the account allows of each model.

        To fix it: give the client of the API a limiter below the account's limit, and export its setting, or record it:
        `checklist-exporter attest openai.rate_limiting_configured`.
        """
        if self.settings.limiter_query is not None:
            return await self._limited(await self._limiter(self.settings.limiter_query))
        attested = await self.attested("rate_limiting_configured")
        if not attested.status.is_ok:
            return attested
        own = attested.evidence[0].measured["requests_per_minute"]
        return await worst_of(self._limited(own), self.attested("rate_limiting_configured"))

    async def _limiter(self, query: str) -> float:
        samples = await self.client(Prometheus).query(query)
        if len(samples) != 1:
            raise ProbeError(
                f"limiter_query evaluates to {counted(len(samples), 'sample')} (expected 1).",
                Reason.MISCONFIGURED if samples else Reason.MISSING,
            )
        return samples[0].value

    async def _limited(self, limiter: float) -> Result:
        limits = await self.limits()
        unlimited = [model.name for model in self._api.models if limits.get(model.name, RateLimits()).requests is None]
        good = ok(f"The product limits itself to {limiter:g} requests a minute.", limiter_requests_per_minute=limiter)
        found = verdict(limiter_problems(limiter, limits), good)
        if found.status.is_ok and unlimited:
            raise ProbeError(f"No limit of requests a minute is shown for model {unlimited[0]}.", Reason.MISSING)
        return found

    @evidence_item(
        "Error handling for API failures is tested",
        _TESTED,
        how="a JUnit report without a failure, in which each of `error_cases` is in the name of a test that passed",
        severity=WARNING,
        needs=("evidence", "the JUnit report of the tests as artifact"),
    )
    async def error_handling_tested(self, record: Record) -> Result:
        """The API is down, slow, or refuses requests every month; a product that never met that fails with it.

        Test what the product does on 401, 429, 500 and on no answer, against a server that answers so.
        """
        report = await report_of(record, self.context.evidence, Kind.TESTS)
        good = ok(f"The {report.format} report has {counted(report.examined or 0, 'test')}, and no failed one.")
        return verdict(self._test_problems(report), good)

    def _test_problems(self, report: Report) -> Iterator[Result]:
        yield from case_problems(report, self.settings.error_cases)
        longest = self.settings.valid_for.get("error_handling_tested", _TESTED.valid_for)
        yield from age_problems(report, self.context.now(), longest)

    @item(
        "Cost monitoring is enabled",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("organization.budget and an admin key, or evidence with the link to what watches the costs",),
        evidence=EvidenceRule(valid_for=timedelta(days=90), links=1),
    )
    async def cost_monitoring_enabled(self) -> Result:
        """A loop or a leaked key costs more in a night than the product earns in a month, and the bill comes weeks later.

        With `organization`, the costs of the calendar month (UTC) are added up over all pages, in one currency: they have to be
        within `budget`, and a spend alert with recipients or a spend limit has to be at or below it. Without `organization`, a
        record that is at most 90 days old links what watches the costs.

        To fix it: set a spend alert at or below the budget, or record what watches the costs:
        `checklist-exporter attest openai.cost_monitoring_enabled`.
        """
        organization = self.settings.organization
        if organization is None:
            return await self.attested("cost_monitoring_enabled")
        if organization.budget is None:
            raise ProbeError("Option organization.budget is not set, so no costs were compared.", Reason.NOT_CONFIGURED)
        return await self._watched(organization, organization.budget)

    async def _watched(self, organization: Organization, budget: Budget) -> Result:
        now = self.context.now()
        spent, watching = await costs(organization, budget, now), await self.spending() or Spending()
        good = ok(
            f"This month cost {spent.amount:.2f} of {budget.monthly:.2f} {budget.currency.upper()}, which is watched.",
            spent_ratio=spent.amount / budget.monthly,
        )
        return verdict(budget_problems(spent, watching, budget, now), good)
