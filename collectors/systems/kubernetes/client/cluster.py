"""A Kubernetes cluster, seen as one snapshot of each kind of object that sections judge."""

from __future__ import annotations

import asyncio
import functools
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import Field

from collectors.shared.single_flight import Shared
from collectors.systems.kubernetes.client.api import Api, Busy, Forbidden, Gone, NotFound, NotServed, Reply, TooLarge
from collectors.systems.kubernetes.client.watch import Follower, Listing
from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Named
from collectors.systems.kubernetes.model.rbac import SUBJECT_ACCESS_REVIEWS, Right, roles
from exporter.collector import Client
from exporter.options import Duration, Options, Size
from exporter.threads import Threads
from exporter.verdict import ProbeError, Reason

__all__ = ["Kubernetes", "KubernetesSettings", "NotAllowed", "NotServed", "OtherVersions", "Reply", "Snapshot"]

T = TypeVar("T")

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_REVIEWS_OF_OTHERS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_RIGHT_AGE = timedelta(minutes=5)
_MOST_OBJECTS = 5000
"""Of those that are read whole."""
_FOLLOWED_AFTER = 30.0
"""For how long a kind is listed before it is followed, in seconds: a run that is made once has ended by then."""
_NO_LOGS = (
    "unable to retrieve container logs for ",
    "failed to try resolving symlinks in path ",
    "failed to create fsnotify watcher",
)
"""How kubelets begin what they answer, with status 200, where they cannot read a log."""
_ABOUT_ITSELF = re.compile(r"/(version|readyz|livez)")


class NotAllowed(ProbeError):
    """The account lacks a right, which the sentence names."""


class OtherVersions(ProbeError):
    """The cluster has this kind of object, but not in the version that was asked for."""


class KubernetesSettings(Options):
    """How to reach a cluster, and how much of it to read."""

    kubeconfig: Path | None = Field(
        None,
        description="Kubeconfig file. Without it and `context`, the pod's service account is used where there is one, else the "
        "default kubeconfig.",
    )
    context: str | None = Field(None, description="Context of the kubeconfig; its current one by default.")
    namespaces: tuple[str, ...] = Field(
        (), description="Namespaces to read; all by default. With them, rights in these namespaces are enough."
    )
    selectors: dict[str, str] = Field(
        default_factory=dict, description="Plural name of a kind to the label selector that limits it."
    )
    max_age: Duration = Field(
        timedelta(seconds=55), gt=timedelta(0), description="How long a snapshot is shared before it is taken again."
    )
    watch: bool | None = Field(
        None,
        description="Watch for changes after the first list, instead of listing every `max_age`. By default what is "
        "requested repeatedly is watched where the account may watch it: the daemon watches, `check` lists.",
    )
    stale_after: Duration = Field(
        timedelta(minutes=2),
        gt=timedelta(0),
        description="How long a watch may be silent before its objects are too old; a watch is renewed every 45 "
        "seconds.",
    )
    timeout: Duration = Field(timedelta(seconds=10), gt=timedelta(0), description="How long one request may take.")
    page_size: int = Field(500, ge=1, le=10_000, description="How many objects are requested at a time.")
    max_bytes: Size = Field(
        32 * 2**20, gt=0, description="Maximum size of a response; a larger page is requested again in smaller ones."
    )
    requests_per_second: float = Field(50, gt=0, description="Maximum rate of requests to the API server.")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """The objects of a kind at one moment, by the API server's clock (UTC): ages are counted from `taken`, not from our clock.

    `namespaces` are those checked; none means all. `departed` are objects that were deleted while a watch followed them, where the
    kind has them remembered.
    """

    items: Sequence[T]
    taken: datetime
    namespaces: tuple[str, ...] = ()
    departed: Sequence[T] = ()


class _ReviewStatus(msgspec.Struct, frozen=True, gc=False):
    allowed: bool
    reason: str = ""


class _Review(msgspec.Struct, frozen=True, gc=False):
    status: _ReviewStatus


class _Version(msgspec.Struct, frozen=True, gc=False):
    version: str


class _Group(msgspec.Struct, frozen=True, gc=False):
    """A group of the API, and its versions."""

    versions: list[_Version]
    name: str = ""
    preferred_version: _Version = msgspec.field(default=_Version(""), name="preferredVersion")


