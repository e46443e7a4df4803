"""NATS Message Broker"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

from collectors.shared.verdicts import worst_of
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, PodOptions, how_seen, with_pods
from collectors.systems.nats import judge
from collectors.systems.nats.client import Connection, Login, connected
from collectors.systems.nats.model import Account, Monitor, NatsLimits
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.scrape import Scrape
from exporter.collector import Collector, Options, SectionSettings, Target, fetched, item
from exporter.http import Http, HttpSettings, Trust
from exporter.options import Duration, Secret
from exporter.verdict import CRITICAL, WARNING, ProbeError, Result, failed, ok, unknown, unobserved
from exporter.words import counted

T = TypeVar("T")

#: How long JetStream waits for the leaders of streams before it calls those missing that it has not heard of.
_PATIENCE = timedelta(seconds=4)
#: What JetStream answers while it has no leader. Its streams may well be kept in files: nobody can tell.
_UNAVAILABLE = 10008


def _host_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("expected host:port")
    return text


class NatsNode(Options):
    """One server."""

    server: Annotated[str, AfterValidator(_host_port)] = Field(description="host:port where clients connect.")
    monitoring: HttpSettings = Field(description="Its monitoring endpoint, such as `{url: http://nats-0:8222}`.")


class NatsScrape(Scrape):
    """Where the metrics of prometheus-nats-exporter are found in Prometheus; the Helm chart's begin with `nats_`."""

    job: str = Field("nats", description="Job that scrapes the exporter.")
    health: str = Field("gnatsd_up", description="Metric that is 1 while the exporter reaches its server.")
    series: str = Field("gnatsd_varz_connections", description="Metric that only a working server gives.")


class _Limits(NatsLimits):
    """What may be set for the section and for one target."""

    node_timeout: Duration = Field(
        timedelta(seconds=3), gt=timedelta(0), description="How long one request to a server may take."
    )
    scrape: NatsScrape = Field(NatsScrape(), description="Where the metrics are found in Prometheus.")


class NatsTarget(Target, PodOptions, _Limits):
    """A server, or a cluster of servers that all have JetStream, and an account on it."""

    nodes: tuple[NatsNode, ...] = Field(min_length=1, description="All servers of the cluster.")
    streams: tuple[str, ...] = Field((), description="Streams that shall exist.")
    username: str | None = Field(None, description="User of the account.")
    password: Secret | None = Field(None, description="Password of the user.")
    token: Secret | None = Field(None, description="Token, where the server takes one.")
    nkey_seed: Secret | None = Field(None, description="Seed of the user's NKey.")
    credentials_file: Path | None = Field(None, description="Credentials file (JWT and seed) of the user.")
    tls: Trust | None = Field(None, description="Speak TLS with the servers: whom to trust, and who we are.")


class NatsSettings(SectionSettings, _Limits):
    """Options of the section."""

    targets: tuple[NatsTarget, ...] = Field(min_length=1, description="The NATS servers and clusters to look at.")


