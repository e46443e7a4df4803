"""Evaluates an SPF policy as receivers do (RFC 7208): what it says of an address, not how it is written."""

from __future__ import annotations

import operator
import re
from ipaddress import IPv6Address, ip_address, ip_network

from collectors.systems.mail_domain.client.lookups import Lookups
from collectors.systems.mail_domain.model import SpfAnswer, SpfOutcome, spf_records

__all__ = ["allows_nobody", "evaluate"]

_MOST_LOOKUPS = 10
_MOST_VOID = 2
_MOST_EXCHANGERS = 10
_ANSWERS = {"+": SpfAnswer.PASS, "-": SpfAnswer.FAIL, "~": SpfAnswer.SOFTFAIL, "?": SpfAnswer.NEUTRAL}
_TERM = re.compile(
    r"([+\-~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?::(.*?))?((?:/(?:0|[1-9]\d?))?(?://(?:0|[1-9]\d{0,2}))?)",
    re.IGNORECASE,
)
_NETWORK = re.compile(r"ip4:[0-9.]+(/(0|[1-9][0-9]?))?|ip6:[0-9a-f:.]+(/(0|[1-9][0-9]{0,2}))?", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_MACRO = re.compile(r"%\{([slodiphcrtv])(\d*)(r?)([.\-+,/_=]*)\}|%(%|_|-)", re.IGNORECASE)
_MACRO_TEXT = r"(?:[!-$&-~]|%\{[slodiphcrtv]\d*r?[.\-+,/_=]*\}|%[%_-])*"
_TEXT = re.compile(_MACRO_TEXT, re.IGNORECASE)
_TOP_LABEL = r"(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])"
_DOMAIN = re.compile(rf"{_MACRO_TEXT}(?:\.{_TOP_LABEL}\.?|%\{{[slodiphcrtv]\d*r?[.\-+,/_=]*\}})", re.IGNORECASE)
_INSIDE = [
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]
"""Networks from whose addresses nothing reaches other networks."""
_LITERAL = {"%": "%", "_": " ", "-": "%20"}


class _Broken(Exception):
    """Why a policy is a permanent error for every receiver."""


async def evaluate(lookups: Lookups, domain: str, address: str, sender: str) -> SpfOutcome:
    """What the policy of a domain says of messages from an address. Raises ProbeError where DNS did not answer."""
    evaluation = _Evaluation(lookups, address, sender)
    try:
        answer = await evaluation.check(domain)
    except _Broken as why:
        return SpfOutcome(address, SpfAnswer.PERMERROR, str(why), evaluation.lookups)
    return SpfOutcome(address, answer, lookups=evaluation.lookups)


async def allows_nobody(lookups: Lookups, domain: str) -> bool:
    """Whether a policy has nothing by which any message could pass. Raises ProbeError where DNS did not answer."""
    try:
        return not await _Evaluation(lookups, "192.0.2.1", f"postmaster@{domain}").may_pass(domain)
    except _Broken:
        return False


class _Evaluation:
    def __init__(self, lookups: Lookups, address: str, sender: str) -> None:
        self._dns = lookups
        given = ip_address(address)
        self._address = given.ipv4_mapped or given if isinstance(given, IPv6Address) else given
        self._sender = sender
        self.lookups = 0
        self._void = 0

    async def check(self, domain: str) -> SpfAnswer:
        """What the policy of a domain says; NONE where it has none."""
        records = spf_records(await self._dns.texts(domain))
        if not records:
            return SpfAnswer.NONE
        if len(records) > 1:
            raise _Broken(f"{domain} has {len(records)} SPF records")
        mechanisms, modifiers = _parsed(records[0], domain)  # an error anywhere makes the whole policy one
        for qualifier, name, value, lengths in mechanisms:
            if await self._matches(name, value, lengths, domain):
                return _ANSWERS[qualifier]
        if (redirect := modifiers.get("redirect")) is None:
            return SpfAnswer.NEUTRAL
        self._count()
        target = self._expanded(redirect, domain)
        answer = await self.check(target)
        if answer is SpfAnswer.NONE:
            raise _Broken(f"{domain} redirects to {target}, which has no SPF record")
        return answer

    async def may_pass(self, domain: str) -> bool:
        """Whether a policy has a mechanism by which a message could pass, whoever sends it."""
        records = spf_records(await self._dns.texts(domain))
        if len(records) != 1:
            return False
        mechanisms, modifiers = _parsed(records[0], domain)
        targets = [modifiers["redirect"]] if "redirect" in modifiers else []
        for qualifier, name, value, lengths in mechanisms:
            if qualifier != "+":
                continue
            if name == "include":
                targets.append(value)
            elif await self._has_senders(name, value, lengths, domain):
                return True
        for target in targets:
            self._count()
            if "%" in target or await self.may_pass(target):
                return True
        return False

    async def _has_senders(self, name: str, value: str, lengths: str, domain: str) -> bool:
        """Whether a mechanism is met by an address that messages may come from to other networks."""
        if name in ("ip4", "ip6"):
            network = ip_network(f"{value}{lengths}", strict=False)
            return not any(network.version == inner.version and network.subnet_of(inner) for inner in _INSIDE)  # type: ignore[arg-type]
        target = value or domain
        if name not in ("a", "mx") or "%" in target:
            return True
        hosts = [target] if name == "a" else await self._dns.exchangers(target)
        return any([await self._dns.addresses(host, version=version) for host in hosts if host for version in (4, 6)])

    async def _matches(self, name: str, value: str, lengths: str, domain: str) -> bool:
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._address in ip_network(f"{value}{lengths}", strict=False)
        self._count()
        target = self._expanded(value, domain) if value else domain
        if name == "include":
            answer = await self.check(target)
            if answer is SpfAnswer.NONE:
                raise _Broken(f"{domain} includes {target}, which has no SPF record")
            return answer is SpfAnswer.PASS
        if name == "exists":
            return bool(self._found(await self._dns.addresses(target, version=4)))
        if name == "ptr":  # receivers are told not to ask for it
            return False
        hosts = [target]
        if name == "mx":
            hosts = self._found(await self._dns.exchangers(target))
            if len(hosts) > _MOST_EXCHANGERS:
                raise _Broken(f"{target} has more than {_MOST_EXCHANGERS} MX records")
        version = self._address.version
        length = _lengths(lengths)[version == 6]
        for host in filter(None, hosts):  # a null MX names none
            addresses = await (self._addresses(host) if name == "a" else self._dns.addresses(host, version=version))
            if any(
                self._address in ip_network(f"{each}/{length}", strict=False)
                for each in addresses
                if (":" in each) is (version == 6)
            ):
                return True
        return False

    async def _addresses(self, host: str) -> list[str]:
        """The addresses of a name that are of the version in question; a name that has those of the other alone is found, too."""
        found = await self._dns.addresses(host, version=self._address.version)
        return found or self._found(await self._dns.addresses(host, version=10 - self._address.version))

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > _MOST_LOOKUPS:
            raise _Broken(f"it needs more than {_MOST_LOOKUPS} DNS lookups")

    def _found(self, records: list[str]) -> list[str]:
        if not records:
            self._void += 1
            if self._void > _MOST_VOID:
                raise _Broken(f"more than {_MOST_VOID} of its DNS lookups find nothing")
        return records

    def _expanded(self, text: str, domain: str) -> str:
        """A name with its macros replaced."""
        local, _, of = self._sender.partition("@")
        values = {
            "s": self._sender,
            "l": local,
            "o": of,
            "d": domain,
            "i": ".".join(self._address.exploded.replace(":", ""))
            if self._address.version == 6
            else str(self._address),
            "p": "unknown",
            "v": "ip6" if self._address.version == 6 else "in-addr",
            "h": of,
        }

        def value_of(macro: re.Match[str]) -> str:
            if macro[5]:
                return _LITERAL[macro[5]]
            parts = re.split(f"[{re.escape(macro[4] or '.')}]", values.get(macro[1].lower(), "unknown"))
            parts = parts[::-1] if macro[3] else parts
            return ".".join(parts[-int(macro[2]) :] if macro[2] and int(macro[2]) else parts)

        return _MACRO.sub(value_of, text)


_Mechanism = tuple[str, str, str, str]


def _parsed(record: str, domain: str) -> tuple[list[_Mechanism], dict[str, str]]:
    """The mechanisms of a record, each with its qualifier, name, value and prefix lengths; and its modifiers."""
    mechanisms: list[_Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in record.split(" ")[1:]:
        why = f"the record of {domain} has {term[:60].encode('ascii', 'replace').decode()}"
        if not term:
            continue
        if found := _TERM.fullmatch(term):
            mechanisms.append(_mechanism(found, why))
        elif modifier := _MODIFIER.fullmatch(term):
            name, value = modifier[1].lower(), modifier[2]
            once = name in ("redirect", "exp")
            if not (_DOMAIN if once else _TEXT).fullmatch(value) or (once and name in modifiers):
                raise _Broken(f"{why}, which is no valid term")
            modifiers[name] = value
        else:
            raise _Broken(f"{why}, which is no valid term")
    return mechanisms, modifiers


def _mechanism(found: re.Match[str], why: str) -> _Mechanism:
    name, value, lengths = found[2].lower(), found[3], found[4]
    if name in ("ip4", "ip6"):
        if not _NETWORK.fullmatch(found[0].lstrip("+-~?")) or not _is_network(f"{value}{lengths}", int(name[2])):
            raise _Broken(f"{why}, which is no network of IPv{name[2]}")
    elif name not in ("a", "mx") and lengths:
        raise _Broken(f"{why}, which takes no prefix")
    elif any(map(operator.gt, _lengths(lengths), (32, 128))):
        raise _Broken(f"{why}, whose prefix is too long")
    elif name == "all" and value is not None:
        raise _Broken(f"{why}, which takes no name")
    elif (value is not None or name in ("include", "exists")) and not _DOMAIN.fullmatch(value or ""):
        raise _Broken(f"{why}, which needs the name of a domain")
    return found[1] or "+", name, value or "", lengths


def _is_network(text: str, version: int) -> bool:
    try:
        return ip_network(text, strict=False).version == version
    except ValueError:
        return False


def _lengths(written: str) -> tuple[int, int]:
    """The prefix lengths for IPv4 and IPv6 in `/24//64`."""
    four, _, six = written.partition("//")
    four = four.removeprefix("/")
    return int(four) if four else 32, int(six) if six else 128
