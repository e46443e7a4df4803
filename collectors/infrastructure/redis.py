"""Redis Cache"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from collectors.shared import stores
from collectors.shared.attempts import attempt
from collectors.shared.host_port import HostPort
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, PodOptions, how_seen, with_pods
from collectors.systems.prometheus.check.scrape import judge_movement, judge_scrape
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.redis import model
from collectors.systems.redis.client import Full, Login, addresses_of, answers_plaintext, each_server, greet_each, look
from collectors.systems.redis.judge.cluster import (
    cluster_problems,
    member_problems,
    ownership_problems,
    successor_problems,
)
from collectors.systems.redis.judge.connections import connection_problems
from collectors.systems.redis.judge.memory import memory_problems, unlike_problems
from collectors.systems.redis.judge.metrics import scraped_problems
from collectors.systems.redis.judge.nodes import of_each
from collectors.systems.redis.judge.persistence import folder_problems, persistence_problems
from collectors.systems.redis.judge.replication import (
    clustered_problems,
    health_problems,
    lag_problems,
    leadership_problems,
    link_problems,
    sync_problems,
)
from collectors.systems.redis.judge.sentinel import (
    agreement_problems,
    detection_problems,
    electorate_problems,
    named_master_problems,
    sentinel_problems,
    timeout_problems,
)
from collectors.systems.redis.judge.tls import address_problems, door_problems, peer_encryption_problems
from collectors.systems.redis.model import Answers, Look, NodeAddress, RedisLimits, Unseen
from exporter.collector import Collector, SectionSettings, Target, fetched, item
from exporter.http import Trust
from exporter.options import Duration, Secret
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, warning
from exporter.words import counted


class Deployment(StrEnum):
    """How a Redis is made to outlive a node."""

    STANDALONE = "standalone"
    REPLICATION = "replication"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_UPTIME = "redis_uptime_in_seconds"
_METRIC = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"


class RedisScrape(Scrape):
    """Where the metrics of redis_exporter are found in Prometheus."""

    job: str = Field("redis", description="Job that scrapes redis_exporter.")
    health: str = Field("redis_up", description="Metric that is 1 while the exporter reaches its Redis.")
    series: str = Field(_UPTIME, description="Metric that only a working Redis gives.")
    identity: str = Field(
        "redis_instance_info", pattern=_METRIC, description="Metric whose label run_id shows which node is scraped."
    )


class _Options(RedisLimits):
    """What may be set for the section and for one target."""

    node_timeout: Duration = Field(
        timedelta(seconds=2), gt=timedelta(0), description="How long one node may take to answer all that it is asked."
    )
    max_connections: int = Field(16, ge=1, description="How many nodes are asked at the same time.")
    plaintext_port: int = Field(
        6379, ge=1, le=65535, description="Port where plaintext must be refused, besides those that Redis names."
    )
    scrape: RedisScrape = Field(RedisScrape(), description="Where the metrics are found in Prometheus.")


class RedisTarget(Target, PodOptions, _Options):
    """One Redis: a server, a master with its replicas, with Sentinels or not, or a cluster."""

    mode: Deployment = Field(Deployment.STANDALONE, description="standalone, replication, sentinel or cluster.")
    nodes: tuple[HostPort, ...] = Field(
        (), description="host:port of each node. A cluster names the nodes that are left out, Sentinels name all."
    )
    sentinels: tuple[HostPort, ...] = Field((), description="host:port of every Sentinel (mode sentinel).")
    master_name: str = Field("mymaster", pattern=r"^\S+$", description="Name by which the Sentinels know the master.")
    min_replicas: int | None = Field(
        None,
        ge=0,
        description="Replicas that a master must have; by default the other nodes (replication) or 1 (sentinel, cluster).",
    )
    username: str | None = Field(None, description="ACL user; Redis's default user when there is only a password.")
    password: Secret | None = Field(None, description="Password of the user.")
    sentinel_username: str | None = Field(None, description="ACL user of the Sentinels.")
    sentinel_password: Secret | None = Field(None, description="Password for the Sentinels.")
    tls: Trust | None = Field(None, description="Speak TLS with nodes and Sentinels: whom to trust, and who we are.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.mode is Deployment.SENTINEL) != bool(self.sentinels):
            raise ValueError("expected `sentinels` with mode sentinel, and only with it")
        if self.mode is not Deployment.SENTINEL and not self.nodes:
            raise ValueError("expected `nodes`, host:port each")
        if self.mode is Deployment.STANDALONE and len(self.nodes) != 1:
            raise ValueError("expected one node in mode standalone; several are mode replication, sentinel or cluster")
        return self

    @property
    def wanted_replicas(self) -> int:
        """How many replicas each master shall have."""
        if self.min_replicas is not None:
            return self.min_replicas
        return {Deployment.STANDALONE: 0, Deployment.REPLICATION: len(self.nodes) - 1}.get(self.mode, 1)


class RedisSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[RedisTarget, ...] = Field(min_length=1, description="The Redis deployments to check.")


class Redis(Collector[RedisSettings, RedisTarget]):
    """Checks every node of a Redis, each asked everything at once over a connection that is then closed."""

    Settings = RedisSettings
    Target = RedisTarget
    second_look = timedelta(seconds=5)
    rights = """\
