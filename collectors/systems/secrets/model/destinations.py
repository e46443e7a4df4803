"""Addresses in settings that are none of production: of examples, other environments, tunnels, and this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["ON_LOCALHOST", "astray"]

_DATABASE = "a database on localhost"
_SERVICE = "a service on localhost"
ON_LOCALHOST = frozenset({_DATABASE, _SERVICE})
"""The rules that are none where a proxy runs in the same pod."""
_EXAMPLE_HOST = re.compile(
    r"(?i)(?<![\w.-])(?:[\w-]+\.)*(?:example\.(?:com|org|net)|(?<=@)(?:test|domain|email|company|yourcompany|mycompany)\.com|(?:your|my)-?(?:domain|company|site)\.[a-z]{2,})(?![\w-]|\.\w)"
    r"|(?:(?<=://)|(?<=@))(?:(?:[\w-]+\.)+(?:test|invalid|tld|example)|(?:foo|bar)\.(?:bar|baz|com))(?![\w-]|\.\w)"
    r"|https?://[\w.-]*<[a-z][\w -]{0,40}>"
)
_STORE_URL = re.compile(
    r"(?i)(?:jdbc:)?(?:postgres(?:ql)?|mysql|mariadb|sqlserver|mongodb|redis|rediss|amqps?|nats|neo4j|bolt|memcached|clickhouse|cassandra)"
    r"(?:\+\w+)?://(?:[^\s/@]*@)?(?:localhost|127\.0\.0\.1|\[::1\])(?![\w.-])"
)
_STORE_HOST = re.compile(
    r"(?i)(?:.*_)?(?:db|database|postgres\w*|pg|mysql|mongo\w*|redis|rabbitmq|nats|neo4j|qdrant|kafka|elastic\w*|opensearch|clickhouse"
    r"|cassandra|memcached?|zookeeper|minio)_?(?:bootstrap_?)?(?:hosts?|hostname|servers?|addr|address(?:es)?|brokers?|nodes|url|endpoint)"
)
_LOCAL = re.compile(r"(?i)(?:https?://)?(?:localhost|127\.0\.0\.1|\[?::1\]?)(?::\d{1,5})?/?")
_PUBLIC_URL = re.compile(
    r"(?i)(?:.*_)?(?:base|public|app|site|frontend|external|root|callback|redirect|website|home|canonical)_?ur[il]"
)
_DEVELOPER_HOST = re.compile(r"(?i)(?<![\w.-])(?:host|kubernetes|gateway)\.docker\.internal(?![\w.-])")
_SANDBOX = re.compile(
    r"(?i)https?://(?:[\w-]+\.)*sandbox\.[\w.-]+\.[a-z]{2,}(?:[:/].*)?|https?://[\w.-]+\.sandbox\.[a-z]{2,}(?:[:/].*)?"
)
_STAGE = re.compile(
    r"(?i)https?://(?:[\w-]+\.)*(?:staging|stage|stg|qa|uat|preprod|develop|development|(?:dev|test)(?!\.(?:azure|mysql|pypi)\.))\.(?:[\w-]+\.)+[a-z]{2,}(?:[:/].*)?"
)
_SERVICE_URL = re.compile(
    r"(?i)(?:.*_)?(?:auth|oauth2?|oidc|issuer|idp|sso|keycloak|login|payments?|smtp|mail|mailer)_?(?:server_?|base_?|issuer_?)?"
    r"(?:ur[il]|hosts?|hostname|endpoint|server)|aws_endpoint_url\w*"
)
_ORIGINS = re.compile(r"(?i)(?:.*_)?(?:cors\w*|(?:allowed|trusted)_?(?:origins?|urls?)|origins?)")
_LOCAL_ORIGIN = re.compile(r"(?i)(?:^|[\s,;\[\"'])https?://(?:localhost|127\.0\.0\.1)(?::\d{1,5})?(?![\w.-])")
_TUNNEL = re.compile(
    r"(?i)https?://(?:[\w-]+\.)*(?:ngrok(?:-free)?\.(?:io|app|dev)|loca\.lt|localtunnel\.me|trycloudflare\.com|serveo\.net|webhook\.site"
    r"|requestbin\.com|requestcatcher\.com|beeceptor\.com|mocky\.io|reqres\.in|httpbin\.org|jsonplaceholder\.typicode\.com"
    r"|via\.placeholder\.com|placehold\.co|placekitten\.com|dummyimage\.com|picsum\.photos|lvh\.me)(?:[:/].*)?"
)
_DEVELOPER_TENANT = re.compile(r"(?i)(?:https://)?dev-\w+\.(?:[a-z]{2}\.)?(?:auth0|okta|oktapreview)\.com(?:[/:].*)?")
_STAGING_ISSUER = re.compile(r"(?i)\S*letsencrypt-stag(?:e|ing)\S*|https://acme-staging\S*|\S*-staging-issuer")
_EXAMPLE_NAME = re.compile(
    r"(?i)(?:[\w-]+\.)+(?:example|invalid|test):\d{1,5}|(?:[\w-]+\.)*example\.(?:internal|local|lan|corp|svc)(?::\d{1,5})?"
    r"|[^\s@]+@localhost(?:\.localdomain)?|(?:\w+@)(?:admin|doe)\.com"
)
_IN_MEMORY = re.compile(
    r"(?i)(?:jdbc:)?(?:h2:mem:|hsqldb:mem:|derby:memory:)\S*|sqlite(?:\+\w+)?:///?:memory:|sqlite::memory:"
)

_STORE_NAME = re.compile(r"(?i)(?:.*_)?(?:db|database|postgres_db|mysql_database|schema)(?:_?name)?")
_EXAMPLE_STORE = re.compile(r"(?i)test(?:[-_]?db)?|(?:my|your|example|sample|demo)[-_]?(?:db|database|schema)?")


def astray(name: str, own: str) -> Iterator[str]:
    """The rules by which a setting leads to no address of production."""
    if _EXAMPLE_HOST.search(own) or _EXAMPLE_NAME.fullmatch(own):
        yield "an example domain"
    local = all(_LOCAL.match(one.strip()) for one in own.split(",")) and not _STORE_URL.search(own)
    if _STORE_URL.search(own) or (
        _STORE_HOST.fullmatch(name) and all(_LOCAL.fullmatch(one.strip()) for one in own.split(","))
    ):
        yield _DATABASE
    elif local and _SERVICE_URL.fullmatch(name):
        yield _SERVICE
    elif _IN_MEMORY.fullmatch(own):
        yield "a database in memory"
    if _STORE_NAME.fullmatch(name) and _EXAMPLE_STORE.fullmatch(own):
        yield "a database of examples"
    if _ORIGINS.fullmatch(name) and _LOCAL_ORIGIN.search(own):
        yield "an origin of a developer's machine"
    if _DEVELOPER_HOST.search(own):
        yield "a host of a developer's machine"
    if _PUBLIC_URL.fullmatch(name) and _LOCAL.match(own) and not _STORE_URL.search(own):
        yield "a public address on localhost"
    if _TUNNEL.fullmatch(own):
        yield "an address of tests or tunnels"
    elif _SANDBOX.fullmatch(own):
        yield "the address of a sandbox"
    elif _STAGE.fullmatch(own) or _DEVELOPER_TENANT.fullmatch(own) or _STAGING_ISSUER.fullmatch(own):
        yield "an address of another environment"
