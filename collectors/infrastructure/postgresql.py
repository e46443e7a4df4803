"""PostgreSQL Database"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from pydantic import Field, SecretStr, field_validator

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
from collectors.systems.postgresql.client.connection import Parameters, parse_dsn
from collectors.systems.postgresql.client.patroni import read_cluster
from collectors.systems.postgresql.client.pgbackrest import read_stanza
from collectors.systems.postgresql.client.pgbouncer import read_poolers
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.judge.backups import judge_archive, judge_archiver, judge_backup
from collectors.systems.postgresql.judge.connections import judge_connections, judge_pools
from collectors.systems.postgresql.judge.failover import judge_patroni
from collectors.systems.postgresql.judge.health import judge_instances
from collectors.systems.postgresql.judge.logging import judge_logging
from collectors.systems.postgresql.judge.replication import judge_receiver, judge_senders
from collectors.systems.postgresql.model.instance import Archiver, Sender, Slot, names
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.pgbackrest import PgBackRest, Stanza
from collectors.systems.postgresql.model.pgbouncer import Pooler
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.check.volumes import measure_space
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.volumes import judge_space
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.prometheus.model.volumes import Volume
from exporter.collector import Collector, Mode, SectionSettings, Target, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.http import HttpSettings
from exporter.options import Secret
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved, worst

_MONITOR = "a role that is a member of pg_monitor"


class PostgresScrape(Scrape):
    """Where the metrics of postgres_exporter are found in Prometheus (CloudNativePG's: `cnpg_collector_up`)."""

    job: str = Field("postgres", description="Job that scrapes the exporter.")
    health: str = Field("pg_up", description="Metric that is 1 while the exporter reaches PostgreSQL.")
    series: str = Field("pg_stat_database_xact_commit", description="Metric that only a working server gives.")


class PostgreSQLTarget(Target, PodOptions, CronJobOptions, ClusterLimits):
    """One cluster: a primary and its standbys."""

    dsn: Secret = Field(
        description="Connection string or URI, to a database that has pg_stat_statements. Name every instance in it "
        "(postgresql://checklist_exporter@db-0,db-1/orders): each is asked by itself."
    )
    volumes: tuple[Volume, ...] = Field(
        (),
        description="The volumes of every instance that may be primary: data, wal where it has its own, and each tablespace by its "
        "name.",
    )
    pools: tuple[Pool, ...] = Field((), description="The pools that connect to PostgreSQL directly.")
    pgbouncer: Secret | None = Field(
        None, description="Connection string of PgBouncer's admin console, for a user in its stats_users."
    )
    pgbackrest: PgBackRest | None = Field(None, description="How the backups are looked at.")
    patroni: HttpSettings | None = Field(None, description="Patroni's REST API on any member.")
    metrics: PostgresScrape = Field(PostgresScrape(), description="Where its metrics are found in Prometheus.")
    app_roles: tuple[str, ...] = Field(
        (), description="Roles whose own settings count for slow query logging; every role if not given."
    )

    @field_validator("dsn", "pgbouncer")
    @classmethod
    def _understood(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn is not None:
            parse_dsn(dsn)
        return dsn


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
ALTER ROLE checklist_exporter SET default_transaction_read_only = on;
ALTER ROLE checklist_exporter SET statement_timeout = '5s';
-- In the database that the connection string names (pg_stat_statements must be in shared_preload_libraries):
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
"""

    # Facts

    @fetched
    async def sessions(self) -> list[Session | ProbeError]:
        """Every instance that the connection string names, or why it could not be asked."""
        return await asyncio.gather(*map(self._session, parse_dsn(self.target.dsn)))

    async def _session(self, parameters: Parameters) -> Session | ProbeError:
        try:
            session = await Session.open(parameters, self.target.query_timeout)
        except ProbeError as error:
            return error
        self.resources.push_async_callback(session.close)
        return session

    async def seen(self) -> list[Session]:
        """The instances that answered, to a role that sees their statistics.

        Raises ProbeError when none did, or when one hides its statistics: a role without the right gets NULL, not an error.
        """
        found = await self.sessions()
        sessions = [session for session in found if isinstance(session, Session)]
        if not sessions:
            errors = [error for error in found if isinstance(error, ProbeError)]
            raise ProbeError(" ".join(map(str, errors)), errors[0].reason)
        for session in sessions:
            instance = session.instance
            if not instance.identity.may_monitor:
                raise ProbeError(
                    f"Role {instance.role} does not have the rights of pg_monitor on {instance.where}, which therefore hides "
                    f'its statistics: GRANT pg_monitor TO "{instance.role}".',
                    Reason.DENIED,
                )
        return sessions

    async def primary(self) -> Session:
        """The primary. Raises ProbeError when none was observed, or more than one."""
        primaries = [session for session in await self.seen() if not session.instance.identity.in_recovery]
        if not primaries:
            unseen = [str(error) for error in await self.sessions() if isinstance(error, ProbeError)]
            raise ProbeError(" ".join(["No primary was seen among the instances of the connection string.", *unseen]))
        if len(primaries) > 1:
            where = names(session.instance for session in primaries)
            raise ProbeError(f"{where} are all primaries, so which one counts was not seen.", Reason.CONTRADICTED)
        return primaries[0]

    async def unseen(self) -> list[Result]:
        """A verdict for each instance that could not be asked."""
        return [unobserved(error) for error in await self.sessions() if isinstance(error, ProbeError)]

    @fetched
    async def senders(self) -> list[Sender]:
        """Who receives WAL from the primary."""
        return await (await self.primary()).senders()

    @fetched
    async def slots(self) -> list[Slot]:
        """The primary's replication slots."""
        return await (await self.primary()).slots()

    @fetched
    async def archiver(self) -> Archiver:
        """How the primary archives its WAL."""
        return await (await self.primary()).archiver()

    @fetched
    async def stanza(self) -> Stanza:
        """What the backup repository holds. Asked after the archiver, it holds at least what was archived by then."""
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

        Every instance that the connection string names is asked by itself: it has to answer within `max_latency`, exactly one of
        them has to be the primary, and all have to be of the same cluster (system identifier). Two primaries with one identifier
        are a split brain: both take writes, and one of the two histories will be lost. With `pods`, their pods are Ready and do not
        keep restarting, and their workload has all its replicas; without it pods are not looked at.

        To mend it: `pg_ctl status` and the server's log on the instance that is named. In a split brain stop the instance that
        was not meant to be promoted at once, and bring it back with pg_rewind.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        found = [session.instance for session in await self.sessions() if isinstance(session, Session)]
        verdicts = await self.unseen()
        if found:
            how = how_seen(self.target.pods)
            verdicts.append(judge_instances(found, len(verdicts), self.target.max_latency, how))
        return worst(*verdicts)

    @item("Primary-replica replication is operational", severity=CRITICAL, needs=(_MONITOR,))
    async def replication_operational(self) -> Result:
        """A standby that is not there, or far behind, means lost data when the primary is lost.

        On the primary: at least `expected_replicas` standbys stream (pg_basebackup, pg_receivewal and logical subscribers do not
        count), none is more than `max_lag_bytes` of WAL behind, and every slot is active and keeps its WAL. On each standby named
        in the connection string: it streams, replays, and is not more than `max_lag` behind; a standby that has replayed all it
        received is not behind, however long ago the last transaction was. Where no primary was seen, its half is unknown.

        To mend it: pg_stat_replication on the primary, pg_stat_wal_receiver and the log on the standby. Drop a slot that nobody
        uses any more (pg_drop_replication_slot): it keeps WAL until the disk is full.
        """
        seen, unseen = await self.seen(), await self.unseen()
        parts = [self._standby_follows(session) for session in seen if session.instance.identity.in_recovery]
        if not unseen or len(parts) < len(seen):  # else the primary is among those that were not seen
            parts.append(self._primary_sends())
        return worst(await worst_of(*parts), *unseen)

    async def _primary_sends(self) -> Result:
        return judge_senders(await self.senders(), await self.slots(), self.target)

    async def _standby_follows(self, standby: Session) -> Result:
        return judge_receiver(standby.instance.where, await standby.receiver(), self.target)

    @item(
        "Automated backups are enabled and tested",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(_MONITOR, "option pgbackrest", "a record of a restore", *CRON_JOB_RIGHTS),
        evidence=EvidenceRule(valid_for=timedelta(days=30)),
    )
    async def backups_enabled_and_tested(self) -> Result:
        """A backup that was never restored is a hope.

        The pgBackRest repository has to hold a complete backup of this very cluster that is not older than `backup_max_age`, and
        every WAL segment that PostgreSQL believes to be archived: an archive_command that does nothing, such as /bin/true, makes
        pg_stat_archiver perfectly green. WAL archiving has to be on, its last try a success, and not more than `max_ready`
        segments may wait. With `cronjob`, the CronJob that takes backups is not suspended, and its last success is recent. A record
        of a restore, at most 30 days old, has to say that the backup was tested.

        To mend it: `pgbackrest check`, the log of the archiver, the schedule of the backup job; restore into a scratch instance,
        count rows, and record that.
        """
        seen = worst_of(self._backup_fresh(), self._wal_archived(), self.attested("backups_enabled_and_tested"))
        return await with_cron_job(self, self.target.cronjob, seen)

    async def _backup_fresh(self) -> Result:
        stanza = await self.stanza()
        cluster = (await self.seen())[0].instance.identity.system_identifier
        return judge_backup(stanza, cluster, self.context.now(), self.target.backup_max_age)

    async def _wal_archived(self) -> Result:
        archiver = await self.archiver()
        verdict = judge_archiver(archiver, self.target.max_ready)
        if self.target.pgbackrest is None:
            return verdict
        cluster = (await self.primary()).instance.identity.system_identifier
        return worst(verdict, judge_archive(await self.stanza(), cluster, archiver))

    @item(
        "Connection pool size is optimized (max_connections: 100)",
        severity=WARNING,
        needs=(_MONITOR, "option pools or pgbouncer", "a PgBouncer user in stats_users"),
    )
    async def connection_pool_sized(self) -> Result:
        """When all pools are full at once, PostgreSQL must still have a slot for each of them, or clients are refused.

        max_connections is what `max_connections` says; the sizes of all pools (times their replicas, and what PgBouncer may open)
        fit into it without the slots that are kept back for superusers; fewer than `connections_warning_ratio` are in use; and
        nobody waits in PgBouncer for a second or more.

        To mend it: make the pools smaller before max_connections is raised; each connection costs PostgreSQL memory. Behind a
        pooler another max_connections may be right: give a range.
        """
        seen = await self.seen()
        return await worst_of(self._pools_fit(), *map(self._connections_free, seen))

    async def _connections_free(self, session: Session) -> Result:
        return judge_connections(session.instance.where, await session.connections(), self.target)

    async def _pools_fit(self) -> Result:
        if not self.target.pools and self.target.pgbouncer is None:
            raise ProbeError("Neither option pools nor option pgbouncer is set, so the size of the pools was not seen.")
        poolers: list[Pooler] = []
        if self.target.pgbouncer is not None:
            poolers = await read_poolers(self.target.pgbouncer, self.target.query_timeout)
        primary = await self.primary()
        return judge_pools(self.target.pools, poolers, await primary.connections())

    @item(
        "Database storage has sufficient space (≥ 50GB free)",
        severity=CRITICAL,
        needs=(_MONITOR, "option volumes", "clients.prometheus, unless a volume is a local path"),
    )
    async def storage_sufficient(self) -> Result:
        """PostgreSQL stops when its disk is full, and may need more disk to start again.

        Each volume (data, WAL, tablespaces) is asked for by kubelet's or node_exporter's series in Prometheus or by a local path,
        as no SQL function knows; it must have `min_free` and `min_free_ratio` free, and 5 % of its inodes. Data, or a tablespace,
        without a volume in the configuration was not seen. Name the volumes of all instances (several may be called data): after a
        failover another one fills up.

        To mend it: an inactive replication slot or a failing archive_command keeps WAL (`du pg_wal`); otherwise grow the volume.
        """
        if not self.target.volumes:
            raise ProbeError("Option volumes is not set, so the free space of no volume was seen.")
        return await worst_of(self._volumes_known(), *map(self._space, self.target.volumes), keep=min)

    async def _space(self, volume: Volume) -> Result:
        return judge_space(volume, await measure_space(self, volume))

    async def _volumes_known(self) -> Result:
        tablespaces = await (await self.seen())[0].tablespaces()
        known = {volume.name for volume in self.target.volumes}
        if "data" not in known:
            return unknown(
                "Option volumes names no volume data, so the space of what PostgreSQL cannot do without was not seen."
            )
        if missing := [name for name in tablespaces if name not in known]:
            return unknown(f"Option volumes names no volume for tablespace {missing[0]}, so its space was not seen.")
        return ok("Data and every tablespace have a volume in the configuration.")

    @item("Slow query logging is enabled", severity=WARNING, needs=(_MONITOR,))
    async def slow_query_logging_enabled(self) -> Result:
        """Without it, nobody knows afterwards which query was slow.

        log_min_duration_statement (or auto_explain's setting) has to be between 0 and `slow_query`, for the instance and wherever
        a database or a role sets it differently: `ALTER DATABASE … SET log_min_duration_statement = -1` silences one database
        while all others look right. Zero logs every statement, which is a warning. log_min_messages must not drop log lines.

        To mend it: `ALTER SYSTEM SET log_min_duration_statement = '1s'`, `SELECT pg_reload_conf()`, and RESET what overrides it.
        """
        primary = await self.primary()
        return judge_logging(await primary.logging(self.target.app_roles), self.target.slow_query)

    @item("Database metrics are being collected", severity=WARNING, needs=(_MONITOR, "clients.prometheus"))
    async def metrics_collected(self) -> Result:
        """Dashboards and alerts of the database are blind without them.

        Every exporter is scraped (`up`), reaches PostgreSQL (`pg_up`; `up` stays 1 while it cannot) and gives fresh figures.
        pg_stat_statements is preloaded, installed in the database of the connection string, counts there, and can be queried.

        To mend it: the exporter's log and its own role; `CREATE EXTENSION pg_stat_statements` and shared_preload_libraries.
        """
        return await worst_of(self._scraped(), self._statements_counted())

    async def _scraped(self) -> Result:
        return await judge_scrape(
            self.client(Prometheus), self.target.metrics, instances=len(parse_dsn(self.target.dsn))
        )

    async def _statements_counted(self) -> Result:
        primary = await self.primary()
        where = primary.instance.where
        if "pg_stat_statements" not in await primary.preloaded():
            return failed(
                f"pg_stat_statements is not in shared_preload_libraries of {where}.", reason=Reason.MISCONFIGURED
            )
        count = await primary.statements()
        if count is None:
            return failed(f"Extension pg_stat_statements is not installed on {where}.", reason=Reason.MISSING)
        for setting, silent in (("pg_stat_statements.track", "none"), ("compute_query_id", "off")):
            if await primary.setting(setting) == silent:
                return failed(
                    f"{setting} is {silent} on {where}: pg_stat_statements counts nothing.", reason=Reason.MISCONFIGURED
                )
        return ok(f"pg_stat_statements knows {count} statements.")

    @item(
        "Failover mechanism is tested",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option patroni", "a record of a failover drill"),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def failover_tested(self) -> Result:
        """A failover that was never tried fails when it is needed.

        Patroni's REST API has to show one leader of this very cluster, a standby that could take over (it streams, is not more
        than `max_lag_bytes` behind and not tagged nofailover), and that automatic failover is not paused. A record of a drill,
        at most 90 days old, has to say that it works.

        To mend it: `patronictl list`, `patronictl resume`; do a drill (`patronictl switchover`) and record it.
        """
        return await worst_of(self._could_fail_over(), self.attested("failover_tested"))

    async def _could_fail_over(self) -> Result:
        if self.target.patroni is None:
            raise ProbeError("Option patroni is not set, so no failover mechanism was seen.")
        cluster = await read_cluster(self.target.patroni)
        found = [session.instance for session in await self.sessions() if isinstance(session, Session)]
        if not found:
            raise ProbeError("No instance answered, so whether Patroni speaks of this cluster was not seen.")
        return judge_patroni(cluster, found[0].identity.system_identifier, self.target.max_lag_bytes)
