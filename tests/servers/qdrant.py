"""A stand-in for Qdrant, whose server no registry serves: it replays what a real 1.18.3 answered, and nothing else.

``tests/recordings/qdrant`` has one file per scenario, with the replies of each peer.
"""

import json
import re
import ssl
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.servers.web import Handler, Site

READER = "reader-4c1b"
"""The API key that the replayed servers know."""

_RECORDINGS = Path(__file__).parent.parent / "recordings" / "qdrant"
_OF_SHARD = re.compile(r"/collections/[^/]+/shards/\d+/snapshots")
Request = tuple[str, str, str]
Json = dict[str, Any]


class Peer(Site):
    """One replayed peer on ``port``. ``refused`` are the requests that it has no reply to: they are answered 501.

    ``replies`` may be changed by a test, for what no real server would do on demand. Snapshots of single shards were not recorded:
    there are none.
    """

    def __init__(self, name: str, replies: dict[Request, Json], tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.replies = replies
        self.refused: list[Request] = []
        peer = self

        class Page(Handler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, kind, body = peer.reply(self.command, self.path, self._key())
                self.reply(status, body, {"Content-Type": kind} if kind else {})

            do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

            def _key(self) -> str:
                given = self.headers.get("api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
                return {"": "none", READER: "reader"}.get(given, "wrong")

        super().__init__(Page, tls)

    def reply(self, method: str, path: str, key: str) -> tuple[int, str | None, bytes]:
        """Give status, content type and body of the recorded reply."""
        recorded = self.replies.get((method, path, key))
        if recorded is None and _OF_SHARD.fullmatch(path) and key == "reader":
            recorded = {
                "status": 200,
                "content_type": "application/json",
                "body": '{"result": [], "status": "ok", "time": 0}',
            }
        if recorded is None:
            self.refused.append((method, path, key))
            return 501, "text/plain", f"{method} {path} with key {key} was not recorded".encode()
        return recorded["status"], recorded["content_type"], (recorded["body"] or "").encode()

    def change(self, path: str, edit: Callable[[Any], object], *, key: str = "reader") -> None:
        """Edit the ``result`` of a recorded reply, in place."""
        reply = self.replies["GET", path, key]
        document = json.loads(reply["body"])
        edit(document["result"])
        self.replies["GET", path, key] = reply | {"body": json.dumps(document)}

    def answer(self, path: str, *, status: int = 200, body: str = "", key: str = "reader") -> None:
        """Replace a recorded reply."""
        self.replies["GET", path, key] = {"status": status, "content_type": "application/json", "body": body}


class Qdrant:
    """The peers of one scenario, and the moment (``now``) when they were asked."""

    def __init__(self, peers: list[Peer], now: datetime) -> None:
        self.peers = peers
        self.now = now
        self._reported = now

    def report(self, now: datetime, *, hanging: Collection[Peer] = ()) -> None:
        """Let the consensus threads report as late as `now`, as each does once a second, but for those that hang."""
        later, self._reported = now - self._reported, now
        for peer in self.peers:
            if peer not in hanging and ("GET", "/cluster", "reader") in peer.replies:
                peer.change("/cluster", partial(_advance, by=later))

    @property
    def refused(self) -> list[Request]:
        """The requests that no peer had a reply to."""
        return [request for peer in self.peers for request in peer.refused]


def _advance(cluster: Json, *, by: timedelta) -> None:
    status = cluster.get("consensus_thread_status", {})
    if isinstance(last := status.get("last_update"), str):
        reported = datetime.fromisoformat(last[:19]).replace(tzinfo=UTC) + by
        status["last_update"] = f"{reported:%FT%T}{last[19:]}"


@contextmanager
def replay(
    scenario: str, *earlier: str, lacking: tuple[str, ...] = (), tls: ssl.SSLContext | None = None
) -> Iterator[Qdrant]:
    """Replay a scenario; on leaving, fail if anything was asked that was not recorded.

    Replies that it lacks are taken from ``earlier`` scenarios of the same servers. ``lacking`` are collections that it lists,
    of which nothing was recorded: to ask for them is no failure, and is still answered 501.
    """
    recordings = [json.loads((_RECORDINGS / f"{name}.json").read_text()) for name in (*reversed(earlier), scenario)]
    with ExitStack() as stack:
        peers = [
            stack.enter_context(Peer(name, _replies(recordings, name), tls)) for name in sorted(recordings[-1]["peers"])
        ]
        qdrant = Qdrant(peers, datetime.fromisoformat(recordings[-1]["recorded_at"]))
        yield qdrant
        wanted = [
            request for request in qdrant.refused if request[1].split("/")[2:3] not in [[name] for name in lacking]
        ]
        assert not wanted, f"Asked for what was not recorded: {wanted}"


def _replies(recordings: list[Json], peer: str) -> dict[Request, Json]:
    found = {}
    for recording in recordings:
        for entry in recording["peers"].get(peer, ()):
            request, response = entry["request"], entry["response"]
            if "status" in response:
                found[request["method"], request["path"], request["api_key"]] = response
    return found
