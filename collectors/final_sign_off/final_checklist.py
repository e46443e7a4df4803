"""Final Checklist"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.grafana.client import Grafana
from collectors.systems.grafana.judge import RECENT, active_problems
from collectors.systems.grafana.model import Frames, has_data, newest, queries_of, unfilled
from collectors.systems.issues.client import IssueTrackers, open_issues
from collectors.systems.issues.judge import issue_problems
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.judge.rollback import rollback_problems, rollback_target
from collectors.systems.kubernetes.model.images import PULLED
from collectors.systems.kubernetes.model.rbac import may_list
from collectors.systems.kubernetes.model.revisions import REVISED, REVISIONS, Revised
from collectors.systems.oncall.client import OnCallOptions, read_rosters
from collectors.systems.oncall.judge import judge_rosters
from collectors.systems.registry.check import Known, Nodes, pulled
from collectors.systems.registry.client import RegistrySettings
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

_MOST_PANELS = 20
_MOST_AHEAD = timedelta(days=60)
_SHORTEST_WINDOW = timedelta(minutes=1)
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


class LiveDashboard(Options):
    """A dashboard that must show data."""

    uid: str = Field(pattern=r"^[\w-]{1,40}$", description="The dashboard's uid.")
    variables: dict[str, str] = Field(
        default_factory=dict, description="Values of the dashboard's variables, such as datasource, in its queries."
    )


class FinalChecklistSettings(SectionSettings):
    """Options of the section."""

    issues: IssueTrackers = Field(IssueTrackers(), description="Where it is asked whether blocking issues are open.")
    rollback_deployments: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9.-]+$")], ...] = Field(
        (), description="Deployments that must have an earlier release to roll back to, as namespace/name."
    )
    registries: tuple[RegistrySettings, ...] = Field(
        (),
        description="Registries in which the images of those earlier releases must still be, with credentials that may pull; each "
        "registry that the images name.",
    )
    rollback_platforms: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9]+$")], ...] = Field(
        (),
        description="Platforms that those images must be for, such as linux/arm64; those of the cluster's nodes by default.",
    )
    layers_every: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="How often each layer of those images is requested once all were there; manifests are requested every time.",
    )
    dashboards: tuple[LiveDashboard, ...] = Field((), description="Grafana dashboards that must show data.")
    on_call: OnCallOptions | None = Field(None, description="Where it is asked who is on call.")

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

    @field_validator("registries")
    @classmethod
    def _once(cls, registries: tuple[RegistrySettings, ...]) -> tuple[RegistrySettings, ...]:
        names = [registry.name for registry in registries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"expected each host once, found {twice[0]} twice")
        return registries


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

    @item(
        "All identified issues resolved",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option issues, or evidence", "an account that may read the issues"),
        evidence=EvidenceRule(valid_for=timedelta(days=7), links=1, measured=("open_issues",)),
    )
    async def all_issues_resolved(self) -> Result:
        """An issue that was said to block the launch blocks it until it is closed.

        Verified in the trackers that `issues` names: none has an open issue with the label, or for the query, and the account can
        see the label or project at all. Without `issues`, by a record that is at most 7 days old, with a link, and with
        `open_issues`, which must be 0.

        To fix it, close the issues that it names, or agree that they do not block the launch and take the label off.
        """
        if self.settings.issues.any:
            trackers = await open_issues(self.settings.issues)
            names = listed(tracker.name for tracker in trackers)
            return verdict(issue_problems(trackers), ok(f"No blocking issue of {names} is open.", open_issues=0))
        attested = await self.attested("all_issues_resolved")
        return worst(attested, no_issues(attested.evidence[0])) if attested.status.is_ok else attested

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

    @item(
        "Rollback plan is ready",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            "evidence",
            "with `rollback_deployments`: clients.kubernetes",
            may_list(REVISED, REVISIONS, option="rollback_deployments"),
            may_list(PULLED, option="registries"),
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=90), links=1, measured=("drill_minutes",)),
    )
    async def rollback_plan_ready(self) -> Result:
        """When the launch goes wrong, going back must be a step that was taken before, not an idea.

        Verified by a record that is at most 90 days old, with a link to the plan and with how long the drill took
        (`drill_minutes`), and in Kubernetes: each of `rollback_deployments` keeps revisions and has an earlier ReplicaSet with
        other images. With `registries`, those images can still be pulled, init containers' too: the registry has the manifest for
        the platform of a node, and every layer in full, and the tag is still the build that the nodes pulled.

        To fix it, write the plan, roll back once in an environment like production, and attest it; keep `revisionHistoryLimit`
        at 1 or more.
        """
        if not self.settings.rollback_deployments:
            return await self._rollback_drill()
        return await worst_of(self._rollback_drill(), self._revisions())

    async def _rollback_drill(self) -> Result:
        attested = await self.attested("rollback_plan_ready")
        return worst(attested, drill(attested.evidence[0])) if attested.status.is_ok else attested

    async def _revisions(self) -> Result:
        client, wanted = self.client(Kubernetes), self.settings.rollback_deployments
        deployments = await client.list(REVISED)
        replica_sets = await client.list(REVISIONS)
        spaces = replica_sets.namespaces
        if client.settings.selectors.keys() & {"deployments", "replicasets"}:
            raise ProbeError(
                "clients.kubernetes.selectors limits deployments or replicasets, so revisions were not checked.",
                Reason.NOT_CONFIGURED,
            )
        if unread := [path for path in wanted if spaces and path.partition("/")[0] not in spaces]:
            raise ProbeError(f"{listed(unread)} is not in clients.kubernetes.namespaces.", Reason.NOT_CONFIGURED)
        problems = list(rollback_problems(wanted, deployments.items, replica_sets.items))
        can = f"{counted(len(wanted), 'Deployment')} can be rolled back to an earlier ReplicaSet"
        releases = {each.helm_release for each in deployments.items if each.path in wanted and each.helm_release}
        history = (
            f" Helm's own history of {listed(sorted(releases))} is in Secrets, which are not read (see `helm history`)."
            if releases
            else ""
        )
        if not self.settings.registries:
            said = f"{can}; whether its images can be pulled was not checked (`registries`).{history}"
            return verdict(problems, ok(said))
        problems += await self._pulled(deployments.items, replica_sets.items)
        return verdict(problems, ok(f"{can}, whose images can be pulled.{history}"))

    async def _pulled(self, deployments: Sequence[Revised], replica_sets: Sequence[Revised]) -> list[Result]:
        """What keeps nodes from pulling the images of the releases to roll back to."""
        targets = {
            f"Deployment {deployment.path}": target.images
            for deployment in deployments
            if deployment.path in self.settings.rollback_deployments
            and (target := rollback_target(deployment, replica_sets)) is not None
        }
        known = self.context.memory.setdefault("pulled", Known())
        return await pulled(targets, self.settings.registries, await self._nodes(), known, self.settings.layers_every)

    async def _nodes(self) -> Nodes:
        """What the nodes report on their platforms and images. Raises ProbeError where they must be listed and were not."""
        own = frozenset(self.settings.rollback_platforms)
        try:
            nodes = (await self.client(Kubernetes).list(PULLED)).items
        except ProbeError:
            if own:
                return Nodes(own)
            raise
        platforms = own or frozenset(node.platform for node in nodes if node.platform)
        if not platforms:
            raise ProbeError("No node reports its platform, so images were not requested.", Reason.MISSING)
        return Nodes(platforms, [names for node in nodes for names in node.images])

    @item(
        "Monitoring dashboards are active",
        severity=WARNING,
        needs=("clients.grafana", "option dashboards", "a service account with the role Viewer"),
    )
    async def monitoring_dashboards_active(self) -> Result:
        """A dashboard that shows nothing is noticed when someone looks at it in the night.

        Verified in Grafana: each of `dashboards` exists, has panels with queries, and at least one of them returns data of the
        last hour; a warning where the newest is older than 15 minutes. Variables of the dashboard take the values in `variables`.

        To fix it, open the dashboard that it names, and repair its data source or its queries.
        """
        if not self.settings.dashboards:
            return unknown(
                "The option dashboards is not set, so no dashboard was opened.", reason=Reason.NOT_CONFIGURED
            )
        shown = [await self._dashboard(dashboard) for dashboard in self.settings.dashboards]
        good = ok(f"{counted(len(shown), 'dashboard shows', 'dashboards show')} data of the last hour.")
        return verdict((problem for problems in shown for problem in problems), good)

    async def _dashboard(self, dashboard: LiveDashboard) -> list[Result]:
        client, now = self.client(Grafana), self.context.now()
        recent = (now - RECENT).timestamp()
        try:
            panels = await client.panels(dashboard.uid)
            answers: dict[str, dict[str, Frames]] = {}
            left: set[str] = set()
            for panel in (panels or ())[:_MOST_PANELS]:
                queries = queries_of(panel, dashboard.variables)
                left |= unfilled(queries)
                if not queries or unfilled(queries):
                    continue
                answers[f"{panel.id} {panel.title}"] = found = await client.query(queries)
                if any((newest(frames) or 0) >= recent for frames in found.values()):
                    break
        except ProbeError as error:
            return [unobserved(error)]
        if left and not any(has_data(frames) for found in answers.values() for frames in found.values()):
            names = listed(sorted(left))
            return [
                unknown(
                    f"Grafana's dashboard {dashboard.uid} has variables without a value in `variables`: {names}.",
                    reason=Reason.NOT_CONFIGURED,
                )
            ]
        return list(active_problems(dashboard.uid, None if panels is None else len(panels), answers, now))

    @item(
        "On-call team is notified",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("evidence", "with `on_call`: a read-only key of PagerDuty or Opsgenie"),
        evidence=EvidenceRule(valid_for=timedelta(days=7), links=1),
    )
    async def on_call_team_notified(self) -> Result:
        """Who is on call must know of the launch, and someone must be on call while it happens.

        Verified by a record that is at most 7 days old with a link to the message, which is a warning where the launch window was
        confirmed after it, and, where `on_call` is configured, in the
        roster: every level is staffed throughout the launch window that `launch_window_confirmed` records (PagerDuty), or now
        (Opsgenie and other APIs, which is a warning while the window has not begun).

        To fix it, write to those on call, attest the message, and fill the shifts that it names.
        """
        if self.settings.on_call is None:
            return await self._message()
        return await worst_of(self._message(), self._on_call(self.settings.on_call))

    async def _message(self) -> Result:
        """The record of the message, which may name another window where that was confirmed later."""
        message, window = await self.attested("on_call_team_notified"), await self.attested("launch_window_confirmed")
        if not (message.status.is_ok and window.status.is_ok):
            return message
        written, confirmed = start_of(message.evidence[0].on), start_of(window.evidence[0].on)
        if written >= confirmed:
            return message
        earlier = warning(
            f"On-call was notified on {written:%Y-%m-%d}, before the launch window was confirmed on {confirmed:%Y-%m-%d}."
        )
        return worst(message, earlier)

    async def _on_call(self, options: OnCallOptions) -> Result:
        confirmed = await self.attested("launch_window_confirmed")
        if not confirmed.status.is_ok or (window := confirmed.evidence[0].window) is None:
            return unknown(f"There is no launch window to look at: {confirmed.summary}", reason=Reason.MISSING)
        now, end = self.context.now(), end_of(window.end)
        start = max(now, start_of(window.start))
        if end <= now:
            return ok("The launch window has passed, so who is on call was not requested.")
        ahead = options.model_copy(update={"look_ahead": min(end - start, _MOST_AHEAD)})
        rosters = await read_rosters(ahead, start)
        judged = judge_rosters(rosters, ahead)
        if judged.status is Status.WARNING:  # a gap in the window, which is all that was checked
            return replace(failed(judged.summary, reason=Reason.MISSING), measurements=judged.measurements)
        if judged.status is Status.OK and start > now and any(roster.since == roster.until for roster in rosters):
            return replace(
                warning(f"{judged.summary} Who is on call during the launch window is not shown by the roster."),
                measurements=judged.measurements,
            )
        return judged

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
    if end - start < _SHORTEST_WINDOW:
        return failed(f"{window} is shorter than a minute.", reason=Reason.INVALID)
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


def no_issues(record: Record) -> Result:
    """Whether the record has no open issue."""
    if left := record.measured["open_issues"]:
        return failed(f"The record has {left:g} open issues (0 wanted).", reason=Reason.LIMIT, open_issues=left)
    return ok("No identified issue is open.", open_issues=0)


def drill(record: Record) -> Result:
    """Whether the drill took any time: a drill that took none was not made."""
    minutes = record.measured["drill_minutes"]
    if minutes <= 0:
        return failed(f"The rollback drill took {minutes:g} minutes (more than 0 wanted).", reason=Reason.INVALID)
    return ok(f"The rollback drill took {minutes:g} minutes.", drill_minutes=minutes)


def communication_plan(record: Record) -> Result:
    """Whether the plan has channels, contacts and templates."""
    if missing := [name for name in _PLANNED if record.measured[name] < 1]:
        return failed(
            f"The communication plan has no {' and no '.join(missing)} (at least one of each wanted).",
            reason=Reason.MISSING,
        )
    return ok("The communication plan has channels, contacts and templates.")
