"""Performance Tuning"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from collectors.shared.dsn import Dsn
from collectors.shared.growth import Counters, Growth
from collectors.shared.host_port import HostPort
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.delivery.client.http import Connection, addresses_of, negotiated, request_http3
from collectors.systems.delivery.client.site import Site
from collectors.systems.delivery.judge import (
    judge_compression,
    judge_keep_alive,
    judge_shared_cache,
    judge_versions,
)
from collectors.systems.delivery.model import BROWSER, Delivered, Http3
from collectors.systems.postgresql.client import tuning
from collectors.systems.postgresql.client.instances import Instances
from collectors.systems.postgresql.client.pgbouncer import read_poolers, read_waits
from collectors.systems.postgresql.client.session import Session
from collectors.systems.postgresql.judge.connections import (
    IDLE,
    Capacity,
    judge_churn,
    judge_idle_sessions,
    judge_pools,
    judge_waits,
)
from collectors.systems.postgresql.judge.indexes import (
    PLANNING,
    judge_foreign_keys,
    judge_index_use,
    judge_indexes,
    judge_scans,
)
from collectors.systems.postgresql.judge.logging import STATEMENTS, judge_statements, preloads_statements
from collectors.systems.postgresql.judge.queries import (
    VACUUMING,
    judge_cache_use,
    judge_statements_speed,
    judge_tables,
    judge_transactions,
)
from collectors.systems.postgresql.model.options import ClusterLimits, Pool
from collectors.systems.postgresql.model.tuning import Activity, TuningLimits
from collectors.systems.redis import model as redis_model
from collectors.systems.redis.client import Login, look
from collectors.systems.redis.judge.caching import hit_problems, ttl_problems
from collectors.systems.redis.judge.connections import connection_problems, keep_alive_problems
from collectors.systems.redis.judge.nodes import of_each
from collectors.systems.redis.model import Answers, CacheLimits, Look, NodeAddress, RedisLimits
from exporter.collector import Collector, NoTarget, SectionSettings, fetched, item
from exporter.http import Trust
from exporter.options import Duration, Secret, format_duration
from exporter.verdict import INFO, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved, worst

_MONITOR = "option databases: a role that is a member of pg_monitor"
_CACHES = "option caches: +ping, +info, +config|get"
_SITES = "option sites"

T = TypeVar("T")
K = TypeVar("K")


class Database(TuningLimits):
    """One PostgreSQL cluster, and the pools in front of it."""

    name: str = Field(min_length=1, description="Name of the database, for sentences.")
    dsn: Dsn = Field(
        description="Connection string or URI to the application's database, which has pg_stat_statements. Name every instance in "
        "it: standbys are used, too."
    )
    pools: tuple[Pool, ...] = Field((), description="The pools that connect to PostgreSQL directly.")
    pgbouncer: Dsn | None = Field(
        None, description="Connection string of PgBouncer's admin console, for a user in its stats_users."
    )
    pgbouncer_processes: int | None = Field(
        None, ge=1, description="How many PgBouncers share each port (so_reuseport), of which one is asked."
    )
    max_pool_wait: Duration = Field(
        timedelta(milliseconds=10), description="Mean time that clients of PgBouncer may wait for a connection."
    )


class Cache(RedisLimits, CacheLimits):
    """One Redis that caches: its masters, and the replicas that are read."""

    name: str = Field(min_length=1, description="Name of the cache, for sentences.")
    nodes: tuple[HostPort, ...] = Field(
        min_length=1, description="host:port of each node; of a cluster all that clients use."
    )
    username: str | None = Field(None, description="ACL user; Redis's default user when there is only a password.")
    password: Secret | None = Field(None, description="Password of the user.")
    tls: Trust | None = Field(None, description="Speak TLS with the nodes: whom to trust, and who we are.")
    node_timeout: Duration = Field(
        timedelta(seconds=2), gt=timedelta(0), description="How long one node may take to answer all that it is asked."
    )


class PerformanceTuningSettings(SectionSettings):
    """Databases, caches and sites whose performance is judged."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    databases: tuple[Database, ...] = Field((), description="PostgreSQL databases of the product.")
    caches: tuple[Cache, ...] = Field((), description="Redis servers that cache.")
    sites: tuple[Site, ...] = Field((), description="Sites and APIs at the addresses that users use.")


