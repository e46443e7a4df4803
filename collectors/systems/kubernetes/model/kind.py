"""What a kind of Kubernetes object is: where the API server has it, how it is decoded, and what a snapshot keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

__all__ = ["Kind", "Page"]

T = TypeVar("T")

_SENSITIVE = frozenset({"secrets"})
"""What the core group has and the exporter never reads. Subresources (exec, proxy, …) are no kinds at all."""


class _ListMetadata(msgspec.Struct, frozen=True, gc=False):
    version: str = msgspec.field(default="", name="resourceVersion")
    more: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One page of a list, as the API server sends it."""

    items: list[T] | None
    metadata: _ListMetadata = _ListMetadata()


@dataclass(frozen=True, eq=False)
class Kind(Generic[T]):
    """A kind of object: where it is, and what of it is kept.

    `item` is what one object is decoded into (fields it does not name are skipped). Pages of those go through `compact`, made again
    for each listing, which returns what is kept of each, in their order: equal parts shared, what nobody judges dropped. A snapshot
    holds what `gathered` makes of them: those together that are the same. Those that are `remembered` a watch keeps for a while
    after they were deleted.
    """

    plural: str
    item: type[Any]
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    compact: Callable[[], Callable[[Sequence[Any]], Iterable[Any]]] | None = None
    gathered: Callable[[Iterable[Any]], list[T]] = list
    remembered: Callable[[Any], bool] | None = None
    pages: msgspec.json.Decoder[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if "/" in self.plural or (self.group == "" and self.plural in _SENSITIVE):
            raise ValueError(f"{self.plural} is never read")
        object.__setattr__(self, "pages", msgspec.json.Decoder(Page[self.item]))  # type: ignore[name-defined]

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Where the API server has the objects of a namespace (None: of all), or one of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [self.plural, name] if name else [self.plural]
        return "/" + "/".join(quote(part, safe="") for part in parts)
