"""A snapshot that follows what changes, so that a large cluster is not listed every minute: list, then watch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Generic, TypeVar

import msgspec

from collectors.shared.decoding import UNDECODABLE
from collectors.systems.kubernetes.client.api import Api, Gone, NotFound, NotServed, Reply
from collectors.systems.kubernetes.model.kind import Kind, Page
from exporter.options import format_duration
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["Follower", "Listing"]

T = TypeVar("T")

_ROUND = timedelta(seconds=45)
"""How long one watch is asked for. An API server that ends it on time has reported every change, even where there was none:
bookmarks alone do not show it, since it sends none for a kind of which nothing has changed since it started."""
_SILENCE = 1.5 * _ROUND
_PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_MANY_CHANGES = 100_000
"""After so many, it is listed again: what is shared between objects is never forgotten otherwise."""
_MAX_BYTES = 2**24
_MOST_REMEMBERED = 2000


class _Identity(msgspec.Struct, frozen=True, gc=False):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Identified(msgspec.Struct, frozen=True, gc=False):
    metadata: _Identity = _Identity()


class _Event(msgspec.Struct, frozen=True, gc=False):
    type: str
    object: msgspec.Raw


class _Trouble(msgspec.Struct, frozen=True, gc=False):
    code: int = 0
    message: str = ""


class _Identities(msgspec.Struct, frozen=True, gc=False):
    items: list[_Identified] | None


_EVENT = msgspec.json.Decoder(_Event)
_IDENTIFIED = msgspec.json.Decoder(_Identified)
_IDENTITIES = msgspec.json.Decoder(_Identities)
_TROUBLE = msgspec.json.Decoder(_Trouble)


class Listing(Generic[T]):
    """A list that is being read: what a snapshot holds of the objects, and where to go on from (`more`, `version`).

    `at` is the moment of its first page by the API server's clock. With `identified`, what is kept of each object is in `by_uid`
    instead.
    """

    def __init__(self, kind: Kind[T], *, identified: bool = False) -> None:
        self.compact: Callable[[Sequence[Any]], Iterable[Any]] = kind.compact() if kind.compact else list
        self.items: list[T] = []
        self.by_uid: dict[str, Any] = {}
        self._gathered = kind.gathered
        self._identified = identified
        self.unfinished = True
        self.more = ""
        self.version = ""
        self.at = datetime.max.replace(tzinfo=UTC)

    def add(self, page: Page[Any], reply: Reply) -> None:
        """Add one page.

        Raises ProbeError for one that goes on where it began: something in between keeps answering with the same.
        """
        if self.more and page.metadata.more == self.more:
            raise ProbeError(
                f"{reply.where} answered the same page of a list twice, so its end was not read.", Reason.MALFORMED
            )
        kept = self.compact(page.items or [])
        if self._identified:
            uids = [one.metadata.uid for one in _IDENTITIES.decode(reply.body).items or ()]
            if not all(uids):  # such as what is measured, and kept nowhere
                raise ProbeError(
                    f"{reply.where} listed objects without a uid, so their changes cannot be followed.",
                    Reason.MALFORMED,
                )
            self.by_uid.update(zip(uids, kept, strict=True))
        else:
            self.items += self._gathered(kept)
        self.version, self.more = page.metadata.version, page.metadata.more
        self.unfinished = bool(self.more)
        self.at = min(self.at, reply.at)


class Follower(Generic[T]):
    """One kind in one namespace, as `relist` found it and as it changed since.

    `run` blocks, in a thread of its own, until the API is closed. A watch that breaks is taken up where it was; one that the server
    no longer remembers (410), or whose kind is gone (404), starts with a list. Nothing that was last heard of `stale_after` ago or
    more counts.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind[T],
        path: str,
        query: dict[str, Any],
        relist: Callable[[], Listing[T]],
        stale_after: timedelta,
    ) -> None:
        self._api = api
        self._kind = kind
        self._path = path
        self._query = query
        self._relist = relist
        self._stale_after = stale_after
        self._one = msgspec.json.Decoder(kind.item)
        self._lock = threading.Lock()
        self._trouble = ""
        self._absent: NotServed | None = None
        self._gathered: list[T] | None = None
        self._departed: deque[Any] = deque(maxlen=_MOST_REMEMBERED)
        self._start_again()

    def objects(self) -> tuple[list[T], datetime]:
        """What a snapshot holds of the objects as they were last heard of, with the moment of that by the API server's clock.

        Raises ProbeError when that was too long ago, and NotServed when the cluster does not have the kind any more.
        """
        with self._lock:
            if self._absent is not None:
                raise NotServed(str(self._absent), self._absent.reason)
            silence = timedelta(seconds=time.monotonic() - self._heard_at)
            if silence >= self._stale_after:
                why = f" ({self._trouble})" if self._trouble else ""
                raise ProbeError(
                    f"The watch of {self._kind} has been silent for {format_duration(_whole(silence))}"
                    f" (limit {format_duration(self._stale_after)}), so what it last reported is too old{why}.",
                    Reason.STALE,
                )
            if self._gathered is None:
                self._gathered = self._kind.gathered(self._objects.values())
            return self._gathered, datetime.now(UTC) + self._ahead - silence

    def departed(self) -> list[T]:
        """What a snapshot holds of the objects that the kind has remembered, and that were deleted since the first list."""
        with self._lock:
            return self._kind.gathered(self._departed)

    def run(self) -> None:
        """Follow the changes until the API is closed."""
        failures = 0
        listed = True
        while not self._api.closed:
            try:
                if not listed or self._changes > max(_MANY_CHANGES, 10 * len(self._objects)):
                    self._start_again()
                    listed = True
                if self._follow():
                    failures = 0
                    continue
                self._trouble = "the API server ended it at once"
            except (Gone, NotFound):
                listed = False
                if failures == 0:
                    failures = 1
                    continue
            except NotServed as why:
                self._absent, listed = why, False
            except ProbeError as why:
                self._trouble, self._absent = str(why).rstrip("."), None
            self._api.wait(_PATIENCE[min(failures, len(_PATIENCE) - 1)])
            failures += 1

    def _start_again(self) -> None:
        listing = self._relist()
        with self._lock:
            self._objects = listing.by_uid
            self._gathered = None
            self._absent = None
        self._compact, self._version = listing.compact, listing.version
        self._ahead = listing.at - datetime.now(UTC)  # the server's clock, compared with ours
        self._changes = 0
        self._heard_at = time.monotonic()

    def _follow(self) -> bool:
        """One watch, until the server ends it. Returns whether that showed that changes are reported."""
        query = self._query | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": ceil(_ROUND.total_seconds()),
        }
        heard = False
        with self._api.stream(self._path, query, _SILENCE) as (pieces, at):
            started = time.monotonic()
            self._ahead = at - datetime.now(UTC)  # one of the clocks may have been set since
            for lines in _lines(pieces):
                self._apply(lines)
                heard = True
        if time.monotonic() - started >= 0.9 * _ROUND.total_seconds():
            self._hear()
            heard = True
        return heard

    def _hear(self) -> None:
        self._trouble = ""
        self._heard_at = time.monotonic()

    def _apply(self, lines: Sequence[bytes]) -> None:
        """Take in the changes that came together."""
        changed: dict[str, msgspec.Raw | None] = {}
        gone: list[Any] = []
        version = self._version
        try:
            for line in lines:
                event = _EVENT.decode(line)
                if event.type == "ERROR":
                    raise _error(self._kind, event.object)
                identity = _IDENTIFIED.decode(event.object).metadata
                version = identity.resource_version
                if event.type in ("ADDED", "MODIFIED"):
                    changed[identity.uid] = event.object
                elif event.type == "DELETED":
                    changed[identity.uid] = None
                    if self._kind.remembered:
                        gone.append(self._one.decode(event.object))
            present = {uid: self._one.decode(raw) for uid, raw in changed.items() if raw is not None}
            kept = dict(zip(present, self._compact(list(present.values())), strict=True))
            departed = [one for one in self._compact(gone) if self._kind.remembered and self._kind.remembered(one)]
        except UNDECODABLE as error:
            raise ProbeError(
                f"The watch of {self._kind} reported a change in an unexpected format: {error}.", Reason.MALFORMED
            ) from None
        with self._lock:
            self._objects.update(kept)
            self._departed += departed
            self._gathered = None
            for uid, raw in changed.items():
                if raw is None:
                    self._objects.pop(uid, None)
        self._version = version
        self._changes += len(lines)
        self._hear()  # that a watch was accepted is no sign yet that it reports anything


def _lines(pieces: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The whole lines that each piece of a reply completes."""
    begun: list[bytes] = []
    size = 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        if others:
            yield [b"".join(begun), *others[:-1]]
            begun, size = [others[-1]], len(others[-1])
        if size > _MAX_BYTES:
            raise ProbeError(
                f"A watch sent more than {_MAX_BYTES} bytes of one object, which were not read.", Reason.LIMIT
            )


def _error(kind: Kind[Any], raw: msgspec.Raw) -> ProbeError:
    trouble = _TROUBLE.decode(raw)
    sentence = f"The watch of {kind} ended: {one_line(trouble.message) or f'error {trouble.code}'}."
    return Gone(sentence) if trouble.code == 410 else ProbeError(sentence)


def _whole(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))
