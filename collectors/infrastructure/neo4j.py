"""Neo4j Graph Database"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self, TypeVar, cast

from pydantic import Field, SecretStr, model_validator

from collectors.shared.attempts import attempt, attempt_all
from collectors.shared.certificate_expiry import expiry_problems
from collectors.shared.host_port import HostPort
from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.kubernetes.check.pods import (
    CRON_JOB_RIGHTS,
    POD_RIGHTS,
    CronJobOptions,
    PodOptions,
    how_seen,
    with_cron_job,
    with_pods,
)
from collectors.systems.neo4j import judge, model
from collectors.systems.neo4j.client import bolt as bolt_api
from collectors.systems.neo4j.client import http as http_api
from collectors.systems.neo4j.client.bolt import Login
from collectors.systems.neo4j.client.server import ask_server
from collectors.systems.neo4j.model import Artefact, Doors, Entry, Knock, Look, Neo4jLimits, Tried
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.check.volumes import measure_space
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.volumes import judge_space
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.prometheus.model.volumes import Volume
from exporter.collector import Collector, Mode, Options, SectionSettings, Target, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import BaseUrl, Http, HttpSettings, Trust
from exporter.options import Duration, Secret, Size
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved, worst
from exporter.words import counted, listed, os_reason

T = TypeVar("T")

_MIN_FREE = 20 * 2**30
_MIN_FREE_RATIO = 0.2
_MAX_FILES = 100_000
_HEAD = 512


class MetricsBy(StrEnum):
    """Who gives the metrics."""

    ENDPOINT = "endpoint"
    JMX = "jmx"


class Neo4jVolume(Volume):
    """A volume of a server."""

    name: str = Field("data", min_length=1, description="What is stored on it: data or transactions.")
    min_free: Size = Field(_MIN_FREE, description="Space that must be free.")
    min_free_ratio: float = Field(_MIN_FREE_RATIO, ge=0, le=1, description="Share of the volume that must be free.")


class Neo4jServer(Options):
    """One server."""

    bolt: HostPort = Field(description="host:port of Bolt.")
    http: BaseUrl | None = Field(
        None, description="Address of its HTTP API, such as http://neo4j-0:7474; none when HTTP is off."
    )
    volumes: tuple[Neo4jVolume, ...] = Field((), description="Where it keeps stores and transaction logs.")


class Neo4jScrape(Scrape):
    """Where the metrics are found in Prometheus. The defaults are those of Enterprise's own endpoint (port 2004)."""

    job: str = Field("neo4j", description="Job that scrapes the servers, or the exporter that observes them.")
    health: str = Field(
        "up", description="Metric that is 1 while the server works; of blackbox_exporter probe_success."
    )
    series: str = Field("neo4j_dbms_bolt_connections_running", description="Metric that only a working server gives.")


class _Options(Neo4jLimits):
    """What may be set for the section and for one target."""

    server_timeout: Duration = Field(
        timedelta(seconds=2),
        gt=timedelta(0),
        description="How long a server may take to answer what it is asked at once.",
    )
    routing: bool = Field(
        True, description="Whether applications connect by neo4j://, so that routes must lead somewhere."
    )
    neo4j_metrics: MetricsBy = Field(
        MetricsBy.ENDPOINT,
        description="`endpoint` for the server's own (Enterprise), `jmx` for the JMX exporter or blackbox_exporter.",
    )
    scrape: Neo4jScrape = Field(Neo4jScrape(), description="Where the metrics are found in Prometheus.")
    backup_folder: Path | None = Field(
        None, description="Folder with the dumps or backups of all databases, as this machine mounts it."
    )