class Nats(Collector[NatsSettings, NatsTarget]):
    """Asks every server over its own protocol and its monitoring endpoint, and JetStream about the account's streams."""

    Settings = NatsSettings
    Target = NatsTarget
    second_look = timedelta(seconds=5)
    rights = """\
A user of the account whose streams are looked at:
  permissions: {
    publish: ["$JS.API.INFO", "$JS.API.STREAM.LIST"]
    subscribe: ["_INBOX_checklist.>"]
  }
and the monitoring endpoint (port 8222) of every server, which asks for no credentials: keep it inside the cluster.
"""

    @fetched
    async def connections(self) -> tuple[Connection | ProbeError, ...]:
        """A connection to each server, or why there is none; they are closed when the run ends."""
        target = self.target
        login = Login(
            target.username,
            target.password,
            target.token,
            target.nkey_seed,
            target.credentials_file,
            target.tls,
            target.node_timeout,
        )
        return await self._each(
            [self.resources.enter_async_context(connected(node.server, login)) for node in target.nodes]
        )

    @fetched
    async def latencies(self) -> tuple[float | ProbeError, ...]:
        """Seconds that each server takes to answer PING, or why it does not."""

        async def ping(connection: Connection | ProbeError) -> float:
            if isinstance(connection, ProbeError):
                raise connection
            return await connection.ping()

        return await self._each([ping(connection) for connection in await self.connections()])

    @fetched
    async def monitors(self) -> tuple[Monitor | ProbeError, ...]:
        """What each server's monitoring endpoint tells, or why it does not."""
        return await self._each([self._monitor(node) for node in self.target.nodes])

    @fetched
    async def account(self) -> Account:
        """What JetStream tells the account, asked of the first server that can be used. Streams are told by their leaders."""
        connections = await self.connections()
        usable = [connection for connection in connections if isinstance(connection, Connection)]
        if not usable:
            raise next(why for why in connections if isinstance(why, ProbeError))
        info = await usable[0].request("$JS.API.INFO")
        streams: list[dict[str, Any]] = []
        missing: set[str] = set()
        offset = 0
        while not info.get("error"):
            page = await usable[0].request("$JS.API.STREAM.LIST", {"offset": offset}, patience=_PATIENCE)
            if page.get("error"):
                return Account(page, (), ())
            streams += page.get("streams") or ()
            missing.update(page.get("missing") or ())
            offset += page.get("limit", 0)  # not by what was found: a page leaves out what is missing
            if not page.get("limit") or offset >= page.get("total", 0):
                break
        return Account(info, tuple(streams), tuple(sorted(missing)))

    async def _monitor(self, node: NatsNode) -> Monitor:
        http = Http(node.monitoring)
        self.resources.push_async_callback(http.close)
        healthz, varz, jsz, routez = await asyncio.gather(
            http.get("/healthz", expect=(200, 503)), *(http.get(path) for path in ("/varz", "/jsz", "/routez"))
        )
        documents = [reply.json() for reply in (varz, jsz, routez, healthz)]
        if not all(isinstance(document, dict) for document in documents) or "server_id" not in documents[0]:
            raise ProbeError(f"{node.monitoring.url} is no monitoring endpoint of NATS.")
        if len({document.get("server_id") for document in documents[:3]}) > 1:
            raise ProbeError(f"Several NATS servers answer at {node.monitoring.url}: name each server's own address.")
        ill = None if healthz.status == 200 else str(documents[3].get("error", "no reason given")).rstrip(".")
        return Monitor(documents[0], documents[1], documents[2], ill)

    @staticmethod
    async def _each(questions: Sequence[Any]) -> tuple[Any, ...]:
        """All answers, each an exception ProbeError where there is none."""

        async def one(question: Any) -> Any:
            try:
                return await question
            except ProbeError as why:
                return why

        return tuple(await asyncio.gather(*map(one, questions)))

    async def _seen(self) -> tuple[list[Monitor], list[Result]]:
        """The servers that could be looked at, and why the others could not."""
        monitors = await self.monitors()
        seen = [monitor for monitor in monitors if isinstance(monitor, Monitor)]
        return seen, [*(unobserved(why) for why in monitors if isinstance(why, ProbeError)), *judge.distinct(seen)]

    @item(
        "NATS pods are running and healthy",
        severity=CRITICAL,
        needs=("a user of the account", "the monitoring endpoint of every server", *POD_RIGHTS),
    )
    async def pods_healthy(self) -> Result:
        """A cluster that lost a server still serves, and its health check still says ok; the next loss then stops every stream.

        Every server is asked: it accepts a client and answers PING, /healthz is 200, /routez names all its peers (a dead peer does
        not change /healthz), and it cut off no slow consumer since the last look. With `pods`, their pods are
        Ready and do not keep restarting, and their workload has all its replicas; without it pods are not looked at.

        To mend it, see the log of the server that is named, or of the one that its peers do not see.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        size, memory = len(self.target.nodes), self.context.memory
        seen, problems = await self._seen()
        latencies = await self.latencies()
        silent = [str(why) for why in latencies if isinstance(why, ProbeError)]
        problems += map(unknown, silent)
        problems += judge.peers(seen, size, silent)
        for node, connection, monitor in zip(
            self.target.nodes, await self.connections(), await self.monitors(), strict=True
        ):
            if isinstance(connection, Connection) and isinstance(monitor, Monitor):
                problems += judge.same(node.server, connection.server_id, node.monitoring.url, monitor)
        looks: dict[str, tuple[str, int]] = memory.setdefault("slow_consumers", {})
        for monitor in seen:
            if monitor.ill:
                problems.append(failed(f"NATS server {monitor.name} is not healthy: {monitor.ill}."))
            problems.append(judge.slow(monitor, looks.get(monitor.name)))
            looks[monitor.name] = str(monitor.varz.get("start")), int(monitor.varz.get("slow_consumers", 0))
        measured = [latency for latency in latencies if isinstance(latency, float)]
        many = f"All {size} NATS servers answer and see each other" if size > 1 else "The NATS server answers"
        good = ok(
            f"{many}, {how_seen(self.target.pods)}.",
            servers_answering=len(measured),
            latency_seconds=max(measured, default=float("nan")),
        )
        return judge.verdict(problems, good)

    @item(
        "JetStream persistence is enabled",
        severity=CRITICAL,
        needs=("$JS.API.INFO", "$JS.API.STREAM.LIST", "the monitoring endpoint of every server"),
    )
    async def jetstream_persistence_enabled(self) -> Result:
        """Messages that are only in memory, or on a disk that goes with the container, are lost with the next restart.

        On every server JetStream is enabled (/healthz and /varz say nothing of that), its store_dir is on `store_volume`, or at
        least in no temporary folder, and below the limit of its size. The account has room, and its streams are kept in files, but
        for those `in_memory` for a stated reason.

        To mend it: `jetstream: {store_dir: /data, max_file_store: 10G}` on a persistent volume, and `storage: file` for the stream.
        """
        return await worst_of(self._stores(), self._kept())

    async def _stores(self) -> Result:
        seen, problems = await self._seen()
        problems += [judge.store(monitor, self.target) for monitor in seen]
        used = [monitor.jsz.get("storage", 0) for monitor in seen]
        good = ok("JetStream stores on disk on every server.", storage_used_bytes=max(used, default=0))
        return judge.verdict(problems, good)

    async def _kept(self) -> Result:
        account = await self.account()
        if refused := _refused(account, unavailable=unknown):
            return refused
        problems = [judge.kept(stream, self.target) for stream in account.streams]
        problems += judge.account_usage(account, self.target)
        problems += [unknown(f"Stream {name} was not seen: its leader does not answer.") for name in account.missing]
        memory = sorted(self.target.in_memory)
        told = f", but for {', '.join(memory)} by declaration" if memory else ""
        kept = f"Every stream ({len(account.streams)}) is kept in files{told}."
        return judge.verdict(problems, ok(kept if account.streams else "The account has no streams."))

    @item(
        "Message replication is configured",
        severity=CRITICAL,
        needs=("$JS.API.INFO", "$JS.API.STREAM.LIST", "the monitoring endpoint of every server"),
    )
    async def message_replication_configured(self) -> Result:
        """A stream with one copy is gone with its server, and goes on acknowledging while the cluster has no quorum.

        Each stream, as its leader tells (followers call healthy peers not current), has `min_replicas` copies, a leader, and
        replicas that are online, current, and neither silent nor behind. The same holds for JetStream's own group, in which every
        server names the same leader. Streams of which nobody knows anything fail. `single_copy` names exceptions, each with a
        reason.

        To mend it: `nats stream edit NAME --replicas 3`; for a replica that is offline, start its server.
        """
        return await worst_of(self._group(), self._replicated())

    async def _group(self) -> Result:
        seen, problems = await self._seen()
        size = len(self.target.nodes)
        if size > 1 and seen:
            problems += judge.meta(seen, size, self.target)
        return judge.verdict(
            problems, ok("JetStream's servers agree on their leader." if size > 1 else "There is one server.")
        )

    async def _replicated(self) -> Result:
        account = await self.account()
        if refused := _refused(account):
            return refused
        problems = [failed(f"Stream {name} has no leader that answers.") for name in account.missing]
        names = {stream["config"]["name"] for stream in account.streams} | set(account.missing)
        problems += [failed(f"Stream {name} does not exist.") for name in self.target.streams if name not in names]
        for stream in account.streams:
            problems += judge.stream(stream, self.target)
        if not names:
            problems.append(
                unknown(f"The account on {self.target.name} has no streams, so no copies of any were seen.")
            )
        exempt = sorted(names & set(self.target.single_copy))
        told = f", but for {', '.join(exempt)} by declaration" if exempt else ""
        copies = counted(self.target.min_replicas, "copy", "copies")
        good = ok(f"Every stream ({len(names)}) has {copies} that keep up{told}.", streams=len(names))
        return judge.verdict(problems, good)

    @item("NATS metrics are being collected", severity=WARNING, needs=("clients.prometheus",))
    async def metrics_collected(self) -> Result:
        """Without metrics nobody sees consumers falling behind and storage filling up.

        Prometheus is asked for prometheus-nats-exporter: one instance for each server is scraped, reaches its server (which
        `up` says nothing about), and has a sample of it that is fresh. `scrape` names other series, such as those of the Helm
        chart.

        To mend it, see Prometheus's targets page, and the exporter's log for why it cannot reach its server.
        """
        return await judge_scrape(self.client(Prometheus), self.target.scrape, instances=len(self.target.nodes))


def _refused(account: Account, unavailable: Callable[[str], Result] = failed) -> Result | None:
    """Why JetStream tells the account nothing, when the server says so itself; `unavailable` judges that it has no leader."""
    if error := account.info.get("error"):
        judged = unavailable if error.get("err_code") == _UNAVAILABLE else failed
        return judged(
            f"JetStream refuses the account: {error.get('description', error)} (code {error.get('err_code')})."
        )
    return None
