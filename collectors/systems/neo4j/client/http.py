"""Asks a server's HTTP APIs, without credentials."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from collectors.shared.attempts import attempt_all
from collectors.systems.neo4j.model import Entry, Knock
from exporter.http import Http
from exporter.verdict import ProbeError, Reason

__all__ = ["knock", "version"]


async def version(http: Http) -> str:
    """The version that a server reports to everyone. Raises ProbeError when it is not answered, or not by Neo4j."""
    reply = await http.get("/")
    document = reply.json()
    if not isinstance(document, dict) or "neo4j_version" not in document:
        raise ProbeError(f"{reply.where} is answered by something that is no Neo4j.", Reason.MALFORMED)
    return str(document["neo4j_version"])


async def knock(http: Http, databases: Iterable[str]) -> tuple[Knock, ...]:
    """What becomes of a statement on each of the databases, by each of the two APIs.

    Raises ProbeError when one is not answered, unless another accepts the statement.
    """
    found = await attempt_all(
        question for name in databases for question in (_knock(http, name, "tx/commit"), _knock(http, name, "query/v2"))
    )
    knocks = tuple(knock for knock in found if isinstance(knock, Knock))
    failure = next((why for why in found if isinstance(why, ProbeError)), None)
    if failure is not None and not any(knock.entry is Entry.ACCEPTED for knock in knocks):
        raise failure
    return knocks


async def _knock(http: Http, database: str, api: str) -> Knock:
    statement = {"statement": "SHOW DATABASES" if database == "system" else "RETURN 1"}
    path = f"/db/{quote(database, safe='')}/{api}"
    body = statement if api == "query/v2" else {"statements": [statement]}
    reply = await http.request("POST", path, json=body, expect=None)
    try:
        errors = reply.json()["errors"]
        code = str(errors[0]["code"])
    except (ProbeError, LookupError, TypeError):
        code = ""
    return Knock(path, reply.status, code)
