"""Whether workloads have the environment variables that they need."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.workloads import ConfigMap, Container, Setting, Source, Workload, digest
from exporter.verdict import Reason, Result, failed, ok, unknown
from exporter.words import counted, listed

__all__ = ["all_set", "reference_problems", "value_problems", "variable_problems"]


def all_set(required: Mapping[str, Collection[str]], expected: Mapping[str, Collection[str]] | None = None) -> Result:
    """The verdict when there are no problems with variables that are `required`, and those of them with an `expected` value."""
    names = sum(map(len, required.values()))
    workloads = len({tuple(path.split("/")[:2]) for path in required})
    values = sum(map(len, (expected or {}).values()))
    return ok(
        f"{counted(names, 'required variable')} of {counted(workloads, 'workload')} {'is' if names == 1 else 'are'} set"
        f"{f', {values} of them to the expected value' if values else ''}, in the template and in every running pod.",
        required_variables=names,
    )


def variable_problems(
    parts: Sequence[Workload],
    maps: Sequence[ConfigMap],
    stores: Stores,
    required: Mapping[str, Collection[str]],
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
    names: Collection[str],
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
        containers = _meant(workload, container_name)
        if not containers:
            yield failed(f"{workload.path} has no container {container_name[0]}.", reason=Reason.MISSING)
            continue
        for wanted in names:
            verdicts = [_is_set(wanted, workload, container, maps, stores) for container in containers]
            if not any(verdict is None for verdict in verdicts):
                yield next(
                    (one for one in verdicts if one and not one.status.is_ok and one.reason is not Reason.MISSING), None
                ) or _first(verdicts)


def _meant(workload: Workload, named: Sequence[str]) -> list[Container]:
    """The containers that are named, else the main ones."""
    return [one for one in workload.containers if (one.name in named if named else one.main)]


def value_problems(
    parts: Sequence[Workload],
    maps: Sequence[ConfigMap],
    stores: Stores,
    expected: Mapping[str, Mapping[str, str]],
) -> Iterator[Result]:
    """Variables that are set to another value than is expected, and those whose value is not known.

    Several containers may set a variable, each to its own value. What is not set at all is `variable_problems`' to report.
    """
    known = {(one.namespace, one.name): one for one in maps}
    for path, values in expected.items():
        namespace, name, *container_name = path.split("/")
        for workload in (one for one in parts if (one.namespace, one.name) == (namespace, name)):
            for container in _meant(workload, container_name):
                for variable, value in values.items():
                    if (found := _value_problem(variable, value, workload, container, known, stores)) is not None:
                        yield found


def _value_problem(
    variable: str,
    value: str,
    workload: Workload,
    container: Container,
    maps: Mapping[tuple[str, str], ConfigMap],
    stores: Stores,
) -> Result | None:
    of = f"{variable} of container {container.name} of {workload.path}"
    setting = next((one for one in container.settings if one.name == variable), None)
    source = setting.source if setting else None
    if setting is not None and source is None:
        if not setting.digest:
            return unknown(
                f"{of} is composed of other variables, so its value was not checked.", reason=Reason.NOT_VERIFIED
            )
        return None if setting.digest == digest(value) else _other_value(of)
    if source is None and (source := _of_environment(variable, workload, container, maps, stores)) is None:
        return None
    if source.kind != "ConfigMap":
        kind = f"Secret {source.name}" if source.kind == "Secret" else "a field of the pod"
        return unknown(f"{of} comes from {kind}, whose value is not read.", reason=Reason.NOT_VERIFIED)
    found = maps.get((workload.namespace, source.name))
    if found is None or source.key not in found.digests:
        return None  # it is not set
    if found.digests[source.key] != digest(value):
        return _other_value(of)
    if workload.started and found.changed and found.changed > workload.started:
        return unknown(
            f"{of} comes from ConfigMap {source.name}, which was changed after the container started: whether it started "
            "with the expected value is not visible.",
            reason=Reason.PENDING,
        )
    return None


def _of_environment(
    variable: str,
    workload: Workload,
    container: Container,
    maps: Mapping[tuple[str, str], ConfigMap],
    stores: Stores,
) -> Source | None:
    """The key that a variable comes from where a whole Secret or ConfigMap is taken over; the last one that has it wins.

    A Secret whose keys are not known may have it.
    """
    for environment in reversed(container.environments):
        if not variable.startswith(environment.prefix):
            continue
        source, key = environment.source, variable.removeprefix(environment.prefix)
        if source.kind == "Secret":
            known = stores.keys(workload.namespace, source.name)
            if key in known or not known:
                return Source("Secret", source.name, key)
        elif (found := maps.get((workload.namespace, source.name))) and key in found.digests:
            return Source("ConfigMap", source.name, key)
    return None


def _other_value(of: str) -> Result:
    return failed(f"{of} has another value than `expected_variables` has.", reason=Reason.MISCONFIGURED)


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
