"""Asks a server's monitoring endpoint (port 8222), which takes no credentials."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

from collectors.shared.attempts import attempt
from collectors.systems.nats.model import Gatewayz, Jsz, Leafz, Monitor, Routez, Varz, parsed
from exporter.http import Http
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["look", "owner"]

T = TypeVar("T")

_DEFAULT_ACCOUNT = "$G"  # a server without accounts lists connections without it
#: What /healthz answers of itself where the server found no time to check anything: what is not ready would follow.
_UNDECIDED = re.compile(r"failed to be ready for connections after \S+:\s*")
#: Likewise where it meets what is left of a stream that was deleted just now: no stream's name begins with a dot.
_DELETED = re.compile(r"JetStream stream '\S+ > \.[^']*' could not be recovered")
_LOOKS = 3
_PAUSE = 0.2


async def look(http: Http, *, core: bool) -> Monitor:
    """What the endpoint answers, each document for itself; `core` says that the server has no JetStream by declaration.

    Raises ProbeError when it answers nothing, and when several servers answer at its address.
    """
    ill, varz, jsz, routez = await asyncio.gather(
        attempt(_illness(http)),
        attempt(_document(http, "/varz", Varz)),
        attempt(_document(http, "/jsz", Jsz)),
        attempt(_document(http, "/routez", Routez)),
    )
    if isinstance(varz, ProbeError) and isinstance(jsz, ProbeError) and isinstance(routez, ProbeError):
        raise varz
    gatewayz = leafz = None
    if isinstance(varz, Varz) and varz.gateway.name:
        gatewayz = await attempt(_document(http, "/gatewayz", Gatewayz))
    if isinstance(varz, Varz) and varz.uplinks:
        leafz = await attempt(_document(http, "/leafz", Leafz))
    monitor = Monitor(http.settings.url, varz, jsz, routez, gatewayz, ill, core, leafz)
    if len(monitor.server_ids) > 1:
        raise ProbeError(
            f"Several NATS servers answer at {http.settings.url}: name each server's own address.", Reason.CONTRADICTED
        )
    return monitor


async def owner(http: Http, client_id: int | None) -> tuple[str | None, str | None]:
    """Account and user of a connection, as the server's list names them to its administrator; None where it does not."""
    try:
        reply = await http.get("/connz", params={"cid": str(client_id), "auth": "1"})
        found = reply.json()["connections"][0]
        return found.get("account") or _DEFAULT_ACCOUNT, found.get("authorized_user")
    except (ProbeError, LookupError, TypeError, AttributeError):
        return None, None  # they only name whom an answer is about


async def _illness(http: Http) -> str | None:
    """Why a server calls itself unhealthy, if it does. Raises ProbeError when it does not report it.

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


def _ill(healthz: Reply) -> str | None:
    """Why /healthz is not 200, in its own words: since 2.15 a server that is about to end answers 500."""
    document = healthz.json()
    if not isinstance(document, dict):
        raise ProbeError(f"{healthz.where} was answered in an unexpected format: expected an object.", Reason.MALFORMED)
    return None if healthz.status == 200 else one_line(document.get("error") or f"/healthz answers {healthz.status}")


async def _document(http: Http, path: str, kind: type[T]) -> T:
    reply = await http.get(path)
    return parsed(reply.where, reply.json(), kind)
