"""References to images, the documents that registries keep of them, and what was found of one image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from collectors.shared.decoding import UNDECODABLE
from exporter.verdict import ProbeError, Reason

__all__ = [
    "ACCEPT",
    "CONFIGURATIONS",
    "Descriptor",
    "Document",
    "Manifest",
    "Reference",
    "Stored",
    "digest_of",
    "platform_of_configuration",
    "read_manifest",
    "read_reference",
]

T = TypeVar("T")

_HUB = "docker.io"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_MOST_PARTS = 256

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_IMAGES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")

CONFIGURATIONS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
"""What manifests call the configuration of an image."""

ACCEPT = ", ".join((*_INDEXES, *_IMAGES))
"""What a container runtime accepts as a manifest."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image in its parts. `tag` counts only where there is no `digest`."""

    host: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def version(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag


def read_reference(image: str) -> Reference:
    """The parts of an image's name as container runtimes read it. Raises ProbeError for what is no such name."""
    name, _, digest = image.partition("@")
    head, slash, rest = name.partition("/")
    has_host = bool(slash) and ("." in head or ":" in head or head == "localhost")
    host, path = (head, rest) if has_host else (_HUB, name)
    repository, colon, tag = path.partition(":")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = _HUB
    if host == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    if (
        not _REPOSITORY.fullmatch(repository)
        or (colon and not _TAG.fullmatch(tag))
        or ("@" in image and not _DIGEST.fullmatch(digest))
    ):
        raise ProbeError(f"{image[:200]} is not the name of an image.", Reason.MALFORMED)
    return Reference(host, repository, tag or ("" if digest else "latest"), digest)


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What a manifest says of one of its parts."""

    digest: str
    size: int
    media_type: str = ""
    platform: _Platform | None = None
    urls: tuple[str, ...] | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is a layer that registries do not keep, as those of Windows' base images."""
        return bool(self.urls) or "nondistributable" in self.media_type or "foreign" in self.media_type

    @property
    def runs_on(self) -> str:
        """The platform of an image in an index, such as linux/arm64; empty for what is no image, such as an attestation."""
        found = self.platform
        return f"{found.os}/{found.architecture}" if found and found.os not in ("", "unknown") else ""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest of one image (`config` and `layers`), or an index of several (`manifests`)."""

    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] | None = None

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """What a node has to pull of an image."""
        own = (self.config,) if self.config else ()
        return (*own, *(layer for layer in self.layers if not layer.is_elsewhere))


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as a registry gave it: its digest, computed, and what it says."""

    digest: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Stored:
    """What a registry has of an image. `digest` is what the name leads to; None where there is nothing by that name.

    `platforms` are those that it is for, empty where that was not read; `unread` says why. `missing` are parts that the registry
    does not have, `damaged` those that it has in another form than the manifest says.
    """

    image: str
    registry: str
    digest: str | None
    platforms: frozenset[str] = frozenset()
    unread: str = ""
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def digest_of(content: bytes) -> str:
    """The digest by which a registry keeps it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_manifest(content: bytes, where: str) -> Document:
    """A manifest or an index. Raises ProbeError for anything else, also for the old schema 1, which runtimes no longer pull."""
    read = _decoded(content, Manifest, f"{where} is no manifest of an image")
    if read.schema_version != 2 or (read.manifests is None and read.config is None):
        raise ProbeError(f"{where} is a manifest of an old or unknown kind, which was not checked.", Reason.MALFORMED)
    found: Iterable[Descriptor] = read.manifests or read.parts
    if len(tuple(found)) > _MOST_PARTS:
        raise ProbeError(f"{where} has more than {_MOST_PARTS} parts, which were not checked.", Reason.LIMIT)
    if bad := [part.digest for part in (*(read.manifests or ()), *read.parts) if not _DIGEST.fullmatch(part.digest)]:
        raise ProbeError(f"{where} names a part by {bad[0][:80]!r}, which is no SHA-256 digest.", Reason.MALFORMED)
    return Document(digest_of(content), read)


class _Configuration(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""


def platform_of_configuration(content: bytes, where: str) -> str:
    """The platform that the configuration of an image states, such as linux/amd64; empty where it states none."""
    read = _decoded(content, _Configuration, f"{where} has no configuration of an image")
    return f"{read.os}/{read.architecture}" if read.os and read.architecture else ""


def _decoded(content: bytes, kind: type[T], problem: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except UNDECODABLE:
        raise ProbeError(f"{problem}.", Reason.MALFORMED) from None
