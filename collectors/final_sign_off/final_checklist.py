"""Final Checklist"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from collectors.shared.verdicts import worst_of
from exporter.collector import Collector, LineView, Mode, NoTarget, Options, SectionSettings, item
from exporter.evidence.records import Moment, Window, end_of, start_of
from exporter.evidence.validity import EvidenceRule, Record
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, Result, Status, failed, ok, worst

_PLANNED = ("channels", "contacts", "templates")


class Freeze(Options):
    """A time in which nothing is released."""

    start: Moment = Field(description="When it begins: a date (UTC), or a time with its offset.")
    end: Moment = Field(description="When it is over; a date counts to its end.")
    reason: str = Field(min_length=1, description="Why nothing is released.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if end_of(self.end) <= start_of(self.start):
            raise ValueError("expected an end after the start")
        return self


class FinalChecklistSettings(SectionSettings):
    """Options of the section."""

    timeout: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    freezes: tuple[Freeze, ...] = Field((), description="Times in which nothing is released.")
    status_page: HttpSettings | None = Field(None, description="Page that tells users of trouble; it must answer 200.")


class FinalChecklist(Collector[FinalChecklistSettings, NoTarget]):
    """Is everything above done, and is everyone ready?"""

    Settings = FinalChecklistSettings
    rights = "Evidence records."

    @item("All checklist items completed", severity=CRITICAL, mode=Mode.DERIVED)
    async def all_items_completed(self) -> Result:
        """One look that tells whether anything at all is missing.

        Derived from every other line as it is now: `failed` when any failed, else `unknown` while any was not seen, else `warning`
        when some are waived, else `ok`. Lines that do not apply, this one, and that all have signed off, do not count.

        Look at the lines that it names.
        """
        own = {name for name, declared in self.items().items() if declared.mode is Mode.DERIVED}
        return completed(
            view
            for view in self.context.view()
            if view.planned.section != self.section() or view.planned.item not in own
        )

    @item("All stakeholders have signed off", severity=CRITICAL, mode=Mode.DERIVED)
    async def all_stakeholders_signed_off(self) -> Result:
        """A launch that somebody did not agree to ends in the argument about who agreed to it.

        Derived from the lines of the section Signatories as they are now, by the same rules as "All checklist items completed".

        Let those sign who are named.
        """
        return completed(view for view in self.context.view() if view.planned.section == "signatories")

    @item(
        "Launch window is confirmed",
        severity=WARNING,
        mode=Mode.EVIDENCE,
        needs=("evidence",),
        evidence=EvidenceRule(valid_for=timedelta(days=365), window=True),
    )
    async def launch_window_confirmed(self) -> Result:
        """Everyone must expect the launch at the same time, and nobody may have frozen changes then.

        Verified by a record with a `window` (start and end) that touches none of the configured `freezes`. It stays true when the
        window has passed.

        Agree on a window, and attest it with `window: {start: …, end: …}`.
        """
        attested = await self.attested("launch_window_confirmed")
        window = attested.evidence[0].window if attested.status.is_ok else None
        if window is None:
            return attested
        return worst(attested, launch_window(window, self.settings.freezes, self.context.now()))

    @item(
        "Communication plan is ready",
        severity=WARNING,
        mode=Mode.EVIDENCE,
        needs=("evidence", "evidence.hosts for the plan"),
        evidence=EvidenceRule(valid_for=timedelta(days=90), links=1, measured=_PLANNED),
    )
    async def communication_plan_ready(self) -> Result:
        """When something goes wrong, users should hear it from you first, in words that were thought about before.

        Verified by a record that is at most 90 days old, links the plan (which must answer) and measures its `channels`,
        `contacts` and `templates`: at least one of each. Where `status_page` is configured, that page must answer too.

        Write the plan, and attest it with `measured: {channels: 3, contacts: 5, templates: 4}`.
        """
        return await worst_of(
            self._plan(), *([self._status_page(self.settings.status_page)] if self.settings.status_page else [])
        )

    async def _plan(self) -> Result:
        attested = await self.attested("communication_plan_ready")
        return worst(attested, communication_plan(attested.evidence[0])) if attested.status.is_ok else attested

    async def _status_page(self, page: HttpSettings) -> Result:
        http = Http(page)
        self.resources.push_async_callback(http.close)
        await http.get()
        return ok(f"The status page {page.url} answers.")


def completed(views: Iterable[LineView]) -> Result:
    """Whether all of these lines are true: what was seen to be false outweighs what was not seen."""
    views = [view for view in views if view.status is not Status.NOT_APPLICABLE]
    false = [view for view in views if view.status is Status.FAILED]
    unseen = [view for view in views if view.status is Status.UNKNOWN]
    waived = [view for view in views if view.status is Status.WAIVED]
    total = len(views)
    if false:
        also = f" {len(unseen)} more could not be seen." if unseen else ""
        status, told = Status.FAILED, f"{len(false)} of {total} lines failed: {_named(false)}.{also}"
    elif unseen:
        status, told = Status.UNKNOWN, f"{len(unseen)} of {total} lines were not seen: {_named(unseen)}."
    elif waived:
        status, told = Status.WARNING, f"{total - len(waived)} of {total} lines are true, waived are {_named(waived)}."
    elif views:
        status, told = Status.OK, f"All {total} lines are true."
    else:
        status, told = Status.UNKNOWN, "The checklist has no such lines, so nothing was seen."
    counts = {"failed_items": len(false), "unknown_items": len(unseen), "waived_items": len(waived)}
    return Result(status, told, counts)


def _named(views: Sequence[LineView], most: int = 5) -> str:
    more = f" and {len(views) - most} more" if len(views) > most else ""
    return ", ".join(view.planned.id for view in views[:most]) + more


def launch_window(window: Window, freezes: Iterable[Freeze], now: datetime) -> Result:
    """Whether the window is free of freezes, or has passed."""
    start, end = start_of(window.start), end_of(window.end)
    told = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    for freeze in freezes:
        if start < end_of(freeze.end) and start_of(freeze.start) < end:
            return failed(
                f"The launch window {told} is in a freeze from {freeze.start} to {freeze.end}: {freeze.reason}"
            )
    if now >= end:
        return ok(f"The launch window was {told}.")
    return ok(f"The launch window is {told}.", seconds_until_window=max(0.0, (start - now).total_seconds()))


def communication_plan(record: Record) -> Result:
    """Whether the plan has channels, contacts and templates."""
    if missing := [name for name in _PLANNED if record.measured[name] < 1]:
        return failed(f"The communication plan has no {' and no '.join(missing)} (at least one of each wanted).")
    return ok("The communication plan has channels, contacts and templates.")
