"""NATS Message Broker"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from collectors.shared.host_port import HostPort
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, PodOptions, how_seen, with_pods
from collectors.systems.nats import judge
from collectors.systems.nats.client import Connection, Full, Login, connected
from collectors.systems.nats.model import (
    Account,
    Consumer,
    Gatewayz,
    Jsz,
    Leafz,
    Monitor,
    NatsLimits,
    Routez,
    StreamInfo,
    Varz,
    parsed,
)
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import Scrape
from exporter.collector import Collector, Options, SectionSettings, Target, fetched, item
from exporter.http import Http, HttpSettings, Trust
from exporter.options import Duration, Secret
from exporter.reply import Reply
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved
from exporter.words import counted, one_line

T = TypeVar("T")

#: How long JetStream waits for the leaders of streams before it calls those missing that it has not heard of.
_PATIENCE = timedelta(seconds=4)
#: What JetStream answers while it has no leader. Its streams may well be kept in files: nobody can tell.
_UNAVAILABLE = 10008
_DEFAULT_ACCOUNT = "$G"  # a server without accounts lists connections without it
#: What /healthz answers of itself where the server found no time to check anything: what is not ready would follow.
_UNDECIDED = re.compile(r"failed to be ready for connections after \S+:\s*")
#: Likewise where it meets what is left of a stream that was deleted just now: no stream's name begins with a dot.
_DELETED = re.compile(r"JetStream stream '\S+ > \.[^']*' could not be recovered")
_LOOKS = 3
_PAUSE = 0.2
#: Streams whose consumers are asked for at once.
_AT_ONCE = 8
_JETSTREAM_RIGHTS = (
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.CONSUMER.LIST.*",
    "the monitoring endpoint of every server",
)


class NatsNode(Options):
    """One server."""

    server: HostPort = Field(description="host:port where clients connect.")
    monitoring: HttpSettings = Field(description="Its monitoring endpoint, such as `{url: http://nats-0:8222}`.")
    jetstream: bool = Field(
        True, description="Whether it has JetStream; false for a server that only passes messages on."
    )


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
    """A server, a cluster, or several that are linked by gateways or leaf connections, and an account on it."""

    nodes: tuple[NatsNode, ...] = Field(
        min_length=1,
        description="All servers of the cluster; also those of clusters and leaves that are linked to it, if wanted.",
    )
    streams: tuple[str, ...] = Field((), description="Streams that shall exist.")
    username: str | None = Field(None, description="User of the account.")
    password: Secret | None = Field(None, description="Password of the user.")
    token: Secret | None = Field(None, description="Token, where the server takes one.")
    nkey_seed: Secret | None = Field(None, description="Seed of the user's NKey.")
    credentials_file: Path | None = Field(None, description="Credentials file (JWT and seed) of the user.")
    tls: Trust | None = Field(None, description="Speak TLS with the servers: whom to trust, and who we are.")


class NatsSettings(SectionSettings, _Limits):
    """Options of the section."""

    targets: tuple[NatsTarget, ...] = Field(min_length=1, description="The NATS servers and clusters to check.")


class Nats(Collector[NatsSettings, NatsTarget]):
    """Asks every server over its own protocol and its monitoring endpoint, and JetStream about the account's streams."""

    Settings = NatsSettings
    Target = NatsTarget
    second_look = timedelta(seconds=5)
    rights = """\
A user of the account whose streams are checked:
  permissions: {
    publish: ["$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.LIST.*"]
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
        """What each server's monitoring endpoint answers, or why it does not."""
        return await self._each([self._monitor(node) for node in self.target.nodes])

    @fetched
    async def account(self) -> Account:
        """What JetStream tells the account, asked of the first server that can be used. Streams are reported by their leaders."""
        connection = await self._usable()
        info = await connection.request("$JS.API.INFO")
        if info is None or info.get("error"):
            return await self._refused(info)
        where = f"$JS.API.STREAM.LIST of NATS {connection.address}"
        streams: list[StreamInfo] = []
        missing: set[str] = set()
        offset = 0
        while True:
            page = await connection.request("$JS.API.STREAM.LIST", {"offset": offset}, patience=_PATIENCE)
            if page is None or page.get("error"):
                return await self._refused(page)
            streams += (parsed(where, stream, StreamInfo) for stream in _list(where, page, "streams"))
            missing.update(map(str, _list(where, page, "missing")))
            offset += (limit := _int(where, page, "limit"))  # not by what was found: a page leaves out what is missing
            if not limit or offset >= _int(where, page, "total"):
                return Account(info, tuple(streams), tuple(sorted(missing)))

    @fetched
    async def consumers(self) -> tuple[dict[str, tuple[Consumer, ...]], tuple[tuple[str, str], ...]]:
        """The consumers of each stream that has some, as their leaders report them; then stream and name of those whose do not."""
        connection, account = await self._usable(), await self.account()
        turns = asyncio.Semaphore(_AT_ONCE)

        async def of(stream: str) -> tuple[list[Consumer], list[tuple[str, str]]]:
            async with turns:
                return await self._consumers(connection, stream)

        names = [stream.name for stream in account.streams if stream.state.consumer_count]
        found = await asyncio.gather(*map(of, names))
        missing = tuple(sorted(name for _, lacking in found for name in lacking))
        return {name: tuple(consumers) for name, (consumers, _) in zip(names, found, strict=True)}, missing

    @staticmethod
    async def _consumers(connection: Connection, stream: str) -> tuple[list[Consumer], list[tuple[str, str]]]:
        subject = f"$JS.API.CONSUMER.LIST.{stream}"
        where = f"{subject} of NATS {connection.address}"
        found: list[Consumer] = []
        missing: list[tuple[str, str]] = []
        offset = 0
        while True:
            page = await connection.request(subject, {"offset": offset}, patience=_PATIENCE)
            if page is None or page.get("error"):
                raise ProbeError(
                    f"NATS {connection.address} does not list the consumers of stream {stream}{_why(page)}."
                )
            found += (parsed(where, consumer, Consumer) for consumer in _list(where, page, "consumers"))
            missing += ((stream, str(name)) for name in _list(where, page, "missing"))
            offset += (limit := _int(where, page, "limit"))
            if not limit or offset >= _int(where, page, "total"):
                return found, missing

    async def _usable(self) -> Connection:
        """The connection to the first server that has let us in; raises ProbeError when none has."""
        connections = await self.connections()
        for connection in connections:
            if isinstance(connection, Connection):
                return connection
        raise next(why for why in connections if isinstance(why, ProbeError))

    async def _refused(self, answer: dict[str, Any] | None) -> Account:
        """What JetStream answers instead, and to whom."""
        connections = await self.connections()
        number = next(at for at, connection in enumerate(connections) if isinstance(connection, Connection))
        connection = connections[number]
        assert isinstance(connection, Connection)
        monitor = (await self.monitors())[number]
        name = monitor.name if isinstance(monitor, Monitor) else connection.address
        error = answer.get("error") if answer else None
        code = error.get("err_code") if isinstance(error, dict) else None
        refused = f"JetStream refuses {await self._who(self.target.nodes[number], connection)} on NATS server {name}{_why(answer)}"
        return Account({}, (), (), f"{refused}.", unavailable=code == _UNAVAILABLE)

    async def _who(self, node: NatsNode, connection: Connection) -> str:
        """Account and user of a connection, as the server's list of connections names them to its administrator."""
        user, account = self.target.username, None
        try:
            reply = await self._http(node).get("/connz", params={"cid": str(connection.client_id), "auth": "1"})
            found = reply.json()["connections"][0]
            user, account = found.get("authorized_user") or user, found.get("account") or _DEFAULT_ACCOUNT
        except (ProbeError, LookupError, TypeError, AttributeError):
            pass  # it only names whom the answer is about
        return f"account {account or '(unnamed)'} (user {one_line(user or 'none', 60)})"

    def _http(self, node: NatsNode) -> Http:
        http = Http(node.monitoring)
        self.resources.push_async_callback(http.close)
        return http

    async def _monitor(self, node: NatsNode) -> Monitor:
        http = self._http(node)
        ill, varz, jsz, routez = await self._each(
            [
                self._illness(http),
                self._document(http, "/varz", Varz),
                self._document(http, "/jsz", Jsz),
                self._document(http, "/routez", Routez),
            ]
        )
        if all(isinstance(found, ProbeError) for found in (varz, jsz, routez)):
            raise varz
        gatewayz = leafz = None
        if isinstance(varz, Varz) and varz.gateway.name:
            (gatewayz,) = await self._each([self._document(http, "/gatewayz", Gatewayz)])
        if isinstance(varz, Varz) and varz.uplinks:
            (leafz,) = await self._each([self._document(http, "/leafz", Leafz)])
        monitor = Monitor(node.monitoring.url, varz, jsz, routez, gatewayz, ill, core=not node.jetstream, leafz=leafz)
        if len(monitor.server_ids) > 1:
            raise ProbeError(
                f"Several NATS servers answer at {node.monitoring.url}: name each server's own address.",
                Reason.CONTRADICTED,
            )
        return monitor

    @staticmethod
    async def _illness(http: Http) -> str | None:
        """Why a server calls itself unhealthy, if it does. Raises ProbeError when it does not tell.

        It takes a millisecond for a look at itself. Short of CPU time it finds that over before it has begun, and answers that it
        is not ready, because of nothing; and while a stream is deleted it takes what is left of it for one that is lost. Then it is
        asked again.
        """
        for _ in range(_LOOKS):
            ill = _ill(reply := await http.get("/healthz", expect=(200, 500, 503)))
            if ill is None or not (_UNDECIDED.fullmatch(ill) or _DELETED.search(ill)):
                return ill
            await asyncio.sleep(_PAUSE)
        because = "it is deleting a stream" if _DELETED.search(ill or "") else "the server is short of CPU time"
        raise ProbeError(f"{reply.where} was answered {_LOOKS} times without a check, as {because}.", Reason.TIMEOUT)

    @staticmethod
    async def _document(http: Http, path: str, kind: type[T]) -> T:
        reply = await http.get(path)
        return parsed(reply.where, reply.json(), kind)

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
        """The servers that could be checked, and why the others could not."""
        monitors = await self.monitors()
        seen = [monitor for monitor in monitors if isinstance(monitor, Monitor)]
        return seen, [
            *(unobserved(why) for why in monitors if isinstance(why, ProbeError)),
            *judge.distinct_problems(seen),
        ]

    @item(
        "NATS pods are running and healthy",
        severity=CRITICAL,
        needs=("a user of the account", "the monitoring endpoint of every server", *POD_RIGHTS),
    )
    async def pods_healthy(self) -> Result:
        """A cluster that lost a server still serves, and its health check still says ok; the next loss then stops every stream.

        Every server is asked: it accepts a client and answers PING, /healthz is 200, /routez names all its peers (a dead peer does
        not change /healthz), its gateways and leaf connections are there, it has connections left (`max_connections`), and it cut
        off no slow consumer since the last check. With `pods`, their pods are Ready and do not keep restarting, and their workload
        has all its replicas; without it pods are not checked.

        How to fix it: see the log of the server that is named, or of the one that its peers do not see.
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        nodes, looks = self.target.nodes, self.context.memory.setdefault("slow_consumers", {})
        seen, problems = await self._seen()
        latencies, connections = await self.latencies(), await self.connections()
        pairs = list(zip(nodes, connections, await self.monitors(), strict=True))
        silent = [str(why) for why in latencies if isinstance(why, ProbeError)]
        silent_core = sum(not node.jetstream for node, _, monitor in pairs if isinstance(monitor, ProbeError))
        problems += (
            failed(str(why), reason=why.reason) if isinstance(why, Full) else unobserved(why)
            for why in latencies
            if isinstance(why, ProbeError)
        )
        problems += judge.peer_problems(seen, len(nodes), silent, silent_core=silent_core)
        problems += judge.link_problems(seen)
        problems += judge.payload_problems(seen)
        for node, connection, monitor in pairs:
            if isinstance(connection, Connection) and isinstance(monitor, Monitor):
                problems += judge.same_problems(node.server, connection.server_id, monitor)
        for monitor in seen:
            problems += judge.health_problems(monitor)
            problems += judge.client_problems(monitor)
            problems += judge.certificate_problems(monitor, self.target)
            problems += judge.slow_problems(monitor, looks.get(monitor.name))
            if isinstance(monitor.varz, Varz):
                looks[monitor.name] = monitor.varz.start, monitor.varz.slow_consumers
        measured = [latency for latency in latencies if isinstance(latency, float)]
        many = (
            f"All {len(nodes)} NATS servers answer and see each other" if len(nodes) > 1 else "The NATS server answers"
        )
        good = ok(
            f"{many}, {how_seen(self.target.pods)}.",
            servers_answering=len(measured),
            latency_seconds=max(measured, default=float("nan")),
        )
        return verdict(problems, good)

    @item(
        "JetStream persistence is enabled",
        severity=CRITICAL,
        needs=_JETSTREAM_RIGHTS,
    )
    async def jetstream_persistence_enabled(self) -> Result:
        """Messages that are only in memory, or on a disk that goes with the container, are lost with the next restart.

        On every server JetStream is enabled (/healthz and /varz say nothing of that), its store_dir is on `store_volume`, or at
        least an absolute path and in no temporary folder, and below the limit of its size. The account has room for messages,
        streams and consumers. Its streams and durable consumers are kept in files, except those `in_memory` for a stated reason,
        and no stream is full and refuses messages (`discard: new`).

        How to fix it: `jetstream: {store_dir: /data, max_file_store: 10G}` on a persistent volume, and `storage: file` for the
        stream. For a server that only passes messages on set `jetstream: false`.
        """
        return await worst_of(self._stores(), self._kept())

    async def _stores(self) -> Result:
        seen, problems = await self._seen()
        for monitor in seen:
            problems += judge.store_problems(monitor, self.target)
        used = [monitor.jsz.storage for monitor in seen if isinstance(monitor.jsz, Jsz)]
        core = sum(monitor.core for monitor in seen)
        but = f", except on {counted(core, 'server')} by declaration" if core else ""
        if core == len(self.target.nodes):
            problems.append(failed("No server has JetStream, by declaration.", reason=Reason.MISCONFIGURED))
        good = ok(f"JetStream stores on disk on every server{but}.", storage_used_bytes=max(used, default=0))
        return verdict(problems, good)

    async def _kept(self) -> Result:
        account = await self.account()
        if account.refused is not None:
            # It may well keep its streams in files while it has no leader.
            judged = unknown if account.unavailable else failed
            return judged(account.refused, reason=Reason.DOWN)
        problems: list[Result] = []
        for stream in account.streams:
            problems += judge.kept_problems(stream, self.target)
        problems += collected(judge.account_problems(account, self.target))
        problems += (
            unknown(f"Stream {name} was not checked: its leader does not answer.", reason=Reason.DOWN)
            for name in account.missing
        )
        consumers, _ = await self._consumers_seen(problems)
        for known in consumers.values():
            for consumer in known:
                problems += judge.remembered_problems(consumer, self.target)
        memory = sorted(self.target.in_memory)
        but = f", except {', '.join(memory)} by declaration" if memory else ""
        kept = f"Every stream ({len(account.streams)}) is kept in files{but}."
        kept = kept if account.streams else "The account has no streams."
        return verdict(problems, ok(kept + await self._elsewhere()))

    async def _consumers_seen(
        self, problems: list[Result]
    ) -> tuple[dict[str, tuple[Consumer, ...]], tuple[tuple[str, str], ...]]:
        """The consumers that could be asked for; why not becomes a problem."""
        try:
            return await self.consumers()
        except ProbeError as why:
            problems.append(unobserved(why))
            return {}, ()

    @item(
        "Message replication is configured",
        severity=CRITICAL,
        needs=_JETSTREAM_RIGHTS,
    )
    async def message_replication_configured(self) -> Result:
        """A stream with one copy is gone with its server, and goes on acknowledging while the cluster has no quorum.

        Each stream and each durable consumer, as its leader reports (followers call healthy peers not current), has `min_replicas`
        copies, a leader, and replicas that are online, current, and neither silent nor behind. Mirrors and sources deliver and are
        not behind; a durable consumer that is paused, or waits for its clients, is a warning. The same holds for JetStream's own
        group, in which every server names the same leader. Streams of which nobody knows anything fail. `single_copy` names
        exceptions, each with a reason.

        How to fix it: `nats stream edit NAME --replicas 3`; for a replica that is offline, start its server; for a durable consumer
        with fewer copies than its stream, `nats consumer edit STREAM NAME --replicas 0`.
        """
        return await worst_of(self._group(), self._replicated())

    async def _group(self) -> Result:
        seen, problems = await self._seen()
        size = sum(node.jetstream for node in self.target.nodes)
        problems += judge.meta_problems(seen, size, self.target)
        many = len(self.target.nodes) > 1
        return verdict(problems, ok("JetStream's servers agree on their leader." if many else "There is one server."))

    async def _replicated(self) -> Result:
        account = await self.account()
        if account.refused is not None:
            return failed(account.refused, reason=Reason.DOWN)
        problems = [
            failed(f"Stream {name} has no leader that answers.", reason=Reason.DOWN) for name in account.missing
        ]
        streams = {stream.name: stream for stream in account.streams}
        names = streams.keys() | set(account.missing)
        problems += (
            failed(f"Stream {name} does not exist.", reason=Reason.MISSING)
            for name in self.target.streams
            if name not in names
        )
        for stream in account.streams:
            problems += judge.stream_problems(stream, self.target)
        consumers, missing = await self._consumers_seen(problems)
        for name, known in consumers.items():
            for consumer in known:
                problems += judge.consumer_problems(consumer, streams[name], self.target)
                problems += judge.delivery_problems(consumer, self._unchanged(consumer), self.target)
        problems += (
            failed(f"Consumer {consumer} of stream {stream} has no leader that answers.", reason=Reason.DOWN)
            for stream, consumer in missing
        )
        if not names:
            problems.append(
                unknown(
                    f"The account on {self.target.name} has no streams, so no copies of any were checked.",
                    reason=Reason.MISSING,
                )
            )
        exempt = sorted(names & {name.partition("/")[0] for name in self.target.single_copy})
        but = f", except {', '.join(exempt)} by declaration" if exempt else ""
        copies = counted(self.target.min_replicas, "copy that keeps up", "copies that keep up")
        return verdict(problems, ok(f"Every stream ({len(names)}) has {copies}{but}.", streams=len(names)))

    def _unchanged(self, consumer: Consumer) -> timedelta:
        """For how long the checks have observed the consumer at the same place in its stream."""
        places = self.context.memory.setdefault("delivered", {})
        who, place, now = (consumer.stream_name, consumer.name), consumer.delivered.stream_seq, time.monotonic()
        before = places.get(who)
        if before is None or before[0] != place:
            places[who] = before = place, now
        return timedelta(seconds=now - before[1])

    async def _elsewhere(self) -> str:
        """What the sentence on the account's streams says of those of other accounts."""
        others = (
            max(
                (m.jsz.accounts for m in await self.monitors() if isinstance(m, Monitor) and isinstance(m.jsz, Jsz)),
                default=1,
            )
            - 1
        )
        return f" Streams of {counted(others, 'other account')} were not checked." if others > 0 else ""

    @item("NATS metrics are being collected", severity=WARNING, needs=("clients.prometheus",))
    async def metrics_collected(self) -> Result:
        """Without metrics nobody notices that consumers fall behind and storage fills up.

        Prometheus is asked for prometheus-nats-exporter: one instance for each server is scraped, reaches its server (which
        `up` says nothing about), and has a sample of it that is fresh. Where the exporter labels its series with the server's
        identifier or name (`-use_internal_server_id`), they are those of these very servers. `scrape` names other series, such as
        those of the Helm chart.

        How to fix it: see Prometheus's targets page, and the exporter's log for why it cannot reach its server.
        """
        scraped = judge_scrape(self.client(Prometheus), self.target.scrape, instances=len(self.target.nodes))
        return await worst_of(scraped, self._matched())

    async def _matched(self) -> Result:
        """Whether the exporters report these servers, as far as their labels show which."""
        monitors = await self.monitors()
        seen = [monitor for monitor in monitors if isinstance(monitor, Monitor)]
        if len(seen) < len(monitors):
            return ok("Not all servers answered, so which exporter reports which was not checked.")
        scrape = self.target.scrape
        samples = await self.client(Prometheus).query(selector(scrape.series, scrape.selected))
        reported = [label for sample in samples if (label := sample.labels.get("server_id"))]
        if not reported:
            return ok(f"{scrape.series} has no server_id, so which exporter reports which server was not checked.")
        return verdict(judge.exporter_problems(reported, seen), ok("No exporter reports another server."))


