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
    "may_evict",
    "may_get",
    "may_list",
    "may_read_logs",
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
    objects; `part` is the subresource that is meant in place of the object; `urls` are what the API server says of itself. What is
    `only_as_configured` is no part of a role that is enough for every line: a configuration asks for it, or nobody does.
    """

    __slots__ = ("kinds", "names", "namespace", "only_as_configured", "option", "part", "urls", "verb")

    client = "kubernetes"
    """The shared client that asks for it."""
    verb: str
    kinds: tuple[Kind[Any], ...]
    option: str
    namespace: str
    names: tuple[str, ...]
    urls: tuple[str, ...]
    part: str
    only_as_configured: bool

    def __new__(
        cls,
        verb: str,
        kinds: Sequence[Kind[Any]] = (),
        *,
        option: str = "",
        namespace: str = "",
        names: Sequence[str] = (),
        urls: Sequence[str] = (),
        part: str = "",
        only_as_configured: bool = False,
    ) -> Self:
        """Word a right; see the class."""
        condition = f"with `{option}`: " if option else ""
        place = f" {' and '.join(names)} in {namespace}" if namespace else ""
        meant = [f"{kind}/{part}" if part else str(kind) for kind in kinds]
        right = super().__new__(cls, f"{condition}{verb} {', '.join((*meant, *urls))}{place}")
        right.verb, right.kinds, right.option = verb, tuple(kinds), option
        right.namespace, right.names, right.urls = namespace, tuple(names), tuple(urls)
        right.part, right.only_as_configured = part, only_as_configured
        return right


def may_list(*kinds: Kind[Any], option: str = "") -> Right:
    """The right to list these kinds; with `option`, where that option is set."""
    return Right("list", kinds, option=option)


def may_get(kind: Kind[Any], *names: str, namespace: str, option: str = "") -> Right:
    """The right to read these objects of one namespace."""
    return Right("get", (kind,), names=names, namespace=namespace, option=option)


def may_read_logs(pods: Kind[Any], option: str) -> Right:
    """The right to read the logs of pods, where an option is set. Logs hold what people sent: nobody has it by default."""
    return Right("get", (pods,), option=option, part="log", only_as_configured=True)


def may_evict(pods: Kind[Any], option: str) -> Right:
    """The right to evict pods, where an option is set."""
    return Right("create", (pods,), option=option, part="eviction", only_as_configured=True)


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
                plural = f"{kind.plural}/{right.part}" if right.part else kind.plural
                verbs[namespace, kind.group, right.names][plural] |= wanted
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
