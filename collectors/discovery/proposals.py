"""A commented configuration made from what was found. What is in force can be verified as it stands, the rest waits for people."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from collectors.discovery.found import Cluster, Service, Store
from exporter.words import listed

__all__ = ["configuration"]

_POSTGRESQL, _NATS, _NATS_MONITORING, _BOLT, _QDRANT, _REDIS, _HTTPS = 5432, 4222, 8222, 7687, 6333, 6379, 443
_APPLICATIONS = ("api_service", "data_service", "orchestrator_service", "backend_api", "frontend")
_ABSENT = {
    "neo4j": "The product stores no graph.",
    "qdrant": "The product stores no vectors.",
    "nats": "The product has no message broker.",
    "redis": "The product has no cache.",
    "postgresql": "The product has no PostgreSQL database.",
    "openai": "The product uses no language model.",
    "payments": "The product takes no payments.",
    "communications": "The product sends no messages.",
    "frontend": "The product has no web pages.",
    "orchestrator_service": "The product runs no workflows.",
    "data_service": "The product has no data service.",
    "api_service": "The product has no API service.",
    "backend_api": "The product has no backend of its own.",
}
"""Reasons that a person may confirm; for the other sections there is no usual one."""
_BY_EVIDENCE = ("documentation", "training", "signatories")
_MESHES = {"security.istio.io": "mesh", "policy.linkerd.io": "linkerd"}
"""Options of `network_security` by the groups of the API that the meshes bring."""
_BACKUPS = {
    "velero.io": "Velero is installed: `velero: {schedule: NAME, covers: [NAMESPACE]}` of a store names the Schedule.",
    "postgresql.cnpg.io": "CloudNativePG is installed: where it stores backups in S3, `objects` of a database names the bucket.",
}
"""What makes backups, by the groups of the API that it brings."""


def configuration(
    sections: Mapping[str, str],
    kubernetes: Mapping[str, object] | None,
    cluster: Cluster | None,
    prometheus: str | None,
    jobs: Sequence[str],
    alertmanagers: Sequence[str],
    *,
    environment: str = "production",
    absent: Collection[str] = (),
    used: Collection[str] = (),
) -> str:
    """The configuration of an `environment`, as YAML that `config check` accepts.

    `sections` are the names of all sections with their headings. `kubernetes` are the options with which the `cluster` was read,
    `prometheus` the address of the Prometheus that has the `jobs` and sends to the `alertmanagers`; None where there is none.
    `absent` are sections that a person declared not applicable, `used` those that the product needs.
    """
    cluster = cluster or Cluster()
    urls = {found.kind: found.urls for found in cluster.monitoring}
    declared = {section: [f"{section}: {{not_applicable: {_ABSENT[section]}}}"] for section in absent}
    active = declared | dict(_active(cluster, kubernetes, prometheus, jobs, alertmanagers))
    waiting = dict(_waiting(cluster, prometheus))
    lines = [
        "# Made by `checklist-exporter init` from what is there. What is commented out needs a decision, a password or an address.",
        "# `checklist-exporter config check` validates it, `list --missing` what is missing for each line,",
        "# `list --section NAME` and `list --rbac` the rights that the exporter's account needs.",
        *(f"# Not seen: {one}" for one in cluster.unseen),
        "",
        f"environment: {_text(environment)}" if environment != "production" else "environment: production",
        "# release: ${GIT_SHA}             # the release that runs: evidence is bound to it",
        "# evidence: ./evidence            # records of what only people can confirm: `checklist-exporter attest SECTION.ITEM`",
        "# state: {file: /var/lib/checklist-exporter/history.db}   # so that a restart forgets nothing",
        "",
        *_clients(kubernetes, prometheus, urls, alertmanagers),
        "",
        "sections:" if active else "sections: {}   # becomes `sections:` with the first one below",
    ]
    for name, heading in sections.items():
        if name in active:
            lines += [f"  # {heading}", *(f"  {line}" for line in active[name])]
    for name, heading in sections.items():
        if name not in active:
            lines += [
                "",
                f"  # {heading}",
                *(f"  # {line}" for line in waiting.get(name) or _undecided(name, name in used)),
            ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _clients(
    kubernetes: Mapping[str, object] | None,
    prometheus: str | None,
    urls: Mapping[str, Sequence[str]],
    alertmanagers: Sequence[str],
) -> Iterator[str]:
    found: list[str] = []
    if kubernetes is not None:
        found.append(f"kubernetes: {_flow(kubernetes)}")
    if prometheus is not None:
        found.append(f"prometheus: {_flow({'url': prometheus})}")
    if alertmanagers:
        first, *peers = alertmanagers
        found.append(f"alertmanager: {_flow({'url': first} | ({'peers': peers} if peers else {}))}")
    proposed = [f"{kind}: {_flow({'url': of[0]})}" for kind, of in urls.items() if kind != "grafana"]
    if grafana := urls.get("grafana"):
        proposed.append(
            f"grafana: {_flow({'url': grafana[0], 'bearer_token_file': '/run/secrets/grafana'})}   # of a Viewer"
        )
    yield "clients:" if found else "clients: {}"
    yield from (f"  {line}" for line in found)
    known = {line.partition(":")[0] for line in found}
    yield from (f"  # {line}" for line in proposed if line.partition(":")[0] not in known)


def _active(
    cluster: Cluster,
    kubernetes: Mapping[str, object] | None,
    prometheus: str | None,
    jobs: Sequence[str],
    alertmanagers: Sequence[str],
) -> Iterator[tuple[str, list[str]]]:
    """The sections that can be verified as they are written here."""
    if kubernetes is not None:
        for section in ("kubernetes", "resource_allocation"):
            yield section, [f"{section}:", "  targets:", f"    - {_flow({'name': 'cluster'})}"]
        places = [*(service.namespace for service in cluster.services), *(store.namespace for store in cluster.stores)]
        if own := dict.fromkeys(filter(None, places)):
            target = _flow({"name": "cluster", "namespaces": list(own)})
            yield "configuration_verification", ["configuration_verification:", "  targets:", f"    - {target}"]
        if meshes := [option for group, option in _MESHES.items() if group in cluster.groups]:
            yield "network_security", ["network_security:", *(f"  {option}: {{}}" for option in meshes)]
    if nats := [store for store in cluster.stores if store.kind == "nats" and store.hosts]:
        yield "nats", ["nats:", "  targets:", *_indented(4, map(_nats, nats))]
    if redis := [store for store in cluster.stores if store.kind == "redis" and store.hosts]:
        yield (
            "redis",
            ["redis:", "  # password_file: /run/secrets/redis", "  targets:", *_indented(4, map(_redis, redis))],
        )
    if qdrant := [store for store in cluster.stores if store.kind == "qdrant" and store.hosts]:
        yield (
            "qdrant",
            ["qdrant:", "  # api_key_file: /run/secrets/qdrant", "  targets:", *_indented(4, map(_qdrant, qdrant))],
        )
    if cluster.hosts:
        endpoints = [_flow({"name": host, "endpoint": _at(host, _HTTPS)}) for host in cluster.hosts]
        yield "tls_certificates", ["tls_certificates:", "  targets:", *(f"    - {one}" for one in endpoints)]
    if prometheus is not None and jobs:
        yield "monitoring_stack", ["monitoring_stack:", f"  expected_jobs: {_text(list(jobs))}"]
        if alertmanagers:
            yield (
                "alerting",
                ["alerting:", f"  services: {_text(list(jobs))}   # leave those that are the product's own"],
            )


def _waiting(cluster: Cluster, prometheus: str | None) -> Iterator[tuple[str, list[str]]]:
    """The sections for which something was found that a person has to complete."""
    if databases := [store for store in cluster.stores if store.kind == "postgresql"]:
        yield (
            "postgresql",
            [
                "# Needs an account: `checklist-exporter list --section postgresql` prints the SQL that creates it. In the file:",
                *(
                    f"# postgresql://checklist_exporter:…@{_many(store)}/DATABASE?sslmode=verify-full"
                    for store in databases
                ),
                "postgresql:",
                "  targets:",
                *(f"    - {_flow({'name': store.workload, 'dsn_file': _secret(store)})}" for store in databases),
            ],
        )
    if graphs := [store for store in cluster.stores if store.kind == "neo4j"]:
        yield (
            "neo4j",
            [
                "# Needs an account: `checklist-exporter list --section neo4j` says with which rights.",
                "neo4j:",
                "  targets:",
                *_indented(4, map(_neo4j, graphs)),
            ],
        )
    if cluster.services:
        entries = [f"    - {_service(service)}" for service in cluster.services]
        intro = f"# HTTP services that were found: leave each in the one of {listed(_APPLICATIONS)} where it belongs."
        yield "backend_api", [intro, "backend_api:", "  targets:", *entries]
    makers = [text for group, text in _BACKUPS.items() if group in cluster.groups]
    if cluster.backups:
        makers.insert(0, f"CronJobs that seem to make backups: {listed(list(cluster.backups))}.")
    if makers:
        docs = "backups: {}   # docs/sections/backups.md has what names the schedules and where the copies are"
        yield "backups", [*(f"# {text}" for text in makers), docs]


def _undecided(section: str, used: bool) -> list[str]:
    if section in _BY_EVIDENCE:
        return [f"{section}: {{}}   # verified by records in the folder `evidence`: docs/evidence.md"]
    if section in _ABSENT and not used:
        return [f"{section}: {{not_applicable: {_ABSENT[section]}}}   # if that is so"]
    return [f"{section}: {{}}   # docs/sections/{section}.md"]


def _redis(store: Store) -> Iterator[str]:
    yield f"- name: {_text(store.workload)}"
    if len(store.hosts) > 1:
        yield "  mode: replication   # or sentinel, cluster"
    yield f"  nodes: {_text([_at(host, _REDIS) for host in store.hosts])}"


def _nats(store: Store) -> Iterator[str]:
    yield f"- name: {_text(store.workload)}"
    yield "  nodes:"
    for host in store.hosts:
        monitoring = {"url": f"http://{_alone(host)}:{_NATS_MONITORING}"}
        yield f"    - {_flow({'server': _at(host, _NATS), 'monitoring': monitoring})}"


def _qdrant(store: Store) -> Iterator[str]:
    yield f"- name: {_text(store.workload)}"
    yield f"  nodes: {_text([{'url': f'http://{_at(host, _QDRANT)}'} for host in store.hosts])}"


def _neo4j(store: Store) -> Iterator[str]:
    yield f"- name: {_text(store.workload)}"
    yield "  username: checklist"
    yield f"  password_file: {_secret(store)}"
    yield f"  servers: {_text([{'bolt': _at(host, _BOLT)} for host in store.hosts or ('HOST',)])}"


def _service(service: Service) -> str:
    namespace, _, name = service.path.partition("/")
    selector = ",".join(f"{key}={value}" for key, value in service.selector)
    return _flow({"name": name, "url": service.url, "pods": {"namespace": namespace, "selector": selector}})


def _many(store: Store) -> str:
    return ",".join(_at(host, _POSTGRESQL) for host in store.hosts) or "HOST"


_PORT = re.compile(r"(?<=[^:]):\d+$")


def _at(host: str, port: int) -> str:
    """The host with this port, unless it has one."""
    return host if _PORT.search(host) else f"{host}:{port}"


def _alone(host: str) -> str:
    return _PORT.sub("", host)


def _secret(store: Store) -> str:
    return f"/run/secrets/{store.workload.replace('/', '-')}-{store.kind}"


def _indented(by: int, entries: Iterable[Iterable[str]]) -> Iterator[str]:
    return (f"{' ' * by}{line}" for entry in entries for line in entry)


def _flow(options: Mapping[str, object]) -> str:
    """A mapping in one line."""
    return "{" + ", ".join(f"{key}: {_text(value)}" for key, value in options.items()) + "}"


def _text(value: object) -> str:
    """A value in one line. As JSON, which is YAML too: names of jobs may be anything. `$` is doubled, or it began a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")
