"""Final Checklist"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from exporter.collector import Collector, LineView, Mode, NoTarget, Options, SectionSettings, evidence_item, item
from exporter.evidence.records import Moment, Record, end_of, start_of
from exporter.evidence.rules import EvidenceRule
from exporter.http import Http, HttpSettings
from exporter.options import Duration
from exporter.verdict import (
    CRITICAL,
    INFO,
    WARNING,
    ProbeError,
    Reason,
    Result,
    Status,
    failed,
    ok,
    unknown,
    unobserved,
    warning,
    worst,
)
from exporter.words import counted, format_length, listed

_PLANNED = ("channels", "contacts", "templates")


class Freeze(Options):
    """A period in which nothing is released."""

    start: Moment = Field(description="When it begins: a date (UTC), or a time with its offset.")
    end: Moment = Field(description="When it ends; a date counts to the end of the day.")
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
    freezes: tuple[Freeze, ...] = Field((), description="Periods in which nothing is released.")
    max_window: Duration = Field(
        timedelta(days=30), gt=timedelta(0), description="Maximum length of the launch window."
    )
    max_ahead: Duration = Field(
        timedelta(days=365), gt=timedelta(0), description="How far in the future the launch window may begin."
    )
    status_page: HttpSettings | None = Field(None, description="Status page for users; it must answer 200.")


class FinalChecklist(Collector[FinalChecklistSettings, NoTarget]):
    """Is everything above done, and is everyone ready?"""

    Settings = FinalChecklistSettings
    rights = "Evidence records."

    @item("All checklist items completed", severity=CRITICAL, mode=Mode.DERIVED)
    async def all_items_completed(self) -> Result:
        """One line that shows whether anything at all is missing.

        Derived from every other line as it is now: `failed` when any failed, else `unknown` while any is unknown, else `warning`
        when some are waived, else `ok`. Lines that do not apply, this one, and that all have signed off, do not count.

        To fix it, fix the lines that it names; critical ones come first.
        """
        own = {name for name, declared in self.items().items() if declared.mode is Mode.DERIVED}
        return completed(
            view
            for view in self.context.view()
            if view.planned.section != self.section() or view.planned.item not in own
        )

    @item("All stakeholders have signed off", severity=CRITICAL, mode=Mode.DERIVED)
    async def all_stakeholders_signed_off(self) -> Result:
        """A launch that not everyone agreed to leads to an argument about who did.

        Derived from the lines of the section Signatories as they are now, by the same rules as "All checklist items completed".

        To fix it, collect the sign-offs that it names.
        """
        return completed(view for view in self.context.view() if view.planned.section == "signatories")

    @evidence_item(
        "Launch window is confirmed",
        EvidenceRule(valid_for=timedelta(days=365), window=True),
        how="of at most `max_window` that begins within `max_ahead`, was not over when it was confirmed, and touches none of the "
        "configured `freezes`",
        severity=WARNING,
    )
    async def launch_window_confirmed(self, record: Record) -> Result:
        """Everyone must expect the launch at the same time, and no change freeze may cover it.

        To fix it, agree on a window and record it with `window: {start: …, end: …}`. The line still passes after the window.
        """
        return launch_window(record, self.settings, self.context.now())

    @evidence_item(
        "Communication plan is ready",
        EvidenceRule(valid_for=timedelta(days=90), links=1, measured=_PLANNED),
        how="at least one of each; where `status_page` is configured, that page must answer too",
        severity=WARNING,
        needs=("evidence", "evidence.hosts for the plan"),
    )
    async def communication_plan_ready(self, record: Record) -> Result:
        """When something goes wrong, users should hear it from you first, in words prepared in advance.

        To fix it, write the plan and record it with `measured: {channels: 3, contacts: 5, templates: 4}`.
        """
        if self.settings.status_page is None:
            return communication_plan(record)
        return worst(communication_plan(record), await self._status_page(self.settings.status_page))

    async def _status_page(self, page: HttpSettings) -> Result:
        http = Http(page)
        self.resources.push_async_callback(http.close)
        try:
            await http.get()
        except ProbeError as error:
            return unobserved(error)
        return ok(f"The status page {page.url} answers.")


def completed(views: Iterable[LineView]) -> Result:
    """Whether all of these lines pass: what was observed to be false outweighs what was not observed."""
    views = [view for view in views if view.status is not Status.NOT_APPLICABLE]
    false = [view for view in views if view.status is Status.FAILED]
    unseen = [view for view in views if view.status is Status.UNKNOWN]
    waived = [view for view in views if view.status is Status.WAIVED]
    total = counted(len(views), "line")
    counts: dict[str, Any] = {"failed_items": len(false), "unknown_items": len(unseen), "waived_items": len(waived)}
    if false:
        also = f" {len(unseen)} more {'is' if len(unseen) == 1 else 'are'} unknown." if unseen else ""
        return failed(f"{len(false)} of {total} failed: {_named(false)}.{also}", **counts)
    if unseen:
        verb = "is" if len(unseen) == 1 else "are"
        return unknown(f"{len(unseen)} of {total} {verb} unknown: {_named(unseen)}.", **counts)
    if waived:
        passing = len(views) - len(waived)
        return warning(
            f"{passing} of {total} {'passes' if passing == 1 else 'pass'}; waived: {_named(waived)}.", **counts
        )
    if views:
        return ok(f"All {total} pass." if len(views) > 1 else "The one line passes.", **counts)
    return unknown("The checklist has no such lines, so nothing was checked.", reason=Reason.NOT_VERIFIED, **counts)


_WEIGHT = {CRITICAL: 0, WARNING: 1, INFO: 2}


def _named(views: Iterable[LineView]) -> str:
    """The lines by name, those that matter most first."""
    return listed(view.planned.id for view in sorted(views, key=lambda view: _WEIGHT[view.planned.severity]))


def launch_window(record: Record, settings: FinalChecklistSettings, now: datetime) -> Result:
    """Whether the record's window is one that people can agree on, and free of freezes. It may have passed since."""
    assert record.window is not None
    start, end, confirmed = start_of(record.window.start), end_of(record.window.end), start_of(record.on)
    window = f"The launch window {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    if end <= confirmed:
        return failed(f"{window} was over when it was confirmed on {confirmed:%Y-%m-%d}.", reason=Reason.INVALID)
    if end - start > settings.max_window:
        most = format_length(settings.max_window)
        return failed(f"{window} is {format_length(end - start)} long (at most {most}).", reason=Reason.LIMIT)
    if start - now > settings.max_ahead:
        most = format_length(settings.max_ahead)
        return failed(f"{window} begins in {format_length(start - now)} (at most {most}).", reason=Reason.LIMIT)
    for freeze in settings.freezes:
        if start < end_of(freeze.end) and start_of(freeze.start) < end:
            return failed(
                f"{window} is in a freeze from {freeze.start} to {freeze.end}: {freeze.reason}",
                reason=Reason.CONTRADICTED,
            )
    if now >= end:
        return ok(f"{window.replace('window', 'window was', 1)}.")
    seconds = max(0.0, (start - now).total_seconds())
    return ok(f"{window.replace('window', 'window is', 1)}.", seconds_until_window=seconds)


def communication_plan(record: Record) -> Result:
    """Whether the plan has channels, contacts and templates."""
    if missing := [name for name in _PLANNED if record.measured[name] < 1]:
        return failed(
            f"The communication plan has no {' and no '.join(missing)} (at least one of each wanted).",
            reason=Reason.MISSING,
        )
    return ok("The communication plan has channels, contacts and templates.")
