"""What items may do in a cluster: shown to people as a text, and made into the roles that a configuration needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Self

from collectors.systems.kubernetes.model.kind import Kind
from collectors.systems.kubernetes.model.objects import Named

__all__ = [
    "DISCOVERY",
    "ROLE",
    "SUBJECT_ACCESS_REVIEWS",
    "Right",
    "may_ask",
    "may_get",
    "may_list",
    "roles",
]

ROLE = "checklist-exporter"
"""The name of the roles."""

SUBJECT_ACCESS_REVIEWS: Kind[Any] = Kind("subjectaccessreviews", Named, "authorization.k8s.io", namespaced=False)
"""Never listed: to create one is to ask what another account may do, and leaves nothing behind."""

_API = "rbac.authorization.k8s.io/v1"


class Right(str):
    """A right, as items name it in `needs`: ``with `pods`: list pods, deployments.apps``.

    `option` is the option of the section or target with which it is needed; `names` and `namespace` narrow a right to read single
    objects; `urls` are what the API server says of itself.
    """

    __slots__ = ("kinds", "names", "namespace", "option", "urls", "verb")

    client = "kubernetes"
    """The shared client that asks for it."""
    verb: str
    kinds: tuple[Kind[Any], ...]
    option: str
    namespace: str
    names: tuple[str, ...]
    urls: tuple[str, ...]

    def __new__(
        cls,
        verb: str,
        kinds: Sequence[Kind[Any]] = (),
        *,
        option: str = "",
        namespace: str = "",
        names: Sequence[str] = (),
        urls: Sequence[str] = (),
    ) -> Self:
        """Word a right; see the class."""
        condition = f"with `{option}`: " if option else ""
        place = f" {' and '.join(names)} in {namespace}" if namespace else ""
        right = super().__new__(cls, f"{condition}{verb} {', '.join(map(str, (*kinds, *urls)))}{place}")
        right.verb, right.kinds, right.option = verb, tuple(kinds), option
        right.namespace, right.names, right.urls = namespace, tuple(names), tuple(urls)
        return right


def may_list(*kinds: Kind[Any], option: str = "") -> Right:
    """The right to list these kinds; with `option`, where that option is set."""
    return Right("list", kinds, option=option)


def may_get(kind: Kind[Any], *names: str, namespace: str, option: str = "") -> Right:
    """The right to read these objects of one namespace."""
    return Right("get", (kind,), names=names, namespace=namespace, option=option)


def may_ask(*urls: str) -> Right:
    """The right to ask the API server about itself, which by default everybody has."""
    return Right("get", urls=urls)


DISCOVERY = may_ask("/apis", "/apis/*")
"""What an item needs that looks at kinds which not every cluster has: whether one is there, or in another version."""


def roles(rights: Iterable[Right], namespaces: Sequence[str], *, watch: bool) -> list[dict[str, Any]]:
    """The least roles that give these rights, as manifests: a ClusterRole, and a Role in each namespace that has some of its own.

    With `namespaces`, what is in a namespace is granted there and nowhere else.
    """
    verbs: dict[tuple[str, str, tuple[str, ...]], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    urls: set[str] = set()
    for right in rights:
        urls.update(right.urls)
        wanted = {right.verb, "watch"} if watch and right.verb == "list" else {right.verb}
        for kind in right.kinds:
            places = (right.namespace,) if right.namespace else tuple(namespaces) if kind.namespaced else ()
            for namespace in places or ("",):
                verbs[namespace, kind.group, right.names][kind.plural] |= wanted
    granted: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (namespace, group, names), plurals in sorted(verbs.items()):
        alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for plural, allowed in sorted(plurals.items()):
            alike[tuple(sorted(allowed))].append(plural)
        for allowed_verbs, resources in alike.items():
            rule: dict[str, Any] = {"apiGroups": [group], "resources": resources}
            granted[namespace].append(
                rule | ({"resourceNames": [*names]} if names else {}) | {"verbs": [*allowed_verbs]}
            )
    if urls:
        granted[""].append({"nonResourceURLs": sorted(urls), "verbs": ["get"]})
    return [_role(namespace, rules) for namespace, rules in sorted(granted.items())]


def _role(namespace: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    kind, place = ("Role", {"namespace": namespace}) if namespace else ("ClusterRole", {})
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": ROLE, **place}, "rules": rules}
