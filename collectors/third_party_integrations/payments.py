"""Payment Processors (if applicable)"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import Field

from collectors.shared.attempts import attempt
from collectors.shared.expressions import Regexes
from collectors.shared.urls import plain_url
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.prometheus.check.outcomes import see_outcomes
from collectors.systems.prometheus.client import ManyToMany, Prometheus
from collectors.systems.prometheus.judge.monitoring import interval_of
from collectors.systems.prometheus.judge.rules import evaluation_problems, impossibility
from collectors.systems.prometheus.model.firing import never_true, possible, shortest_rate
from collectors.systems.prometheus.model.outcomes import Outcomes
from collectors.systems.prometheus.model.promql import Selection, selections
from collectors.systems.prometheus.model.rules import Alternative, Evaluated, evaluated, needed_series
from collectors.systems.reports.check import report_of, summarised
from collectors.systems.reports.judge.tests import age_problems, case_problems
from collectors.systems.reports.model.report import Kind, Report
from collectors.systems.stripe.client import (
    StripeApi,
    Webhook,
    account,
    ask_with,
    ask_with_a_wrong_key,
    endpoints,
    knock,
    livemode,
    undelivered,
)
from collectors.systems.stripe.judge import (
    account_problems,
    delivery_problems,
    endpoint_problems,
    key_problems,
    knock_problems,
)
from collectors.systems.stripe.model import (
    AccountLimits,
    Endpoint,
    ProductKey,
    Undelivered,
    WebhookLimits,
)
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration, format_duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, warning, worst
from exporter.words import counted, listed

_TESTED = EvidenceRule(valid_for=timedelta(days=30), bound_to_release=True, artifact=True, reads=summarised(Kind.TESTS))
_BEFORE = timedelta(hours=1)
_LASTING = frozenset({"job", "le", "quantile"})
"""Labels whose values are always all there."""


class PaymentsSettings(EvidenceSettings, AccountLimits, WebhookLimits):
    """Options of the section."""

    api: StripeApi | None = Field(None, description="Stripe's API, with a key that may read what is verified.")
    keys: tuple[ProductKey, ...] = Field(
        (), description="Keys that the product uses; the key of `api` is checked where none is given."
    )
    capabilities: tuple[str, ...] = Field(
        (), description="Capabilities that the account must have, such as card_payments."
    )
    webhooks: tuple[Webhook, ...] = Field((), description="Webhooks that the product serves.")
    allow_intrusive: bool = Field(
        False,
        description="Allow events to be sent to the webhooks that Stripe did not sign, which they have to refuse.",
    )
    flow_cases: Regexes = Field(
        ("(?i)pa(id|y([^l]|$))", "(?i)declin", "(?i)refund", "(?i)webhook"),
        min_length=1,
        description="Regular expressions, each of which must be found in the name of a test that passed.",
    )
    payments: Outcomes | None = Field(None, description="The product's payments, as counters in Prometheus.")
    failure_alerts: tuple[str, ...] = Field(
        (), description="Names of the alerting rules that watch payments that fail."
    )
    longest_wait: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="Alerts whose `for` is longer count as alerts that never fire."
    )


class Payments(Collector[PaymentsSettings, NoTarget]):
    """Can the product charge, hear of what was paid, and does anybody notice when it cannot? Stripe is the processor."""

    Settings = PaymentsSettings
    rights = """\
