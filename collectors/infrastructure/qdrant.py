"""Qdrant Vector Database"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from pydantic import Field

from collectors.shared.attempts import attempt_all
from collectors.shared.certificate_expiry import expiry_problems
from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.pods import (
    CRON_JOB_RIGHTS,
    POD_RIGHTS,
    CronJobOptions,
    PodOptions,
    how_seen,
    with_cron_job,
    with_pods,
)
from collectors.systems.prometheus.check.scrape import judge_scrape
from collectors.systems.prometheus.check.volumes import measure_space
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.prometheus.judge.volumes import judge_space
from collectors.systems.prometheus.model.scrape import Scrape
from collectors.systems.prometheus.model.volumes import Volume
from collectors.systems.qdrant import client, judge
from collectors.systems.qdrant.model import Held, Peer, QdrantLimits
from exporter.collector import Collector, Context, Options, SectionSettings, Target, fetched, item
from exporter.http import BaseUrl, Http, HttpSettings, Trust
from exporter.options import Duration, Secret, Size
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, ok, unknown, unobserved, worst

_MIN_FREE = 10 * 2**30
_MIN_FREE_RATIO = 0.2


class QdrantVolume(Volume):
    """A volume of a peer."""

    name: str = Field("storage", min_length=1, description="What is stored on it: storage or snapshots.")
    min_free: Size = Field(_MIN_FREE, description="Space that must be free.")
    min_free_ratio: float = Field(_MIN_FREE_RATIO, ge=0, le=1, description="Share of the volume that must be free.")


class QdrantNode(Options):
    """One peer."""

    url: BaseUrl = Field(
        description="Its own REST address, such as http://qdrant-0.qdrant-headless:6333; not that of a service."
    )
    volumes: tuple[QdrantVolume, ...] = Field((), description="Where it keeps collections and snapshots.")


class QdrantScrape(Scrape):
    """Where the metrics of the peers are found in Prometheus, which each of them serves itself."""

    job: str = Field("qdrant", description="Job that scrapes the peers.")
    health: str = Field("app_info", description="Metric that is 1 while the peer works.")
    # Not rest_responses_total: a peer that got no request for points yet does not have it.
    series: str = Field("collections_total", description="Metric that only a working peer gives.")


class _Options(QdrantLimits):
    """What may be set for the section and for one target."""

    node_timeout: Duration = Field(
        timedelta(seconds=3), gt=timedelta(0), description="How long a peer may take to answer one request."
    )
    scrape: QdrantScrape = Field(QdrantScrape(), description="Where the metrics are found in Prometheus.")


class QdrantTarget(Target, PodOptions, CronJobOptions, _Options):
    """A server, or a cluster of peers."""

    nodes: tuple[QdrantNode, ...] = Field(min_length=1, description="All peers of the cluster.")
    api_key: Secret | None = Field(None, description="Key that may read (`service.read_only_api_key`).")
    tls: Trust = Field(Trust(), description="Whom to trust, and who we are, where addresses begin with https://.")


class QdrantSettings(SectionSettings, _Options):
    """Options of the section."""

    targets: tuple[QdrantTarget, ...] = Field(min_length=1, description="The Qdrant servers and clusters to check.")


class Qdrant(Collector[QdrantSettings, QdrantTarget]):
    """Asks every peer about itself, its peers and each collection."""

    Settings = QdrantSettings
    Target = QdrantTarget
    rights = """\
The read-only key of every peer (QDRANT__SERVICE__READ_ONLY_API_KEY or, in its configuration):
  service: {read_only_api_key: KEY}
