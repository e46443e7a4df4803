"""What a person is asked where neither a cluster nor a Prometheus shows it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from collectors.discovery.found import Cluster, Store

__all__ = ["Answers", "Question", "answered"]

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_STORES = {
    "postgresql": ("PostgreSQL", "servers", "db-0.example.com, db-1.example.com:5433"),
    "redis": ("Redis or Valkey", "nodes", "cache-0.example.com, cache-1.example.com:6380"),
    "neo4j": ("Neo4j", "servers", "graph.example.com"),
    "qdrant": ("Qdrant", "nodes", "vectors.example.com"),
    "nats": ("NATS", "servers", "broker-0.example.com, broker-1.example.com"),
}
_SITES = "Hosts that serve HTTPS, such as www.example.com, api.example.com:8443"
_USES = {
    "openai": "Does the product use a language model?",
    "payments": "Does the product take payments?",
    "communications": "Does the product send mail or messages?",
    "frontend": "Does the product have web pages?",
    "orchestrator_service": "Does the product run workflows?",
    "data_service": "Does the product have a data service?",
    "api_service": "Does the product have an API service?",
    "backend_api": "Does the product have a backend of its own?",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`text` is put to a person, who answers with addresses, or with yes, no or nothing where `choice`."""

    text: str
    choice: bool = False

    def problem(self, answer: str) -> str:
        """One sentence that says why this is no answer; empty where it is one."""
        if self.choice:
            return "" if answer.lower() in ("", "y", "yes", "n", "no") else "Answer y or n, or press Enter."
        wrong = next((address for address in _split(answer) if not _is_address(address)), None)
        return f"'{wrong}' is no address: HOST or HOST:PORT, with commas between several." if wrong else ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known after the questions.

    `absent` are the sections that the product has nothing for, as a person said, `used` those that it needs.
    """

    cluster: Cluster
    absent: frozenset[str]
    used: frozenset[str]


def answered(cluster: Cluster | None, ask: Callable[[Question], str]) -> Answers:
    """Ask for what the `cluster` (None: none was read) does not show; `ask` returns an answer without a problem, or nothing."""
    cluster = cluster or Cluster()
    stores, absent, used = list(cluster.stores), set[str](), set[str]()
    for kind, (name, members, example) in _STORES.items():
        if any(store.kind == kind for store in stores):
            continue
        answer = ask(Question(f"Does the product use {name}?", choice=True))
        _note(answer, kind, absent, used)
        if kind in used and (hosts := tuple(_split(ask(Question(f"Addresses of its {members}, such as {example}"))))):
            stores.append(Store(kind, kind, hosts, ""))
    sites = () if cluster.hosts else tuple(_split(ask(Question(_SITES))))
    for section, text in _USES.items():
        _note(ask(Question(text, choice=True)), section, absent, used)
    found = replace(cluster, stores=tuple(stores), hosts=cluster.hosts or sites)
    return Answers(found, frozenset(absent), frozenset(used))


def _note(answer: str, section: str, absent: set[str], used: set[str]) -> None:
    if answer:
        (absent if answer.lower() in ("n", "no") else used).add(section)


def _split(answer: str) -> Iterator[str]:
    return (address for part in answer.split(",") if (address := part.strip()))


def _is_address(address: str) -> bool:
    host, colon, port = address.rpartition(":") if re.search(r"[^:]:\d+$|\]:", address) else (address, "", "")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return False
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.ip_address(host[1:-1]).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None