def _ill(healthz: Reply) -> str | None:
    """Why /healthz is not 200, in its own words: since 2.15 a server that is about to end answers 500."""
    document = healthz.json()
    if not isinstance(document, dict):
        raise ProbeError(f"{healthz.where} was answered in an unexpected format: expected an object.", Reason.MALFORMED)
    return None if healthz.status == 200 else one_line(document.get("error") or f"/healthz answers {healthz.status}")


def _why(answer: dict[str, Any] | None) -> str:
    """What JetStream says instead of an answer, as the end of a sentence."""
    if answer is None:
        return ": nobody answers, as JetStream is not enabled"
    error = answer.get("error")
    if not isinstance(error, dict):
        return f": {one_line(error)}"
    return f": {one_line(error.get('description', 'no reason given'))} (code {error.get('err_code')})"


def _list(where: str, page: dict[str, Any], name: str) -> list[Any]:
    found = page.get(name) or []
    if not isinstance(found, list):
        raise ProbeError(f"{where} was answered in an unexpected format: {name} is no list.", Reason.MALFORMED)
    return found


def _int(where: str, page: dict[str, Any], name: str) -> int:
    found = page.get(name, 0)
    if not isinstance(found, int):
        raise ProbeError(f"{where} was answered in an unexpected format: {name} is no number.", Reason.MALFORMED)
    return found