class PerformanceTuning(Collector[PerformanceTuningSettings, NoTarget]):
    """Reads statistics of PostgreSQL and Redis, and how the product's sites are delivered."""

    Settings = PerformanceTuningSettings
    second_look = timedelta(seconds=5)
    rights = """\
-- Once per cluster, as a superuser (the role of section postgresql does); then set the password: \\password checklist_exporter
CREATE ROLE checklist_exporter LOGIN CONNECTION LIMIT 5;
GRANT pg_monitor TO checklist_exporter;
-- In the database that the connection string names (pg_stat_statements must be in shared_preload_libraries):
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

On every Redis node of `caches`:
  ACL SETUSER checklist on >PASSWORD -@all +ping +info +config|get
Where a cache has `pools`, also:
  ACL SETUSER checklist +client|list
"""

    # Facts

    @fetched
    async def instances(self) -> list[tuple[Database, Instances]]:
        """Every instance of every database. Raises ProbeError when none is configured."""
        databases = self._configured(self.settings.databases, "databases")
        opened = await asyncio.gather(
            *(Instances.open(database.dsn, database.query_timeout, self.resources) for database in databases)
        )
        return list(zip(databases, opened, strict=True))

    @fetched
    async def caches(self) -> list[tuple[Cache, tuple[Look, ...]]]:
        """Every node of every cache. Raises ProbeError when none is configured."""
        caches = self._configured(self.settings.caches, "caches")

        async def one(cache: Cache) -> tuple[Look, ...]:
            login = Login(cache.username, cache.password, cache.tls, cache.node_timeout)
            commands = [
                "INFO",
                "CONFIG GET tcp-keepalive",
                "CONFIG GET timeout",
                *(["CLIENT LIST"] if cache.pools else []),
                "PING",
            ]
            return tuple(
                await asyncio.gather(*(look(NodeAddress.parse(node), login, commands) for node in cache.nodes))
            )

        return list(zip(caches, await asyncio.gather(*map(one, caches)), strict=True))

    @fetched
    async def activities(self) -> dict[str, tuple[Activity, Growth[str] | None]]:
        """What each instance that answers has counted in all, and how that grew."""
        found: dict[str, tuple[Activity, Growth[str] | None]] = {}
        for database, instances in await self.instances():
            for session in instances.seen():
                where = session.instance.where
                activity = await tuning.read_activity(session)
                counts = (activity.hits, activity.reads, activity.sessions or 0, activity.transactions)
                found[where] = activity, self._grown(f"activity {where}", {where: counts}, database.window)
        return found

    def _grown(self, name: str, values: Mapping[K, tuple[float, ...]], window: timedelta) -> Growth[K] | None:
        counters: Counters[K] = self.context.memory.setdefault(name, Counters())
        return counters.grown(time.monotonic(), values, window)

    @staticmethod
    def _configured(things: tuple[T, ...], option: str) -> tuple[T, ...]:
        if not things:
            raise ProbeError(f"Option {option} is not set, so none was checked.", Reason.NOT_CONFIGURED)
        return things

    async def _each_instance(self, judge: Callable[[Database, Session], Awaitable[Result]]) -> Result:
        """The worst of a judgement on every instance; one that does not answer is unknown."""

        async def all_of(database: Database, instances: Instances) -> Result:
            judged = await worst_of(*(judge(database, session) for session in instances.seen()))
            return worst(judged, *map(unobserved, instances.unseen))

        return await self._each_database(all_of)

    # Items

    @item("Database query optimization is applied", severity=WARNING, needs=(_MONITOR, "pg_stat_statements"))
    async def query_optimization_applied(self) -> Result:
        """A few slow statements that run often, a transaction that nobody ended or a bloated table slow everything else down.

        On every instance pg_stat_statements, with at least `min_observation` of statistics, shows no statement that was run
        `min_calls` times or more and takes longer than `slow_mean` on average: in the last `window` where it ran often enough
        there, so that one that was made faster passes at once, else since statistics were reset. COPY, utility statements and
        `maintenance_roles` do not count. No transaction is older than `max_transaction_age`; autovacuum keeps up with every
        table of the database; that shared_buffers answers less than `min_hit_ratio` of block reads is a warning. The text of a
        statement is never read: it is named by its queryid.

        How to fix it: `SELECT query FROM pg_stat_statements WHERE queryid = …`, then EXPLAIN (ANALYZE, BUFFERS); end transactions
        that the sentence names (idle_in_transaction_session_timeout does it by itself).
        """
        return await worst_of(
            self._each_instance(self._statements_fast),
            self._each_instance(self._transactions_short),
            self._each_instance(self._cached),
            self._each_primary(self._tables_clean),
        )

    async def _statements_fast(self, database: Database, session: Session) -> Result:
        where = session.instance.where
        settings = await session.settings(STATEMENTS)
        counts = None
        if preloads_statements(settings):
            counts = await tuning.read_statements(session, database.maintenance_roles)
        counting = judge_statements(where, settings, (), len(counts.statements) if counts else None)
        if counts is None or not counting.status.is_ok:
            return unknown(counting.summary, reason=Reason.MISCONFIGURED)
        values = {one.key: (float(one.calls), one.seconds) for one in counts.statements}
        growth = self._grown(f"statements {where}", values, database.window)
        return judge_statements_speed(counts, growth, database)

    async def _transactions_short(self, database: Database, session: Session) -> Result:
        found = await tuning.read_long_transactions(
            session,
            database.max_transaction_age.total_seconds(),
            database.maintenance_roles,
            database.maintenance_applications,
        )
        return judge_transactions(session.instance.where, found, database)

    async def _cached(self, database: Database, session: Session) -> Result:
        where = session.instance.where
        activity, growth = (await self.activities())[where]
        return judge_cache_use(where, activity, growth, database)

    async def _each_primary(self, judge: Callable[[Database, Session], Awaitable[Result]]) -> Result:
        async def of_primary(database: Database, instances: Instances) -> Result:
            return await judge(database, instances.primary())

        return await self._each_database(of_primary)

    async def _tables_clean(self, database: Database, session: Session) -> Result:
        settings = await session.settings(VACUUMING)
        return judge_tables(session.instance.where, await tuning.read_tables(session), settings, database)

    @item("Indexes are created and optimized", severity=WARNING, needs=(_MONITOR,))
    async def indexes_optimized(self) -> Result:
        """An invalid index costs every write and helps no query; a missing one makes each query read a whole table.

        In the database of the connection string every index is valid (one that is being built is not yet) and `required_indexes`
        exist. Warnings: indexes that hold the same as another; indexes of `unused_index_min_size` or more that no instance has
        used for `min_observation`, but for those of constraints; foreign keys without an index whose referenced rows are deleted;
        tables of `min_rows` or more that are read whole more than `max_scans_per_hour` times; `enable_indexscan` and its like
        switched off. An index that only a standby uses is used: name all instances in the connection string.

        How to fix it: `REINDEX INDEX CONCURRENTLY` for invalid ones, `DROP INDEX CONCURRENTLY` for needless ones.
        """
        return await worst_of(
            self._each_database(self._indexes_good),
            self._each_instance(self._index_use),
            self._each_instance(self._read_by_index),
        )

    @staticmethod
    async def _index_use(_: Database, session: Session) -> Result:
        return judge_index_use(session.instance.where, await session.settings(PLANNING))

    async def _each_database(self, judge: Callable[[Database, Instances], Awaitable[Result]]) -> Result:
        return await worst_of(*(judge(database, instances) for database, instances in await self.instances()))

    async def _indexes_good(self, database: Database, instances: Instances) -> Result:
        primary = instances.primary()
        where = primary.instance.where
        indexes = await tuning.read_indexes(primary)
        scans: defaultdict[int, int] = defaultdict(int)
        ages: list[float] = []
        for session in instances.seen():
            _, age = await tuning.read_statistics_age(session)
            ages.append(age if await self._counts(session) else 0.0)
            for index in indexes if session is primary else await tuning.read_indexes(session):
                scans[index.id] += index.scans
        # An instance that does not answer may be the one that uses an index.
        youngest = 0.0 if instances.unseen else min(ages)
        keys = await tuning.read_foreign_keys(primary)
        return worst(
            judge_indexes(where, indexes, scans, youngest, database), judge_foreign_keys(where, keys, database)
        )

    @staticmethod
    async def _counts(session: Session) -> bool:
        """Whether an instance counts what is read."""
        return (await session.settings(["track_counts"])).value("track_counts") != "off"

    async def _read_by_index(self, database: Database, session: Session) -> Result:
        where = session.instance.where
        if not await self._counts(session):
            return unknown(f"track_counts is off on {where}, so reads are not counted.", reason=Reason.MISCONFIGURED)
        tables = await tuning.read_scans(session)
        values = {table.name: (float(table.scans), float(table.read)) for table in tables}
        growth = self._grown(f"scans {where}", values, database.window)
        if growth is not None:
            return judge_scans(where, tables, growth.by_key, growth.seconds, database)
        age, _ = await tuning.read_statistics_age(session)
        if age is None or age < database.window.total_seconds():
            return ok(f"How often tables on {where} are read whole shows after {format_duration(database.window)}.")
        return judge_scans(where, tables, values, age, database)

    @item(
        "Connection pools are tuned",
        severity=WARNING,
        needs=("option databases with pools or pgbouncer, or option caches", "two runs for caches"),
    )
    async def connection_pools_tuned(self) -> Result:
        """Pools that are too large exhaust the server, pools that are too small make requests wait.

        When all pools of a database are full at once, PostgreSQL has a connection for each of them; no client of PgBouncer waits,
        and their mean wait is at most `max_pool_wait`. Caches turn nobody away and get no new connection for every command.
        The sizes are judged as in the sections PostgreSQL and Redis.

        How to fix it: make the pools smaller before max_connections is raised; find who opens connections by CLIENT LIST and
        pg_stat_activity.
        """
        if not self.settings.databases and not self.settings.caches:
            raise ProbeError(
                "Neither databases nor caches are configured, so no pool was checked.", Reason.NOT_CONFIGURED
            )
        parts: list[Awaitable[Result]] = []
        if self.settings.databases:
            parts.append(self._each_database(self._pools_fit))
        if self.settings.caches:
            parts.append(self._caches_pooled())
        return await worst_of(*parts)

    async def _pools_fit(self, database: Database, instances: Instances) -> Result:
        if not database.pools and database.pgbouncer is None:
            return unknown(
                f"Database {database.name} has neither option pools nor option pgbouncer, so its pools were not checked.",
                reason=Reason.NOT_CONFIGURED,
            )
        poolers = await read_poolers(database.pgbouncer, database.query_timeout) if database.pgbouncer else []
        primary = instances.primary()
        sessions = [primary, *(session for session in instances.seen() if session is not primary)]
        capacities = [Capacity(session.instance, await session.connections()) for session in sessions]
        fit = judge_pools(
            database.pools,
            poolers,
            capacities,
            await primary.connection_limits(),
            ClusterLimits(),
            database=await primary.database(),
            processes=database.pgbouncer_processes,
            doors=await primary.doors(database.pools),
        )
        if database.pgbouncer is None:
            return fit
        waits = await read_waits(database.pgbouncer, database.query_timeout)
        return worst(fit, judge_waits(waits, database.max_pool_wait.total_seconds()))

    async def _caches_pooled(self) -> Result:
        problems: list[Result] = []
        for cache, nodes in await self.caches():
            histories: dict[NodeAddress, deque[redis_model.Traffic]]
            histories = self.context.memory.setdefault(f"traffic {cache.name} {cache.nodes}", {})
            grown = redis_model.grow_all(histories, nodes, self.context.now(), cache.window)
            problems += of_each(nodes, partial(connection_problems, grown=grown, limits=cache))
        return verdict(problems, ok("No cache rejected a connection, and their clients keep theirs."))

    @item("Cache TTL values are optimized", severity=WARNING, needs=(_CACHES,))
    async def cache_ttls_optimized(self) -> Result:
        """Keys that never expire fill a cache with what nobody reads; keys that expire too soon make it useless.

        In every database of every node, but for `lasting_databases`, at least `min_ttl_ratio` of the keys expire, by the exact
        counts of INFO keyspace; and at least `min_cache_hits` of the lookups on all nodes found their key: in the last hour, else
        since the servers started. Keys are not sampled: Redis would count that as hits. Evictions are not judged: a cache that is
        full as designed evicts.

        How to fix it: set a TTL wherever a key is written (SET … EX), and a longer one where hits are few.
        """
        problems: list[Result] = []
        shares: list[float] = []
        for cache, nodes in await self.caches():
            problems += of_each(nodes, partial(ttl_problems, limits=cache))
            answered = redis_model.seen(nodes)
            problems += collected(self._hits(cache, answered)) if answered else []
            for node in answered:
                held, expiring = redis_model.keys(node)
                shares += [expiring / held] if held else []
        return verdict(
            problems,
            ok("Keys of the caches expire, and lookups find them.", keys_expiring_ratio=min(shares, default=0.0)),
        )

    def _hits(self, cache: Cache, nodes: list[Answers]) -> Iterable[Result]:
        values = {
            node.address: (float(node.number("keyspace_hits")), float(node.number("keyspace_misses"))) for node in nodes
        }
        growth = self._grown(f"hits {cache.name}", values, cache.window)
        return hit_problems(nodes, growth.by_key if growth else None, cache)

    @item("CDN is configured for static assets", severity=INFO, needs=(f"{_SITES} with assets",))
    async def cdn_configured(self) -> Result:
        """Static files from the origin cost it bandwidth, and cost users who live far away their patience.

        Each of `assets` is requested three times, the third time after `cache_pause`: a shared cache says that it served the file
        itself (Age, X-Cache, Cache-Status, CF-Cache-Status, X-Varnish and others). A page in place of the file, or
        Cache-Control that forbids keeping it, fails the line. Where a CDN does not report it, or there is none on purpose,
        declare this line not applicable.

        How to fix it: name files by their content's hash, serve them with `Cache-Control: public, max-age=31536000, immutable`.
        """
        sites = self._configured(self.settings.sites, "sites")
        parts = [self._cached_asset(site, path) for site in sites for path in site.assets]
        if not parts:
            raise ProbeError("No site has option assets, so no static file was requested.", Reason.NOT_CONFIGURED)
        return await worst_of(*parts)

    @staticmethod
    async def _cached_asset(site: Site, path: str) -> Result:
        async with Connection.open(site, http2=True) as connection:
            looks = [await connection.get(path, {"Accept-Encoding": BROWSER}) for _ in range(2)]
            await asyncio.sleep(site.cache_pause.total_seconds())
            looks.append(await connection.get(path, {"Accept-Encoding": BROWSER}))
        return judge_shared_cache(looks)

    @item("Compression is enabled (gzip, brotli)", severity=WARNING, needs=(_SITES,))
    async def compression_enabled(self) -> Result:
        """Text shrinks to a quarter when it is compressed; without it pages take that much longer on a slow line.

        Each of `pages`, which must have 2 kB or more, is requested as a browser does (gzip, br, zstd: any of them will do), by a
        client that knows gzip alone, and by one that knows neither, at each address that can be reached. What is sent as gzip must
        unpack, and Vary must name
        Accept-Encoding, or caches would give it to the wrong client. Images and small bodies are rightly left alone.

        How to fix it: switch compression on for text, JSON, JavaScript and SVG at the edge; nginx leaves out what comes through a
        proxy unless gzip_proxied says otherwise.
        """
        sites = self._configured(self.settings.sites, "sites")
        return await worst_of(
            *(self._each_address(site, partial(self._compressed, site, path)) for site in sites for path in site.pages)
        )

    @staticmethod
    async def _each_address(site: Site, judge: Callable[[str | None], Awaitable[Result]]) -> Result:
        """The worst of a judgement at every address of a site that can be reached: each may be another load balancer."""
        addresses = await addresses_of(site)
        if len(addresses) < 2:
            return await judge(None)
        found = await asyncio.gather(*map(judge, addresses), return_exceptions=True)
        unexpected = [one for one in found if isinstance(one, BaseException) and not isinstance(one, ProbeError)]
        if unexpected:
            raise unexpected[0]
        errors = [one for one in found if isinstance(one, ProbeError)]
        seen = [one for one in found if isinstance(one, Result)]
        # The exporter may have no route by IPv6: where another address answers, that is no finding.
        errors = [error for error in errors if not seen or error.reason is not Reason.UNREACHABLE]
        return worst(*seen, *map(unobserved, errors))

    @staticmethod
    async def _compressed(site: Site, path: str, address: str | None) -> Result:
        async with Connection.open(site, http2=True, address=address) as connection:
            replies = [
                await connection.get(path, {"Accept-Encoding": encoding}) for encoding in (BROWSER, "gzip", "identity")
            ]
        return judge_compression(*replies)

    @item("HTTP/2 or HTTP/3 is enabled", severity=INFO, needs=(_SITES, "with `http3`: checklist-exporter[http3]"))
    async def http2_or_http3_enabled(self) -> Result:
        """Over HTTP/1.1 a browser waits for one reply before it sends the next request on a connection.

        Every address of the host negotiates h2 with a client that offers it, and a request by HTTP/2 is answered; or a real
        request by HTTP/3 is: an Alt-Svc header only claims that. With `http3` HTTP/3 is demanded.

        How to fix it: switch HTTP/2 on where TLS ends, on every load balancer.
        """
        sites = self._configured(self.settings.sites, "sites")
        return await worst_of(*map(self._versions, sites))

    @staticmethod
    async def _versions(site: Site) -> Result:
        if not site.url.startswith("https:"):
            return failed(f"{site.url} is not https, and browsers speak HTTP/2 and HTTP/3 with TLS alone.")
        chosen = await negotiated(site)
        path = site.pages[0]
        async with Connection.open(site, http2=True) as connection:
            reply: Delivered | None = await connection.get(path)
        advertised = "h3=" in (reply.headers.get("alt-svc", "") if reply else "")
        http3: Http3 | None = None
        if advertised or site.http3:
            try:
                http3 = await request_http3(site, path)
            except ProbeError as error:
                if site.http3:
                    return unobserved(error)
        return judge_versions(urlsplit(site.url).netloc, chosen, reply, http3, advertised, site.http3)

    @item(
        "Keep-alive connections are configured",
        severity=INFO,
        needs=(_SITES, "options databases and caches add theirs"),
    )
    async def keep_alive_configured(self) -> Result:
        """A connection for every request costs a TCP and a TLS handshake each time, and ports when there are many.

        Two requests by HTTP/1.1 to the first of `pages` travel on one connection. Redis nodes of `caches` have tcp-keepalive, so
        that dead clients are noticed. Neither they nor `databases` (`idle_session_timeout`) close connections that are idle for
        less than a minute, and clients of `databases` do not open a connection for every second transaction or more. Each address
        of a site's name that can be reached is requested.

        How to fix it: keepalive_timeout (nginx), server.keepAliveTimeout (Node) above the load balancer's idle time; a pool in
        each client.
        """
        sites = self._configured(self.settings.sites, "sites")
        parts: list[Awaitable[Result]] = [self._each_address(site, partial(self._kept, site)) for site in sites]
        if self.settings.caches:
            parts.append(self._caches_kept())
        if self.settings.databases:
            parts += [self._each_instance(self._sessions_kept), self._each_instance(self._idle_kept)]
        return await worst_of(*parts)

    @staticmethod
    async def _kept(site: Site, address: str | None) -> Result:
        async with Connection.open(site, http2=False, address=address) as connection:
            return judge_keep_alive(*[await connection.get(site.pages[0]) for _ in range(2)])

    async def _caches_kept(self) -> Result:
        problems: list[Result] = []
        for _, nodes in await self.caches():
            problems += of_each(nodes, keep_alive_problems)
        return verdict(problems, ok("Caches notice clients that are gone (tcp-keepalive), and keep idle ones."))

    @staticmethod
    async def _idle_kept(_: Database, session: Session) -> Result:
        return judge_idle_sessions(session.instance.where, await session.settings([IDLE]))

    async def _sessions_kept(self, database: Database, session: Session) -> Result:
        where = session.instance.where
        _, growth = (await self.activities())[where]
        if growth is None:
            return ok(f"How often clients of {where} connect shows after {format_duration(database.window)}.")
        _, _, sessions, transactions = growth.by_key[where]
        return judge_churn(where, sessions, transactions, growth.seconds)
