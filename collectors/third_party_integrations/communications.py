"""Communication Services"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.mail_domain.check import see_mail_domain
from collectors.systems.mail_domain.model import MailDomain
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.smtp.check import see_server
from collectors.systems.smtp.client import SmtpServer
from collectors.systems.templates.client import TemplateApi, ask_templates
from collectors.systems.templates.judge import template_problems
from collectors.systems.twilio.client import TwilioApi, TwilioSettings
from collectors.systems.twilio.judge import (
    account_problems,
    delivery_problems,
    message_problems,
    sms_problems,
    voice_problems,
)
from collectors.systems.twilio.model import Number, Outcomes, Refusal
from exporter.collector import Collector, EvidenceSettings, Mode, NoTarget, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration
from exporter.verdict import (
    CRITICAL,
    WARNING,
    ProbeError,
    Reason,
    Result,
    ok,
    unknown,
    worst,
)
from exporter.words import counted, format_length, listed

_TRIED = EvidenceRule(valid_for=timedelta(days=90))
_LOADED = EvidenceRule(valid_for=timedelta(days=90), bound_to_release=True)
_TRACKED = EvidenceRule(valid_for=timedelta(days=90), links=1)


class CommunicationsSettings(EvidenceSettings):
    """Options of the section. It logs in at each run, so it runs rarely: some servers lock accounts after wrong passwords."""

    every: Duration = Field(timedelta(hours=1), gt=timedelta(0), description="How often the section is verified.")
    smtp: SmtpServer | None = Field(None, description="The server through which the product sends e-mail.")
    mail_domain: MailDomain | None = Field(
        None, description="The domain in whose name e-mail is sent, for its SPF, DKIM and DMARC records."
    )
    twilio: TwilioSettings | None = Field(None, description="Twilio, for text messages and calls.")
    templates: TemplateApi | None = Field(
        None, description="The API that has the templates. Without it, they are verified by a record."
    )
    receipts_query: str | None = Field(
        None,
        min_length=1,
        description="PromQL that evaluates to one number: the delivery receipts of text messages that the product recorded within "
        "two days, such as sum(increase(sms_receipts_total[2d])).",
    )


class Communications(Collector[CommunicationsSettings, NoTarget]):
    """Do messages of the product leave it, arrive, and does it know?"""

    Settings = CommunicationsSettings
    rights = """\