On every node:
  ACL SETUSER checklist on >PASSWORD -@all +ping +info +role +config|get
On every node of a cluster, also:
  ACL SETUSER checklist +cluster|info +cluster|nodes
Where `pools` is configured, also:
  ACL SETUSER checklist +client|list
On every Sentinel:
  ACL SETUSER checklist on >PASSWORD -@all +info +sentinel|masters +sentinel|replicas +sentinel|ckquorum
"""

    @classmethod
    def provides(cls, target: RedisTarget) -> Mapping[str, Iterable[str]]:
        """The nodes that the configuration names."""
        return {"pods_healthy": stores.redis(target.nodes)}

    @fetched
    async def sentinels(self) -> tuple[Look, ...]:
        """Every Sentinel, asked what it knows of the master."""
        target = self.target
        login = Login(target.sentinel_username, target.sentinel_password, target.tls, target.node_timeout)
        quorum, replicas = (f"SENTINEL {what} {target.master_name}" for what in ("CKQUORUM", "REPLICAS"))
        return await self._look_at(target.sentinels, login, ("INFO", "SENTINEL MASTERS", quorum, replicas))

    @fetched
    async def nodes(self) -> tuple[Look, ...]:
        """Every node that is configured, or named by the Sentinels or the cluster, without replicas that Sentinels alone remember.

        Raises ProbeError when no Sentinel names any.
        """
        if self.target.mode is Deployment.CLUSTER:
            return await self._cluster()
        if self.target.mode is Deployment.SENTINEL:
            return (await self._guarded())[0]
        return await self._look_at(self.target.nodes, self._login, self._commands)

    @fetched
    async def _guarded(self) -> tuple[tuple[Look, ...], tuple[NodeAddress, ...]]:
        """The nodes that the Sentinels name, and the addresses of replicas that are gone and that Sentinels alone remember."""
        target = self.target
        watches, missing = await self._watches()
        if not watches:
            raise ProbeError(f"No Sentinel names the master. {missing[0]}", missing[0].reason)
        named = [address for watch in watches for address in (watch.master, *watch.replicas)]
        # The named ones come first, as the Sentinels know them by these addresses.
        looks = model.each_once(await self._look_at([*named, *target.nodes], self._login, self._commands))
        gone = model.remembered(looks, watches, target.nodes, target.wanted_replicas)
        return tuple(node for node in looks if node.address not in gone), tuple(sorted(gone))

    @fetched
    async def plaintext(self) -> Mapping[NodeAddress, NodeAddress | ProbeError | None]:
        """Where an unencrypted PING is answered, for every port of every node and Sentinel that might do so."""
        usual = self.target.plaintext_port
        doors = {door for node in await self.nodes() for door in model.doors(node, usual)}
        doors |= {door for sentinel in await self.sentinels() for door in model.doors(sentinel, None)}
        places = asyncio.Semaphore(self.target.max_connections)

        async def knock(door: NodeAddress) -> NodeAddress | ProbeError | None:
            async with places:
                return await attempt(answers_plaintext(door, self.target.node_timeout))

        return dict(zip(doors, await asyncio.gather(*map(knock, doors)), strict=True))

    @fetched
    async def greetings(self) -> tuple[model.Handshake, ...]:
        """How every address of each name of a node or Sentinel greets a TLS client, where a name has several."""
        places = asyncio.Semaphore(self.target.max_connections)

        async def greet(address: NodeAddress) -> tuple[model.Handshake, ...]:
            async with places:
                return await greet_each(address, self._login)

        addresses = dict.fromkeys(look.address for look in (*await self.nodes(), *await self.sentinels()))
        return tuple(one for found in await asyncio.gather(*map(greet, addresses)) for one in found)

    @fetched
    async def growth(self) -> Mapping[NodeAddress, model.Growth | None]:
        """How each node's counters grew within the window; None until it was checked twice since it started."""
        histories: dict[NodeAddress, deque[model.Traffic]] = self.context.memory.setdefault("traffic", {})
        return model.grow_all(histories, await self.nodes(), self.context.now(), self.target.window)

    @fetched
    async def roommates(self) -> tuple[Look, ...]:
        """The nodes that keep their data in one folder of one machine, asked what their files are called."""
        nodes = [node.address for group in model.roommates(await self.nodes()) for node in group]
        return await self._look_at(nodes, self._login, model.FILES) if nodes else ()

    @cached_property
    def _login(self) -> Login:
        target = self.target
        return Login(target.username, target.password, target.tls, target.node_timeout)

    @cached_property
    def _commands(self) -> tuple[str, ...]:
        """What a node is asked. CONFIG GET names one parameter each: `*` would show the password, and 6.2 takes but one."""
        settings = ["save", "dir", "appendfsync", "min-replicas-to-write"]
        if self.target.tls:
            settings += ["port", "tls-replication", "tls-cluster", "tls-protocols"]
        commands = ["INFO", "ROLE"]
        if self.target.mode is Deployment.CLUSTER:
            settings += ["cluster-replica-no-failover", "cluster-node-timeout"]
            commands += ["CLUSTER INFO", "CLUSTER NODES"]
        commands += [f"CONFIG GET {name}" for name in settings]
        if self.target.pools:
            commands += ["CLIENT LIST"]
        return (*commands, "PING")  # last, as redis-py hangs up when PING is answered that data is being loaded

    async def _look_at(
        self, nodes: Sequence[str | NodeAddress], login: Login, commands: Sequence[str]
    ) -> tuple[Look, ...]:
        """What these servers answer; of a name that is configured, all those that it leads to."""
        turns = asyncio.Semaphore(self.target.max_connections)

        async def one(address: NodeAddress) -> Look:
            async with turns:
                return await look(address, login, commands)

        async def named(address: NodeAddress) -> tuple[Look, ...]:
            found = await asyncio.gather(*map(one, await addresses_of(address, login.timeout)))
            return each_server(address, found)

        async def known(address: NodeAddress) -> tuple[Look, ...]:
            return (await one(address),)

        ask = {NodeAddress.parse(node): named for node in nodes if isinstance(node, str)}
        ask = {node: known for node in nodes if not isinstance(node, str)} | ask
        found = await asyncio.gather(*(how(address) for address, how in ask.items()))
        return tuple(itertools.chain(*found))

    async def _watches(self) -> tuple[list[model.Watch], list[ProbeError]]:
        """What the Sentinels know, and why some could not be asked."""
        watches, missing = [], []
        for sentinel in await self.sentinels():
            try:
                watches.append(model.watch(sentinel, self.target.master_name))
            except ProbeError as why:
                missing.append(why)
        return watches, missing

    async def _cluster(self) -> tuple[Look, ...]:
        """The configured nodes, then those that they name: one hop, as every node of a cluster knows every other."""
        first = await self._look_at(self.target.nodes, self._login, self._commands)
        views = [model.view(node) for node in first]
        if not any(views):
            for silent in model.seen(first):
                model.cluster_nodes(silent)  # raises why: without it there may be nodes that are not checked
        looked: dict[str, Look] = {}
        named: dict[str, NodeAddress] = {}
        for node, view in zip(first, views, strict=True):
            own = next((other.id for other in view if "myself" in other.flags), str(node.address))
            looked.setdefault(own, node)
            named |= {other.id: other.address for other in view if other.address and other.joined}
        asked = {node.address for node in first}
        rest = [address for identity, address in named.items() if identity not in looked and address not in asked]
        return (*looked.values(), *await self._look_at(rest, self._login, self._commands))

    async def _dead(self, nodes: Iterable[Look]) -> Mapping[NodeAddress, NodeAddress]:
        """The nodes that the cluster or a Sentinel takes for dead, each with a witness."""
        if self.target.mode is Deployment.SENTINEL:
            return model.given_up((await self._watches())[0])
        return model.buried(nodes) if self.target.mode is Deployment.CLUSTER else {}

    @item(
        "Redis pods are running and healthy",
        severity=CRITICAL,
        needs=("+ping", "+info", "+role", "Sentinels or Cluster: their rights", *POD_RIGHTS),
    )
    async def pods_healthy(self) -> Result:
        """A Redis that answers a health check may still be loading its data, refuse writes, or be one of two masters.

        Every node is asked over its own protocol: it answers PING, has loaded its data, takes writes (an error such as BUSY,
        MISCONF or too few replicas for `min-replicas-to-write` fails the line), and takes part in replication. Without Cluster
        exactly one node answers ROLE as master, with the wanted replicas online, directly or along a chain; replicas have their
        link up and the master's replication id, lack no more than `max_lag_bytes` and acknowledge what they get; no master sends
        its whole data set again and again. With Cluster no node is taken for dead by another. A replica may be without its
        master for `replica_grace`, as it is during its first sync. With `pods`, their pods are Ready and do not keep
        restarting, and their workload has all its replicas; without it pods are not checked.

        How to fix it: see the log of the node that is named; INFO replication shows why a link is down.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        target, nodes = self.target, await self.nodes()
        since: dict[NodeAddress, datetime] = self.context.memory.setdefault("link_down_since", {})
        for gone in since.keys() - {node.address for node in nodes}:
            del since[gone]
        full = [failed(str(why), reason=why.reason) for why in _full(nodes)]
        problems = [*full, *of_each(nodes, health_problems)]
        problems += of_each(model.seen(nodes), lambda node: link_problems(node, target, since, self.context.now()))
        problems += of_each(model.seen(nodes), lambda node: lag_problems(node, target))
        grown = await self.growth()
        problems += of_each(model.seen(nodes), lambda node: sync_problems(node, grown))
        if target.mode is not Deployment.CLUSTER:
            problems += collected(leadership_problems(nodes, target.wanted_replicas))
            problems += of_each(model.seen(nodes), clustered_problems)
        dead = await self._dead(nodes)
        stale = (await self._guarded())[1] if target.mode is Deployment.SENTINEL else ()
        problems += [
            failed(f"{witness} holds {node} for dead.", reason=Reason.DOWN)
            for node, witness in dead.items()
            if node not in stale
        ]
        problems += [
            warning(
                f"Sentinels still list replica {node}, which is down and not missed: if it is gone for good, SENTINEL RESET "
                f"{target.master_name} forgets it."
            )
            for node in stale
        ]
        many = f"All {len(nodes)} nodes of {target.name} answer" if len(nodes) > 1 else f"{nodes[0].address} answers"
        good = ok(
            f"{many} PING with the data loaded and replication up, {how_seen(target.pods)}.",
            nodes_answering=len(model.seen(nodes)),
            replication_lag_bytes=model.highest(nodes, model.lag),
        )
        return verdict(problems, good)

    @item("Redis persistence is configured (AOF + RDB)", severity=CRITICAL, needs=("+info", "+config|get"))
    async def persistence_configured(self) -> Result:
        """What is only in memory is gone after a restart, sessions, queues and counters, and the database gets all the load.

        On every node: the append-only file is on, and its last write and rewrite went well; `save` is not empty, the last
        snapshot went well, none is overdue, and none has been under way for longer than `max_child_time`; the data folder is on
        `data_volume`, or at least no temporary one, and no two nodes of one machine write to the same file in it. Changes may be in
        no snapshot for `max_unsaved` before it is a warning, as is `appendfsync no`. Redis that has just started reports its start
        as the last snapshot, and that as ok: this is a warning until one was written. `persistence` selects when only one of the
        two is wanted. Settings are those of the running server: what its configuration file has for the next start is not checked.

        How to fix it: `appendonly yes`, `save 3600 1 300 100 60 10000`, `dir` on a persistent volume, in the configuration file.
        The log shows why writing failed.
        """
        nodes, limits = await self.nodes(), self.target
        problems = of_each(nodes, lambda node: persistence_problems(node, limits, self.context.now()))
        files = {node.address: node for node in await self.roommates()}
        problems += [
            problem for group in model.roommates(nodes) for problem in collected(folder_problems(group, files))
        ]
        good = ok(
            f"All nodes of {limits.name} persist ({limits.persistence}), and their last writes went well; whether the "
            "configuration file that the next start reads has the same settings was not checked.",
            changes_since_last_save=model.highest(nodes, lambda node: node.number("rdb_changes_since_last_save")),
        )
        return verdict(problems, good)

    @item("Memory eviction policy is set (allkeys-lru)", severity=WARNING, needs=("+info",))
    async def eviction_policy_set(self) -> Result:
        """A cache without eviction refuses writes when it is full; one without maxmemory grows until the kernel kills it.

        On every node, by INFO: maxmemory-policy is the wanted one; maxmemory is set, as no policy acts while it is 0, and is not
        more than the share of the container's or machine's memory that leaves room for forking and buffers. A cache that evicts
        may be full; with noeviction, or with nothing to evict, use is below `memory_warn`, and above maxmemory writes are refused.
        From the second run on no command was refused for lack of memory within `window` (6.2 and later count them).
        A node with a smaller maxmemory than others is a warning.
        Queues and sessions need another policy than a cache does: set `eviction_policy` for such a target.

        How to fix it: `CONFIG SET maxmemory 3gb`, `CONFIG SET maxmemory-policy allkeys-lru`, and the same in redis.conf.
        """
        nodes, limits = await self.nodes(), self.target
        grown = await self.growth()
        problems = of_each(nodes, lambda node: memory_problems(node, grown, limits))
        problems += collected(unlike_problems(nodes))
        good = ok(
            f"All nodes of {limits.name} evict by {limits.eviction_policy} when their maxmemory is used up.",
            memory_used_ratio=model.highest(nodes, model.memory_used),
        )
        return verdict(problems, good)

    @item("Redis metrics are being collected", severity=WARNING, needs=("clients.prometheus",))
    async def metrics_collected(self) -> Result:
        """Without metrics nobody sees memory, evictions and replication lag coming.

        Prometheus is asked for redis_exporter: one instance for each node is scraped, reaches its Redis (`redis_up` is 1, which
        `up` says nothing about), and has a sample of it that is fresh. Each node is the one that an exporter reports: they are
        matched by `run_id`, as two exporters may scrape the same node. Its figures change: an exporter, or a cache before it, may
        go on giving the last ones.

        How to fix it: see Prometheus's targets page, and the exporter's log for why it cannot reach its Redis.
        """
        scrape, prometheus = self.target.scrape, self.client(Prometheus)
        scraped = judge_scrape(prometheus, scrape, instances=len(await self.nodes()))
        return await worst_of(scraped, self._matched(prometheus), judge_movement(prometheus, scrape, _UPTIME))

    async def _matched(self, prometheus: Prometheus) -> Result:
        scrape, nodes = self.target.scrape, await self.nodes()
        samples = await prometheus.query(selector(scrape.identity, {"job": scrape.job} | scrape.labels))
        wanted = min(scrape.instances or len(nodes), len(nodes))
        problems = scraped_problems(nodes, samples, scrape.identity, wanted, scrape.stale_after)
        return verdict(problems, ok("Each node is scraped by an exporter of its own."))

    @item("Connection pool is optimized", severity=WARNING, needs=("+info", "two runs", "with `pools`: +client|list"))
    async def connection_pool_optimized(self) -> Result:
        """Clients without a pool open a connection for every command, and at maxclients Redis turns the next one away.

        On every node, by INFO: no connection was rejected within `window`, or closed as its buffers grew too large, new connections
        come at no more than `max_churn` a
        second, clients are below the share of maxclients, none are in blocking commands but `max_blocked_clients`, and no client
        name of `pools` holds more connections than its pools have. Counters are compared between two runs, and start over when
        Redis does: until then it is unknown.

        How to fix it: give each client a bounded pool that keeps connections, then raise maxclients (and the limit of open files).
        """
        nodes, grown = await self.nodes(), await self.growth()
        problems = [failed(str(why), reason=why.reason) for why in _full(nodes)]
        problems += of_each(nodes, lambda node: connection_problems(node, grown, self.target))
        good = ok(
            f"No node of {self.target.name} rejected a connection, and their clients keep theirs.",
            clients_used_ratio=model.highest(nodes, model.clients_used),
        )
        return verdict(problems, good)

    @item("TLS/SSL encryption is enabled", severity=CRITICAL, needs=("tls", "with replicas: +role, +config|get"))
    async def tls_enabled(self) -> Result:
        """Redis sends passwords and data in plaintext by default, and leaves its plaintext port open beside the TLS one.

        On every node and Sentinel, at every address of its name: the handshake verifies the certificate's authority and name,
        gives TLS 1.2 or later, and the certificate is valid for longer than `certificate_warn`. An unencrypted PING is refused on
        that port, on the port that CONFIG (or INFO) shows, and on a node's `plaintext_port`; `port` is 0. Replication and the
        cluster's bus are encrypted, which CONFIG alone shows. Where a service mesh or a proxy encrypts instead, declare this not
        applicable.

        How to fix it: `tls-port 6379`, `port 0`, `tls-replication yes`, in a cluster `tls-cluster yes`.
        """
        target, nodes, now = self.target, await self.nodes(), self.context.now()
        if target.tls is None:
            problems = of_each(
                nodes,
                lambda node: [
                    failed(f"{node.address} accepts unencrypted connections: no `tls`.", reason=Reason.MISCONFIGURED)
                ],
            )
        else:
            answered, cluster = await self.plaintext(), target.mode is Deployment.CLUSTER
            asked: list[tuple[Look, int | None]] = [(node, target.plaintext_port) for node in nodes]
            asked += [(sentinel, None) for sentinel in await self.sentinels()]
            problems = [
                problem for node, usual in asked for problem in door_problems(node, answered, usual, target, now)
            ]
            problems += of_each(model.seen(nodes), lambda node: peer_encryption_problems(node, cluster=cluster))
            problems += collected(address_problems(await self.greetings(), target, now))
            if target.tls.insecure_skip_verify:
                problems.append(
                    unknown(
                        f"insecure_skip_verify is set for {target.name}: no certificate was verified.",
                        reason=Reason.NOT_VERIFIED,
                    )
                )
        return verdict(problems, ok(f"All nodes of {target.name} speak verified TLS and refuse plaintext."))

    @item(
        "Redis Sentinel/Cluster is operational",
        severity=CRITICAL,
        needs=(
            "Sentinel: +info, +sentinel|masters, +sentinel|replicas, +sentinel|ckquorum, and +role on nodes",
            "Cluster: +cluster|info, +cluster|nodes, +info, +config|get",
        ),
    )
    async def sentinel_or_cluster_operational(self) -> Result:
        """Failover needs a majority that is there and a replica to promote; often one is missing, unnoticed until the master dies.

        Sentinel: each answers CKQUORUM with OK (INFO continues to show ok without a quorum), they are as many distinct ones as
        wanted, not in TILT, all name one master, that one answers ROLE as master, and a replica could take over: its
        replica-priority is not 0 and its link to the master is up. Cluster: every node says cluster_state ok, all 16384 slots are
        served (the state stays ok without them where cluster-require-full-coverage is no) by masters on which all nodes agree,
        every handshake is complete, every master has a replica that could take over, and after the death of any master a
        majority is left to vote. It is a warning when one more Sentinel must not fail, when Sentinels that are known are gone,
        and while slots are migrating.

        How to fix it: start the missing Sentinel or replica; SENTINEL RESET forgets Sentinels and replicas that are gone for good.
        """
        target, nodes = self.target, await self.nodes()
        if target.mode is Deployment.CLUSTER:
            buried = model.buried(nodes)
            living = [node for node in nodes if isinstance(node, Answers) or node.address not in buried]
            problems = of_each(living, lambda node: cluster_problems(node, target.wanted_replicas))
            problems += of_each(living, lambda node: timeout_problems(node, target))
            problems += collected(ownership_problems(nodes))
            problems += collected(member_problems(nodes))
            problems += collected(successor_problems(nodes, target, target.wanted_replicas))
            good = ok(
                f"All {model.SLOTS} slots of cluster {target.name} are served, and each master has a replica.",
                nodes_answering=len(model.seen(nodes)),
            )
            return verdict(problems, good)
        if target.mode is Deployment.SENTINEL:
            return await self._sentinel(nodes)
        return failed(
            f"{target.name} is declared {target.mode}: nothing fails over when its master dies.", reason=Reason.MISSING
        )

    async def _sentinel(self, nodes: Sequence[Look]) -> Result:
        target, name, sentinels = self.target, self.target.master_name, await self.sentinels()
        watches, missing = await self._watches()
        masters = {watch.master for watch in watches}
        answered = model.seen(sentinels)
        # A Sentinel that is silent for us and for the others is gone, which they report; one that they reach was not observed.
        gone = len(sentinels) - len(answered) <= model.known_gone(sentinels, name)
        problems = of_each(
            answered if gone else sentinels,
            lambda one: sentinel_problems(one, name, target, target.wanted_replicas, nodes),
        )
        problems += collected(electorate_problems(sentinels, watches, target))
        if watches:
            problems += [failed(str(why), reason=why.reason) for why in missing if isinstance(why, model.Unwatched)]
        problems += detection_problems(watches, name, target)
        problems += agreement_problems(watches, name)
        problems += of_each((node for node in nodes if node.address in masters), named_master_problems)
        good = ok(
            f"{counted(len(answered), 'Sentinel')} {'has' if len(answered) == 1 else 'have'} a quorum for {name}, and "
            f"{', '.join(map(str, masters))} is its master.",
            sentinels_answering=len(watches),
        )
        return verdict(problems, good)


def _full(nodes: Iterable[Look]) -> list[Full]:
    """The nodes that take no more clients: that we were turned away is a fact about them."""
    return [node.why for node in nodes if isinstance(node, Unseen) and isinstance(node.why, Full)]
