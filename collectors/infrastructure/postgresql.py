"""PostgreSQL Database"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from pydantic import Field, SecretStr

from collectors.shared import stores
from collectors.shared.dsn import Dsn, parse_dsn
from collectors.shared.verdicts import worst_of
from collectors.systems.kubernetes.check.pods import (
    CRON_JOB_RIGHTS,
    POD_RIGHTS,
    CronJobOptions,
    PodOptions,
    how_seen,
    with_cron_job,
    with_pods,
)
from collectors.systems.postgresql.check.backups import see_wal
from collectors.systems.postgresql.client.exporters import read_exporters
from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.client.patroni import read_cluster
from collectors.systems.postgresql.client.pgbackrest import read_stanza
from collectors.systems.postgresql.client.pgbouncer import read_poolers
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.judge.backups import (
    judge_archiver,
    judge_backup,
)
from collectors.systems.postgresql.judge.connections import Capacity, judge_connections, judge_pools
from collectors.systems.postgresql.judge.exporters import judge_exporters
from collectors.systems.postgresql.judge.failover import judge_patroni
from collectors.systems.postgresql.judge.health import (
    GUARDS,
    READ_ONLY,
    guard_problems,
    judge_instances,
    judge_writes,
    page_problems,
    prepared_problems,
)
from collectors.systems.postgresql.judge.logging import (
    LOGGING,
    STATEMENTS,
    judge_logging,
    judge_statements,
    preloads_statements,
)
from collectors.systems.postgresql.judge.replication import (
    COMMIT,
    PATIENCE,
    awaited_problems,
    capacity_problems,
    commit_problems,
    judge_senders,
    judge_silence,
    judge_slots,
    judge_standby,
    judge_synchronous,
    relay_slot_problems,
    silent,
    unsynced_problems,
)
from collectors.systems.postgresql.judge.restarts import ARCHIVING, CONNECTIONS, LOADED, pending_problems
from collectors.systems.postgresql.model.instance import (
    Archiver,
    NotServing,
    Receiver,
    Sender,
    Slot,
    Standby,
    Wal,
    Written,
    heard,
)
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.patroni import PatroniCluster
from collectors.systems.postgresql.model.pgbackrest import PgBackRest, Stanza
from collectors.systems.postgresql.model.pgbouncer import Pooler
from collectors.systems.prometheus.check.scrape import judge_movement, judge_scrape
from collectors.systems.prometheus.check.volumes import measure_space
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.volumes import judge_space
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.prometheus.model.volumes import Volume
from exporter.collector import Collector, Mode, SectionSettings, Target, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import HttpSettings
from exporter.options import Duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved, worst
from exporter.words import counted

_MONITOR = "a role that is a member of pg_monitor"
_HISTORY = 1440
_COMMITS = "pg_stat_database_xact_commit"
_KNOCK_EVERY = 3600.0


class PostgresScrape(Scrape):
    """Where the metrics of postgres_exporter are found in Prometheus (CloudNativePG's: `cnpg_collector_up`)."""

    job: str = Field("postgres", description="Job that scrapes the exporter.")
    health: str = Field("pg_up", description="Metric that is 1 while the exporter reaches PostgreSQL.")
    series: str = Field(_COMMITS, description="Metric that exists only while the server works.")


class InstanceVolume(Volume):
    """A volume of one instance, or of several that share it."""

    instances: int = Field(1, ge=1, description="How many instances store their data on it.")

    @property
    def where(self) -> str:
        """What tells it from others of its name."""
        return f"{self.claim or self.mountpoint or self.path} {sorted(self.labels.items())}"


class PostgreSQLTarget(Target, PodOptions, CronJobOptions, ClusterLimits):
    """One cluster: a primary and its standbys."""

    dsn: Dsn = Field(
        description="Connection string or URI, to a database that has pg_stat_statements. Name every instance in it "
        "(postgresql://checklist_exporter@db-0,db-1/orders): each is checked by itself."
    )
    volumes: tuple[InstanceVolume, ...] = Field(
        (),
        description="The volumes of every instance that may be primary: data, wal where it has its own, and each tablespace by its "
        "name.",
    )
    pools: tuple[Pool, ...] = Field((), description="The pools that connect to PostgreSQL directly.")
    pgbouncer: Dsn | None = Field(
        None, description="Connection string of PgBouncer's admin console, for a user in its stats_users."
    )
    pgbouncer_processes: int | None = Field(
        None, ge=1, description="How many PgBouncers share each port (so_reuseport), of which one is asked."
    )
    pgbackrest: PgBackRest | None = Field(None, description="How to run pgBackRest, to check the backups.")
    patroni: HttpSettings | None = Field(None, description="Patroni's REST API on any member.")
    metrics: PostgresScrape = Field(PostgresScrape(), description="Where its metrics are found in Prometheus.")
    delayed_standbys: dict[str, Duration] = Field(
        default_factory=dict,
        description="Intended replay delay of standbys, by their application_name; for those in the connection string "
        "it is known.",
    )
    spare_slots: tuple[str, ...] = Field(
        (), description="Replication slots that may be inactive, as long as they retain no more than max_lag_bytes."
    )
    app_roles: tuple[str, ...] = Field(
        (), description="Roles that applications use: their own settings count; those of every role if not given."
    )


class PostgreSQLSettings(SectionSettings, ClusterLimits):
    """PostgreSQL clusters."""

    targets: tuple[PostgreSQLTarget, ...] = Field(min_length=1, description="The clusters.")


class PostgreSQL(Collector[PostgreSQLSettings, PostgreSQLTarget]):
    """Asks every instance of a cluster, its pooler, its backup repository, Patroni and Prometheus."""

    Settings = PostgreSQLSettings
    Target = PostgreSQLTarget
    rights = """\
-- Once per cluster, as a superuser; then set the password: \\password checklist_exporter
CREATE ROLE checklist_exporter LOGIN CONNECTION LIMIT 5;
GRANT pg_monitor TO checklist_exporter;
ALTER ROLE checklist_exporter SET statement_timeout = '5s';
-- In the database that the connection string names (pg_stat_statements must be in shared_preload_libraries):
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
"""

    @classmethod
    def provides(cls, target: PostgreSQLTarget) -> Mapping[str, Iterable[str]]:
        """The instances that the connection string names."""
        return {"pods_healthy": stores.postgresql(target.dsn)}

    # Facts

    @fetched
    async def instances(self) -> Instances:
        """Every instance that the connection string names."""
        return await Instances.open(self.target.dsn, self.target.query_timeout, self.resources)

    async def seen(self) -> list[Session]:
        """The instances that answered; see `Instances.seen` for what it raises."""
        return (await self.instances()).seen()

    async def primary(self) -> Session:
        """The primary; see `Instances.primary` for what it raises."""
        return (await self.instances()).primary()

    async def unseen(self) -> list[Result]:
        """A verdict for each instance that could not be asked."""
        return [unobserved(error) for error in (await self.instances()).unseen]

    async def refusing(self, *, exhausted: bool = False) -> list[Result]:
        """A verdict for each instance that answered that it takes no connections (because all are in use, with `exhausted`)."""
        return [
            failed(str(error), reason=error.reason)
            for error in (await self.instances()).unseen
            if isinstance(error, NotServing) and (error.exhausted or not exhausted)
        ]

    @fetched
    async def wal(self) -> Wal:
        """Where the primary writes."""
        return await (await self.primary()).wal()

    @fetched
    async def senders(self) -> list[Sender]:
        """Who receives WAL from the primary. Asked after where it writes, which is then no further than it was."""
        await self.wal()
        memory: dict[int, tuple[float | None, float]] = self.context.memory.setdefault("replies", {})
        return heard(await (await self.primary()).senders(), memory, self.context.now().timestamp())

    async def written(self) -> Written:
        """What the primary had written when: at its last checkpoint, and in earlier runs."""
        wal, now = await self.wal(), time.monotonic()
        history: list[tuple[float, int, int]] = self.context.memory.setdefault("wal", [])
        points = [(now - moment, position) for moment, timeline, position in history if timeline == wal.timeline]
        if not history or now - history[-1][0] >= 1:
            history.append((now, wal.timeline, wal.position))
            del history[:-_HISTORY]
        return Written(((wal.checkpoint_age - 1, wal.checkpoint_position), *points))

    @fetched
    async def patroni_cluster(self) -> PatroniCluster:
        """The cluster as Patroni sees it. Raises ProbeError when it is not configured or does not answer."""
        if self.target.patroni is None:
            raise ProbeError("Option patroni is not set, so no failover mechanism was checked.", Reason.NOT_CONFIGURED)
        return await read_cluster(self.target.patroni)

    @fetched
    async def archiver(self) -> Archiver:
        """How the primary archives its WAL."""
        return await (await self.primary()).archiver()

    @fetched
    async def stanza(self) -> Stanza:
        """What the backup repository holds. Asked after the archiver, it holds at least what was archived by then.

        Raises ProbeError without the option pgbackrest, and when it cannot be read.
        """
        if self.target.pgbackrest is None:
            raise ProbeError(
                "Option pgbackrest is not set, so no backup repository was checked.", Reason.NOT_CONFIGURED
            )
        with suppress(ProbeError):  # whoever judges the archiver gets to hear of it
            await self.archiver()
        return await read_stanza(self.target.pgbackrest)

    # Items

    @item("PostgreSQL pods are running and healthy", severity=CRITICAL, needs=("a role that may connect", *POD_RIGHTS))
    async def pods_healthy(self) -> Result:
        """Everything that stores data in this cluster stops when its primary does.

        Every instance that the connection string names is checked by itself: it must let the exporter in and answer within
        `max_latency`, exactly one of them must be the primary, and all must belong to the same cluster (system identifier). Two
        primaries with one identifier are a split brain: both take writes, and one of the two histories will be lost. The primary
        must accept writes: no database has run out of transaction ids, default_transaction_read_only is off, and no transaction
        has been left prepared for longer than `max_prepared_age` (a warning). No instance has read a page that failed its
        checksum, and all wait for their disks (fsync); other settings that endanger data are warnings. With `pods`, their pods
        are Ready and do not keep restarting, and their workload has all its replicas; without it pods are not checked.

        To fix it: `pg_ctl status` and the server's log on the instance that is named. In a split brain stop the instance that
        was not meant to be promoted at once, and bring it back with pg_rewind. Near wraparound end old transactions, drop
        abandoned slots and prepared transactions, and VACUUM the database that is named. Where pages are damaged, look for what
        the log says of them and for the disk's own errors, fail over or restore, then `SELECT pg_stat_reset()` in that database.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        found = (await self.instances()).answering
        verdicts = [*await self.refusing(), *await self.unseen()]
        if found:
            how = how_seen(self.target.pods)
            instances = [session.instance for session in found]
            verdicts.append(judge_instances(instances, len(await self.unseen()), self.target.max_latency, how))
            for session in found:
                verdicts += await self._guarded(session)
        primaries = [session for session in found if not session.instance.identity.in_recovery]
        if len(primaries) == 1:
            verdicts.append(await worst_of(self._takes_writes(primaries[0])))
        return worst(*verdicts)

    @staticmethod
    async def _guarded(session: Session) -> list[Result]:
        """What is, or may become, of an instance's data."""
        where = session.instance.where
        try:
            return [
                *page_problems(where, await session.damages()),
                *guard_problems(where, await session.settings(tuple(GUARDS))),
            ]
        except ProbeError as why:
            return [unobserved(why)]

    async def _takes_writes(self, primary: Session) -> Result:
        freezes, settings = await primary.freezes(), await primary.settings((READ_ONLY,))
        where, prepared = primary.instance.where, await primary.prepared()
        writes = judge_writes(where, freezes, settings, self.target.app_roles)
        return worst(writes, *prepared_problems(where, prepared, self.target.max_prepared_age))

    @item("Primary-replica replication is operational", severity=CRITICAL, needs=(_MONITOR,))
    async def replication_operational(self) -> Result:
        """A standby that is not there, or far behind, means lost data when the primary is lost.

        On the primary: at least `expected_replicas` standbys stream (pg_basebackup, pg_receivewal and logical subscribers do not
        count), none is more than `max_lag_bytes` of WAL or `max_lag` behind, those that commits wait for
        (synchronous_standby_names) are there, no role or database skips that wait, and every slot is active and keeps its WAL,
        and no logical subscriber waits for a standby that is gone (synchronized_standby_slots). Slots of standbys do not keep WAL
        without end, and one of them has each logical slot that is to survive a failover. Each standby named in the
        connection string streams, replays, and is held against the primary itself: its position, timeline and system identifier.
        A standby that replays late by design (recovery_min_apply_delay, or `delayed_standbys`) may be that much later. The age of
        the last replayed transaction is not used: it grows while nothing is written, and compares clocks of two hosts. Where no
        primary was found, its half is unknown.

        To fix it: pg_stat_replication on the primary, pg_stat_wal_receiver and the log on the standby. Drop a slot that
        nobody uses any more (pg_drop_replication_slot): it keeps WAL until the disk is full.
        """
        seen, unseen = await self.seen(), await self.unseen()
        standbys = [session for session in seen if session.instance.identity.in_recovery]
        if unseen and len(standbys) == len(seen):  # the primary is among those that did not answer
            return worst(await self._standbys_follow(standbys, None), *unseen)
        primaries = [session for session in seen if not session.instance.identity.in_recovery]
        primary = primaries[0] if len(primaries) == 1 else None
        return worst(await worst_of(self._standbys_follow(standbys, primary), self._primary_sends(standbys)), *unseen)

    async def _standbys_follow(self, standbys: Sequence[Session], primary: Session | None) -> Result:
        if not standbys:
            return ok("No standby is listed in the connection string.")
        return await worst_of(*(self._standby_follows(standby, standbys, primary) for standby in standbys))

    async def _standby_follows(self, standby: Session, standbys: Sequence[Session], primary: Session | None) -> Result:
        if primary is None:
            cluster = standby.instance.identity.system_identifier
            seen = Standby(standby.instance, await standby.receiver())
            return judge_standby(seen, None, None, Written(), cluster, self.target)
        wal, written, senders = await self.wal(), await self.written(), [*await self.senders()]
        receiver = await standby.receiver()
        for relay in standbys:
            senders += await relay.senders() if relay is not standby else []
        seen = Standby(standby.instance, receiver, next(filter(receiver.is_served_by, senders), None))
        if silent(seen, wal, self.target):
            await asyncio.sleep(1)
            seen = Standby(standby.instance, await standby.receiver(), seen.source)
            if silent(seen, wal, self.target):
                return judge_silence(seen, wal, self.target)
        cluster = primary.instance.identity.system_identifier
        return judge_standby(seen, wal, await primary.wal(), written, cluster, self.target)

    async def _primary_sends(self, standbys: Sequence[Session]) -> Result:
        primary = await self.primary()
        wal, senders = await self.wal(), await self.senders()
        receivers = [receiver for receiver in await self._receivers(standbys) if receiver is not None]
        delays = dict(self.target.delayed_standbys)
        for sender in senders:
            for receiver in receivers:
                if receiver.delay and receiver.is_served_by(sender):
                    delays[sender.name] = timedelta(seconds=receiver.delay)
        served = {sender.slot for sender in senders}
        elsewhere = {receiver.slot for receiver in receivers if receiver.slot and receiver.slot not in served}
        with suppress(ProbeError):  # those that follow another member have an inactive slot here
            members = (await self.patroni_cluster()).members if self.target.patroni else []
            elsewhere |= {member.slot for member in members if member.state in ("streaming", "running")}
        slots = await primary.slots()
        verdicts = (
            judge_senders(senders, wal, await self.written(), delays, self.target),
            judge_synchronous(senders, wal, len(await self._stuck_commits(primary))),
            judge_slots(slots, elsewhere | set(self.target.spare_slots), self.target),
            *await self._standbys_slots(slots, standbys),
        )
        commits = commit_problems(wal, await primary.settings((COMMIT,)), self.target.app_roles)
        where, used = primary.instance.where, await primary.sender_slots()
        return worst(
            *verdicts, *commits, *capacity_problems(where, used), *awaited_problems(await primary.awaited_slots())
        )

    async def _standbys_slots(self, slots: Sequence[Slot], standbys: Sequence[Session]) -> list[Result]:
        """What is wrong with slots of the standbys, and with what they have of the primary's."""
        found = [await standby.slots() for standby in standbys]
        used = [slot for slot in slots if slot.slot_name not in self.target.spare_slots]
        problems = list(unsynced_problems(used, found))
        for standby, its in zip(standbys, found, strict=True):
            problems += relay_slot_problems(standby.instance.where, its, self.target)
        return problems

    async def _receivers(self, standbys: Sequence[Session]) -> list[Receiver | None]:
        """How each standby receives; None where it does not say, which its own verdict reports."""
        found: list[Receiver | None] = []
        for standby in standbys:
            try:
                found.append(await standby.receiver())
            except ProbeError:
                found.append(None)
        return found

    async def _stuck_commits(self, primary: Session) -> set[str]:
        """The commits that wait for synchronous standbys for longer than `PATIENCE`; a commit that is done soon is none."""
        waiting = await primary.waiting_commits()
        for _ in range(PATIENCE):
            if waiting:
                await asyncio.sleep(1)
                waiting &= await primary.waiting_commits()
        return waiting

    @item(
        "Automated backups are enabled and tested",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(_MONITOR, "option pgbackrest", "a record of a restore", *CRON_JOB_RIGHTS),
        evidence=EvidenceRule(valid_for=timedelta(days=30)),
    )
    async def backups_enabled_and_tested(self) -> Result:
        """A backup that was never restored is only a hope.

        Each pgBackRest repository has to hold a complete backup of this very cluster (and its timeline) that is not older than
        `backup_max_age`, a full one that is not older than `full_backup_max_age`, and every WAL segment from the start of
        that backup up to what PostgreSQL believes to be archived: an archive_command that does nothing, such as /bin/true,
        makes pg_stat_archiver report success, and `pgbackrest info` names only the first and the last segment. WAL archiving
        has to be on, its last try a success; not more than `max_ready` segments may wait, none longer than `max_ready_age`.
        With `cronjob`, the CronJob that takes backups is not suspended, and its last success is recent. A record of a
        restore, at most 30 days old, has to confirm that the backup was tested.

        To fix it: `pgbackrest check`, the log of the archiver, the schedule of the backup job; after a gap in the WAL take a
        new backup. Restore into a scratch instance, count rows, and record that.
        """
        seen = worst_of(self._backup_fresh(), self._wal_archived(), self.attested("backups_enabled_and_tested"))
        return await with_cron_job(self, self.target.cronjob, seen)

    async def _backup_fresh(self) -> Result:
        stanza = await self.stanza()
        cluster = (await self.seen())[0].instance.identity.system_identifier
        schedules = self.target.pgbackrest.repositories if self.target.pgbackrest else {}
        return judge_backup(stanza, cluster, self.context.now(), self.target, await self._timeline(), schedules)

    async def _timeline(self) -> int | None:
        """The timeline that the primary writes; None when that was not observed."""
        try:
            return (await self.archiver()).timeline
        except ProbeError:
            return None

    async def _wal_archived(self) -> Result:
        archiver, primary = await self.archiver(), await self.primary()
        pending = pending_problems(primary.instance.where, await primary.pending(ARCHIVING))
        archives = worst(judge_archiver(archiver, self.target), *pending)
        if self.target.pgbackrest is None:
            return archives
        return worst(archives, await worst_of(self._wal_held(archiver, self.target.pgbackrest)))

    async def _wal_held(self, archiver: Archiver, pgbackrest: PgBackRest) -> Result:
        cluster = (await self.primary()).instance.identity.system_identifier
        return await see_wal(cluster, archiver, await self.stanza(), pgbackrest, self.context.now())

    @item(
        "Connection pool size is optimized (max_connections: 100)",
        severity=WARNING,
        needs=(_MONITOR, "option pools or pgbouncer", "a PgBouncer user in stats_users"),
    )
    async def connection_pool_sized(self) -> Result:
        """When all pools are full at once, PostgreSQL must still have a slot for each of them, or clients are refused.

        max_connections is what `max_connections` requires; the sizes of all pools (times their replicas, and what PgBouncer
        may open to this server) fit into it without the slots that are reserved, and into the CONNECTION LIMIT of their
        database and role; fewer than `connections_warning_ratio` of what applications can get are in use; and in PgBouncer
        clients get in (max_client_conn) and nobody waits for a second or more. Whether PgBouncer would open a pool for any
        database (`*`) is tried once an hour, by a connection to a database that nobody configures: it is not listed before it
        is used.

        To fix it: make the pools smaller before max_connections is raised; each connection costs PostgreSQL memory. Behind a
        pooler another max_connections may be right: give a range.
        """
        return worst(*await self.refusing(exhausted=True), await worst_of(self._pools_fit(), self._connections_free()))

    async def _connections_free(self) -> Result:
        return await worst_of(*(self._instance_has_room(session) for session in await self.seen()))

    async def _instance_has_room(self, session: Session) -> Result:
        connections, bounds = await session.connections(), await session.connection_limits()
        where, pending = session.instance.where, await session.pending(CONNECTIONS)
        return worst(
            judge_connections(where, connections, bounds, self.target, self.target.app_roles),
            *pending_problems(where, pending),
        )

    async def _read_poolers(self, console: SecretStr) -> list[Pooler]:
        """What the PgBouncers report; what `*` would open is asked for now and then, and remembered."""
        memory = self.context.memory
        if time.monotonic() - memory.get("knocked", -math.inf) < _KNOCK_EVERY:
            poolers = await read_poolers(console, self.target.query_timeout, knock=False)
            return [replace(pooler, further=memory["further"].get(pooler.where)) for pooler in poolers]
        poolers = await read_poolers(console, self.target.query_timeout)
        memory["knocked"], memory["further"] = time.monotonic(), {pooler.where: pooler.further for pooler in poolers}
        return poolers

    async def _pools_fit(self) -> Result:
        if not self.target.pools and self.target.pgbouncer is None:
            raise ProbeError(
                "Neither option pools nor option pgbouncer is set, so the size of the pools was not checked.",
                Reason.NOT_CONFIGURED,
            )
        poolers: list[Pooler] = []
        if self.target.pgbouncer is not None:
            poolers = await self._read_poolers(self.target.pgbouncer)
        primary = await self.primary()
        sessions = [primary, *(session for session in await self.seen() if session is not primary)]
        capacities = [Capacity(session.instance, await session.connections()) for session in sessions]
        return judge_pools(
            self.target.pools,
            poolers,
            capacities,
            await primary.connection_limits(),
            self.target,
            database=await primary.database(),
            processes=self.target.pgbouncer_processes,
            doors=await primary.doors(self.target.pools),
        )

    @item(
        "Database storage has sufficient space (≥ 50GB free)",
        severity=CRITICAL,
        needs=(_MONITOR, "option volumes", "clients.prometheus, unless a volume is a local path"),
    )
    async def storage_sufficient(self) -> Result:
        """PostgreSQL stops when its disk is full, and may need more disk to start again.

        Each volume (data, WAL, tablespaces) is checked by kubelet's or node_exporter's series in Prometheus or by a local path,
        as no SQL function knows; it must have `min_free` and `min_free_ratio` free, and 5 % of its inodes. Data, or a tablespace,
        without a volume in the configuration for each instance was not checked: several volumes may be called data, and after a
        failover another one fills up. A volume that several instances share has `instances`.

        To fix it: an inactive replication slot or a failing archive_command keeps WAL (`du pg_wal`); otherwise grow the volume.
        """
        if not self.target.volumes:
            raise ProbeError(
                "Option volumes is not set, so the free space of no volume was checked.", Reason.NOT_CONFIGURED
            )
        return await worst_of(self._volumes_known(), *map(self._space, self.target.volumes), keep=min)

    async def _space(self, volume: InstanceVolume) -> Result:
        return judge_space(volume, await measure_space(self, volume))

    async def _volumes_known(self) -> Result:
        tablespaces = await (await self.seen())[0].tablespaces()
        instances = len(parse_dsn(self.target.dsn))
        distinct = {(volume.name, volume.where): volume for volume in self.target.volumes}
        covered = Counter[str]()
        for volume in distinct.values():
            covered[volume.name] += volume.instances
        for name in ("data", *tablespaces):
            what = "the data that PostgreSQL cannot do without" if name == "data" else f"tablespace {name}"
            if not covered[name]:
                return unknown(
                    f"Option volumes names no volume {name}, so the space of {what} was not checked."
                    if name == "data"
                    else f"Option volumes names no volume for {what}, so its space was not checked.",
                    reason=Reason.NOT_CONFIGURED,
                )
            if covered[name] < instances:
                return unknown(
                    f"Option volumes names {counted(covered[name], 'volume')} {name} for {counted(instances, 'instance')}, so the "
                    f"space of {what} was not checked everywhere (a volume that several share has `instances`).",
                    reason=Reason.NOT_CONFIGURED,
                )
        return ok("Data and every tablespace have a volume in the configuration.")

    @item("Slow query logging is enabled", severity=WARNING, needs=(_MONITOR,))
    async def slow_query_logging_enabled(self) -> Result:
        """Without it, slow queries cannot be found afterwards.

        On every instance, log_min_duration_statement (or auto_explain's setting, or log_min_duration_sample at a rate of 1) has to
        be between 0 and `slow_query`, for the instance and wherever a database or a role that can log in sets it differently:
        `ALTER DATABASE … SET log_min_duration_statement = -1` silences one database while all others look right. Zero logs every
        statement, which is a warning. log_destination must not be empty, and log_min_messages must not drop log lines.

        To fix it: `ALTER SYSTEM SET log_min_duration_statement = '1s'`, `SELECT pg_reload_conf()`, and RESET what overrides it.
        """
        primary = await self.primary()
        standbys = [session for session in await self.seen() if session is not primary]
        return await worst_of(self._slow_logged(primary), *map(self._slow_logged, standbys))

    async def _slow_logged(self, session: Session) -> Result:
        standby, where = session.instance.identity.in_recovery, session.instance.where
        logged = judge_logging(
            await session.settings(LOGGING),
            self.target.app_roles,
            self.target.slow_query,
            f"standby {where}" if standby else "the instance",
        )
        return worst(logged, *pending_problems(where, await session.pending(LOADED)))

    @item("Database metrics are being collected", severity=WARNING, needs=(_MONITOR, "clients.prometheus"))
    async def metrics_collected(self) -> Result:
        """Dashboards and alerts of the database are blind without them.

        Every exporter is scraped (`up`), reaches PostgreSQL (`pg_up`; `up` stays 1 while it cannot), gives fresh figures that
        change, and they are of these very instances: port, start of statistics and counts agree with what each instance reports
        itself. The exporter's role sees all of them: without pg_monitor it gets empty rows, and fewer sessions than there are.
        pg_stat_statements is preloaded, installed in the database of the connection string, counts there for every role, and can
        be queried.

        To fix it: the exporter's log and its own role; `CREATE EXTENSION pg_stat_statements` and shared_preload_libraries.
        """
        return await worst_of(self._scraped(), self._exporters_match(), self._statements_counted())

    async def _scraped(self) -> Result:
        prometheus, scrape = self.client(Prometheus), self.target.metrics
        return await worst_of(
            judge_scrape(prometheus, scrape, instances=len(parse_dsn(self.target.dsn))),
            judge_movement(prometheus, scrape, _COMMITS),  # each scrape is a transaction
        )

    async def _exporters_match(self) -> Result:
        exported = await read_exporters(self.client(Prometheus), self.target.metrics)
        sessions = await self.seen()
        instances = {session.instance.where: await session.figures() for session in sessions}
        if await self.unseen():
            return ok("Not all instances answered, so which exporter reports which was not checked.")
        return judge_exporters(exported, instances, await sessions[0].database())

    async def _statements_counted(self) -> Result:
        primary = await self.primary()
        settings = await primary.settings(STATEMENTS)
        count = await primary.statements() if preloads_statements(settings) else None
        where, pending = primary.instance.where, await primary.pending(LOADED)
        known = judge_statements(where, settings, self.target.app_roles, count)
        return worst(known, *pending_problems(where, pending))

    @item(
        "Failover mechanism is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option patroni", "a record of a failover drill"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def failover_tested(self) -> Result:
        """A failover that was never tried fails when it is needed.

        Patroni's REST API has to show one leader of this very cluster, a standby that could take over (it streams on the leader's
        timeline, is not further behind than Patroni's maximum_lag_on_failover and `max_lag_bytes`, and no tag keeps it from
        leading), that its consensus store was reached lately, and that automatic failover is not paused. Standbys are asked
        themselves, too, at the addresses that they announce. A record of a drill, at most 90 days old, has to confirm that it
        works.

        To fix it: `patronictl list`, `patronictl resume`; do a drill (`patronictl switchover`) and record it.
        """
        return await worst_of(self._could_fail_over(), self.attested("failover_tested"))

    async def _could_fail_over(self) -> Result:
        cluster = await self.patroni_cluster()
        found = [session.instance for session in (await self.instances()).answering]
        if not found:
            raise ProbeError("No instance answered, so whether Patroni runs this cluster was not checked.")
        identifier, target = found[0].identity.system_identifier, self.target
        return judge_patroni(cluster, identifier, target.max_lag_bytes, target.max_detection)
