"""Whether settings hold placeholders or secrets. Sentences name the setting and the rule, never the value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collectors.systems.secrets.model.destinations import ON_LOCALHOST
from collectors.systems.secrets.model.options import SettingsOptions
from collectors.systems.secrets.model.rules import Finding, Sort
from collectors.systems.secrets.model.workloads import ConfigMap, Workload
from exporter.verdict import Reason, Result, failed

__all__ = ["checked", "placeholder_problems", "secret_problems"]


def secret_problems(
    workloads: Iterable[Workload], maps: Iterable[ConfigMap], options: SettingsOptions
) -> Iterator[Result]:
    """Each secret in plain text; all are `failed`."""
    for where, one in _findings(workloads, maps, options):
        if one.sort is Sort.SECRET:
            yield failed(f"{where} has {one.rule} in plain text: {one.name}.", reason=Reason.MISCONFIGURED)


def placeholder_problems(
    workloads: Sequence[Workload], maps: Iterable[ConfigMap], options: SettingsOptions
) -> Iterator[Result]:
    """Each value that a developer left behind; all are `failed`.

    A service on localhost is none where a pod has containers side by side: one of them may be its proxy.
    """
    beside = {
        (workload.namespace, source.name)
        for workload in workloads
        if workload.has_sidecar
        for _, source in workload.sources
        if source.kind == "ConfigMap"
    }
    pods = {workload.path for workload in workloads if workload.has_sidecar}
    proxied = pods | {f"ConfigMap {namespace}/{name}" for namespace, name in beside}
    for where, one in _findings(workloads, maps, options):
        if one.sort is Sort.PLACEHOLDER and not (one.rule in ON_LOCALHOST and where in proxied):
            yield failed(f"{where} has {one.rule}: {one.name}.", reason=Reason.MISCONFIGURED)


def checked(workloads: Sequence[Workload], maps: Sequence[ConfigMap]) -> int:
    """How many settings were read: literal variables and entries of ConfigMaps."""
    literal = sum(
        not setting.source for one in workloads for container in one.containers for setting in container.settings
    )
    return literal + sum(len(one.keys) for one in maps)


def _findings(
    workloads: Iterable[Workload], maps: Iterable[ConfigMap], options: SettingsOptions
) -> Iterator[tuple[str, Finding]]:
    for workload in workloads:
        every = [
            finding
            for container in workload.containers
            for setting in container.settings
            for finding in setting.findings
        ]
        every += [finding for container in workload.containers for finding in container.findings]
        for finding in dict.fromkeys([*every, *workload.findings]):
            if not options.allows(workload.namespace, workload.name, finding.name):
                yield workload.path, finding
    for one in maps:
        for key, finding in one.findings:
            name = finding.name if key in ("", finding.name) else f"{finding.name} in {key}"
            if not options.allows(one.namespace, one.name, finding.name) and not options.allows(
                one.namespace, one.name, key
            ):
                yield one.path, Finding(finding.sort, name, finding.rule)