"""

    def __init__(self, settings: QdrantSettings, target: QdrantTarget, context: Context) -> None:
        super().__init__(settings, target, context)
        self._https: list[Http] = []

    async def open(self) -> None:
        """A few connections to each peer, made when they are used and closed when the run ends."""
        target = self.target
        for node in target.nodes:
            http = Http(HttpSettings(url=node.url, tls=target.tls, timeout=target.node_timeout))
            self.resources.push_async_callback(http.close)
            self._https.append(http)

    @fetched
    async def peers(self) -> tuple[Peer | ProbeError, ...]:
        """What each peer answers, or why it does not."""
        key, collections = self.target.api_key, self.target.collections
        recent = self.context.now() - self.target.max_snapshot_age
        return await attempt_all(client.look(http, key, collections, recent) for http in self._https)

    def _nodes(self) -> Iterable[tuple[QdrantNode, Http]]:
        return zip(self.target.nodes, self._https, strict=True)

    async def _seen(self) -> tuple[list[Peer], list[Result]]:
        """The peers that could be checked, and why the others could not."""
        peers = await self.peers()
        problems = [unobserved(why) for why in peers if isinstance(why, ProbeError)]
        return [peer for peer in peers if isinstance(peer, Peer)], problems

    @item(
        "Qdrant pods are running and healthy",
        severity=CRITICAL,
        needs=("service.read_only_api_key", "the REST address of every peer", *POD_RIGHTS),
    )
    async def pods_healthy(self) -> Result:
        """A peer that has lost its whole cluster still calls itself leader, working and ready, while searches fail.

        So every peer is asked for more than its health: it is ready, not in recovery mode, counts no dead copies, takes part in
        the consensus and may vote, is not behind in its log (`max_raft_lag`), knows all peers, and reaches them
        (`message_send_failures`). All follow one leader. Every collection can be read, is not red, its optimizer works, and each
        of its shards is on a peer and has its copies, Active. Yellow is a warning after
        `optimizing_grace`, a copy that is being recovered a failure after `recovery_grace`. A request without a key is refused:
        without that, a key proves nothing. Certificates of https:// are valid for longer than `certificate_warn`. With `pods`,
        their pods are Ready and do not keep restarting, and their workload has all its replicas; without it pods are not checked.

        How to fix it: see the log of the peer that is named. A peer that is gone for good is removed by DELETE /cluster/peer/ID,
        and copies are made again by replicating its shards (POST /collections/NAME/cluster).
        """
        return await with_pods(self, self.target.pods, self._healthy())

    async def _healthy(self) -> Result:
        target, now = self.target, self.context.now()
        peers, problems = await self._seen()
        for peer in peers:
            problems += judge.peer_problems(peer, target, now)
            if isinstance(peer.certificate_expiry, ProbeError):
                problems.append(unobserved(peer.certificate_expiry))
            else:
                problems += expiry_problems(peer.url, peer.certificate_expiry, target.certificate_warn, now)
        problems += judge.membership_problems(peers, len(target.nodes), target)
        problems += judge.missing_problems(peers, target)
        problems += judge.collection_problems(peers)
        since = self.context.memory.setdefault("since", {})
        problems += judge.stall_problems(peers, since, now)
        problems += judge.settling_problems(peers, target, since, now)
        count = len({name for peer in peers for name in peer.collections})
        many = (
            f"All {len(peers)} Qdrant peers work and reach each other" if len(peers) > 1 else "The Qdrant server works"
        )
        good = ok(
            f"{many}, and {count} collections can be read, {how_seen(target.pods)}.",
            peers_answering=len(peers),
            collections=count,
        )
        return verdict(problems, good)

    @item(
        "Vector collection backups are enabled",
        severity=CRITICAL,
        needs=("service.read_only_api_key", "the REST address of every peer", *CRON_JOB_RIGHTS),
    )
    async def collection_backups_enabled(self) -> Result:
        """A snapshot holds the shards of the peer that took it, so a collection is saved when every peer has one of it.

        On each peer, each collection that has shards there has a snapshot no older than `max_snapshot_age`, not empty, with a
        checksum; or each of those shards has one, of any of its copies. A snapshot of the whole storage counts for a server alone,
        and is a warning in a cluster, whose peers Qdrant does not restore from it. Qdrant takes no snapshots by itself and by
        default keeps them on the disk that they are to replace; whether they are copied elsewhere it does not show.
        `without_snapshots` names collections that can be made again, each with the reason. With `cronjob`, the CronJob that takes
        them is not suspended, and its last success is recent.

        How to fix it: run a job every day that sends POST /collections/NAME/snapshots to every peer, and set
        `storage.snapshots_config.snapshots_storage: s3` or copy the files away.
        """
        return await with_cron_job(self, self.target.cronjob, self._saved())

    async def _saved(self) -> Result:
        target, now = self.target, self.context.now()
        peers, problems = await self._seen()
        problems += judge.unwatched_problems(peers, len(target.nodes))
        problems += judge.missing_problems(peers, target)
        problems += judge.snapshot_problems(peers, target, now)
        names = {name for peer in peers for name in peer.collections}
        kept = names - set(target.without_snapshots)
        if peers and not kept:
            problems.append(
                unknown(
                    f"{target.name} has no collection that needs a snapshot, so none was checked.",
                    reason=Reason.MISSING,
                )
            )
        exempt = ", ".join(sorted(names - kept))
        good = ok(
            f"Every peer has a recent snapshot of all {len(kept)} collections"
            f"{f', but for {exempt} by declaration' if exempt else ''}; whether they are copied off the node was not checked.",
            snapshot_age_seconds=judge.snapshot_age(peers, target, now),
        )
        return verdict(problems, good)

    @item(
        "Storage has sufficient space",
        severity=CRITICAL,
        needs=(
            "option volumes of every node",
            "service.read_only_api_key",
            "clients.prometheus, unless a volume is a local path",
        ),
    )
    async def storage_sufficient(self) -> Result:
        """A peer whose disk is full refuses writes, and may not start again.

        Each volume of each peer has `min_free` and `min_free_ratio` left, and room for another copy of the largest collection
        that the peer holds (vectors and payloads, by /telemetry): optimizing and taking a snapshot write one. Qdrant itself does
        not show what its disk has left, so kubelet, node_exporter or the local file system is asked. No collection has reached the
        size that its strict mode allows.

        How to fix it: enlarge the volume, delete old snapshots, or move shards to another peer.
        """
        held: list[Mapping[str, Held]] = []
        parts = [part for node, http in self._nodes() for part in await self._space(node, http, held)]
        parts += judge.full_problems(held)
        measured: dict[str, float] = {}
        for part in parts:
            for name, value in part.measurements.items():
                tightest = max if name == "largest_collection_bytes" else min
                measured[name] = tightest(value, measured.get(name, value))
        return replace(worst(*parts), measurements=measured)

    async def _space(self, node: QdrantNode, http: Http, held: list[Mapping[str, Held]]) -> list[Result]:
        """What each volume of a peer has left; what its collections take is added to `held`."""
        parts = (
            []
            if node.volumes
            else [unknown("option volumes is not set, so no free space was checked.", reason=Reason.NOT_CONFIGURED)]
        )
        try:
            held.append(holds := await client.held(http, self.target.api_key))
        except ProbeError as why:
            holds = {}
            parts.append(unknown(f"the size of its collections was not checked. {why}", reason=why.reason))
        for volume in node.volumes:
            try:
                space = await measure_space(self, volume)
            except ProbeError as why:
                parts.append(unobserved(why))
                continue
            sizes = {name: collection.size for name, collection in holds.items()}
            parts += [judge_space(volume, space), judge.copy_fits(volume, space, sizes)]
        return [replace(part, summary=f"{node.url}: {part.summary}") for part in parts]

    @item("API metrics are being collected", severity=WARNING, needs=("clients.prometheus",))
    async def api_metrics_collected(self) -> Result:
        """Without metrics nobody notices searches becoming slow or failing before users do.

        Prometheus is asked for /metrics of every peer, which describes that peer alone: each is scraped, works (`app_info`), and
        has a fresh count of its collections. `scrape` names other series, where the server's `metrics_prefix` renames them.

        How to fix it: see Prometheus's targets page; the scrape needs the API key (`authorization: {credentials_file: …}`).
        """
        return await judge_scrape(self.client(Prometheus), self.target.scrape, instances=len(self.target.nodes))