class Neo4jTarget(Target, PodOptions, CronJobOptions, _Options):
    """A server, or a cluster of servers."""

    servers: tuple[Neo4jServer, ...] = Field(min_length=1, description="All servers of the cluster.")
    username: str | None = Field(None, description="User; without one the servers are asked without credentials.")
    password: Secret | None = Field(None, description="Password of the user.")
    tls: Trust | None = Field(
        None, description="Speak TLS by Bolt: whom to trust, and who we are. Also used for https://."
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        if self.tls is not None and self.tls.server_name is not None:
            raise ValueError("expected no tls.server_name: the driver expects the host's name in the certificate")
        return self


class Neo4jSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[Neo4jTarget, ...] = Field(min_length=1, description="The Neo4j servers and clusters to check.")


class Neo4j(Collector[Neo4jSettings, Neo4jTarget]):
    """Asks every server by Bolt and HTTP for what it says of itself and its databases; each connection ends with the run."""

    Settings = Neo4jSettings
    Target = Neo4jTarget
    rights = """\
On Enterprise, by an administrator on the database system:
  CREATE ROLE checklist;
  GRANT ACCESS ON DATABASE * TO checklist;
  GRANT SHOW INDEX ON DATABASE * TO checklist;
  GRANT SHOW TRANSACTION (*) ON DATABASE * TO checklist;
  GRANT SHOW SETTING dbms.security.*, server.* ON DBMS TO checklist;
  GRANT SHOW SERVERS ON DBMS TO checklist;
  GRANT SHOW USER ON DBMS TO checklist;
  CREATE USER checklist SET PASSWORD 'PASSWORD' CHANGE NOT REQUIRED;
  GRANT ROLE checklist TO checklist;
On Community, which has no roles (every user is an administrator there):
  CREATE USER checklist SET PASSWORD 'PASSWORD' CHANGE NOT REQUIRED;
"""

    @fetched
    async def looks(self) -> tuple[Look | ProbeError, ...]:
        """What each server reports, or why it does not."""
        return await attempt_all(self._look(server) for server in self.target.servers)

    @fetched
    async def doors(self) -> tuple[Doors, ...]:
        """Whether each server lets in who has no credentials, or the default ones."""
        pairs = zip(self.target.servers, await self.looks(), strict=True)
        return tuple(await asyncio.gather(*(self._doors(server, look) for server, look in pairs)))

    @fetched
    async def artefacts(self) -> tuple[Artefact, ...]:
        """The files in the folder of backups. Raises ProbeError without the option backup_folder."""
        if self.target.backup_folder is None:
            raise ProbeError(
                "Option backup_folder is not set, so no dump or backup was checked.", Reason.NOT_CONFIGURED
            )
        return await self.blocking(_files, self.target.backup_folder)

    def _login(self, username: str | None, password: Secret | None) -> Login:
        return Login(username, password, self.target.tls, self.target.server_timeout)

    async def _look(self, server: Neo4jServer) -> Look:
        http = None if server.http is None else self._http(server.http)
        login = self._login(self.target.username, self.target.password)
        return await ask_server(server.bolt, http, login, routing=self.target.routing)

    def _http(self, url: str) -> Http:
        http = Http(HttpSettings(url=url, tls=self.target.tls or Trust(), timeout=self.target.server_timeout))
        self.resources.push_async_callback(http.close)
        return http

    async def _doors(self, server: Neo4jServer, look: Look | ProbeError) -> Doors:
        names = ("neo4j", "system") if isinstance(look, ProbeError) else look.names
        bolt, http = await asyncio.gather(
            attempt(bolt_api.knock(server.bolt, self._login(None, None))), self._http_without_credentials(server, names)
        )
        if bolt is not Entry.REFUSED:
            return Doors(bolt, http, None)
        default = await attempt(self._default_password(server, look, model.DEFAULT_USER))
        users = (
            () if isinstance(look, ProbeError) else [user for user in look.others if user in model.DEFAULT_PASSWORDS]
        )
        return Doors(
            bolt, http, default, {user: await attempt(self._default_password(server, look, user)) for user in users}
        )

    async def _http_without_credentials(
        self, server: Neo4jServer, names: Iterable[str]
    ) -> tuple[Knock, ...] | ProbeError | None:
        if server.http is None:
            return None
        return await attempt(http_api.knock(self._http(server.http), names))

    async def _default_password(self, server: Neo4jServer, look: Look | ProbeError, user: str) -> Tried:
        """What became of a user's default password: now, where nothing speaks against trying, or when it was last tried."""
        if isinstance(look, ProbeError):
            raise look
        now, key = self.context.now(), (server.bolt, user)
        tried = self._tries.get(key)
        known = tried if tried is not None and judge.holds(look, tried, user) else None
        if known is not None and known.at is not None and now < known.at + model.PAUSE:
            return known
        wrong = judge.wrong_passwords(look, tried, self.target.username, user)
        why = judge.unwise(look, tried, wrong, now, remembers=self.context.recall is not None, user=user)
        if why is None:
            entry = await bolt_api.knock(server.bolt, self._login(user, SecretStr(model.DEFAULT_PASSWORDS[user])))
            if entry is not Entry.LOCKED:
                wrong = wrong + 1 if entry is Entry.REFUSED else 0
                self._tries[key] = tried = Tried(entry, now, wrong, look.started)
                return tried
            # As many wrong ones as lock the user were given: from now on each one would do so again.
            self._tries[key] = Tried(entry, now, sys.maxsize, look.started)
            why = f"Neo4j {server.bolt} has locked the user {user} for now, so the default password was not tried."
        if known is not None:
            return known
        if judge.needless(look, user):
            return Tried(Entry.REFUSED)
        raise ProbeError(why, Reason.NOT_VERIFIED)

    @property
    def _tries(self) -> dict[tuple[str, str], Tried]:
        """The last try on each server, also from before a restart of the exporter, when all servers had refused."""
        if "default_password" not in self.context.memory:
            recalled = self.context.recall("authentication_enabled") if self.context.recall else {}
            tries: dict[tuple[str, str], Tried] = {}
            for user in model.DEFAULT_PASSWORDS:
                at, wrong = _measured(user)
                if {at, wrong} <= recalled.keys():
                    tried = Tried(Entry.REFUSED, datetime.fromtimestamp(recalled[at], UTC), int(recalled[wrong]))
                    tries |= {(server.bolt, user): tried for server in self.target.servers}
            self.context.memory["default_password"] = tries
        return cast("dict[tuple[str, str], Tried]", self.context.memory["default_password"])

    def _remembered(self) -> dict[str, float]:
        """The tries, as measurements: these outlive the process."""
        found: dict[str, float] = {}
        for user in model.DEFAULT_PASSWORDS:
            tries = [self._tries.get((server.bolt, user)) for server in self.target.servers]
            refused = [tried for tried in tries if tried is not None and tried.entry is Entry.REFUSED and tried.at]
            if len(refused) == len(tries):
                at, wrong = _measured(user)
                found[at] = min(tried.at.timestamp() for tried in refused if tried.at)
                found[wrong] = max(tried.wrong for tried in refused)
        return found

    async def _seen(self) -> tuple[list[Look], list[Result]]:
        """The servers that could be checked, and why the others could not."""
        looks = await self.looks()
        problems = [unobserved(why) for why in looks if isinstance(why, ProbeError)]
        return [look for look in looks if isinstance(look, Look)], problems

    @item(
        "Neo4j pods are running and healthy",
        severity=CRITICAL,
        needs=(
            "a user",
            "Bolt (and HTTP) of every server",
            "Enterprise: SHOW SERVERS ON DBMS, SHOW INDEX, SHOW TRANSACTION",
            *POD_RIGHTS,
        ),
    )
    async def pods_healthy(self) -> Result:
        """A server that accepts connections, which is all that the usual readiness check sees, may have its databases offline.

        Every server runs `RETURN 1` by Bolt within `max_latency`; SHOW DATABASES shows each database online, as requested, with one
        writer, taking writes (except those in `read_only`); SHOW INDEXES shows each index online; SHOW TRANSACTIONS shows none that
        has waited for a lock longer than `max_lock_wait`; on Enterprise SHOW SERVERS shows each server Enabled and Available. A
        client that asks for a route (neo4j://) reaches a writer: addresses that are advertised wrongly are noticed here. HTTP
        answers where it is configured. With `pods`, their pods are Ready and do not keep restarting, and their workload has all its
        replicas; without it pods are not checked.

        How to fix it: see debug.log of the server that is named, and `server.bolt.advertised_address` when only routes fail.
        TERMINATE TRANSACTION ends one that holds a lock; `db.lock.acquisition.timeout` limits how long others wait for it.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        looks, _ = await self._seen()
        problems = [judge.silence_problem(why) for why in await self.looks() if isinstance(why, ProbeError)]
        for look in looks:
            problems += [*judge.server_problems(look, self.target), *judge.database_problems(look, self.target)]
            for where, expiry in look.certificates.items():
                if isinstance(expiry, ProbeError):
                    problems.append(unobserved(expiry))
                else:
                    problems += expiry_problems(
                        f"Neo4j {where}", expiry, self.target.certificate_warn, self.context.now()
                    )
        problems += judge.index_problems(looks)
        for look in looks:
            problems += judge.lock_problems(look, self.target)
        measured = [look.latency for look in looks if isinstance(look.latency, float)]
        names = {row["name"] for look in looks if not isinstance(look.databases, ProbeError) for row in look.databases}
        many = f"All {len(looks)} Neo4j servers answer" if len(looks) > 1 else "The Neo4j server answers"
        good = ok(
            f"{many} and {counted(len(names), 'database is', 'databases are')} online, {how_seen(self.target.pods)}.",
            servers_answering=len(looks),
            latency_seconds=max(measured, default=float("nan")),
        )
        return verdict(problems, good)

    @item(
        "Neo4j authentication is enabled",
        severity=CRITICAL,
        needs=(
            "Bolt (and HTTP) of every server",
            "state.file",
            "Enterprise: SHOW SETTING dbms.security.*, server.* and SHOW USER ON DBMS",
        ),
    )
    async def authentication_enabled(self) -> Result:
        """Whoever reaches a server without authentication reads, changes and deletes everything; scanners look for such servers.

        Every server is asked by Bolt, and by both HTTP APIs for each database, without credentials, and must refuse; its
        `dbms.security.http_auth_allowlist` must not let anybody in. Documented default passwords (neo4j/neo4j, and admin/admin
        where there is such a user) are tried at most once a day, and not where a wrong password might be the one that locks the
        user (they add up over days, until the user is let in or the server starts); SHOW USERS then shows whether they were
        changed. That they must be changed at the first login means that nobody has done so. A server that serves HTTP needs its
        address configured here.

        How to fix it: `dbms.security.auth_enabled=true`, restart, and ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO a good one.
        """
        problems: list[Result] = []
        all_found = await self.doors()
        for server, look, found in zip(self.target.servers, await self.looks(), all_found, strict=True):
            settings = look if isinstance(look, ProbeError) else look.settings
            names = ("neo4j", "system") if isinstance(look, ProbeError) else look.names
            problems += judge.door_problems(server.bolt, settings, found, names)
        ways = "Bolt and HTTP refuse" if any(server.http for server in self.target.servers) else "Bolt refuses"
        good = ok(
            f"Without credentials {ways}, and {judge.default_refused(all_found)}.{self._untried(await self.looks())}"
        )
        good = replace(good, measurements=self._remembered())
        return verdict(problems, good)

    def _untried(self, looks: Iterable[Look | ProbeError]) -> str:
        """Whose passwords were not tried, as a sentence; nothing where there is nobody."""
        seen = [look for look in looks if isinstance(look, Look)]
        if any(isinstance(look.user, ProbeError) for look in seen):
            return " Other users could not be listed, so their passwords were not tried."
        others = {user for look in seen for user in look.others} - {*model.DEFAULT_PASSWORDS, self.target.username}
        return (
            f" Passwords of {counted(len(others), 'other user')} were not tried ({listed(sorted(others))})."
            if others
            else ""
        )

    @item(
        "Graph data storage has sufficient space",
        severity=CRITICAL,
        needs=("option volumes of every server", "clients.prometheus, unless a volume is a local path"),
    )
    async def storage_sufficient(self) -> Result:
        """A server whose disk is full stops writing, and its database goes offline.

        Each volume of each server (the data, and the transaction logs where they have their own) has `min_free` and
        `min_free_ratio` left. No statement and no metric shows what the disk has left, only what is used, so kubelet,
        node_exporter or the local file system is asked.

        How to fix it: enlarge the volume, or keep fewer transaction logs (`db.tx_log.rotation.retention_policy`).
        """
        parts = [part for server in self.target.servers for part in await self._space(server)]
        measured: dict[str, float] = {}
        for part in parts:
            for name, value in part.measurements.items():
                measured[name] = min(value, measured.get(name, value))
        return replace(worst(*parts), measurements=measured)

    async def _space(self, server: Neo4jServer) -> list[Result]:
        parts = (
            []
            if server.volumes
            else [unknown("option volumes is not set, so no free space was seen.", reason=Reason.NOT_CONFIGURED)]
        )
        for volume in server.volumes:
            space = await attempt(measure_space(self, volume))
            parts.append(unobserved(space) if isinstance(space, ProbeError) else judge_space(volume, space))
        return [replace(part, summary=f"{server.bolt}: {part.summary}") for part in parts]

    @item("Neo4j metrics are being collected", severity=WARNING, needs=("clients.prometheus",))
    async def metrics_collected(self) -> Result:
        """Without metrics nobody sees the page cache becoming too small and transactions piling up.

        Prometheus is asked for one scraped, healthy instance for each server, with a fresh sample. The server's own endpoint
        (`server.metrics.prometheus.enabled=true`, port 2004) is in Enterprise only; for Community set `neo4j_metrics: jmx` and
        name in `scrape` what the JMX exporter or a probe of blackbox_exporter gives.

        How to fix it: see Prometheus's targets page; `server.metrics.filter` decides which metrics Enterprise gives.
        """
        result = await judge_scrape(self.client(Prometheus), self.target.scrape, instances=len(self.target.servers))
        if self.target.neo4j_metrics is MetricsBy.ENDPOINT and _community((await self._seen())[0]):
            return failed(
                "Metrics of Neo4j's own endpoint are impossible on Community (it is Enterprise only): collect them with the JMX "
                "exporter or blackbox_exporter and set neo4j_metrics to jmx.",
                reason=Reason.MISCONFIGURED,
            )
        return result

    @item(
        "Backup procedures are tested",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option backup_folder", "a user", "a record of a restore", *CRON_JOB_RIGHTS),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def backup_tested(self) -> Result:
        """A dump that was never loaded may be none, and one without the database system lacks users and rights.

        In `backup_folder` each database, system among them, has a DATABASE.dump or DATABASE-TIMESTAMP.backup (in any subfolder,
        also compressed) no older than `max_backup_age` and not empty; a date in its name or its folder
        counts, as a copy is younger than its backup. With `cronjob`, the CronJob that takes them is not suspended,
        and its last success is recent. Whether a backup can be restored is a matter of evidence: a record of a restore with a
        consistency check, within 90 days. Community can only dump a database that is stopped.

        How to fix it: schedule `neo4j-admin database backup` (Enterprise) or `dump` (Community), restore one elsewhere, run
        `neo4j-admin database check` on it, and record that.
        """
        seen = worst_of(self._saved(), self.attested("backup_tested"))
        return await with_cron_job(self, self.target.cronjob, seen)

    async def _saved(self) -> Result:
        artefacts = await self.artefacts()
        looks, problems = await self._seen()
        problems += judge.saved_problems(looks, artefacts, self.target, self.context.now())
        exempt = sorted(self.target.without_backup)
        but = f", but for {', '.join(exempt)} by declaration" if exempt else ""
        dump = " Community can only dump a database that is stopped." if _community(looks) else ""
        good = ok(f"All databases have a recent dump or backup{but}.{dump}")
        return verdict(problems, good)


def _community(looks: Iterable[Look]) -> bool:
    return any(look.edition == "community" for look in looks)


def _measured(user: str) -> tuple[str, str]:
    """The measurements that remember when a user's default password was last tried, and how many wrong ones count."""
    of = "" if user == model.DEFAULT_USER else f"_of_{user}"
    return f"default_password{of}_tried_timestamp_seconds", f"default_password{of}_wrong_tries"


def _files(folder: Path) -> tuple[Artefact, ...]:
    """The files below a folder; raises ProbeError when they cannot be listed, or are too many."""
    found: list[Artefact] = []

    def refuse(error: OSError) -> None:
        raise error

    try:
        for place, _, names in os.walk(folder, onerror=refuse):
            for name in names:
                if len(found) >= _MAX_FILES:
                    raise ProbeError(
                        f"{folder} has more than {_MAX_FILES} files, which were not checked.", Reason.LIMIT
                    )
                try:
                    stat = (Path(place) / name).stat()
                except FileNotFoundError:
                    continue  # it went away meanwhile
                path = str((Path(place) / name).relative_to(folder))
                taken = model.dated(path, datetime.fromtimestamp(stat.st_mtime, UTC))
                found.append(Artefact(name, taken, stat.st_size, _head(Path(place) / name)))
    except OSError as error:
        raise ProbeError(f"Backup folder {folder} cannot be listed: {os_reason(error)}.", Reason.UNREACHABLE) from None
    return tuple(found)


def _head(path: Path) -> bytes:
    """How a dump or backup begins; nothing of other files, and of those that may not be read."""
    if not {".dump", ".backup"} & set(path.suffixes):
        return b""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_HEAD)
    return b""