SMTP: a login that may send in the name of `smtp.sender`. Nothing is sent. DNS: a resolver that answers.
Twilio: a main API key: standard and restricted keys may not read the account. It is asked by GET alone.
Templates: a key that may read them.
"""

    @property
    def _twilio(self) -> TwilioSettings:
        settings = self.settings.twilio
        if settings is None:
            raise ProbeError("Option twilio is not set, so it was not queried.", Reason.NOT_CONFIGURED)
        if settings.password is None:
            raise ProbeError("Option twilio.password is not set, so Twilio was not queried.", Reason.NOT_CONFIGURED)
        return settings

    @fetched
    async def api(self) -> TwilioApi:
        """Twilio, on connections that this run shares."""
        api = TwilioApi(self._twilio)
        self.resources.push_async_callback(api.close)
        return api

    @fetched
    async def messages(self) -> Outcomes | Refusal:
        """What became of the messages since yesterday."""
        return await (await self.api()).outcomes(self.context.now())

    async def _numbers(self, numbers: Sequence[str]) -> dict[str, Number | None]:
        api = await self.api()
        return dict(zip(numbers, await asyncio.gather(*map(api.number, numbers)), strict=True))

    @item(
        "Email service (SMTP) is configured",
        severity=CRITICAL,
        needs=("smtp", "smtp.username and password", "mail_domain and DNS, for SPF, DKIM and DMARC"),
    )
    async def email_configured(self) -> Result:
        """A password that expired, a certificate or a relay that refuses stop every e-mail, and nobody gets one about it.

        The server, at each of its addresses, has to encrypt the connection with a certificate that is valid for its name, accept
        the login, the sender, and the recipient, which it must not accept without the login; a user that it does not have, who is
        tried once a day, must not log in. The session ends there: nothing is sent. With `mail_domain`, which has to be that of
        `smtp.sender`, its SPF record is valid for receivers and does not let everyone send, each of `dkim_selectors` has a key that
        is not revoked, and DMARC has a policy; p=none is a warning.

        To fix it: try the same with `swaks --quit-after RCPT`, and correct what is refused; publish the records that are named.
        """
        server = self.settings.smtp
        if server is None:
            raise ProbeError("Option smtp is not set, so no mail server was checked.", Reason.NOT_CONFIGURED)
        rejected: dict[str, datetime] = self.context.memory.setdefault("rejected strangers", {})
        parts = [see_server(server, self.blocking, rejected, self.context.now())]
        if (domain := self.settings.mail_domain) is not None:
            parts += [see_mail_domain(domain), _is_of(server.sender.rpartition("@")[2], domain)]
        return await worst_of(*parts)

    @item("SMS gateway is configured", severity=WARNING, needs=("twilio.sms_numbers", "twilio: a main API key"))
    async def sms_configured(self) -> Result:
        """A trial account reaches its owner's phone only; a number without approval sends what no carrier delivers.

        The Twilio account has to be active and a full one, each of `twilio.sms_numbers` its own and able to send text messages.
        Of the messages since yesterday, of each of these numbers and of all, at most `twilio.max_undelivered_ratio` may have been
        lost, and the balance has to be at least `twilio.min_balance`, where that is given.

        To fix it: upgrade the account, buy the number, or register it with the carriers.
        """
        settings, api = self._twilio, await self.api()
        if not settings.sms_numbers:
            raise ProbeError("Option twilio.sms_numbers is not set, so no number was checked.", Reason.NOT_CONFIGURED)
        account, messages = await api.account(), await self.messages()
        if isinstance(messages, Refusal):
            return worst(*account_problems(account, messages))
        numbers = await self._numbers(settings.sms_numbers)
        balance = await api.balance() if settings.min_balance is not None else None
        good = ok(
            f"{counted(len(numbers), 'number')} can send text messages; "
            f"{messages.lost} of {counted(messages.final, 'message')} since yesterday were lost.",
        )
        problems = [*account_problems(account, messages), *sms_problems(numbers, balance, settings)]
        return verdict([*problems, *message_problems(messages, settings.sms_numbers, settings)], good)

    @item(
        "Voice service integration is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("twilio.voice_numbers", "evidence"),
        evidence=_TRIED,
    )
    async def voice_tested(self) -> Result:
        """A new number plays Twilio's demo to customers, and nobody of the team has ever called it.

        Each of `twilio.voice_numbers` has to be the account's, with voice, answered by an application, a trunk or an https URL
        that is not Twilio's demo, with a call that was answered within 90 days; and a record that is at most 90 days old says that
        somebody listened.

        To fix it: call the number, listen, and record it: `checklist-exporter attest communications.voice_tested`.
        """
        return await worst_of(self._voice(), self.attested("voice_tested"))

    async def _voice(self) -> Result:
        settings, api = self._twilio, await self.api()
        if not settings.voice_numbers:
            raise ProbeError("Option twilio.voice_numbers is not set, so no number was checked.", Reason.NOT_CONFIGURED)
        longest = self.settings.valid_for.get("voice_tested", _TRIED.valid_for)
        since = self.context.now() - longest
        numbers = await self._numbers(settings.voice_numbers)
        talked = {number: await api.talked(number, since) for number, found in numbers.items() if found is not None}
        good = ok(f"{counted(len(numbers), 'number')} with voice had a completed call within {format_length(longest)}.")
        return verdict(voice_problems(numbers, talked, longest), good)

    @item(
        "Notification templates are loaded",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("templates, or evidence for the running release",),
        evidence=_LOADED,
    )
    async def templates_loaded(self) -> Result:
        """A template that was loaded in the test environment only fails when the first customer is to be notified.

        Each of `templates.required` is requested: it has to exist with something at each of `templates.filled`, and one that does
        not exist must not be found. Without `templates`, a record for the running release, at most 90 days old, says that they are
        loaded.

        To fix it: load the templates, or record it: `checklist-exporter attest communications.templates_loaded`.
        """
        if self.settings.templates is None:
            return await self.attested("templates_loaded")
        found, control = await ask_templates(self.settings.templates)
        return verdict(
            template_problems(found, control), ok(f"{counted(len(found), 'template')} exist and are filled.")
        )

    @item(
        "Delivery tracking is enabled",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("receipts_query, clients.prometheus and twilio, or evidence with the link to what tracks deliveries",),
        evidence=_TRACKED,
    )
    async def delivery_tracking_enabled(self) -> Result:
        """A message that Twilio accepted may still be lost; without receipts the product calls it sent.

        `receipts_query` has to evaluate to at least `twilio.min_tracked_ratio` of the messages that Twilio knows the outcome of.
        Without it, a record that is at most 90 days old links what tracks deliveries.

        To fix it: set a status callback and record what it reports, or record what tracks deliveries:
        `checklist-exporter attest communications.delivery_tracking_enabled`.
        """
        if self.settings.receipts_query is None:
            return await self.attested("delivery_tracking_enabled")
        settings, messages = self._twilio, await self.messages()
        if isinstance(messages, Refusal):
            raise ProbeError(
                f"{messages.where} answered {messages.status}, so messages were not counted.",
                Reason.REFUSED if messages.status == 429 else Reason.DENIED,
            )
        samples = await self.client(Prometheus).query(self.settings.receipts_query)
        if len(samples) != 1:
            raise ProbeError(
                f"receipts_query evaluates to {counted(len(samples), 'sample')} (expected 1).",
                Reason.MISCONFIGURED if samples else Reason.MISSING,
            )
        receipts = samples[0].value
        good = ok(f"The product recorded {receipts:.0f} delivery receipts within two days.", receipts=receipts)
        return verdict(delivery_problems(receipts, messages, settings), good)


async def _is_of(sender: str, domain: MailDomain) -> Result:
    """Whether the records that are checked are those of the domain that the product sends from, or of one above or below it."""
    mine = sender.lower().rstrip(".")
    others = [name.lower() for name in (domain.name, domain.return_path) if name]
    if any(mine == name or mine.endswith(f".{name}") or name.endswith(f".{mine}") for name in others):
        return ok(f"The records are those of {mine}.")
    return unknown(
        f"smtp.sender is of {mine}, whose SPF, DKIM and DMARC records were not checked: mail_domain is {listed(others)}.",
        reason=Reason.MISCONFIGURED,
    )
