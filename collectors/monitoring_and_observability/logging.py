"""Logging"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, model_validator

from collectors.shared.attempts import attempt_all
from collectors.shared.marker import WORD, Marker, MarkerWay
from collectors.shared.marker_sending import send
from collectors.shared.selectors import SELECTOR
from collectors.shared.verdicts import verdict
from collectors.systems.loki.client import Loki
from collectors.systems.loki.judge.lines import judge_levels, judge_structure
from collectors.systems.loki.judge.retention import judge_retention
from collectors.systems.loki.model.levels import (
    DEBUG_FIELD,
    DEBUG_WORD,
    LEVEL_FIELD,
    LEVEL_WORD,
    Levels,
    levels,
    unlevelled,
)
from collectors.systems.loki.model.limits import LogLimits
from collectors.systems.loki.model.lines import Stream, structure
from collectors.systems.loki.model.retention import overrides_file, parse_retention
from collectors.systems.loki.model.secrets import literally, secrets_in, without_secrets
from exporter.collector import Collector, NoTarget, Options, SectionSettings, fetched, item
from exporter.options import Duration, format_duration
from exporter.positioned_yaml import YamlError, load_yaml, read_bounded
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, Status, failed, ok, unknown, unobserved

T = TypeVar("T")

_POLL_SECONDS = 0.5


class LoggedService(Options):
    """A service whose logs are checked."""

    name: str = Field(min_length=1, description="Name used in verdicts.")
    selector: str = Field(
        pattern=SELECTOR,
        description='Stream selector of its logs, such as {namespace="shop", app="api"}.',
    )
    marker: MarkerWay | None = Field(
        None,
        description="How a marker is sent: to prove redaction, and that a quiet service logs. Nothing is sent where it is not set.",
    )


class LoggingSettings(SectionSettings, LogLimits):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(minutes=2), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    services: tuple[LoggedService, ...] = Field((), description="The services whose logs are checked.")
    window: Duration = Field(
        timedelta(minutes=15), gt=timedelta(0), description="Time in which every service must have logged something."
    )
    level_window: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), description="Period from which levels are counted and lines sampled."
    )
    sample: int = Field(100, ge=1, le=1000, description="How many of a service's newest lines are checked.")
    marker_wait: Duration = Field(
        timedelta(seconds=90), gt=timedelta(0), description="How long a marker may take until Loki has it."
    )
    marker_settle: Duration = Field(
        timedelta(seconds=5), description="How long its secrets are searched for after the marker itself was found."
    )
    config_file: Path | None = Field(
        None, description="Loki's configuration file, where Loki itself does not show it at /config (before 2.0)."
    )

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.marker_wait + self.marker_settle >= self.timeout:
            raise ValueError("expected `marker_wait` and `marker_settle` to take less than `timeout` together")
        if len({service.name for service in self.services}) < len(self.services):
            raise ValueError("expected a name of its own for each service")
        return self


@dataclass(frozen=True, slots=True)
class Marked:
    """What became of a marker: after how many seconds Loki had it (None: not in time), and which of its secrets Loki has."""

    after: float | None
    leaked: tuple[str, ...] = ()


class Logging(Collector[LoggingSettings, NoTarget]):
    """Asks Loki about the logs of each service. Lines are read, and never shown."""

    Settings = LoggingSettings
    rights = """\
Reading from Loki, or the gateway in front of it, as the tenant that has the logs (header X-Scope-OrgID):
  GET /loki/api/v1/query, /loki/api/v1/query_range, and for the retention /config and /runtime_config
