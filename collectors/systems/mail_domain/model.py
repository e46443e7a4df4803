"""What the records of a domain that sends e-mail mean: policies of SPF, keys of DKIM, policies of DMARC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import Field, field_validator

from exporter.options import Duration, Options

__all__ = [
    "STRANGERS",
    "DkimRecord",
    "DmarcRecord",
    "MailDomain",
    "SpfAnswer",
    "SpfOutcome",
    "dkim_of",
    "dmarc_of",
    "spf_records",
    "tags_of",
]

_NAME = r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}$"

#: Addresses from which nobody sends, in all parts of the Internet: of documentation (RFC 5737, RFC 3849), of this network, of
#: carriers and of links. A policy that lets all of them send lets everyone; one that lets some has networks that are far too large.
STRANGERS = (
    *("192.0.2.55", "198.51.100.77", "203.0.113.99", "2001:db8::55"),
    *("0.255.255.254", "100.127.255.254", "169.254.255.254"),
)


class MailDomain(Options):
    """The domain in whose name the product sends e-mail, as receivers look it up in DNS."""

    name: str = Field(pattern=_NAME, description="The domain of the sender that people see.")
    return_path: str | None = Field(
        None, pattern=_NAME, description="The domain that bounces go to, which SPF is about, where it is another one."
    )
    dkim_selectors: tuple[str, ...] = Field(
        min_length=1, description="Selectors of the keys that messages are signed with, such as s1."
    )
    sending_addresses: tuple[str, ...] = Field(
        (), description="IP addresses that messages are sent from, each of which SPF has to allow."
    )
    nameservers: tuple[str, ...] = Field(
        (), description="Resolvers to ask, as address or address:port; the system's by default."
    )
    timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="Timeout of one lookup in total.")

    @field_validator("dkim_selectors")
    @classmethod
    def _labels(cls, selectors: tuple[str, ...]) -> tuple[str, ...]:
        for selector in selectors:
            if not all(
                label and len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum()
                for label in selector.split(".")
            ):
                raise ValueError("expected selectors such as s1, without ._domainkey")
        return selectors

    @field_validator("sending_addresses")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            ip_address(address)  # a ValueError that names what was expected
        return addresses

    @field_validator("nameservers")
    @classmethod
    def _servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            address_and_port(server)
        return servers

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Address and port of each resolver."""
        return [address_and_port(server) for server in self.nameservers]


def address_and_port(server: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53` as address and port. Raises ValueError for anything else."""
    address, port = server, "53"
    if server.startswith("["):
        address, _, port = server[1:].partition("]")
        port = port.removeprefix(":") or "53"
    elif server.count(":") == 1:
        address, _, port = server.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("expected a port from 1 to 65535")
    return str(ip_address(address)), int(port)


def tags_of(record: str, *, lenient: bool = False) -> dict[str, str] | None:
    """The tags of a record such as `v=DKIM1; p=…`, their names in small letters; None where it has another form, or one twice.

    A `lenient` reading leaves out what is no tag, as receivers do in policies of DMARC (RFC 7489, 6.3).
    """
    tags: dict[str, str] = {}
    for part in record.strip().rstrip(";").split(";"):
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if lenient and not (equals and name):
            continue
        if not equals or not name or name in tags:
            return None
        tags[name] = value.strip()
    return tags


# SPF


class SpfAnswer(StrEnum):
    """What a policy says of an address (RFC 7208)."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SpfOutcome:
    """What the policy of a domain says of an address, why it is not valid, and how many lookups that took."""

    address: str
    answer: SpfAnswer
    why: str = ""
    lookups: int = 0


def spf_records(texts: Sequence[str]) -> list[str]:
    """The SPF records among TXT records."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


# DKIM


@dataclass(frozen=True, slots=True)
class DkimRecord:
    """A key by its selector: why it is of no use, or `bits` of an RSA key (None of others) and whether it is in test mode."""

    selector: str
    problem: str = ""
    bits: int | None = None
    testing: bool = False


def dkim_of(selector: str, texts: Sequence[str]) -> DkimRecord:
    """What the TXT records at a selector are worth."""
    if not texts:
        return DkimRecord(selector, "does not exist")
    if len(texts) > 1:
        return DkimRecord(selector, f"has {len(texts)} TXT records, which makes it undefined")
    tags = tags_of(texts[0])
    if tags is None or "p" not in tags or tags.get("v", "DKIM1") != "DKIM1" or "v" in list(tags)[1:]:
        return DkimRecord(selector, "has a TXT record that is no key")
    if not tags["p"]:
        return DkimRecord(selector, "is revoked (p= is empty)")
    if "s" in tags and not {"*", "email"} & set(_words(tags["s"])):
        return DkimRecord(selector, f"is not for e-mail (s={tags['s'][:40]})")
    if "h" in tags and "sha256" not in _words(tags["h"]):
        return DkimRecord(selector, f"allows no SHA-256 (h={tags['h'][:40]})")
    return _key_of(selector, tags)


def _key_of(selector: str, tags: Mapping[str, str]) -> DkimRecord:
    testing = "y" in _words(tags.get("t", ""))
    kind = tags.get("k", "rsa").lower()
    if kind not in ("rsa", "ed25519"):
        return DkimRecord(selector, f"has a key of the kind {kind[:40]}, which receivers do not know")
    try:
        key = base64.b64decode("".join(tags["p"].split()), validate=True)
        if kind == "ed25519":
            return DkimRecord(selector, "" if len(key) == 32 else "has a key that is none", testing=testing)
        read = load_der_public_key(key)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return DkimRecord(selector, "has a key that is none")
    if not isinstance(read, RSAPublicKey):
        return DkimRecord(selector, "has a key that is none of RSA")
    return DkimRecord(selector, bits=read.key_size, testing=testing)


def _words(value: str) -> list[str]:
    return [word.strip().lower() for word in value.split(":")]


# DMARC


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """The policy for a domain: at which name it was found, why it is not valid, and what is done with messages that fail."""

    name: str
    problem: str = ""
    policy: str = ""
    percent: int = 100
    testing: bool = False


def dmarc_of(name: str, texts: Sequence[str], *, inherited: bool) -> DmarcRecord | None:
    """The policy among TXT records, None where there is none. One that is `inherited` by a subdomain applies its `sp`."""
    found = [
        text
        for text in texts
        if text.replace(" ", "").lower().startswith("v=dmarc1;") or text.strip().lower() == "v=dmarc1"
    ]
    if not found:
        return None
    if len(found) > 1:
        return DmarcRecord(name, f"has {len(found)} DMARC records, so receivers use none")
    tags = tags_of(found[0], lenient=True)
    if tags is None:
        return DmarcRecord(name, "has a DMARC record that is not valid")
    policy = (tags.get("sp") if inherited else None) or tags.get("p", "")
    if policy.lower() not in ("none", "quarantine", "reject"):
        return DmarcRecord(name, f"has a DMARC record without a valid policy (p={policy[:40]})")
    percent = tags.get("pct", "100")
    if not percent.isascii() or not percent.isdigit() or int(percent) > 100:
        return DmarcRecord(name, f"has a DMARC record with pct={percent[:40]}")
    testing = tags.get("t", "n").lower() == "y"
    return DmarcRecord(name, policy=policy.lower(), percent=int(percent), testing=testing)
