"""What replies report on how content is delivered."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "BROWSER",
    "MIN_COMPRESSED",
    "Delivered",
    "Http3",
    "cache_status",
    "compressible",
    "unpacked_size",
    "unpacks",
]

#: What browsers say they can unpack.
BROWSER = "gzip, deflate, br, zstd"
#: Smaller bodies are left alone by servers, and rightly: they fit into one packet.
MIN_COMPRESSED = 2048

#: So much of an unpacked body shows that it can be unpacked.
_MAX_UNPACKED = 2**20

#: What a frame of zstd begins with (RFC 8878), or one to be skipped.
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + low, 0x2A, 0x4D, 0x18]) for low in range(16)))

_COMPRESSIBLE = re.compile(
    r"text/|application/(.+\+|x-)?(json|ndjson|xml|javascript|ecmascript|manifest|wasm)|image/svg", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One reply as it came over the wire: `body` is not unpacked, and may be cut off. `port` is the local one."""

    where: str
    status: int
    headers: Mapping[str, str]
    version: str
    body: bytes
    whole: bool
    port: int | None

    @property
    def encoding(self) -> str:
        """How its body is packed; empty where it is not."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return "" if encoding == "identity" else encoding

    @property
    def varies(self) -> set[str]:
        """The request headers that it says it depends on, in lower case."""
        return {name.strip().lower() for name in self.headers.get("vary", "").split(",") if name.strip()}


@dataclass(frozen=True, slots=True)
class Http3:
    """What became of a request by HTTP/3: its status, or why there was none."""

    status: int | None
    problem: str = ""


def compressible(reply: Delivered) -> bool:
    """Whether a body of its kind becomes smaller: text does, images and archives are packed already."""
    return bool(_COMPRESSIBLE.match(reply.headers.get("content-type", "")))


def unpacks(reply: Delivered) -> bool:
    """Whether a compressed body may be what it claims to be.

    gzip and deflate are unpacked, to the end where all of it was read and is not huge; of zstd the first bytes are known, of
    others (br) only that there has to be something.
    """
    match reply.encoding:
        case "gzip":
            return unpacked_size(reply) is not None
        case "deflate":
            return any(_unpacked(reply, wbits) is not None for wbits in (zlib.MAX_WBITS, -zlib.MAX_WBITS))
        case "zstd":
            return reply.body.startswith(_ZSTD)
        case _:
            return bool(reply.body)


def unpacked_size(reply: Delivered) -> int | None:
    """How many bytes a body of gzip unpacks to, a mebibyte at most; None where it is no gzip or ends early."""
    return _unpacked(reply, zlib.MAX_WBITS | 16)


def _unpacked(reply: Delivered, wbits: int) -> int | None:
    unpacker = zlib.decompressobj(wbits=wbits)
    try:
        size = len(unpacker.decompress(reply.body, _MAX_UNPACKED))
    except zlib.error:
        return None
    return size if unpacker.eof or not reply.whole or size >= _MAX_UNPACKED else None


#: Headers by which shared caches say whether they had a reply: a hit, or not.
_STATUS_HEADERS = (
    "x-cache",
    "cf-cache-status",
    "x-vercel-cache",
    "x-cache-status",
    "x-proxy-cache",
    "cdn-cache",
    "akamai-cache-status",
    "x-77-cache",
    "x-sucuri-cache",
)
_CDN_HEADERS = (
    "cf-ray",
    "x-amz-cf-id",
    "x-served-by",
    "x-vercel-id",
    "x-azure-ref",
    "x-fastly-request-id",
    "akamai-grn",
    "x-varnish",
)
#: `TCP_HIT`, `RefreshHit from cloudfront`, but neither Varnish's `hit-for-pass` nor `NOHIT`.
_HIT = re.compile(
    r"(?<!no)(?<!no[-_ ])hit(?![a-z]|[-_ ]for)|\b(?:stale|revalidated|updating|prerender)\b", re.IGNORECASE
)
_TIMING = re.compile(r"\bcdn-cache\s*;\s*desc=\"?([\w-]+)", re.IGNORECASE)


def cache_status(headers: Mapping[str, str]) -> bool | None:
    """Whether a shared cache served a reply: True where it says so, False where one was asked and did not, None without a sign.

    Cache-Status is RFC 9211's; a Varnish hit has the ids of two requests in X-Varnish, and an Age that may still be 0.
    """
    age = headers.get("age", "").strip()
    signs = [bool(_HIT.search(headers[name])) for name in _STATUS_HEADERS if name in headers]
    if "cache-status" in headers:
        signs.append(bool(re.search(r";\s*hit\b", headers["cache-status"], re.IGNORECASE)))
    if timed := _TIMING.search(headers.get("server-timing", "")):
        signs.append(bool(_HIT.search(timed[1])))
    if "x-varnish" in headers:
        signs.append(len(headers["x-varnish"].split()) > 1)
    if age.isdigit():
        signs.append(int(age) > 0)
    if any(signs):
        return True
    if signs or "via" in headers or any(name in headers for name in _CDN_HEADERS):
        return False
    return None
