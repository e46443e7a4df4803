"""NATS Message Broker"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from collectors.shared import stores
from collectors.shared.attempts import attempt_all
from collectors.shared.host_port import HostPort
from collectors.shared.verdicts import collected, verdict, worst_of
from collectors.systems.kubernetes.check.pods import POD_RIGHTS, PodOptions, how_seen, with_pods
from collectors.systems.nats.client.connection import Connection, Full, Login, connected
from collectors.systems.nats.client.jetstream import ask_account, ask_consumers
from collectors.systems.nats.client.monitoring import look, owner
from collectors.systems.nats.judge.accounts import account_problems, distinct_accounts
from collectors.systems.nats.judge.clusters import (
    distinct_problems,
    link_problems,
    payload_problems,
    peer_problems,
    release_problems,
    same_problems,
)
from collectors.systems.nats.judge.consumers import (
    consumer_problems,
    delivery_problems,
    lost_problems,
    remembered_problems,
    unmatched_problems,
)
from collectors.systems.nats.judge.exporters import exporter_problems, frozen_problems
from collectors.systems.nats.judge.groups import meta_problems
from collectors.systems.nats.judge.origins import (
    is_ahead,
    recreated_problems,
    stalled_problems,
    unmatched_origin_problems,
    waiting,
)
from collectors.systems.nats.judge.server_storage import room_problems, store_problems
from collectors.systems.nats.judge.servers import (
    callout_problems,
    certificate_problems,
    client_problems,
    detection_problems,
    health_problems,
    slow_problems,
)
from collectors.systems.nats.judge.streams import (
    abandoned,
    abandoned_problems,
    kept_problems,
    offline_problems,
    passing_problems,
    rewound_problems,
    stream_problems,
    zone_problems,
)
from collectors.systems.nats.judge.topology import own_jetstreams, zones_of
from collectors.systems.nats.model import (
    Account,
    Consumers,
    Jsz,
    Monitor,
    NatsLimits,
    StreamInfo,
    Varz,
)
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.model.answers import Sample
from collectors.systems.prometheus.model.promql import selector
from collectors.systems.prometheus.model.scrape import METRIC, Scrape
from exporter.collector import Collector, Options, SectionSettings, Target, fetched, item
from exporter.http import Http, HttpSettings, Trust
from exporter.options import Duration, Secret
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, failed, ok, unknown, unobserved
from exporter.words import counted, one_line

T = TypeVar("T")

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


class NatsClient(Options):
    """A client that the authentication callout lets in."""

    username: str | None = Field(None, description="User that it names.")
    password: Secret | None = Field(None, description="Password of the user.")
    token: Secret | None = Field(None, description="Token, where it has one.")


class NatsScrape(Scrape):
    """Where the metrics of prometheus-nats-exporter are found in Prometheus; the Helm chart's begin with `nats_`."""

    job: str = Field("nats", description="Job that scrapes the exporter.")
    health: str | None = Field(
        None,
        pattern=METRIC,
        description="Metric that is 1 while the exporter reaches its server, if there is one; prometheus-nats-exporter has "
        "`gnatsd_healthz_status_value` with `-healthz`.",
    )
    series: str = Field(
        "gnatsd_varz_connections",
        pattern=METRIC,
        description="Metric that only a working server gives; those of the Helm chart begin with `nats_`.",
    )

    @property
    def prefix(self) -> str | None:
        """What the exporter's metrics of /varz begin with; None where the series is none of them."""
        prefix, varz, _ = self.series.partition("_varz_")
        return f"{prefix}{varz}" if varz else None


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
    tls_first: bool = Field(
        False, description="Whether the servers wait for TLS before they say anything (`handshake_first: true`)."
    )
    callout: NatsClient | None = Field(
        None,
        description="A client that the authentication callout (`auth_callout`) has to let in: it is logged in and out again.",
    )


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

    @classmethod
    def provides(cls, target: NatsTarget) -> Mapping[str, Iterable[str]]:
        """The servers, and their monitoring endpoints."""
        monitoring = stores.nats_monitoring(node.monitoring.url for node in target.nodes)
        return {"pods_healthy": [*stores.nats(node.server for node in target.nodes), *monitoring]}

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
            target.tls_first,
        )
        return await attempt_all(
            self.resources.enter_async_context(connected(node.server, login)) for node in target.nodes
        )

    @fetched
    async def callouts(self) -> tuple[ProbeError | None, ...]:
        """Why each server does not let in the client of `callout`; nothing without one."""
        target, client = self.target, self.target.callout
        if client is None:
            return ()
        user, password = client.username, client.password
        login = Login(user, password, client.token, None, None, target.tls, target.node_timeout, target.tls_first)

        async def enter(server: str) -> None:
            async with connected(server, login):
                pass

        return await attempt_all(enter(node.server) for node in target.nodes)

    @fetched
    async def latencies(self) -> tuple[float | ProbeError, ...]:
        """Seconds that each server takes to answer PING, or why it does not."""

        async def ping(connection: Connection | ProbeError) -> float:
            if isinstance(connection, ProbeError):
                raise connection
            return await connection.ping()

        return await attempt_all(map(ping, await self.connections()))

    @fetched
    async def monitors(self) -> tuple[Monitor | ProbeError, ...]:
        """What each server's monitoring endpoint answers, or why it does not."""
        return await attempt_all(look(self._http(node), core=not node.jetstream) for node in self.target.nodes)

    @fetched
    async def accounts(self) -> tuple[Account | ProbeError, ...]:
        """What each JetStream reports to the account, or why not; first that of all servers together: leaves have their own."""
        monitors = await self.monitors()
        apart = own_jetstreams([monitor for monitor in monitors if isinstance(monitor, Monitor)])
        aside = {monitor.where for group in apart for monitor in group}
        numbered = [(number, mon.where if isinstance(mon, Monitor) else "") for number, mon in enumerate(monitors)]
        groups = [[number for number, where in numbered if where not in aside]]
        groups += ([number for number, where in numbered if where in {m.where for m in group}] for group in apart)
        return distinct_accounts(await attempt_all(map(self._first_account, groups)))

    async def _first_account(self, numbers: Sequence[int]) -> Account:
        """What JetStream reports on the first of these servers that can be used; raises ProbeError when none can."""
        connections = await self.connections()
        for number in numbers:
            if isinstance(connections[number], Connection):
                return await self._account(number)
        raise next(why for number in numbers if isinstance(why := connections[number], ProbeError))

    async def _account(self, number: int) -> Account:
        """What JetStream reports on the server with this number."""
        connection = (await self.connections())[number]
        assert isinstance(connection, Connection)
        account = await ask_account(connection, number)
        if not account.refused:
            return account
        node, monitor = self.target.nodes[number], (await self.monitors())[number]
        name = monitor.name if isinstance(monitor, Monitor) else connection.address
        of, user = await owner(self._http(node), connection.client_id)
        who = f"account {of or '(unnamed)'} (user {one_line(user or self.target.username or 'none', 60)})"
        return replace(account, refused=f"JetStream refuses {who} on NATS server {name}{account.refused}")

    @fetched
    async def consumers(self) -> tuple[Consumers | ProbeError, ...]:
        """The consumers of the streams of each of the accounts, or why they are not listed."""
        return await attempt_all(map(self._consumers_of, await self.accounts()))

    async def _consumers_of(self, account: Account | ProbeError) -> Consumers:
        if isinstance(account, ProbeError):
            raise account
        connection = (await self.connections())[account.number]
        assert isinstance(connection, Connection)
        return await ask_consumers(connection, account)

    def _http(self, node: NatsNode) -> Http:
        http = Http(node.monitoring)
        self.resources.push_async_callback(http.close)
        return http

    async def _seen(self) -> tuple[list[Monitor], list[Result]]:
        """The servers that could be checked, and why the others could not."""
        monitors = await self.monitors()
        seen = [monitor for monitor in monitors if isinstance(monitor, Monitor)]
        return seen, [
            *(unobserved(why) for why in monitors if isinstance(why, ProbeError)),
            *distinct_problems(seen),
        ]

    @item(
        "NATS pods are running and healthy",
        severity=CRITICAL,
        needs=("a user of the account", "the monitoring endpoint of every server", *POD_RIGHTS),
    )
    async def pods_healthy(self) -> Result:
        """A cluster that lost a server still serves, and its health check still says ok; the next loss then stops every stream.

        Every server is asked: it accepts a client and answers PING, /healthz is 200, /routez names all its peers (a dead peer does
        not change /healthz), its gateways and leaf connections are there, it has connections left (`max_connections`), it lets in
        the client of `callout`, and it cut off no slow consumer since the last check. With `pods`, their pods are Ready and do not
        keep restarting, and their workload has all its replicas; without it pods are not checked.

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
        problems += peer_problems(seen, len(nodes), silent, silent_core=silent_core)
        problems += link_problems(seen)
        problems += payload_problems(seen)
        problems += release_problems(seen)
        for node, connection, monitor in pairs:
            if isinstance(connection, Connection) and isinstance(monitor, Monitor):
                problems += same_problems(node.server, connection.server_id, monitor)
        for why in await self.callouts():
            problems += callout_problems(why)
        for monitor in seen:
            problems += health_problems(monitor)
            problems += client_problems(monitor)
            problems += detection_problems(monitor)
            problems += certificate_problems(monitor, self.target)
            problems += slow_problems(monitor, looks.get(monitor.name))
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
            problems += store_problems(monitor, self.target)
        problems += room_problems(seen)
        used = [monitor.jsz.storage for monitor in seen if isinstance(monitor.jsz, Jsz)]
        core = sum(monitor.core for monitor in seen)
        but = f", except on {counted(core, 'server')} by declaration" if core else ""
        if core == len(self.target.nodes):
            problems.append(failed("No server has JetStream, by declaration.", reason=Reason.MISCONFIGURED))
        good = ok(f"JetStream stores on disk on every server{but}.", storage_used_bytes=max(used, default=0))
        return verdict(problems, good)

    async def _kept(self) -> Result:
        accounts = await self.accounts()
        # It may well keep its streams in files while it has no leader.
        problems = await self._by_account(self._kept_by, unavailable=unknown)
        memory = sorted(self.target.in_memory)
        but = f", except {', '.join(memory)} by declaration" if memory else ""
        many = sum(len(account.streams) for account in accounts if isinstance(account, Account))
        kept = f"Every stream ({many}) is kept in files{but}." if many else "The account has no streams."
        return verdict(problems, ok(kept + await self._elsewhere()))

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
        problems += meta_problems(seen, size, self.target)
        many = len(self.target.nodes) > 1
        return verdict(problems, ok("JetStream's servers agree on their leader." if many else "There is one server."))

    async def _replicated(self) -> Result:
        accounts = await self.accounts()
        problems = await self._by_account(self._copied_by, unavailable=failed)
        known = [account for account in accounts if isinstance(account, Account) and account.refused is None]
        zones = zones_of([monitor for monitor in await self.monitors() if isinstance(monitor, Monitor)])
        for stream in (stream for account in known for stream in account.streams):
            problems += zone_problems(stream, zones)
        names = {name for account in known for name in account.stream_names}
        many = sum(len(account.stream_names) for account in known)
        if len(known) == len(accounts):
            problems += (
                failed(f"Stream {name} does not exist.", reason=Reason.MISSING)
                for name in self.target.streams
                if name not in names
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
        return verdict(problems, ok(f"Every stream ({many}) has {copies}{but}.", streams=many))

    async def _by_account(
        self, problems_of: Callable[[Account, Consumers], Iterable[Result]], *, unavailable: Callable[..., Result]
    ) -> list[Result]:
        """What is wrong with the streams and the consumers of each account; `unavailable` judges one without a leader."""
        problems: list[Result] = []
        for account, consumers in zip(await self.accounts(), await self.consumers(), strict=True):
            if isinstance(account, ProbeError):
                problems.append(unobserved(account))
            elif account.refused is not None:
                judged = unavailable if account.unavailable else failed
                problems.append(judged(account.refused, reason=Reason.DOWN))
            elif isinstance(consumers, ProbeError):
                problems += [*problems_of(account, Consumers()), unobserved(consumers)]
            else:
                problems += problems_of(account, consumers)
        return problems

    def _kept_by(self, account: Account, consumers: Consumers) -> Iterator[Result]:
        """What is wrong with what is stored of an account."""
        for stream in account.streams:
            yield from kept_problems(stream, self.target)
            yield from passing_problems(stream, consumers.known.get(stream.name, ()))
            yield from rewound_problems(stream, self._furthest(account, stream))
        yield from collected(account_problems(account, self.target))
        for name in account.missing:
            yield unknown(f"Stream {name} was not checked: its leader does not answer.", reason=Reason.DOWN)
        yield from offline_problems(account)
        for stream, consumer in consumers.of(account.streams):
            yield from remembered_problems(consumer, self.target)
            yield from lost_problems(consumer, stream)

    def _copied_by(self, account: Account, consumers: Consumers) -> Iterator[Result]:
        """What is wrong with the copies of an account's streams and consumers, and with what they deliver."""
        for name in account.missing:
            yield failed(f"Stream {name} has no leader that answers.", reason=Reason.DOWN)
        yield from offline_problems(account)
        streams = {stream.name: stream for stream in account.streams}
        for stream in account.streams:
            yield from stream_problems(stream, self.target)
            yield from unmatched_origin_problems(stream, streams)
            ahead = stream.state.last_seq if is_ahead(stream, streams) else None
            still = self._unchanged("ahead", account, stream.name, ahead)
            yield from recreated_problems(stream, streams, still, self.target)
            for kind, origin in stream.origins:
                lacking = waiting(stream, origin, streams)
                place = (origin.seq or stream.state.last_seq) if lacking else None
                still = self._unchanged(f"{kind} {origin.name}", account, stream.name, place)
                yield from stalled_problems(stream, kind, origin, lacking, still, self.target)
        for stream, consumer in consumers.of(account.streams):
            yield from consumer_problems(consumer, stream, self.target)
            yield from unmatched_problems(consumer, stream)
            still = self._unchanged("delivered", account, (stream.name, consumer.name), consumer.delivered.stream_seq)
            yield from delivery_problems(consumer, still, self.target)
        lacking_consumers = {stream for stream, _ in consumers.missing}
        for stream in account.streams:
            known = consumers.known.get(stream.name, ())
            left = stream.name not in lacking_consumers and abandoned(stream, known)
            still = self._unchanged("abandoned", account, stream.name, stream.state.first_seq if left else None)
            yield from abandoned_problems(stream, still, self.target)
        for (stream_name, name), why in consumers.missing.items():
            what = "has no leader that answers" if why is None else f"is offline and delivers nothing: {why}"
            yield failed(f"Consumer {name} of stream {stream_name} {what}.", reason=Reason.DOWN)

    def _furthest(self, account: Account, stream: StreamInfo) -> int:
        """The last message that the checks have observed in a stream."""
        seen: dict[object, int] = self.context.memory.setdefault("furthest", {})
        key = self.target.nodes[account.number].server, stream.name, stream.created
        seen[key] = furthest = max(seen.get(key, 0), stream.state.last_seq)
        return furthest

    def _unchanged(self, what: str, account: Account, who: object, place: int | None) -> timedelta:
        """For how long the checks have observed something at the same place; not at all while `place` is None."""
        places, now = self.context.memory.setdefault("places", {}), time.monotonic()
        key = what, self.target.nodes[account.number].server, who
        before = places.get(key)
        if place is None or before is None or before[0] != place:
            places[key] = before = place, now
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
        return await worst_of(scraped, self._moving(), self._matched())

    async def _moving(self) -> Result:
        """Whether the exporters reach their servers: the figures of one that does not stay as they were.

        Each time that it asks its server for figures, the server counts that request.
        """
        scrape = self.target.scrape
        if scrape.prefix is None:
            if scrape.health is not None:
                return ok(f"{scrape.health} shows whether the exporters reach their servers.")
            return unknown(
                f"Nothing shows whether the exporter with {scrape.series} reaches its server: name a metric in `health`.",
                reason=Reason.NOT_CONFIGURED,
            )
        asked = f"{scrape.prefix}http_req_stats_varz"
        prometheus, now = self.client(Prometheus), selector(asked, scrape.selected)
        lately = f"{now}[{round(scrape.stale_after.total_seconds())}s]"
        # What is no longer scraped, such as the label of a server that was replaced, has no figures to change.
        counts = await prometheus.query(f"count_over_time({lately}) and {now}")
        changes = await prometheus.query(f"changes({lately}) and {now}")
        return verdict(
            frozen_problems(scrape, asked, counts, changes), ok("The exporters' figures change with each scrape.")
        )

    async def _matched(self) -> Result:
        """Whether the exporters report these servers, as far as their labels show which."""
        monitors = await self.monitors()
        seen = [monitor for monitor in monitors if isinstance(monitor, Monitor)]
        if len(seen) < len(monitors):
            return ok("Not all servers answered, so which exporter reports which was not checked.")
        reported = await self._reported()
        if not reported:
            series = self.target.scrape.series
            return ok(f"{series} has no server_id, so which exporter reports which server was not checked.")
        return verdict(exporter_problems(reported, seen), ok("No exporter reports another server."))

    async def _reported(self) -> list[str]:
        """The servers that the exporters report: by their identifiers where those are shown, as a label may be an old one."""
        scrape, prometheus = self.target.scrape, self.client(Prometheus)

        def who(sample: Sample) -> tuple[str, str]:
            return sample.labels.get("instance", ""), sample.labels.get("server_id", "")

        series = await prometheus.query(selector(scrape.series, scrape.selected))
        known: list[Sample] = []
        if scrape.prefix is not None:
            known = await prometheus.query(selector(f"{scrape.prefix}server_id", scrape.selected))
        own = {who(sample): sample.labels.get("value", "") for sample in known}
        return [label for sample in series if (label := own.get(who(sample)) or sample.labels.get("server_id"))]
