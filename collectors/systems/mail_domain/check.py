"""SPF, DKIM and DMARC of a domain, as one verdict."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from collectors.shared.verdicts import verdict, worst_of
from collectors.systems.mail_domain.client.lookups import Lookups
from collectors.systems.mail_domain.client.spf import allows_nobody, evaluate
from collectors.systems.mail_domain.judge import bounce_problems, dkim_problems, dmarc_problems, spf_problems
from collectors.systems.mail_domain.model import STRANGERS, DmarcRecord, MailDomain, dkim_of, dmarc_of
from exporter.verdict import Result, ok
from exporter.words import listed

__all__ = ["see_mail_domain"]


async def see_mail_domain(domain: MailDomain) -> Result:
    """Whether receivers take the messages of a domain for its own, and those of others not."""
    lookups = Lookups(domain)
    return await worst_of(
        _spf(lookups, domain), _dkim(lookups, domain), _dmarc(lookups, domain), _bounces(lookups, domain)
    )


async def _spf(lookups: Lookups, domain: MailDomain) -> Result:
    name = domain.return_path or domain.name
    sender = f"postmaster@{name}"
    strangers = [await evaluate(lookups, name, address, sender) for address in STRANGERS]
    own = [await evaluate(lookups, name, address, sender) for address in domain.sending_addresses]
    allowed = f"allows {listed(domain.sending_addresses)} and nobody else" if own else "does not allow everyone"
    good = ok(
        f"The SPF record of {name} {allowed}.",
        spf_lookups=max(outcome.lookups for outcome in (*strangers, *own)),
    )
    nobody = not own and await allows_nobody(lookups, name)
    return verdict(spf_problems(name, strangers, own, nobody=nobody), good)


async def _dkim(lookups: Lookups, domain: MailDomain) -> Result:
    records = [
        dkim_of(selector, await lookups.texts(f"{selector}._domainkey.{domain.name}"))
        for selector in domain.dkim_selectors
    ]
    good = ok(f"{listed(domain.dkim_selectors)} {'is a key' if len(records) == 1 else 'are keys'} for DKIM.")
    return verdict(dkim_problems(domain.name, records), good)


async def _dmarc(lookups: Lookups, domain: MailDomain) -> Result:
    record = await _policy(lookups, domain.name)
    policy = record.policy if record else ""
    return verdict(dmarc_problems(domain.name, record), ok(f"The DMARC policy of {domain.name} is {policy}."))


async def _bounces(lookups: Lookups, domain: MailDomain) -> Result:
    name = domain.return_path or domain.name
    exchangers = await lookups.exchangers(name)
    reached = [
        address
        for host in exchangers or [name]
        if host and not _is_address(host)
        for version in (4, 6)
        for address in await lookups.addresses(host, version=version)
    ]
    return verdict(bounce_problems(name, exchangers, reached), ok(f"{name} takes bounces."))


def _is_address(host: str) -> bool:
    """Whether an MX record has an address where the name of a host belongs: nothing is delivered there."""
    with suppress(ValueError):
        ip_address(host)
        return True
    return False


async def _policy(lookups: Lookups, domain: str) -> DmarcRecord | None:
    """The policy of the domain, or of the nearest domain above it that has one (but for top-level domains)."""
    labels = domain.split(".")
    for first in range(len(labels) - 1):
        name = f"_dmarc.{'.'.join(labels[first:])}"
        if record := dmarc_of(name, await lookups.texts(name), inherited=first > 0):
            return record
    return None