A restricted key of live mode that may read: balance, account, webhook endpoints and events. It is asked by GET alone.
Prometheus: GET /api/v1/query and /api/v1/rules.
"""

    @property
    def _api(self) -> StripeApi:
        if self.settings.api is None:
            raise ProbeError("Option api is not set, so Stripe was not asked.", Reason.NOT_CONFIGURED)
        if self.settings.api.bearer_token is None:
            raise ProbeError("Option api.bearer_token is not set, so Stripe was not asked.", Reason.NOT_CONFIGURED)
        return self.settings.api

    @fetched
    async def live(self) -> bool | ProbeError:
        """Whether Stripe answers in live mode, or why that is not known: it must not hide what the account showed."""
        return await attempt(livemode(self._api))

    @fetched
    async def endpoints(self) -> list[Endpoint]:
        """The webhook endpoints that Stripe has."""
        return await endpoints(self._api)

    @fetched
    async def undelivered(self) -> list[Undelivered]:
        """Events that were not delivered in time."""
        own = (webhook for webhook in self.settings.webhooks if not webhook.connect)
        types = list(dict.fromkeys(event for webhook in own for event in webhook.events))
        return await undelivered(self._api, types, self.settings, self.context.now())

    @item(
        "Payment gateway is configured", severity=CRITICAL, needs=("api", "api.bearer_token: account, balance (read)")
    )
    async def gateway_configured(self) -> Result:
        """An account that may charge today is stopped by the processor when it did not answer a question in time.

        The account has to be the configured one, in live mode, to make charges and to receive payouts; nothing that Stripe
        requires of it may be past due, and each of `capabilities` has to be active. A requirement with a deadline within
        `deadline_warning` is a warning.

        To fix it: answer what the dashboard asks for under the account's status.
        """
        found, live = await asyncio.gather(account(self._api), self.live())
        settings, now = self.settings, self.context.now()
        good = ok(f"Account {found.id} may make charges and receive payouts, in live mode.")
        problems = account_problems(found, live, self._api.account, settings.capabilities, settings, now)
        return verdict(problems, good)

    @item("API keys are valid", severity=CRITICAL, needs=("api", "keys, or api.bearer_token: balance (read)"))
    async def api_keys_valid(self) -> Result:
        """A key is revoked, has expired, or is the one of test mode, whose payments look real and bring nothing.

        Each of `keys` is sent to Stripe, which has to accept it in live mode, as one of `api.account` where it may read that; a
        wrong key has to be rejected, or the right one proves nothing. A restricted key that may not read the balance is accepted as
        well: Stripe knows it. A secret key, which may do everything, is a warning.

        To fix it: create a restricted key of live mode with the rights that the product needs, and revoke the old one.
        """
        api = self._api
        assert api.bearer_token is not None
        keys = self.settings.keys or (ProductKey(name="api.bearer_token", key=api.bearer_token),)
        answers, control = await asyncio.gather(ask_with(api, keys), attempt(ask_with_a_wrong_key(api)))
        good = ok(
            f"{counted(len(answers), 'key')} of live mode {'is' if len(answers) == 1 else 'are'} accepted, a wrong one is not."
        )
        return verdict(key_problems(answers, control, api.account), good)

    @item(
        "Webhooks are configured",
        severity=CRITICAL,
        needs=("webhooks", "api.bearer_token: webhook endpoints, events (read)", "allow_intrusive, to send events"),
    )
    async def webhooks_configured(self) -> Result:
        """Without its webhook the product does not hear of what was paid; one that believes everyone gives goods away.

        Each of `webhooks` has to be an endpoint that is enabled at Stripe, in live mode and over https, for all of its `events`;
        none of these events may have waited for its delivery for more than `delivered_within`. With `allow_intrusive`, an unsigned
        event and one with a wrong signature are posted to it, which it has to refuse; with its `signing_secret`, one that is signed
        an hour ago has to be refused, too, and one that is signed now to be accepted.

        To fix it: register the webhook in the dashboard, and verify signatures in the product.
        """
        webhooks = self.settings.webhooks
        if not webhooks:
            raise ProbeError("Option webhooks is not set, so none was looked for.", Reason.NOT_CONFIGURED)
        return await worst_of(self._registered(webhooks), self._delivered(webhooks), self._knocked(webhooks))

    async def _registered(self, webhooks: Sequence[Webhook]) -> Result:
        found = await self.endpoints()
        problems = [problem for webhook in webhooks for problem in endpoint_problems(webhook, found)]
        return verdict(
            problems, ok(f"{counted(len(webhooks), 'webhook')} {'is' if len(webhooks) == 1 else 'are'} enabled.")
        )

    async def _delivered(self, webhooks: Sequence[Webhook]) -> Result:
        found, missed = await asyncio.gather(self.endpoints(), self.undelivered())
        connected = [webhook.url for webhook in webhooks if webhook.connect]
        others = f" Whether those of connected accounts reach {listed(connected)} was not read." if connected else ""
        good = ok(f"No event{' of the account itself' if connected else ''} is waiting for its delivery.{others}")
        return verdict(delivery_problems(webhooks, found, missed), good)

    async def _knocked(self, webhooks: Sequence[Webhook]) -> Result:
        if not self.settings.allow_intrusive:
            return ok("Whether unsigned events are refused was not checked: allow_intrusive is not set.")
        encrypted = [webhook for webhook in webhooks if webhook.url.startswith("https:")]
        return await worst_of(*map(self._knock, encrypted), self._control_known(encrypted))

    async def _knock(self, webhook: Webhook) -> Result:
        knocks = await knock(webhook, await self._version(webhook), self._api.timeout, self.context.now())
        return verdict(knock_problems(knocks), ok(f"{webhook.url} refuses events that Stripe did not sign."))

    async def _version(self, webhook: Webhook) -> str | None:
        """The version of Stripe's API that the events of a webhook have; None where that is not known."""
        try:
            found = await self.endpoints()
        except ProbeError:  # which is said of the endpoints themselves, and hides no event that is accepted
            return None
        ours = [
            one
            for one in found
            if one.address == plain_url(webhook.url)
            and one.status == "enabled"
            and bool(one.application) is webhook.connect
        ]
        return max(ours, key=lambda one: one.created).api_version if ours else None

    async def _control_known(self, webhooks: Sequence[Webhook]) -> Result:
        if unknown_secret := [webhook.url for webhook in webhooks if webhook.signing_secret is None]:
            return warning(
                f"Whether {listed(unknown_secret)} accepts what Stripe signed was not checked: signing_secret is not set."
            )
        return ok("Signed events are accepted.")

    @item(
        "Payment flows are tested end-to-end",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "the JUnit report of the tests as artifact", "payments and clients.prometheus, optional"),
        evidence=_TESTED,
    )
    async def payment_flows_tested(self) -> Result:
        """A payment passes through more hands than any other request: only one that was made from end to end shows that it works.

        A record for the running release, at most 30 days old, names a JUnit report without a failure, in which each of
        `flow_cases` is in the name of a test that passed. Tests run in test mode, never with real cards. With `payments`, the live
        payments must not contradict it: at most `max_failure_ratio` of them may fail.

        To fix it: test payment, decline, refund and webhook on a staging environment, and record the report:
        `checklist-exporter attest payments.payment_flows_tested`.
        """
        parts = [self._tested()]
        if self.settings.payments is not None:
            parts.append(self._live(self.settings.payments))
        return await worst_of(*parts)

    async def _tested(self) -> Result:
        attested = await self.attested("payment_flows_tested")
        if not attested.status.is_ok:
            return attested
        report = await report_of(attested.evidence[0], self.context.evidence, Kind.TESTS)
        good = ok(f"The {report.format} report has {counted(report.examined or 0, 'test')}, and no failed one.")
        return worst(attested, verdict(self._test_problems(report), good))

    def _test_problems(self, report: Report) -> Iterator[Result]:
        yield from case_problems(report, self.settings.flow_cases)
        longest = self.settings.valid_for.get("payment_flows_tested", _TESTED.valid_for)
        yield from age_problems(report, self.context.now(), longest)

    async def _live(self, payments: Outcomes) -> Result:
        """What live payments show. That there were none contradicts no test."""
        seen = await see_outcomes(self.client(Prometheus), payments, "payment")
        return ok(f"No live payment speaks against it: {seen.summary}") if seen.reason is Reason.NOT_VERIFIED else seen

    @item(
        "Transaction monitoring is active", severity=WARNING, needs=("payments", "failure_alerts", "clients.prometheus")
    )
    async def transaction_monitoring_active(self) -> Result:
        """Payments that fail cost money at once, and customers rarely say so.

        The counters of `payments` have series now, and each of `failure_alerts` is an alerting rule that is evaluated, selects one
        of these counters (also through recording rules) and could fire: every series that it selects exists. A firing alert is no
        failure of the monitoring. That alerts reach a person is verified by the section alerting.

        To fix it: count payments by their outcome, and alert on the share of those that fail.
        """
        settings = self.settings
        if settings.payments is None:
            raise ProbeError("Option payments is not set, so no counter was looked for.", Reason.NOT_CONFIGURED)
        if not settings.failure_alerts:
            raise ProbeError("Option failure_alerts is not set, so no alert was looked for.", Reason.NOT_CONFIGURED)
        prometheus = self.client(Prometheus)
        rules, misunderstood = evaluated(await prometheus.rules(), "severity")
        return await worst_of(
            *(self._counted(counter) for counter in (*settings.payments.attempts, *settings.payments.succeeded)),
            *(self._watching(name, rules, misunderstood, settings.payments) for name in settings.failure_alerts),
        )

    async def _counted(self, counter: str) -> Result:
        if not await self.client(Prometheus).query(f"count({counter})"):
            raise ProbeError(f"Prometheus has no series of {counter} now.", Reason.MISSING)
        return ok(f"{counter} has series.")

    async def _watching(
        self, name: str, rules: Sequence[Evaluated], misunderstood: Sequence[ProbeError], payments: Outcomes
    ) -> Result:
        """The verdict on the rules of a name: one that can fire is enough, as there may be one for each severity."""
        named = [rule for rule in rules if rule.rule.name == name]
        if not named and misunderstood:
            raise misunderstood[0]
        if not named:
            return failed(f"Prometheus has no alerting rule {name}.", reason=Reason.MISSING)
        judged = [await self._judged(rule, payments) for rule in named]
        return next((result for result in judged if result.status.is_ok), judged[0])

    async def _judged(self, rule: Evaluated, payments: Outcomes) -> Result:
        name = rule.rule.name
        counters = (*payments.attempts, *payments.succeeded)
        counted_by = [selection for counter in counters for selection in selections(counter)]
        if not any(
            one.bound is not None and any(_may_select(one, counter) for counter in counted_by)
            for one in rule.underlying
        ):
            return failed(
                f"Alerting rule {name} compares none of {listed(sorted(set(counters)))}.", reason=Reason.MISCONFIGURED
            )
        problems = list(evaluation_problems(rule, self.context.now(), self.settings.longest_wait))
        why = [await self._impossible(rule, part) for part in rule.alternatives]
        if all(why):
            problems.insert(0, failed(f"Alerting rule {name} can never fire: {why[0]}.", reason=Reason.MISSING))
        problems += await self._too_short(rule, counters)
        return verdict(problems, ok(f"Alerting rule {name} watches payments that fail."))

    async def _too_short(self, rule: Evaluated, counters: Sequence[str]) -> list[Result]:
        """A failure where the rule takes a rate over so short a time that there is one sample in it: of one there is none."""
        if (length := shortest_rate(rule.rule.query)) is None:
            return []
        prometheus = self.client(Prometheus)
        found = [sample for counter in counters for sample in await prometheus.query(f"group by (job) ({counter})")]
        jobs = {sample.labels.get("job") for sample in found}
        targets = [target for target in await prometheus.targets() if target.labels.get("job") in jobs]
        interval = min((interval_of(target.scrape_interval) for target in targets), default=timedelta())
        if length > interval:
            return []
        return [
            failed(
                f"Alerting rule {rule.rule.name} takes a rate over {format_duration(length)} of series that are scraped every "
                f"{format_duration(interval)}: it takes two samples.",
                reason=Reason.MISCONFIGURED,
            )
        ]

    async def _impossible(self, rule: Evaluated, part: Alternative) -> str:
        """Why a part of a rule can never be true; empty where it can."""
        if why := never_true(part.expr):
            return why
        needed = needed_series(part, ())
        missing = {one for one in needed if not await self.client(Prometheus).query(f"group({one})")}
        if missing:
            return impossibility(rule, part, missing)
        # What other labels select, such as an outcome, may come only when it happens.
        for asked in (possible(part.expr), possible(part.expr, _LASTING.__contains__, _BEFORE)):
            try:
                if await self.client(Prometheus).query(asked):
                    return ""
            except ManyToMany:  # only because filters were taken out
                return ""
        return impossibility(rule, part, ())


def _may_select(selection: Selection, counter: Selection) -> bool:
    """Whether a rule may select series of a counter: not where it wants another value of a label that the counter names."""
    return selection.metric == counter.metric and all(
        selection.allows(one.name, one.value) for one in counter.conditions if one.operator == "="
    )
