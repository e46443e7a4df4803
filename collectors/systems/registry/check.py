"""Whether images that must be at hand can still be pulled: asked by registries, decided by the judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from collectors.systems.registry.client import Registry, RegistrySettings
from collectors.systems.registry.judge import pull_problems
from collectors.systems.registry.model import Reference, read_reference
from exporter.verdict import ProbeError, Reason, Result, unobserved

__all__ = ["Known", "Nodes", "pulled"]

_MOST_MANIFESTS = 512


@dataclass(frozen=True, slots=True)
class Nodes:
    """What nodes show: the platforms that they are of, and the names under which each knows each of its images."""

    platforms: frozenset[str] = frozenset()
    images: Sequence[Collection[str]] = ()

    def digests(self, reference: Reference) -> set[str]:
        """The digests under which nodes pulled this tag."""
        found: set[str] = set()
        for names in self.images:
            read = [known for name in names if (known := _read(name)) is not None]
            if any((each.host, each.repository, each.tag) == _key(reference) for each in read if not each.digest):
                found |= {each.digest for each in read if each.digest and each.repository == reference.repository}
        return found


@dataclass(slots=True)
class Known:
    """What outlives a run: manifests, which never change, and when all layers of an image were last there."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    whole: dict[tuple[str, str], float] = field(default_factory=dict)


async def pulled(
    wanted: Mapping[str, Iterable[str]],
    registries: Iterable[RegistrySettings],
    nodes: Nodes,
    known: Known,
    every: timedelta,
) -> list[Result]:
    """What keeps users of images (`Deployment shop/web`) from pulling them.

    Where all layers were there, they are requested again after `every`.
    """
    while len(known.manifests) > _MOST_MANIFESTS:
        known.manifests.pop(next(iter(known.manifests)))
    async with _open(registries) as asked:
        judged = [
            _pulled(user, image, asked, nodes, known, every)
            for user, images in wanted.items()
            for image in dict.fromkeys(images)
        ]
        return [problem for problems in await asyncio.gather(*judged) for problem in problems]


async def _pulled(
    user: str, image: str, registries: Mapping[str, Registry], nodes: Nodes, known: Known, every: timedelta
) -> list[Result]:
    try:
        reference = read_reference(image)
        if (registry := registries.get(reference.host)) is None:
            raise ProbeError(
                f"Image {image} of {user} is in registry {reference.host}, which `registries` does not name, so it was not "
                "requested.",
                Reason.NOT_CONFIGURED,
            )
        key, now = (image, ",".join(sorted(nodes.platforms))), time.monotonic()
        since = known.whole.get(key)
        layers = since is None or now - since >= every.total_seconds()
        stored = await registry.stored(image, reference, nodes.platforms, known.manifests, layers=layers)
    except ProbeError as error:
        return [unobserved(error)]
    problems = list(
        pull_problems(user, stored, nodes.platforms, nodes.digests(reference), by_digest=bool(reference.digest))
    )
    if any(not problem.status.is_ok for problem in problems):
        known.whole.pop(key, None)
    elif layers:
        known.whole[key] = now
    return problems


@asynccontextmanager
async def _open(settings: Iterable[RegistrySettings]) -> AsyncIterator[dict[str, Registry]]:
    async with AsyncExitStack() as stack:
        found: dict[str, Registry] = {}
        for each in settings:
            found[each.name] = registry = Registry(each)
            stack.push_async_callback(registry.close)
        yield found


def _key(reference: Reference) -> tuple[str, str, str]:
    return reference.host, reference.repository, reference.tag


def _read(name: str) -> Reference | None:
    """A name that a node gives an image; None for `<none>` and the like."""
    try:
        return read_reference(name)
    except ProbeError:
        return None
