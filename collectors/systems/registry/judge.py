"""Whether an image can be pulled, and is still the one that ran."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from collectors.systems.registry.model import Stored
from exporter.verdict import Reason, Result, failed, unknown, warning
from exporter.words import listed

__all__ = ["pull_problems"]


def pull_problems(
    user: str, stored: Stored, platforms: Collection[str], pulled: Collection[str], *, by_digest: bool
) -> Iterator[Result]:
    """What keeps `user` (`Deployment shop/web`) from going back to this image.

    `platforms` are those of the nodes, `pulled` the digests under which nodes know the image; `by_digest` says that the name has
    the digest, so that no tag could be moved.
    """
    image = f"image {stored.image}, to which {user} would be rolled back"
    if stored.digest is None:
        yield failed(f"Registry {stored.registry} has no {image}.", reason=Reason.MISSING)
        return
    if stored.missing:
        yield failed(f"Registry {stored.registry} has lost {listed(stored.missing)} of {image}.", reason=Reason.MISSING)
    if stored.damaged:
        yield failed(
            f"Registry {stored.registry} does not have {image}, as it was pushed: {listed(stored.damaged)}.",
            reason=Reason.INVALID,
        )
    if not by_digest and pulled and stored.digest not in pulled:
        yield failed(
            f"The tag of {image}, was moved: it is {stored.digest} now, nodes pulled {listed(sorted(pulled))}.",
            reason=Reason.CONTRADICTED,
        )
    lacking = sorted(set(platforms) - stored.platforms)
    if stored.platforms and lacking:
        said = f"{image[:1].upper()}{image[1:]}, is for {listed(sorted(stored.platforms))}, not for {listed(lacking)} as nodes are."
        if len(lacking) == len(set(platforms)):
            yield failed(said, reason=Reason.MISSING)
        else:
            yield warning(said)
    if not stored.platforms and stored.unread:
        yield unknown(f"The platform of {image}, was not read: {stored.unread}.", reason=Reason.MALFORMED)
    if not by_digest and not pulled:
        yield warning(
            f"{image[:1].upper()}{image[1:]}, is named by a tag, and no node remembers its digest: it may be another build."
        )
