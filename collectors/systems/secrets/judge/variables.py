"""Whether workloads have the environment variables that they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.workloads import ConfigMap, Container, Setting, Source, Workload
from exporter.verdict import Reason, Result, failed, ok, unknown
from exporter.words import counted, listed

__all__ = ["all_set", "reference_problems", "variable_problems"]


def all_set(required: Mapping[str, Sequence[str]]) -> Result:
    """The verdict when there are no problems."""
    names = sum(map(len, required.values()))
    workloads = len({tuple(path.split("/")[:2]) for path in required})
    return ok(
        f"{counted(names, 'required variable')} of {counted(workloads, 'workload')} {'is' if names == 1 else 'are'} set, "
        "in the template and in every running pod.",
        required_variables=names,
    )


def variable_problems(
    parts: Sequence[Workload],
    maps: Sequence[ConfigMap],
    stores: Stores,
    required: Mapping[str, Sequence[str]],
) -> Iterator[Result]:
    """Required variables that are absent, empty or not known to be set, in a template or in a pod that runs.

    A variable that only the template has is not in the pods that run yet, and one that only they have is gone after a restart.
    """
    known = {(one.namespace, one.name): one for one in maps}
    for path, names in required.items():
        yield from _required_problems(path, names, parts, known, stores)


def reference_problems(workloads: Sequence[Workload], maps: Sequence[ConfigMap]) -> Iterator[Result]:
    """Containers that cannot start, and references to nothing."""
    known = {(one.namespace, one.name): one for one in maps}
    for workload in workloads:
        for name in workload.refused:
            yield failed(
                f"Container {name} of {workload.path} cannot start: a Secret, a ConfigMap or a key of one that it refers "
                "to does not exist "
                "(CreateContainerConfigError).",
                reason=Reason.MISSING,
            )
        for container in workload.containers:
            yield from _reference_problems(workload, container, known)


def _reference_problems(
    workload: Workload, container: Container, maps: Mapping[tuple[str, str], ConfigMap]
) -> Iterator[Result]:
    for setting in container.settings:
        if setting.unset:
            yield failed(
                f"{setting.name} of container {container.name} of {workload.path} refers to {listed(setting.unset)}, which "
                "the container does "
                "not set before it.",
                reason=Reason.MISCONFIGURED,
            )
        source = setting.source
        if source and source.kind == "ConfigMap" and not source.optional and not _has(maps, workload.namespace, source):
            yield failed(
                f"{setting.name} of container {container.name} of {workload.path} refers to key {source.key} of ConfigMap "
                f"{workload.namespace}/{source.name}, which does not exist.",
                reason=Reason.MISSING,
            )
    for one in container.environments:
        if (
            one.source.kind == "ConfigMap"
            and not one.source.optional
            and (workload.namespace, one.source.name) not in maps
        ):
            yield failed(
                f"Container {container.name} of {workload.path} takes its environment from ConfigMap "
                f"{workload.namespace}/{one.source.name}, "
                "which does not exist.",
                reason=Reason.MISSING,
            )


def _has(maps: Mapping[tuple[str, str], ConfigMap], namespace: str, source: Source) -> bool:
    found = maps.get((namespace, source.name))
    return found is not None and source.key in found.keys


def _required_problems(
    path: str,
    names: Sequence[str],
    workloads: Sequence[Workload],
    maps: Mapping[tuple[str, str], ConfigMap],
    stores: Stores,
) -> Iterator[Result]:
    namespace, name, *container_name = path.split("/")
    found = [one for one in workloads if (one.namespace, one.name) == (namespace, name)]
    if not found:
        yield failed(
            f"Workload {namespace}/{name}, of which `required` names variables, does not exist.", reason=Reason.MISSING
        )
    for workload in found:
        containers = [
            one for one in workload.containers if (one.name in container_name if container_name else one.main)
        ]
        if not containers:
            yield failed(f"{workload.path} has no container {container_name[0]}.", reason=Reason.MISSING)
            continue
        for wanted in names:
            verdicts = [_is_set(wanted, workload, container, maps, stores) for container in containers]
            if not any(verdict is None for verdict in verdicts):
                yield next(
                    (one for one in verdicts if one and not one.status.is_ok and one.reason is not Reason.MISSING), None
                ) or _first(verdicts)


def _first(verdicts: Sequence[Result | None]) -> Result:
    return next(one for one in verdicts if one is not None)


def _is_set(
    wanted: str, workload: Workload, container: Container, maps: Mapping[tuple[str, str], ConfigMap], stores: Stores
) -> Result | None:
    """None where a container has the variable; else why it is not known to have it."""
    settings = [one for one in container.settings if one.name == wanted]
    if settings:
        return next(filter(None, (_is_given(one, workload, container, maps, stores) for one in settings)), None)
    unread = []
    for environment in reversed(container.environments):
        if not wanted.startswith(environment.prefix):
            continue
        source, key = environment.source, wanted.removeprefix(environment.prefix)
        if source.kind == "ConfigMap":
            found = maps.get((workload.namespace, source.name))
            if found and key in found.keys:
                return _empty(wanted, workload) if key in found.empty else None
        elif key in stores.keys(workload.namespace, source.name):
            return _unproven(wanted, workload, container)
        else:
            unread.append(source.name)
    if unread:
        return unknown(
            f"{wanted} of {workload.path} may come from Secret {workload.namespace}/{listed(unread)}, whose keys are "
            "not read: only an "
            "ExternalSecret or SealedSecret that lists its keys shows them.",
            reason=Reason.NOT_VERIFIED,
        )
    return failed(f"{wanted} is not set in {workload.path}.", reason=Reason.MISSING)


def _is_given(
    setting: Setting,
    workload: Workload,
    container: Container,
    maps: Mapping[tuple[str, str], ConfigMap],
    stores: Stores,
) -> Result | None:
    source = setting.source
    if source is None:
        return _empty(setting.name, workload) if setting.empty else None
    if source.kind == "ConfigMap":
        found = maps.get((workload.namespace, source.name))
        if found is None or source.key not in found.keys:
            return failed(
                f"{setting.name} is not set in {workload.path}: ConfigMap {source.name} has no key {source.key}.",
                reason=Reason.MISSING,
            )
        return _empty(setting.name, workload) if source.key in found.empty else None
    if source.kind == "Secret":
        if source.optional and source.key not in stores.keys(workload.namespace, source.name):
            return unknown(
                f"{setting.name} of {workload.path} comes from an optional key of Secret {source.name}, so that a running "
                "container does "
                "not prove that it is set.",
                reason=Reason.NOT_VERIFIED,
            )
        return _unproven(setting.name, workload, container)
    return None


def _unproven(name: str, workload: Workload, container: Container) -> Result | None:
    """None where a running container proves that what it refers to exists."""
    if container.name in workload.running:
        return None
    return unknown(
        f"{name} of {workload.path} comes from a Secret, and no running container proves that this exists.",
        reason=Reason.PENDING,
    )


def _empty(name: str, workload: Workload) -> Result:
    return failed(f"{name} is empty in {workload.path}.", reason=Reason.MISCONFIGURED)
