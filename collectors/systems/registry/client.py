"""Asks registries for images as a node would, up to the last byte of each layer. Nothing is pulled, nothing is written."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlsplit

import msgspec
from pydantic import Field, field_validator

from collectors.shared.decoding import UNDECODABLE, decode
from collectors.systems.registry.model import (
    ACCEPT,
    CONFIGURATIONS,
    Descriptor,
    Document,
    Reference,
    Stored,
    digest_of,
    platform_of_configuration,
    read_manifest,
)
from exporter.http import Http, HttpSettings, Oversized, Unanswered
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason

__all__ = ["Registry", "RegistrySettings"]

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?")
_CHALLENGE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")
_REDIRECTS = (301, 302, 303, 307, 308)
_AT_A_TIME = 4
_MAX_MANIFEST = 4 * 2**20
_MAX_CONFIGURATION = 8 * 2**20
_TOKEN_SECONDS = 60  # how long a token is good for that does not say it


class RegistrySettings(HttpSettings):
    """A registry, with credentials of its own: the cluster's pull secrets are never read. A `bearer_token` is sent as it is."""

    host: str = Field(
        "",
        description="Host as names of images have it, such as docker.io or registry.example.com:5000; that of `url` by default.",
    )
    storage_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that the registry redirects to for layers, such as production.cloudfront.docker.com, which may be "
        "requested for one byte of each, over HTTPS and without credentials. A redirect to another host is not followed.",
    )

    @field_validator("host")
    @classmethod
    def _as_in_names(cls, host: str) -> str:
        if host and not _HOST.fullmatch(host):
            raise ValueError("expected a host as names of images have it, such as registry.example.com:5000")
        return host

    @property
    def name(self) -> str:
        """The host by which names of images refer to it."""
        return self.host or urlsplit(self.url).netloc


class _Fault(msgspec.Struct):
    code: str = ""


class _Faults(msgspec.Struct):
    errors: list[_Fault]


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: int | None = None


