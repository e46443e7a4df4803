"""Asks resolvers for records: what they answer is a fact, that they do not is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.shared.attempts import attempt
from collectors.shared.cel import Facts
from collectors.systems.custom.model.dns import Dns, resolver_address
from collectors.systems.custom.model.probe import Observed, Seen
from exporter.options import format_duration
from exporter.trace import traced
from exporter.verdict import ProbeError, Reason
from exporter.words import os_reason

if TYPE_CHECKING:
    import dns.message
    import dns.rrset

__all__ = ["look"]

_NAMES = ("CNAME", "MX", "NS", "PTR", "SRV")
_DEFINITE = ("NOERROR", "NXDOMAIN")


async def look(probe: Dns, name: str) -> list[Seen]:
    """What each resolver answers; of the system's, the first that does."""
    if probe.resolvers:
        return await asyncio.gather(
            *(attempt(_observed(probe, name, resolver_address(one))) for one in probe.resolvers)
        )
    seen: Seen = ProbeError("This system has no resolver.", Reason.NOT_CONFIGURED)
    for resolver in _of_the_system():
        seen = await attempt(_observed(probe, name, resolver))
        if isinstance(seen, Observed):
            break
    return [seen]


def _of_the_system() -> Iterator[tuple[str, int]]:
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver(configure=True)
    except dns.resolver.NoResolverConfiguration:
        return
    for address in resolver.nameservers[:3]:  # as many as the system's own library asks
        yield str(address), resolver.port


@traced(
    lambda probe, name, resolver: f"the {probe.type} records of {name} from {_written(resolver)}",
    lambda seen: seen.facts["rcode"],
)
async def _observed(probe: Dns, name: str, resolver: tuple[str, int]) -> Observed:
    import dns.asyncquery
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode

    where = f"{_written(resolver)} did not answer for the {probe.type} records of {name}"
    seconds = probe.timeout.total_seconds()
    loop = asyncio.get_running_loop()
    try:
        query = dns.message.make_query(f"{name.rstrip('.')}.", probe.type, flags=dns.flags.RD | dns.flags.AD)
        started = loop.time()
        async with asyncio.timeout(seconds + 1):  # its own deadline comes first
            reply, _ = await dns.asyncquery.udp_with_fallback(query, resolver[0], seconds, resolver[1])
    except (dns.exception.Timeout, TimeoutError):
        raise ProbeError(f"{where} within {format_duration(probe.timeout)}.", Reason.TIMEOUT) from None
    except OSError as error:
        raise ProbeError(f"{where}: {os_reason(error)}.", Reason.UNREACHABLE) from None
    except EOFError:
        raise ProbeError(f"{where}: it closed the connection.", Reason.REFUSED) from None
    except (dns.exception.DNSException, UnicodeError, ValueError):
        raise ProbeError(f"{where} with a message that can be understood.", Reason.MALFORMED) from None
    latency = timedelta(seconds=loop.time() - started)
    rcode = dns.rcode.to_text(reply.rcode())
    if rcode not in _DEFINITE and "rcode" not in probe.named:
        raise ProbeError(f"{where} but with {rcode}.", Reason.REFUSED)
    answer, ttl = _answer(reply)
    records = [_text(record, probe.type) for record in answer or ()]
    facts = Facts(
        records=sorted(records),
        rcode=rcode,
        authentic=bool(reply.flags & dns.flags.AD),
        latency=latency,
        ttl=timedelta(seconds=ttl),
    )
    measurements = {"seconds": latency.total_seconds(), "records": float(len(records))}
    if not records:
        del facts["ttl"]
    else:
        measurements["ttl_seconds"] = float(ttl)
    return Observed(
        f"{name} ({probe.type}, from {_written(resolver)})",
        facts,
        absent={"ttl": "there is no record"},
        notes={"rcode": f"the answer is {rcode}", "records": "the answer has none"},
        measurements=measurements,
    )


def _answer(reply: dns.message.Message) -> tuple[dns.rrset.RRset | None, int]:
    """The records at the end of the chain of aliases, and for how many seconds all on the way to them may be kept."""
    import dns.exception
    import dns.message

    if not isinstance(reply, dns.message.QueryMessage):
        return None, 0
    try:
        found = reply.resolve_chaining()
    except dns.exception.DNSException:  # NXDOMAIN, or aliases in a circle
        return None, 0
    return found.answer, int(found.minimum_ttl)


def _text(record: object, kind: str) -> str:
    if kind == "TXT":
        strings: tuple[bytes, ...] = record.strings  # type: ignore[attr-defined]
        return b"".join(strings).decode("utf-8", "replace")
    text: str = record.to_text()  # type: ignore[attr-defined]
    return text.lower().rstrip(".") if kind in _NAMES else text


def _written(resolver: tuple[str, int]) -> str:
    host = f"[{resolver[0]}]" if ":" in resolver[0] else resolver[0]
    return host if resolver[1] == 53 else f"{host}:{resolver[1]}"
