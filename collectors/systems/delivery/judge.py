"""Whether content is delivered as fast as the protocols allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collectors.shared.verdicts import verdict
from collectors.systems.delivery.model import (
    MIN_COMPRESSED,
    Delivered,
    Http3,
    cache_status,
    compressible,
    unpacked_size,
    unpacks,
)
from exporter.verdict import Reason, Result, failed, ok, unknown, warning
from exporter.words import listed

__all__ = ["judge_compression", "judge_keep_alive", "judge_shared_cache", "judge_versions"]

_OK = 200
_MISDIRECTED = 421
#: Answers of what turned the exporter away, such as a firewall or a limit.
_TURNED_AWAY = frozenset({401, 403, 407, _MISDIRECTED, 429})
_SERVER_ERROR = 500
_ERROR = 400
#: Compressed text that is larger than this share of the text was packed in name only.
_MOST_OF_PLAIN = 0.95


def judge_shared_cache(looks: Sequence[Delivered]) -> Result:
    """Whether a CDN serves a static file from its cache, once it has been requested before. `looks` are in their order."""
    where = looks[0].where
    for look in looks:
        if look.status in _TURNED_AWAY or look.status >= _SERVER_ERROR:
            return unknown(f"{where} answered {look.status}, so where the file comes from was not observed.")
        if look.status != _OK:
            return failed(f"{where} answered {look.status} (wanted a static file, 200).", reason=Reason.DOWN)
        if look.whole and not look.body:
            return failed(f"{where} is empty (wanted a static file).", reason=Reason.DOWN)
    last = looks[-1]
    kind = last.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        return failed(f"{where} answered a page (text/html) where a static file was wanted.", reason=Reason.UNMET)
    states = [cache_status(look.headers) for look in looks]
    if states[-1] or any(states[1:]):
        return ok(f"{where} comes from a shared cache.")
    directives = last.headers.get("cache-control", "")
    if any(word in directives.lower() for word in ("no-store", "private", "no-cache")):
        return failed(
            f"{where} forbids caches to keep it (Cache-Control: {directives[:80]}).", reason=Reason.MISCONFIGURED
        )
    if states[-1] is False:
        return failed(
            f"{where} passed a shared cache {len(looks)} times, which never served it itself.",
            reason=Reason.MISCONFIGURED,
        )
    return failed(f"{where} shows no sign of a CDN in {len(looks)} answers (Age, X-Cache, Cache-Status, …).")


def judge_compression(browser: Delivered, gzip: Delivered, plain: Delivered) -> Result:
    """Whether a body is compressed for browsers, and for clients that know gzip alone, and left alone for others."""
    return verdict(_compression_problems(browser, gzip, plain), ok(f"{browser.where} is sent as {browser.encoding}."))


def _compression_problems(browser: Delivered, gzip: Delivered, plain: Delivered) -> Iterator[Result]:
    where = browser.where
    for reply in (browser, gzip, plain):
        if reply.status != _OK:
            yield unknown(f"{where} answered {reply.status} (wanted 200), so its compression was not checked.")
            return
    if not compressible(plain):
        kind = plain.headers.get("content-type", "no type")
        yield unknown(f"{where} is {kind}, which is not compressed; name a page, a script or an API reply.")
        return
    if plain.whole and not plain.encoding and len(plain.body) < MIN_COMPRESSED:
        yield unknown(
            f"{where} has {len(plain.body)} bytes, too few to be compressed (wanted {MIN_COMPRESSED} or more)."
        )
        return
    if plain.encoding:
        yield failed(
            f"{where} is sent as {plain.encoding} to clients that did not ask for it.", reason=Reason.MISCONFIGURED
        )
    if not browser.encoding:
        yield failed(
            f"{where} is sent uncompressed to browsers (wanted br, zstd or gzip).", reason=Reason.MISCONFIGURED
        )
    elif not unpacks(browser):
        yield failed(f"{where} claims to be {browser.encoding}, but cannot be unpacked.", reason=Reason.DOWN)
    yield from _unshrunk(browser, gzip, plain)
    yield from _another(browser, gzip, plain)
    if browser.encoding and not gzip.encoding:
        yield warning(f"{where} is sent uncompressed to clients that know gzip alone.")
    elif gzip.encoding == "gzip" and browser.encoding != "gzip" and not unpacks(gzip):
        yield failed(f"{where} claims to be gzip, but cannot be unpacked.", reason=Reason.DOWN)
    if browser.encoding and not browser.varies & {"accept-encoding", "*"}:
        yield warning(
            f"{where} is compressed without Vary: Accept-Encoding, so a cache may give it to clients that cannot unpack it."
        )


def _another(browser: Delivered, gzip: Delivered, plain: Delivered) -> Iterator[Result]:
    """A failure where what is packed is not what is sent plain, as when a file was deployed and its .gz was not.

    Pages differ a little from one request to the next: less than half, or more than twice as much, is another.
    """
    for reply in (browser, gzip):
        comparable = reply.encoding == "gzip" and not plain.encoding and reply.whole and plain.whole
        size = unpacked_size(reply) if comparable else None
        if size is not None and size < 2**20 and not len(plain.body) <= 2 * size <= 4 * len(plain.body):
            yield failed(
                f"{reply.where} unpacks from gzip to {size:,} bytes and has {len(plain.body):,} uncompressed: another content.",
                reason=Reason.CONTRADICTED,
            )
            return


def _unshrunk(browser: Delivered, gzip: Delivered, plain: Delivered) -> Iterator[Result]:
    """A failure where what is sent as compressed is no smaller than what is sent as it is."""
    for reply in (browser, gzip):
        measured = reply.encoding and reply.whole and plain.whole and not plain.encoding
        if measured and len(reply.body) > _MOST_OF_PLAIN * len(plain.body):
            yield failed(
                f"{reply.where} is sent as {reply.encoding}, but its {len(reply.body):,} bytes are no fewer than uncompressed "
                f"({len(plain.body):,}).",
                reason=Reason.MISCONFIGURED,
            )
            return


def judge_versions(
    where: str,
    chosen: Mapping[str, str | None],
    reply: Delivered | None,
    http3: Http3 | None,
    advertised: bool,
    wanted: bool,
) -> Result:
    """Whether browsers get HTTP/2 or HTTP/3.

    `chosen` is the protocol that each address negotiates, `reply` what a request by HTTP/2 was answered, `http3` what became of one
    by HTTP/3 (None where it was not tried), `advertised` whether Alt-Svc names it, `wanted` whether the configuration demands it.
    """
    without = sorted(address for address, protocol in chosen.items() if protocol != "h2")
    if reply is not None and _refused(reply.status) and not wanted:
        return unknown(f"{where} answered {reply.status}, so by which version it serves pages was not observed.")
    by_2 = bool(chosen) and not without and reply is not None and reply.version == "HTTP/2"
    by_3 = http3 is not None and http3.status is not None and not _refused(http3.status)
    spoken = [name for name, speaks in (("HTTP/2", by_2), ("HTTP/3", by_3)) if speaks]

    def problems() -> Iterator[Result]:
        if wanted and not by_3:
            why = f": {http3.problem or f'it answered {http3.status}'}" if http3 else ""
            yield failed(f"{where} does not answer by HTTP/3{why}.", reason=Reason.UNMET)
        if not spoken:
            if without and len(without) < len(chosen):
                yield failed(f"{where} speaks HTTP/1.1 alone at {listed(without)}.", reason=Reason.MISCONFIGURED)
            else:
                yield failed(f"{where} speaks HTTP/1.1 alone (wanted HTTP/2 or HTTP/3).", reason=Reason.MISCONFIGURED)
        elif without and by_3:
            yield warning(f"{where} speaks HTTP/3, but HTTP/1.1 alone over TCP at {listed(without)}.")
        if advertised and not wanted and http3 is not None and not by_3:
            yield warning(
                f"{where} advertises HTTP/3 (Alt-Svc), but it was not answered: {http3.problem or f'status {http3.status}'}."
            )

    claimed = "; HTTP/3 is advertised, but was not requested" if advertised and http3 is None else ""
    return verdict(problems(), ok(f"{where} answers by {listed(spoken or ['nothing'])}{claimed}."))


def _refused(status: int) -> bool:
    """Whether a status comes from what is in front of the site, or says that the site is not served here."""
    return status == _MISDIRECTED or status >= _SERVER_ERROR


def judge_keep_alive(first: Delivered, second: Delivered) -> Result:
    """Whether a second request travels on the connection of the first."""
    where = first.where
    if first.port is not None and first.port == second.port:
        return ok(f"{where} keeps its connection for the next request.")
    if (status := max(first.status, second.status)) >= _ERROR:
        return unknown(
            f"{where} answered {status}, after which connections are not kept; name a page that answers 200."
        )
    says = "close" in first.headers.get("connection", "").lower()
    how = " (it answers Connection: close)" if says else ""
    return failed(f"{where} ends the connection after one request{how}.", reason=Reason.MISCONFIGURED)