class _Groups(msgspec.Struct, frozen=True, gc=False):
    groups: list[_Group]


class _Resource(msgspec.Struct, frozen=True, gc=False):
    name: str
    kind: str = ""
    namespaced: bool = True
    verbs: tuple[str, ...] = ()


class _Resources(msgspec.Struct, frozen=True, gc=False):
    """The kinds of one version."""

    resources: list[_Resource]


class Kubernetes(Client[KubernetesSettings]):
    """Asks the API server. Everything raises ProbeError, with the reason, when it was not read completely."""

    name = "kubernetes"
    Settings = KubernetesSettings

    def __init__(self, settings: KubernetesSettings, threads: Threads) -> None:
        super().__init__(settings, threads)
        self._api = Api(settings.kubeconfig, settings.context, settings.timeout, settings.requests_per_second)
        self._snapshots: dict[Kind[Any], Shared[Snapshot[Any]]] = {}
        self._followers: dict[Kind[Any], Shared[Sequence[Follower[Any]]]] = {}
        self._groups = Shared(lambda: self._blocking(self._served), settings.max_age)
        self._discovery = Shared(lambda: self._blocking(self._discovered), settings.max_age)
        self._asked_since: dict[Kind[Any], float] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(threads.places)
        self._kinds: dict[str, Kind[Named]] = {}  # one object for each kind, as snapshots are shared by it
        self._rights: dict[tuple[str, str, str | None], tuple[bool, float]] = {}

    async def list(self, kind: Kind[T]) -> Snapshot[T]:
        """All objects of a kind in the configured namespaces, at most `max_age` old, shared by all that ask.

        Raises NotAllowed when a right is missing, NotServed when the cluster has no such kind.
        """
        if self.settings.watch:
            return await self._followed(kind)
        if self.settings.watch is None and await self._is_worth_following(kind):
            try:
                return await self._followed(kind)
            except ProbeError:
                pass  # a list shows whether the cluster is at fault, or only the watch
        if kind not in self._snapshots:
            self._snapshots[kind] = Shared(lambda: self._fresh(kind), self.settings.max_age)
        return await self._snapshots[kind].get()

    async def _is_worth_following(self, kind: Kind[Any]) -> bool:
        """Whether a kind has been asked for long enough, and the API server says that it may be watched."""
        if kind in self._followers:
            return True
        first = self._asked_since.setdefault(kind, time.monotonic())
        if time.monotonic() - first < _FOLLOWED_AFTER:
            return False
        return await self._blocking(lambda: all(self._may_watch(kind, space) for space in self._spaces(kind)))

    async def read(self, kind: Kind[T], name: str, namespace: str | None = None) -> tuple[T, datetime] | None:
        """One object as it is now, with the moment by the API server's clock; None when there is no such object (or kind)."""
        return await self._blocking(lambda: self._read(kind, name, namespace))

    async def account_may(
        self, namespace: str, account: str, verb: str, resource: str, group: str = "", *, place: str = ""
    ) -> bool:
        """Whether a service account may do something with a resource in every namespace, or in `place`, by its and its groups'
        bindings. A part of the resource is written behind it, as in `pods/exec`.

        Raises ProbeError where the exporter may not ask that.
        """
        return await self._blocking(lambda: self._review_of_other(namespace, account, verb, resource, group, place))

    async def kinds(self, part: str) -> Sequence[Kind[Named]]:
        """The kinds that the cluster serves, in the version that it prefers, whose plural names have this part."""
        discovered = await self._discovery.get()
        return [kind for kind in discovered if part in kind.plural]

    async def groups(self) -> frozenset[str]:
        """The groups of the API that the cluster serves, CustomResourceDefinitions included; none where it does not report them.

        Raises ProbeError when there is no answer.
        """
        return await self._groups.get()

    async def objects(
        self, api_version: str, kind: str, *, namespaces: Sequence[str] = (), selector: str = ""
    ) -> Sequence[dict[str, Any]]:
        """The objects of a kind, named as in a manifest, as they are now, in these namespaces (by default the configured ones).

        Whole, but for who wrote which field. Raises NotAllowed when a right is missing, NotServed when the cluster has no such
        kind, ProbeError for more than can be judged, and ValueError for Secrets.
        """
        return await self._blocking(lambda: self._objects(api_version, kind, namespaces, selector))

    async def log(
        self, pod: str, namespace: str, container: str, *, since: timedelta | None = None, last: int | None = None
    ) -> Sequence[str]:
        """The lines of a container's log: those of the time `since` by its node's clock, or the `last` ones; all otherwise.

        Raises NotAllowed when the right to `pods/log` is missing, and ProbeError when the log was not read completely, also where
        the kubelet answers with a complaint in place of the log.
        """
        query: dict[str, Any] = {"container": container}
        query |= {} if since is None else {"sinceSeconds": max(1, math.ceil(since.total_seconds()))}
        query |= {} if last is None else {"tailLines": last}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"

        def read() -> Sequence[str]:
            try:
                lines = self._api.get(path, query, max_bytes=self.settings.max_bytes).text.splitlines()
            except Forbidden:
                raise NotAllowed(
                    f"The exporter cannot get pods/log in {namespace}: its account has no right to it.", Reason.DENIED
                ) from None
            if any(line.startswith(_NO_LOGS) for line in lines[:1] + lines[-1:]):
                raise ProbeError(f"The kubelet has no log of container {container} of pod {namespace}/{pod}.")
            return lines

        return await self._blocking(read)

    async def evict(self, pod: str, namespace: str) -> None:
        """Have a pod deleted, as a drain of its node does: where its PodDisruptionBudget allows that.

        Raises NotAllowed when the right to `pods/eviction` is missing, and ProbeError when the pod was not evicted.
        """
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/eviction"
        metadata = {"name": pod, "namespace": namespace}
        body = msgspec.json.encode({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

        def post() -> None:
            try:
                self._api.post(path, body, max_bytes=self.settings.max_bytes)
            except Forbidden:
                raise NotAllowed(
                    f"The exporter cannot create pods/eviction in {namespace}: its account has no right to it.",
                    Reason.DENIED,
                ) from None
            except Busy:
                raise ProbeError(
                    f"Pod {namespace}/{pod} was not evicted: its PodDisruptionBudget does not allow it now, or the API server "
                    "is overloaded (429).",
                    Reason.REFUSED,
                ) from None

        await self._blocking(post)

    async def get(self, path: str) -> Reply:
        """What the API server says of itself, whatever its status: `/version`, `/readyz` or `/livez`.

        Raises ValueError for any other path, and ProbeError when there is no answer.
        """
        if not _ABOUT_ITSELF.fullmatch(path):
            raise ValueError(f"{path} is not what an API server says of itself")
        return await self._blocking(lambda: self._api.get(path, max_bytes=self.settings.max_bytes, any_status=True))

    async def _fresh(self, kind: Kind[T]) -> Snapshot[T]:
        groups = await self._groups_for(kind)
        return await self._blocking(lambda: self._take(kind, groups))

    async def _groups_for(self, kind: Kind[Any]) -> frozenset[str]:
        """The groups among which that of a kind has to be; none where that is not known, or the kind is in none."""
        return await self._groups.get() if kind.group else frozenset()

    async def _blocking(self, call: Callable[[], T]) -> T:
        async with self._places:
            return await self.threads.run("clients.kubernetes", call)

    async def _followed(self, kind: Kind[T]) -> Snapshot[T]:
        """The objects of a kind as its watches last reported; the first to ask starts them."""
        if kind not in self._followers:
            self._followers[kind] = Shared(lambda: self._follow(kind), timedelta.max)
        followers = await self._followers[kind].get()
        for task in self._watches:
            if task.done():
                await task  # raises what ended it: nothing that it reported before is true any more
        followed = [follower.objects() for follower in followers]
        items = [item for objects, _ in followed for item in objects]
        departed = [item for follower in followers for item in follower.departed()]
        return Snapshot(items, min(at for _, at in followed), self._namespaces(kind), departed)

    async def _follow(self, kind: Kind[T]) -> Sequence[Follower[T]]:
        groups = await self._groups_for(kind)
        followers = await self._blocking(lambda: [self._follower(kind, space, groups) for space in self._spaces(kind)])
        for number, follower in enumerate(followers):
            watch = self.threads.run(f"watch {number} of {kind}", follower.run)
            self._watches.add(asyncio.create_task(watch, name=f"watch {kind}"))
        return followers

    def _follower(self, kind: Kind[T], namespace: str | None, groups: frozenset[str]) -> Follower[T]:
        for verb in ("list", "watch"):
            self._demand(verb, kind, namespace)
        _demand_group(kind, groups)
        listing = functools.partial(self._list, kind, namespace, identified=True)
        return Follower(self._api, kind, kind.path(namespace), self._query(kind), listing, self.settings.stale_after)

    def _namespaces(self, kind: Kind[Any]) -> tuple[str, ...]:
        return self.settings.namespaces if kind.namespaced else ()

    def _spaces(self, kind: Kind[Any]) -> tuple[str | None, ...]:
        """The namespaces to ask for one by one; None stands for all at once."""
        return self._namespaces(kind) or (None,)

    def _query(self, kind: Kind[Any], selector: str = "") -> dict[str, Any]:
        selector = ",".join(filter(None, (self.settings.selectors.get(kind.plural), selector)))
        return {"labelSelector": selector} if selector else {}

    def _objects(
        self, api_version: str, name: str, namespaces: Sequence[str], selector: str
    ) -> Sequence[dict[str, Any]]:
        kind = self._named(api_version, name)
        if namespaces and not kind.namespaced:
            raise ProbeError(
                f"{name} objects are in no namespace, so `namespaces` is not possible.", Reason.NOT_CONFIGURED
            )
        items = []
        for namespace in (namespaces if kind.namespaced else ()) or self._spaces(kind):
            self._demand("list", kind, namespace)
            items += self._list(kind, namespace, selector=selector, most=_MOST_OBJECTS).items
        return items

    def _named(self, api_version: str, name: str) -> Kind[dict[str, Any]]:
        """The kind that manifests call so."""
        group, _, version = api_version.rpartition("/")
        served = self._discover(f"/apis/{api_version}" if group else f"/api/{api_version}", _RESOURCES)
        for resource in served.resources if served else ():
            if resource.kind == name and "/" not in resource.name and "list" in resource.verbs:
                return Kind(
                    resource.name,
                    dict,
                    group,
                    version,
                    namespaced=resource.namespaced,
                    compact=lambda: _without_writers,
                )
        raise NotServed(f"The cluster serves no {name} objects in {api_version}.", Reason.MISSING)

    def _take(self, kind: Kind[T], groups: frozenset[str]) -> Snapshot[T]:
        """The objects of a kind in each namespace; in a thread."""
        listings = []
        for namespace in self._spaces(kind):
            self._demand("list", kind, namespace)
            _demand_group(kind, groups)
            listings.append(self._list(kind, namespace))
        items = listings[0].items if len(listings) == 1 else [item for listing in listings for item in listing.items]
        return Snapshot(items, min(listing.at for listing in listings), self._namespaces(kind))

    def _list(
        self,
        kind: Kind[T],
        namespace: str | None,
        *,
        identified: bool = False,
        selector: str = "",
        most: int = sys.maxsize,
    ) -> Listing[T]:
        """The objects of one namespace (None: of all), page by page. Raises ProbeError where there are more than `most`.

        A list whose continuation the server has forgotten (410) is started again, once.
        """
        for _ in range(2):
            listing = Listing(kind, identified=identified)
            limit = self.settings.page_size
            try:
                while listing.unfinished:
                    limit = self._next_page(kind, namespace, listing, limit, selector)
                    if len(listing.items) > most:
                        raise ProbeError(f"There are more than {most} {kind}, which were not read.", Reason.LIMIT)
            except Gone:
                continue
            return listing
        raise ProbeError(
            f"{kind} change faster than they can be listed: the continuation of the list expired twice.", Reason.STALE
        )

    def _next_page(
        self, kind: Kind[Any], namespace: str | None, listing: Listing[Any], limit: int, selector: str
    ) -> int:
        """Add the next page to a listing. Returns how many objects to ask for next: fewer after a page that was too large."""
        query = self._query(kind, selector) | {"limit": limit} | ({"continue": listing.more} if listing.more else {})
        try:
            reply = self._api.get(kind.path(namespace), query, max_bytes=self.settings.max_bytes)
        except TooLarge:
            if limit == 1:
                raise
            return max(1, limit // 4)
        except NotFound:
            raise self._not_served(kind) from None
        except Forbidden:
            raise self._denied("list", kind, namespace) from None
        with _understood(reply):
            listing.add(kind.pages.decode(reply.body), reply)
        return limit

    def _not_served(self, kind: Kind[Any]) -> ProbeError:
        """Why a kind is not found: it is not served at all, or only in other versions, so that none of it was checked."""
        group = self._discover(f"/apis/{kind.group}", _GROUP) if kind.group else None
        others = [found.version for found in group.versions if found.version != kind.version] if group else []
        served = [
            version
            for version in others
            if (found := self._discover(f"/apis/{kind.group}/{version}", _RESOURCES))
            and any(resource.name == kind.plural for resource in found.resources)
        ]
        if served:
            return OtherVersions(
                f"The cluster serves {kind} only as {' and '.join(served)}, and the exporter knows only {kind.version}."
            )
        return _absent(kind)

    def _served(self) -> frozenset[str]:
        """The groups of the API that the cluster serves, whether what serves them works or not; none when it does not report it."""
        try:
            reply = self._api.get("/apis", max_bytes=self.settings.max_bytes)
        except (Forbidden, NotFound):
            return frozenset()
        return frozenset(group.name for group in _decode(reply, _GROUPS).groups)

    def _discovered(self) -> tuple[Kind[Named], ...]:
        """Every kind of the groups of the API, in the versions that the cluster prefers. Groups that do not answer are left out.

        Asked group by group, as the server of one may be down, which the line on the control plane reports. Raises ProbeError where
        the account may not ask.
        """
        groups = _decode(self._api.get("/apis", max_bytes=self.settings.max_bytes), _GROUPS).groups
        found: dict[tuple[str, str], Kind[Named]] = {}
        for group in groups:
            version = group.preferred_version.version or (group.versions[0].version if group.versions else "")
            try:
                resources = self._discover(f"/apis/{group.name}/{version}", _RESOURCES) if version else None
            except Forbidden:
                raise
            except ProbeError:
                continue
            for resource in resources.resources if resources else ():
                if "/" not in resource.name and "list" in resource.verbs:
                    kind: Kind[Named] = Kind(resource.name, Named, group.name, version, namespaced=resource.namespaced)
                    found.setdefault((group.name, resource.name), self._kinds.setdefault(str(kind), kind))
        return tuple(found.values())

    def _discover(self, path: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """What the API server says of a group or version of its API; None when there is none."""
        try:
            return _decode(self._api.get(path, max_bytes=self.settings.max_bytes), decoder)
        except NotFound:
            return None

    def _read(self, kind: Kind[T], name: str, namespace: str | None) -> tuple[T, datetime] | None:
        self._demand("get", kind, namespace, name)
        try:
            reply = self._api.get(kind.path(namespace, name), max_bytes=self.settings.max_bytes)
        except NotFound:
            return None
        except Forbidden:
            raise self._denied("get", kind, namespace) from None
        with _understood(reply):
            found = [msgspec.json.decode(reply.body, type=kind.item)]
            (one,) = kind.gathered(kind.compact()(found) if kind.compact else found)
        return one, reply.at

    def _demand(self, verb: str, kind: Kind[Any], namespace: str | None, name: str = "") -> None:
        """Raise NotAllowed when the account may not do this. The API server itself is asked, once in a while."""
        key = verb, f"{kind}/{name}", namespace
        allowed, until = self._rights.get(key, (False, 0.0))
        if until <= time.monotonic():
            allowed = self._review(verb, kind, namespace, name)
            age = _RIGHT_AGE if allowed else self.settings.max_age
            self._rights[key] = allowed, time.monotonic() + age.total_seconds()
        if not allowed:
            raise self._denied(verb, kind, namespace)

    def _may_watch(self, kind: Kind[Any], namespace: str | None) -> bool:
        """Whether the account may watch a kind. Unlike for what is demanded, a review that is not answered means no."""
        key = "watch", f"{kind}/", namespace
        allowed, until = self._rights.get(key, (False, 0.0))
        if until <= time.monotonic():
            allowed = self._review("watch", kind, namespace, "", unanswered=False)
            self._rights[key] = allowed, time.monotonic() + _RIGHT_AGE.total_seconds()
        return allowed

    def _review(self, verb: str, kind: Kind[Any], namespace: str | None, name: str, *, unanswered: bool = True) -> bool:
        attributes = {"verb": verb, "group": kind.group, "version": kind.version, "resource": kind.plural}
        attributes |= ({"namespace": namespace} if namespace else {}) | ({"name": name} if name else {})
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            reply = self._api.post(_REVIEWS, msgspec.json.encode(body), max_bytes=self.settings.max_bytes)
        except (Forbidden, NotFound):  # where even that is not allowed, the request itself will show it
            return unanswered
        review: _Review = _decode(reply, _REVIEW)
        return review.status.allowed

    def _review_of_other(self, namespace: str, account: str, verb: str, resource: str, group: str, place: str) -> bool:
        self._demand("create", SUBJECT_ACCESS_REVIEWS, None)
        name, _, part = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": name, "subresource": part, "namespace": place}
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{account}",
                "groups": groups,
                "resourceAttributes": attributes,
            },
        }
        try:
            reply = self._api.post(_REVIEWS_OF_OTHERS, msgspec.json.encode(body), max_bytes=self.settings.max_bytes)
        except Forbidden:
            raise self._denied("create", SUBJECT_ACCESS_REVIEWS, None) from None
        review: _Review = _decode(reply, _REVIEW)
        return review.status.allowed

    @staticmethod
    def _denied(verb: str, kind: Kind[Any], namespace: str | None) -> NotAllowed:
        where = f" in {namespace}" if namespace else " in all namespaces" if kind.namespaced else ""
        return NotAllowed(f"The exporter cannot {verb} {kind}{where}: its account has no right to it.", Reason.DENIED)

    @classmethod
    def roles(cls, settings: KubernetesSettings, needs: Iterable[str]) -> Sequence[dict[str, Any]]:
        """The least roles for a configuration, as manifests: of what its items need, the rights in a cluster."""
        return roles(
            (need for need in needs if isinstance(need, Right)), settings.namespaces, watch=settings.watch is not False
        )

    async def close(self) -> None:
        """Stop what is being read and close the connections."""
        self._api.close()
        shared: tuple[Shared[Any], ...] = (
            self._groups,
            self._discovery,
            *self._snapshots.values(),
            *self._followers.values(),
        )
        for answer in shared:
            await answer.close()
        if self._watches:
            await asyncio.wait(self._watches, timeout=self.settings.timeout.total_seconds())


_REVIEW = msgspec.json.Decoder(_Review)
_GROUP = msgspec.json.Decoder(_Group)
_GROUPS = msgspec.json.Decoder(_Groups)
_RESOURCES = msgspec.json.Decoder(_Resources)


def _without_writers(found: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Objects without the notes on who wrote which field, which are often half of one."""
    for one in found:
        if isinstance(metadata := one.get("metadata"), dict):
            metadata.pop("managedFields", None)
    return found


def _absent(kind: Kind[Any]) -> NotServed:
    return NotServed(f"The cluster serves no {kind} ({kind.version}).", Reason.MISSING)


def _demand_group(kind: Kind[Any], groups: frozenset[str]) -> None:
    """Raise NotServed when the group of a kind is not among those that the cluster serves; none are given where it is not known."""
    if groups and kind.group not in groups:
        raise _absent(kind)


def _decode(reply: Reply, decoder: msgspec.json.Decoder[T]) -> T:
    with _understood(reply):
        return decoder.decode(reply.body)


@contextmanager
def _understood(reply: Reply) -> Iterator[None]:
    """Raise ProbeError for a reply that is not what it should be."""
    try:
        yield
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ProbeError(f"{reply.where} answered in an unexpected format: {error}.", Reason.MALFORMED) from None
    except msgspec.DecodeError as error:
        raise ProbeError(
            f"{reply.where} answered something that is not JSON, or not all of it: {error}.", Reason.MALFORMED
        ) from None
