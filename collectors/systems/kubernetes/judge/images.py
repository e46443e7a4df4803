"""Whether what runs is what was scanned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from collectors.systems.kubernetes.judge.workloads import PodSelection
from collectors.systems.kubernetes.model.images import Running
from collectors.systems.kubernetes.model.selectors import matches, parse_selector
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed

__all__ = ["RunningImage", "image_problems", "images_of"]


class RunningImage(NamedTuple):
    """An image as pods name it, and the digest that their nodes pulled; empty where they have reported none."""

    name: str
    digest: str


def images_of(selection: PodSelection, pods: Sequence[Running]) -> dict[RunningImage, list[str]]:
    """The images that the selected pods run, each with the names of the pods."""
    selector = parse_selector(selection.selector)
    found: dict[RunningImage, list[str]] = {}
    for pod in pods:
        if pod.metadata.namespace == selection.namespace and matches(selector, pod.metadata.labels):
            for container in pod.containers:
                found.setdefault(RunningImage(container.image, container.digest), []).append(pod.metadata.name)
    return found


def image_problems(
    selection: PodSelection, running: Mapping[RunningImage, Sequence[str]], scanned: Collection[str]
) -> Iterator[Result]:
    """Which images run that were not scanned. `scanned` are the digests that valid scans are about."""
    if not running:
        yield unknown(f"No pod of {selection} runs, so no image was compared with the scans.", reason=Reason.MISSING)
    for image, pods in sorted(running.items()):
        where = f"(pod {listed(sorted(set(pods)), 2)} in {selection.namespace})"
        if not image.digest:
            yield unknown(
                f"The digest of image {image.name} is not known {where}: it was not pulled.", reason=Reason.PENDING
            )
        elif image.digest not in scanned:
            yield failed(
                f"Image {image.name} runs as {image.digest}, which no valid scan is about {where}.",
                reason=Reason.MISSING,
            )