"""

    @property
    def _loki(self) -> Loki:
        return self.client(Loki)

    async def _each(self, ask: Callable[[LoggedService], Awaitable[T]]) -> dict[str, T | ProbeError]:
        """The answer for each service, or why there is none. Raises ProbeError when no service is configured."""
        if not self.settings.services:
            raise ProbeError("Option services is empty, so no logs were checked.", Reason.NOT_CONFIGURED)
        answers = await attempt_all(map(ask, self.settings.services))
        return {service.name: answer for service, answer in zip(self.settings.services, answers, strict=True)}

    async def _count(self, selection: str, window: timedelta) -> float:
        """How many lines of the last time a selection has."""
        samples = await self._loki.query(f"sum(count_over_time({selection} [{_seconds(window)}]))")
        return sum(sample.value for sample in samples)

    @fetched
    async def counts(self) -> Mapping[str, float | ProbeError]:
        """How many lines each service logged within the window, without markers that were pushed in its name."""

        async def count(service: LoggedService) -> float:
            pushed = service.marker is not None and service.marker.push is not None
            selection = f'{service.selector} != "{WORD}"' if pushed else service.selector
            return await self._count(selection, self.settings.window)

        return await self._each(count)

    @fetched
    async def samples(self) -> Mapping[str, list[Stream] | ProbeError]:
        """The newest lines of each service."""
        now = self.context.now()

        async def sample(service: LoggedService) -> list[Stream]:
            start = now - self.settings.level_window
            return await self._loki.query_range(service.selector, start, now, limit=self.settings.sample)

        return await self._each(sample)

    @fetched
    async def marked(self) -> Mapping[str, Marked | ProbeError]:
        """What became of a marker that was sent to each service which has a way for it."""
        return await self._each(self._mark)

    async def _mark(self, service: LoggedService) -> Marked:
        if service.marker is None:
            raise ProbeError(
                f"Option marker of {service.name} is not set, so no marker was sent.", Reason.NOT_CONFIGURED
            )
        marker, started = Marker(), time.monotonic()
        secrets = await send(marker, service.marker, int(self.context.now().timestamp() * 1e9))
        found = f"{service.selector} |~ `{literally(marker.id)}`"
        while not await self._count(found, self.settings.timeout):
            if time.monotonic() - started > self.settings.marker_wait.total_seconds():
                return Marked(None, await self._leaked(secrets))
            await asyncio.sleep(_POLL_SECONDS)
        after = time.monotonic() - started
        if not (leaked := await self._leaked(secrets)):
            await asyncio.sleep(self.settings.marker_settle.total_seconds())
            leaked = await self._leaked(secrets)
        return Marked(after, leaked)

    async def _leaked(self, secrets: Mapping[str, str]) -> tuple[str, ...]:
        """Which of a marker's secrets are in any service's logs: whoever passes a request on may log it too."""
        window = self.settings.timeout
        any_of = "|".join(map(literally, secrets.values()))
        leaked = []
        for service in self.settings.services:
            try:
                if not await self._count(f"{service.selector} |~ `{any_of}`", window):
                    continue
                for kind, secret in secrets.items():
                    if await self._count(f"{service.selector} |~ `{literally(secret)}`", window):
                        leaked.append(f"the {kind} in the logs of {service.name}")
            except ProbeError as why:
                raise ProbeError(without_secrets(str(why), secrets.values())) from None
        return tuple(leaked)

    @item("All services are logging to Loki", severity=WARNING, needs=("clients.loki", "option services"))
    async def services_logging_to_loki(self) -> Result:
        """Missing logs are discovered in the middle of an incident, when they are needed.

        Each service has at least one line in Loki from the last `window`, by its stream selector; a line that was only pushed
        as a marker does not count. A service that was silent is sent a marker request, where `marker.request` says how, and
        that must arrive in its logs within `marker_wait`.

        To fix it, see the targets page of promtail or Alloy on the node where the service runs, and whether its labels
        changed.
        """
        counts = await self.counts()
        quiet = [name for name, count in counts.items() if count == 0]
        marked = await self.marked() if any(self._may_ask(name) for name in quiet) else {}
        problems, heard = [], []
        for service in self.settings.services:
            count = counts[service.name]
            if isinstance(count, ProbeError):
                problems.append(unobserved(count))
            elif count == 0 and not (seen := self._silence(service, marked)).status.is_ok:
                problems.append(seen)
            elif count == 0:
                heard.append(seen)
        total = sum(count for count in counts.values() if not isinstance(count, ProbeError))
        within = format_duration(self.settings.window)
        few = " " + " ".join(result.summary for result in heard[:4]) if heard else ""
        good = ok(f"All {len(counts)} services logged to Loki within {within}.{few}", lines=total)
        return verdict(problems, good)

    def _may_ask(self, name: str) -> bool:
        way = next(service.marker for service in self.settings.services if service.name == name)
        return way is not None and way.request is not None

    def _silence(self, service: LoggedService, marked: Mapping[str, Marked | ProbeError]) -> Result:
        """The verdict on a service that logged nothing by itself."""
        within = format_duration(self.settings.window)
        silent = f"Loki has no line of {service.name} from the last {within} ({service.selector})"
        if not self._may_ask(service.name):
            return failed(f"{silent}.", reason=Reason.MISSING)
        seen = marked[service.name]
        if isinstance(seen, ProbeError):
            return unknown(f"{silent}, and no marker could be sent. {seen}", reason=Reason.UNREACHABLE)
        if seen.after is None:
            return failed(
                f"{silent}, nor the marker request sent to it {format_duration(self.settings.marker_wait)} ago.",
                reason=Reason.MISSING,
            )
        return ok(f"{service.name} was silent, but logged a marker request, which Loki had after {seen.after:.0f} s.")

    @item("Log levels are appropriate for production", severity=WARNING, needs=("clients.loki", "option services"))
    async def log_levels_appropriate(self) -> Result:
        """Debug lines cost storage, hide what matters and are where secrets are written by mistake.

        Of each service's lines of the last `level_window`, the share of levels debug and trace is at most `max_debug_ratio`.
        The level is taken from `detected_level`, which newer Lokis add, or from the label `level`; of lines that have
        neither, from their text: a field (`level=debug`, `"level":20`), else a word (`DEBUG`, `[debug]`).
        When too few lines have a level it is `unknown`.

        To fix it, set the service's log level to info (`LOG_LEVEL=info`), or give its lines a level.
        """
        seen = await self._each(self._levels)
        results = [
            unobserved(levels)
            if isinstance(levels, ProbeError)
            else judge_levels(name, levels, self.settings, self.settings.level_window)
            for name, levels in seen.items()
        ]
        return _overall(
            results,
            "debug_ratio",
            max,
            lambda share: (
                f"At most {share:.1%} of the lines of each of {len(results)} services are of level debug or trace "
                f"(limit {self.settings.max_debug_ratio:.1%})."
            ),
        )

    async def _levels(self, service: LoggedService) -> Levels:
        window = _seconds(self.settings.level_window)

        async def by_labels(filters: str = "") -> list[Any]:
            expression = f"sum by (detected_level, level) (count_over_time({service.selector}{filters} [{window}]))"
            return await self._loki.query(expression)

        counts = await by_labels()
        labelled = levels(counts)
        if not unlevelled(counts):
            return labelled
        field, word = f" |~ `{LEVEL_FIELD}`", f" !~ `{LEVEL_FIELD}` |~ `{LEVEL_WORD}`"
        debug_field, debug_word = f" |~ `{DEBUG_FIELD}`", f" !~ `{LEVEL_FIELD}` |~ `{DEBUG_WORD}`"
        with_field, with_word, debug_fields, debug_words = [
            unlevelled(found) for found in await asyncio.gather(*map(by_labels, (field, word, debug_field, debug_word)))
        ]
        return Levels(
            labelled.lines, labelled.levelled + with_field + with_word, labelled.debug + debug_fields + debug_words
        )

    @item("Structured logging is enabled", severity=WARNING, needs=("clients.loki", "option services"))
    async def structured_logging_enabled(self) -> Result:
        """Lines of plain text cannot be filtered by user, request or level when that is needed most.

        Of the newest `sample` lines of each service, at least `min_structured_ratio` are JSON or logfmt, with a timestamp, a
        level and a message. Lines are taken out of the envelopes of Docker, the kubelet and promtail first, which are JSON
        around any text; a stack trace counts as one line of plain text. Lines themselves are never shown.

        To fix it, let the service's logger write JSON (pino, zap, structlog), stack traces in a field of the line.
        """
        samples = await self.samples()
        structures = await self.blocking(
            lambda: {
                name: sample if isinstance(sample, ProbeError) else structure(sample, self.settings)
                for name, sample in samples.items()
            }
        )

        results = [
            unobserved(seen) if isinstance(seen, ProbeError) else judge_structure(name, seen, self.settings)
            for name, seen in structures.items()
        ]
        return _overall(
            results,
            "structured_ratio",
            min,
            lambda share: (
                f"At least {share:.0%} of the sampled lines of each of {len(results)} services are structured, with timestamp, "
                f"level and message (limit {self.settings.min_structured_ratio:.0%})."
            ),
        )

    @item(
        "Sensitive data is redacted from logs",
        severity=CRITICAL,
        needs=("clients.loki", "option services", "option marker of every service"),
    )
    async def sensitive_data_redacted(self) -> Result:
        """A password or card number in a log is read by everyone who reads logs, and stored as long as they are.

        Each service is sent a marker with a fake password, bearer token and card number, new each time. The marker must be
        found in its logs within `marker_wait`, and none of the secrets in the logs of any service: without the marker it
        is `unknown`, as nothing is known about lines that did not arrive. The newest lines of each service are also scanned
        for what looks like secrets; matches are counted, and never shown.

        To fix it, redact in the logger (pino's `redact`, a structlog processor), or in the pipeline (promtail's `replace`).
        """
        samples = await self.samples()
        scanned = await self.blocking(
            lambda: {
                name: sample if isinstance(sample, ProbeError) else secrets_in(sample, self.settings.secret_patterns)
                for name, sample in samples.items()
            }
        )
        problems = []
        for name, found in scanned.items():
            if isinstance(found, ProbeError):
                problems.append(unobserved(found))
                continue
            for kind, count in found.most_common():
                problems.append(failed(f"{count} of the sampled lines of {name} hold what looks like {kind}."))
        for name, marked in (await self.marked()).items():
            if isinstance(marked, ProbeError):
                problems.append(unknown(f"Whether {name} redacts secrets was not seen. {marked}"))
            elif marked.leaked:
                problems.append(failed(f"The marker sent to {name} left {' and '.join(marked.leaked)}."))
            elif marked.after is None:
                wait = format_duration(self.settings.marker_wait)
                problems.append(
                    unknown(
                        f"The marker sent to {name} was not found within {wait}, so neither could its secrets be.",
                        reason=Reason.MISSING,
                    )
                )
        lines = sum(len(stream.entries) for sample in samples.values() if isinstance(sample, list) for stream in sample)
        good = ok(
            f"The markers sent to all {len(samples)} services were found in Loki without their secrets, and {lines} sampled "
            "lines hold nothing that looks like one.",
            sampled_lines=lines,
        )
        return verdict(problems, good)

    @item(
        "Log retention policies are configured",
        severity=WARNING,
        needs=("clients.loki", "GET /config, or option config_file"),
    )
    async def retention_configured(self) -> Result:
        """Logs deleted too early are missing when an incident is investigated; stored forever, they cost money and break the
        law.

        Loki's running configuration (/config) has retention enabled in the compactor, without which `retention_period` is
        ignored, and a period within `min_retention` and `max_retention`, also for each of `retention_stream` and for
        each tenant that has another (/runtime_config); 0 means forever. With an older index it is the table manager that
        deletes. A Loki before 2.0 does not show its configuration: declare `config_file`.

        To fix it: `compactor: {retention_enabled: true, delete_request_store: …}`, `limits_config: {retention_period: 31d}`.
        """
        config, source = await self._loki.config(), "by Loki's /config"
        if config is None:
            if self.settings.config_file is None:
                raise ProbeError(
                    "Loki does not show its configuration at /config, and option config_file is not set.",
                    Reason.NOT_CONFIGURED,
                )
            config = await self.blocking(_read_config, self.settings.config_file)
            source = f"by {self.settings.config_file}, as Loki itself does not show it"
        overrides: Mapping[str, Any] = {}
        if file := overrides_file(config):
            runtime = await self._loki.runtime_config()
            if runtime is None:
                raise ProbeError(
                    f"Loki takes overrides for single tenants from {file}, and does not show them at /runtime_config.",
                    Reason.MISSING,
                )
            overrides = runtime
        return judge_retention(parse_retention(config, overrides), self.settings, source)


def _overall(
    results: list[Result], measurement: str, worse: Callable[[list[float]], float], good: Callable[[float], str]
) -> Result:
    """The verdict on all services by a share that was measured of each; `good` says it of the worst share."""
    shares = [result.measurements[measurement] for result in results if measurement in result.measurements]
    share = worse(shares or [0.0])
    problems = [result for result in results if not result.status.is_ok]
    return verdict(problems, Result(Status.OK, good(share), {measurement: share} if shares else {}))


def _seconds(window: timedelta) -> str:
    return f"{max(1, round(window.total_seconds()))}s"


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        found = load_yaml(read_bounded(path), path.name).plain()
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}.", Reason.DENIED) from None
    except YamlError:  # its text might quote a secret
        raise ProbeError(f"{path} is no YAML that can be read.", Reason.MALFORMED) from None
    if not isinstance(found, dict):
        raise ProbeError(f"{path} holds no configuration of Loki.", Reason.MALFORMED)
    return found