class Registry:
    """One registry, asked with the credentials of its settings. Everything raises ProbeError where it was not observed."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        bare = {"username": None, "password": None, "bearer_token": None}  # they go where the registry's challenge says
        self._http = Http(settings.model_copy(update=bare), connections=_AT_A_TIME)
        self._turn = asyncio.Semaphore(_AT_A_TIME)
        self._tokens: dict[str, tuple[str, float]] = {}
        self._others: dict[str, Http] = {}

    async def close(self) -> None:
        """Close the connections."""
        for http in (self._http, *self._others.values()):
            await http.close()

    async def stored(
        self, image: str, reference: Reference, platforms: Collection[str], known: dict[str, bytes], *, layers: bool
    ) -> Stored:
        """What the registry has of an image, for those of the platforms that it is for; with `layers` each of its parts too.

        `known` are manifests by their digests, which never change; it is filled. Raises ProbeError where it was not observed.
        """
        name, repository = self.settings.name, reference.repository
        top = await self._manifest(repository, reference.version, known)
        if top is None:
            return Stored(image, name, None)
        missing: list[str] = []
        damaged: list[str] = []
        if reference.digest and top.digest != reference.digest:
            return Stored(image, name, reference.digest, damaged=("its manifest has another digest",))
        images, unread = [top], ""
        if top.manifest.manifests is None:
            found, unread = await self._platform(repository, top)
        else:
            found = frozenset(each.runs_on for each in top.manifest.manifests if each.runs_on)
            unread = "" if found else "its index names none"
            images = []
            for each in top.manifest.manifests:
                if not each.runs_on or (platforms and each.runs_on not in platforms):
                    continue
                if (document := await self._manifest(repository, each.digest, known)) is None:
                    missing.append(f"its manifest for {each.runs_on}")
                elif document.digest != each.digest:
                    damaged.append(f"its manifest for {each.runs_on} has another digest")
                elif document.manifest.config is None:
                    raise ProbeError(f"{image} is an index of indexes, which was not checked.", Reason.MALFORMED)
                else:
                    images.append(document)
        if layers:
            parts = {part.digest: part for each in images for part in each.manifest.parts}
            for lost, bad in await asyncio.gather(*(self._part(repository, part) for part in parts.values())):
                missing += lost
                damaged += bad
        return Stored(image, name, top.digest, found, unread, tuple(missing), tuple(damaged))

    async def _manifest(self, repository: str, version: str, known: dict[str, bytes]) -> Document | None:
        """A manifest by tag or digest, None where the registry has none. Its body is read once: some registries count that."""
        path = f"/v2/{repository}/manifests/{version}"
        head = await self._ask("HEAD", path, repository)
        digest = head.headers.get("docker-content-digest", "")
        if head.status == 200 and digest in known:
            return read_manifest(known[digest], f"{repository}:{version}")
        reply = await self._ask("GET", path, repository)
        if reply.status == 404 and await self._is_absent(reply, repository):
            return None
        if reply.status != 200:
            raise _refused(reply)
        document = read_manifest(reply.body, reply.where)
        known[document.digest] = reply.body
        return document

    async def _is_absent(self, reply: Reply, repository: str) -> bool:
        """Whether a 404 shows that a manifest is not there. Raises ProbeError where the repository may only be hidden from us."""
        try:
            codes = {fault.code for fault in msgspec.json.decode(reply.body, type=_Faults).errors}
        except UNDECODABLE:
            raise ProbeError(f"{reply.where} answered 404, but not as a registry does.", Reason.MALFORMED) from None
        if "MANIFEST_UNKNOWN" in codes:
            return True
        tags = await self._ask("GET", f"/v2/{repository}/tags/list?n=1", repository)
        if tags.status == 200:
            return True
        raise ProbeError(
            f"Registry {self.settings.name} shows no repository {repository} to these credentials: it does not exist, or may not "
            "be seen.",
            Reason.DENIED,
        )

    async def _platform(self, repository: str, document: Document) -> tuple[frozenset[str], str]:
        """The platform of a single image by its configuration; else why it is not known."""
        configuration = document.manifest.config
        assert configuration is not None
        try:
            reply = await self._ask(
                "GET",
                f"/v2/{repository}/blobs/{configuration.digest}",
                repository,
                limit=_MAX_CONFIGURATION,
            )
        except Unanswered:
            return frozenset(), "its configuration breaks off"
        if reply.status in _REDIRECTS:
            host = urlsplit(str(reply.headers.get("location", ""))).hostname
            return frozenset(), f"its configuration is on {host}, which storage_hosts does not name"
        if reply.status == 404:
            return frozenset(), "its configuration is missing"
        if reply.status != 200:
            raise _refused(reply)
        if digest_of(reply.body) != configuration.digest:
            return frozenset(), "its configuration has another digest"
        platform = platform_of_configuration(reply.body, reply.where)
        return (frozenset({platform}), "") if platform else (frozenset(), "it states none")

    async def _part(self, repository: str, part: Descriptor) -> tuple[list[str], list[str]]:
        """What is missing and what is damaged of a layer or configuration: its last byte is requested, and with it its size.

        A registry that remembers what it once had answers HEAD, and the size, of what its storage has lost.
        """
        what = f"{'configuration' if part.media_type in CONFIGURATIONS else 'layer'} {part.digest[:19]}…"
        path = f"/v2/{repository}/blobs/{part.digest}"
        last = {"Range": f"bytes={max(0, part.size - 1)}-", "Accept-Encoding": "identity"}
        for _ in range(2):
            try:
                reply = await self._ask(
                    "GET",
                    path,
                    repository,
                    headers=last,
                    limit=_MAX_CONFIGURATION,
                )
            except Oversized:
                return [], []  # the range was not honoured, and there is more than is read
            except Unanswered as error:
                if error.reason is Reason.TIMEOUT:
                    raise
                continue
            if reply.status in _REDIRECTS:
                return [], []  # the registry looked for it before it named the place
            if reply.status == 404:
                return [what], []
            if reply.status == 416:
                return [], [f"{what} is cut off (expected {part.size} bytes)"]
            if reply.status not in (200, 206):
                raise _refused(reply)
            total = _TOTAL.fullmatch(reply.headers.get("content-range", ""))
            size = int(total[1]) if total else len(reply.body) if reply.status == 200 else part.size
            if size != part.size:
                return [], [f"{what} has {size} bytes (expected {part.size})"]
            return [], []
        return [], [f"{what} breaks off"]

    async def _ask(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int = _MAX_MANIFEST,
    ) -> Reply:
        """One request, with a token where the registry wants one, and at one of `storage_hosts` where it redirects to that."""
        sent = {"Accept": ACCEPT if "/manifests/" in path else "*/*", **(headers or {})}
        async with self._turn:
            reply = await self._http.request(
                method, path, headers=sent | self._login(repository), expect=None, max_bytes=limit
            )
            if reply.status == 401 and (login := await self._logged_in(reply, repository)):
                reply = await self._http.request(method, path, headers=sent | login, expect=None, max_bytes=limit)
            if reply.status in _REDIRECTS and (there := self._storage(reply)) is not None:
                http, rest = there
                reply = await http.request(method, rest, headers=headers, expect=None, max_bytes=limit)
        return reply

    def _login(self, repository: str) -> dict[str, str]:
        token, until = self._tokens.get(repository, ("", 0.0))
        return {"Authorization": token} if time.monotonic() < until else {}

    async def _logged_in(self, reply: Reply, repository: str) -> dict[str, str]:
        """The header that answers the challenge of a 401; none where there is nothing to answer it with."""
        scheme, _, rest = reply.headers.get("www-authenticate", "").partition(" ")
        if self.settings.bearer_token is not None:
            token, seconds = f"Bearer {self.settings.bearer_token.get_secret_value()}", float("inf")
        elif scheme.lower() == "basic" and self.settings.username is not None:
            token, seconds = self._basic(), float("inf")
        elif scheme.lower() == "bearer":
            token, seconds = await self._token(dict(_CHALLENGE.findall(rest)), repository)
        else:
            return {}
        self._tokens[repository] = token, time.monotonic() + seconds
        return {"Authorization": token}

    def _basic(self) -> str:
        password = self.settings.password.get_secret_value() if self.settings.password else ""
        return "Basic " + base64.b64encode(f"{self.settings.username}:{password}".encode()).decode()

    async def _token(self, challenge: Mapping[str, str], repository: str) -> tuple[str, float]:
        """A token of the server that the registry names; credentials are sent there over HTTPS, or to the registry's own host."""
        realm = urlsplit(challenge.get("realm", ""))
        own = urlsplit(self.settings.url)
        if realm.scheme not in ("http", "https") or not realm.hostname or realm.username:
            raise ProbeError(f"Registry {self.settings.name} names no address for tokens.", Reason.MALFORMED)
        known = self.settings.username is not None
        if known and realm.scheme != "https" and (own.scheme == "https" or realm.hostname != own.hostname):
            raise ProbeError(
                f"Registry {self.settings.name} wants its credentials sent to {realm.netloc} without TLS, which was not done.",
                Reason.REFUSED,
            )
        http = self._other(f"{realm.scheme}://{realm.netloc}")
        params = dict(parse_qsl(realm.query)) | {"scope": f"repository:{repository}:pull"}
        params |= {"service": challenge["service"]} if challenge.get("service") else {}
        headers = {"Authorization": self._basic()} if known else {}
        reply = await http.request("GET", realm.path, params=params, headers=headers, expect=None)
        if reply.status != 200:
            raise _refused(reply)
        answer = decode(reply, _Token)
        if not (token := answer.token or answer.access_token) or not token.isascii() or not token.isprintable():
            raise ProbeError(f"{reply.where} answered without a token.", Reason.MALFORMED)
        return f"Bearer {token}", max(0, min(answer.expires_in or _TOKEN_SECONDS, 3600) - 10)

    def _storage(self, reply: Reply) -> tuple[Http, str] | None:
        """Where a redirect leads to, if that may be requested: without the registry's credentials."""
        to = urlsplit(str(reply.headers.get("location", "")))
        own = urlsplit(self.settings.url)
        if not to.netloc and to.path:
            to = to._replace(scheme=own.scheme, netloc=own.netloc)
        same = (to.scheme, to.netloc) == (own.scheme, own.netloc)
        if not same and (to.scheme != "https" or to.hostname not in self.settings.storage_hosts):
            return None
        path = f"{to.path}?{to.query}" if to.query else to.path
        return self._other(f"{to.scheme}://{to.netloc}"), path

    def _other(self, url: str) -> Http:
        """Requests to another server that belongs to the registry."""
        if (http := self._others.get(url)) is None:
            settings = self.settings
            own = urlsplit(url).hostname == urlsplit(settings.url).hostname
            tls = settings.tls if own else settings.tls.model_copy(update={"server_name": None})
            http = self._others[url] = Http(
                HttpSettings(url=url, tls=tls, timeout=settings.timeout, max_bytes=settings.max_bytes)
            )
        return http


def _refused(reply: Reply) -> ProbeError:
    """Why nothing was observed: what a registry refuses says nothing of the image."""
    if reply.status in (401, 403):
        return ProbeError(f"{reply.where} answered {reply.status}: the credentials may not pull.", Reason.DENIED)
    if reply.status == 429:
        return ProbeError(f"{reply.where} answered 429: too many requests.", Reason.REFUSED)
    if reply.status in _REDIRECTS:
        return ProbeError(f"{reply.where} redirects to another host, which was not followed.", Reason.REFUSED)
    return ProbeError(f"{reply.where} answered {reply.status} (expected 200).", Reason.REFUSED)
