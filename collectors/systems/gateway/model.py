"""What gateways answer, and what tells their answers from those of applications."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Annotated, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, model_validator

from exporter.options import Duration, Options
from exporter.reply import Reply

__all__ = [
    "REFUSALS",
    "Beyond",
    "Burst",
    "Disguise",
    "Edge",
    "Gateway",
    "Limit",
    "Route",
    "Who",
    "announces_maintenance",
    "edge_name",
    "who_refused",
]

#: Statuses by which gateways refuse what is too much: HAProxy and AWS WAF by 403, nginx by 503 unless told otherwise.
REFUSALS = (403, 429, 503)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@#?]+(/[^\s#]*)?", text):
        raise ValueError("expected an address such as https://shop.example.com/path, without credentials")
    return text


Url = Annotated[str, AfterValidator(_url)]


class Route(Options):
    """A route through the gateway to a service."""

    url: Url = Field(description="Address of the route, on the gateway.")
    status: int = Field(200, ge=100, le=599, description="Status that the service answers with.")
    contains: str = Field(
        min_length=1,
        description="Text that only the service behind the gateway answers with; not part of `url`, which gateways repeat.",
    )

    @model_validator(mode="after")
    def _repeats_nothing(self) -> Self:
        if self.contains in self.url or self.contains in unquote(self.url):
            raise ValueError(
                f"contains {self.contains!r} is part of the url, which a gateway may repeat in its own answers"
            )
        return self


class Gateway(Options):
    """A gateway."""

    name: str = Field(min_length=1, description="Name of the gateway, for sentences.")
    routes: tuple[Route, ...] = Field(min_length=1, description="At least one route to each service behind it.")
    looks: int = Field(
        3,
        ge=1,
        le=10,
        description="How often each route is asked, each time by a new connection, at the addresses of its name in turn.",
    )


class Limit(Options):
    """A route that is asked often in a short time."""

    url: Url = Field(description="Address to GET, on the gateway.")
    burst: int = Field(20, ge=2, le=50, description="Requests after which the gateway must have refused one.")
    application: bool = Field(
        True, description="Whether an application answers it; false where the gateway itself does."
    )
    recovery: Duration = Field(
        timedelta(minutes=1),
        gt=timedelta(0),
        description="Time after which it must answer again, which distinguishes a limit from an outage.",
    )


class Edge(Options):
    """A site behind a CDN or a DDoS protection."""

    url: Url = Field(description="Public address of the site.")
    origins: tuple[str, ...] = Field(
        (),
        description="host:port of each origin server as it is reached from the internet: it must refuse direct requests.",
    )
    aws_resource: str | None = Field(
        None,
        pattern=r"^arn:aws[\w-]*:\S+$",
        description="ARN of the load balancer, API or distribution that the site comes through, which AWS WAF or Shield Advanced "
        "protects; requires clients.aws. Headers need not show a protection then.",
    )


class Disguise(Enum):
    """Part of a request that its sender chooses, and that a limit should not be counted by; as the sentences have it."""

    QUERY = "another query"
    AGENT = "another User-Agent and Accept-Language"
    COOKIE = "another cookie"
    KEY = "another Authorization and X-API-Key"
    REFERER = "another Referer and Origin"
    HOST = "another spelling of Host"
    FORWARDED = "another X-Forwarded-For"


@dataclass(frozen=True, slots=True)
class Beyond:
    """The answers to OPTIONS, which no cache gives, and to a path beside the route's that does not exist; None without a reply."""

    past_caches: Reply | None
    nowhere: Reply | None


@dataclass(frozen=True, slots=True)
class Burst:
    """The answers to a burst, and to one request after the recovery.

    `slowed` is whether the last ones took so long that something delays them, `again` are the answers to requests one after the
    other right after a refusal, `evaded` by what a request got around the limit then.
    """

    before: Reply
    answers: tuple[Reply, ...]
    after: Reply | None
    slowed: bool = False
    again: tuple[Reply, ...] = ()
    evaded: tuple[Disguise, ...] = ()

    @property
    def persists(self) -> bool:
        """Whether requests one after the other were refused too: a service that is only busy answers these."""
        return any(reply.status in REFUSALS for reply in self.again)

    @property
    def refused(self) -> Reply | None:
        """The first refusal."""
        return next((reply for reply in self.answers if reply.status in REFUSALS), None)


class Who(Enum):
    """Who refused a request."""

    GATEWAY = "the gateway"
    APPLICATION = "the application"
    UNCLEAR = "unclear"


_PER_REPLY = re.compile(
    r"^(date|content-.*|etag|last-modified|cache-control|vary|set-cookie|accept-ranges|transfer-encoding|connection|keep-alive|age"
    r"|retry-after.*|x-ratelimit.*|ratelimit.*|x-request-id|traceparent|x-envoy-.*|link|expires|pragma|access-control-.*)$"
)
_OWN_PAGES = re.compile(
    r"<center>(nginx|openresty)|local_rate_limited|<h1>429 Too Many Requests</h1>\s*You have sent"
    r"|<h1>503 Service Unavailable</h1>\s*No server"
)


def who_refused(before: Reply, refusal: Reply) -> Who:
    """Whether the headers of an application's own answers are in a refusal as well."""
    if _OWN_PAGES.search(refusal.text):
        return Who.GATEWAY
    names = {name.lower() for name in before.headers} - {"server"}
    own = {name for name in names if not _PER_REPLY.match(name)}
    if before.headers.get("server") != refusal.headers.get("server"):
        return Who.GATEWAY
    if own and not own & set(refusal.headers):
        return Who.GATEWAY
    return Who.APPLICATION if own and own <= set(refusal.headers) else Who.UNCLEAR


_MAINTENANCE = re.compile(
    r"maintenance|maintenan[cç]e|wartung|mantenimiento|manutenzione|manuten[cç][aã]o|onderhoud|underhåll|vedligehold|konserwac"
    r"|be (?:right )?back|back (?:soon|shortly)|come back later|temporarily (?:unavailable|down|offline)|メンテナンス|维护|维修",
    re.IGNORECASE,
)


def announces_maintenance(reply: Reply) -> bool:
    """Whether a page says that the service is down for a while."""
    return _MAINTENANCE.search(reply.text) is not None


_EDGES: Mapping[str, str] = {
    "cf-ray": "Cloudflare",
    "x-amz-cf-id": "Amazon CloudFront",
    "x-akamai-transformed": "Akamai",
    "akamai-grn": "Akamai",
    "x-fastly-request-id": "Fastly",
    "x-azure-ref": "Azure Front Door",
    "x-iinfo": "Imperva",
    "x-sucuri-id": "Sucuri",
    "x-vercel-id": "Vercel",
    "x-nf-request-id": "Netlify",
}
_SERVERS = {
    "cloudflare": "Cloudflare",
    "cloudfront": "Amazon CloudFront",
    "akamaighost": "Akamai",
    "ddos-guard": "DDoS-Guard",
}


def edge_name(reply: Reply) -> str | None:
    """The protection that an answer came through, by what it adds to it."""
    for header, name in _EDGES.items():
        if header in reply.headers:
            return name
    return _SERVERS.get(str(reply.headers.get("server", "")).strip().lower())
