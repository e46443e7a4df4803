"""Whether receivers take the messages of a domain for its own, and those of others not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from collectors.systems.mail_domain.model import DkimRecord, DmarcRecord, SpfAnswer, SpfOutcome
from exporter.verdict import Reason, Result, failed, warning
from exporter.words import listed

__all__ = ["bounce_problems", "dkim_problems", "dmarc_problems", "spf_problems"]

_FEWEST_BITS, _FEW_BITS = 1024, 2048


def spf_problems(
    domain: str, strangers: Iterable[SpfOutcome], own: Iterable[SpfOutcome], *, nobody: bool
) -> Iterator[Result]:
    """Why the policy of a domain does not tell its own servers from others. `strangers` send for nobody, `own` for the product.

    `nobody` is whether the policy has nothing by which anyone could pass.
    """
    strangers = list(strangers)
    everyone = any(
        all(outcome.answer is SpfAnswer.PASS for outcome in strangers if (":" in outcome.address) is version_6)
        for version_6 in (False, True)
    )
    for outcome in {(each.answer, each.why): each for each in reversed(strangers)}.values():  # each finding once
        match outcome.answer:
            case SpfAnswer.NONE:
                yield failed(f"Domain {domain} has no SPF record.", reason=Reason.MISSING)
            case SpfAnswer.PERMERROR:
                yield failed(f"The SPF record of {domain} is not valid: {outcome.why}.", reason=Reason.INVALID)
            case SpfAnswer.PASS:
                whom = "everyone" if everyone else "far more addresses than anyone has"
                yield failed(
                    f"The SPF record of {domain} allows {whom} to send in its name, such as {outcome.address}.",
                    reason=Reason.MISCONFIGURED,
                )
            case SpfAnswer.NEUTRAL:
                yield warning(
                    f"The SPF record of {domain} does not say what becomes of others (end it with -all or ~all)."
                )
    if nobody and any(outcome.answer in (SpfAnswer.FAIL, SpfAnswer.SOFTFAIL) for outcome in strangers):
        yield failed(f"The SPF record of {domain} allows nobody to send in its name.", reason=Reason.MISCONFIGURED)
    for outcome in own:
        if outcome.answer not in (SpfAnswer.PASS, SpfAnswer.NONE, SpfAnswer.PERMERROR):
            yield failed(
                f"The SPF record of {domain} does not allow {outcome.address}, which messages are sent from "
                f"({outcome.answer}).",
                reason=Reason.DENIED,
            )


def dkim_problems(domain: str, records: Iterable[DkimRecord]) -> Iterator[Result]:
    """Why signatures with a key are not accepted."""
    for record in records:
        name = f"DKIM key {record.selector}._domainkey.{domain}"
        if record.problem:
            yield failed(f"{name} {record.problem}.", reason=Reason.INVALID)
        elif record.bits is not None and record.bits < _FEWEST_BITS:
            yield failed(f"{name} has {record.bits} bits (at least {_FEWEST_BITS} wanted).", reason=Reason.INVALID)
        elif record.bits is not None and record.bits < _FEW_BITS:
            yield warning(f"{name} has {record.bits} bits ({_FEW_BITS} are usual).")
        if record.testing:
            yield warning(f"{name} is in test mode (t=y): receivers treat messages as if they were not signed.")


def dmarc_problems(domain: str, record: DmarcRecord | None) -> Iterator[Result]:
    """Why receivers do nothing about messages that others send in the name of a domain."""
    if record is None:
        yield failed(f"Domain {domain} has no DMARC record.", reason=Reason.MISSING)
    elif record.problem:
        yield failed(f"{record.name} {record.problem}.", reason=Reason.INVALID)
    elif record.policy == "none":
        yield warning(f"The DMARC policy of {domain} is none ({record.name}): messages of others are delivered.")
    elif record.testing:
        yield warning(
            f"The DMARC policy of {domain} is in test mode ({record.name}, t=y): receivers apply a weaker one."
        )
    elif record.percent < 100:
        yield warning(
            f"The DMARC policy of {domain} applies to {record.percent}% of the messages ({record.name}, pct)."
        )


def bounce_problems(domain: str, exchangers: Sequence[str], addresses: Sequence[str]) -> Iterator[Result]:
    """Why receivers reject messages from a domain that none could be sent to.

    `exchangers` are the names in its MX records, of which a null MX has an empty one; `addresses` are theirs, or the domain's own
    where it has no such record.
    """
    if exchangers and not any(exchangers):
        has = "a null MX record"
    elif not addresses:
        has = "MX records whose hosts have no address" if exchangers else "neither an MX record nor an address"
    elif all(ip_address(address).is_loopback or ip_address(address).is_unspecified for address in addresses):
        has = f"mail servers at {listed(sorted(set(addresses)))} alone"
    else:
        return
    yield failed(
        f"Domain {domain} has {has}: receivers reject messages whose bounces cannot be delivered.",
        reason=Reason.MISSING,
    )
