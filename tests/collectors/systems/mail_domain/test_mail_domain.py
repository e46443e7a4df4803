"""SPF, DKIM and DMARC as BIND serves them, with a name for each state."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from collectors.systems.mail_domain.check import see_mail_domain
from collectors.systems.mail_domain.model import MailDomain
from exporter.verdict import Result, Status
from tests.servers.bind import Bind, bind, txt, zone
from tests.servers.process import LOOPBACK, free_port

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN


def key(bits: int) -> str:
    """The public part of a new key of RSA, as a record has it."""
    public = rsa.generate_private_key(65537, bits).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


ED25519 = base64.b64encode(
    ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()
STRONG, WEAK = key(2048), key(1024)

OWN = "v=spf1 ip4:203.0.113.5 -all"

#: name of a domain → its SPF records, the verdict, and words of the sentence
SPF: dict[str, tuple[str | list[str], Status, str]] = {
    "ok": ("v=spf1 ip4:203.0.113.5 -all", OK, "does not allow everyone"),
    "soft": ("v=spf1 include:ok.test ~all", OK, ""),
    "upper": ("V=SPF1 IP4:203.0.113.5 -ALL", OK, ""),
    "redirect": ("v=spf1 redirect=ok.test", OK, ""),
    "macro": ("v=spf1 exists:%{ir}._ip.%{d} -all", OK, ""),
    "half": (
        "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all",
        FAILED,
        "allows everyone to send in its name, such as 192.0.2.55",
    ),
    "low": (
        "v=spf1 ip4:0.0.0.0/1 -all",
        FAILED,
        "far more addresses than anyone has to send in its name, such as 0.255",
    ),
    "quarter": ("v=spf1 ip4:64.0.0.0/2 ~all", FAILED, "far more addresses than anyone has"),
    "eighth": ("v=spf1 ip4:160.0.0.0/3 -all", FAILED, "far more addresses than anyone has"),
    "wide": ("v=spf1 ip4:34.0.0.0/8 ip4:10.0.0.0/8 ip4:127.0.0.1 -all", OK, ""),
    "half6": ("v=spf1 ip6:2000::/3 -all", FAILED, "such as 2001:db8::55"),
    "plus": ("v=spf1 +all", FAILED, "allows everyone"),
    "bare": ("v=spf1 all", FAILED, "allows everyone"),
    "through": ("v=spf1 include:plus.test -all", FAILED, "allows everyone"),
    "two": (["v=spf1 -all", "v=spf1 ip4:203.0.113.5 -all"], FAILED, "two.test has 2 SPF records"),
    "neutral": ("v=spf1 ip4:203.0.113.5", WARNING, "does not say what becomes of others"),
    "question": ("v=spf1 ?all", WARNING, "does not say what becomes of others"),
    "typo": ("v=spf1 ipv4:203.0.113.5 -all", FAILED, "has ipv4:203.0.113.5, which is no valid term"),
    "late": ("v=spf1 -all ip4:300.1.1.1", FAILED, "ip4:300.1.1.1, which is no network of IPv4"),
    "long": ("v=spf1 a/33 -all", FAILED, "a/33, whose prefix is too long"),
    "short": ("v=spf1 ip4:203.0.113 -all", FAILED, "has ip4:203.0.113, which is no network of IPv4"),
    "mask": ("v=spf1 ip4:203.0.113.0/255.255.255.0 -all", FAILED, "which is no network of IPv4"),
    "nameless": ("v=spf1 include: -all", FAILED, "has include:, which needs the name of a domain"),
    "numeric": ("v=spf1 a:203.0.113.5 -all", FAILED, "has a:203.0.113.5, which needs the name of a domain"),
    "argued": ("v=spf1 -all:test", FAILED, "which takes no name"),
    "prefixed": ("v=spf1 include:ok.test/24 -all", FAILED, "which takes no prefix"),
    "again": ("v=spf1 redirect=ok.test redirect=ok.test", FAILED, "which is no valid term"),
    "percent": ("v=spf1 exists:%i.test -all", FAILED, "which needs the name of a domain"),
    "umlaut": ("v=spf1 a:mäil.test -all", FAILED, "which needs the name of a domain"),
    "gone": ("v=spf1 include:nowhere.test -all", FAILED, "includes nowhere.test, which has no SPF record"),
    "lost": ("v=spf1 redirect=nowhere.test", FAILED, "redirects to nowhere.test"),
    "loop": ("v=spf1 include:loop.test -all", FAILED, "more than 10 DNS lookups"),
    "many": ("v=spf1 " + " ".join(f"a:mail{n}.test" for n in range(11)) + " -all", FAILED, "more than 10 DNS lookups"),
    "ten": ("v=spf1 " + " ".join(f"a:mail{n}.test" for n in range(10)) + " -all", OK, ""),
    "void": (
        "v=spf1 a:none1.test a:none2.test a:none3.test -all",
        FAILED,
        "more than 2 of its DNS lookups find nothing",
    ),
    "parked": ("v=spf1 -all", FAILED, "parked.test allows nobody to send in its name"),
    "softly": ("v=spf1 ~all", FAILED, "softly.test allows nobody"),
    "nowhere-near": ("v=spf1 include:parked.test -ip4:203.0.113.5 -all", FAILED, "allows nobody"),
    "moved": ("v=spf1 redirect=parked.test", FAILED, "allows nobody"),
    "inside": ("v=spf1 ip4:10.0.0.0/8 ip4:192.168.0.5 ip6:fd00::/8 -all", FAILED, "allows nobody"),
    "unheard": ("v=spf1 a:none1.test mx:nullmx.test -all", FAILED, "allows nobody"),
    "partly": ("v=spf1 ip4:10.0.0.0/8 mx:listed.test -all", OK, ""),
    "other": ("v=spf10 -all", FAILED, "Domain other.test has no SPF record"),
    "nomail": ("v=spf1 mx:nullmx.test ip4:203.0.113.5 -all", OK, ""),
    "failing": ("v=spf1 include:sub.broken.test -all", UNKNOWN, "The TXT records of sub.broken.test were not received"),
}

DKIM: dict[str, tuple[list[str], Status, str]] = {
    "strong": ([f"v=DKIM1; k=rsa; p={STRONG}"], OK, "is a key for DKIM"),
    "plain": ([f"p={STRONG}"], OK, ""),
    "ed": ([f"v=DKIM1; k=ed25519; p={ED25519}"], OK, ""),
    "weak": ([f"v=DKIM1; p={WEAK}"], WARNING, "has 1024 bits (2048 are usual)"),
    "revoked": (["v=DKIM1; p="], FAILED, "is revoked (p= is empty)"),
    "cut": ([f"v=DKIM1; p={STRONG[:200]}"], FAILED, "has a key that is none"),
    "quoted": ([f'v=DKIM1; p={STRONG[:200]}" "{STRONG[200:]}'], FAILED, "has a key that is none"),
    "testing": ([f"v=DKIM1; t=y; p={STRONG}"], WARNING, "is in test mode"),
    "sha1": ([f"v=DKIM1; h=sha1; p={STRONG}"], FAILED, "allows no SHA-256"),
    "tls": ([f"v=DKIM1; s=tlsrpt; p={STRONG}"], FAILED, "is not for e-mail"),
    "twice": ([f"v=DKIM1; p={STRONG}", f"v=DKIM1; p={STRONG}"], FAILED, "has 2 TXT records"),
    "absent": ([], FAILED, "does not exist"),
    "late": ([f"k=rsa; p={STRONG}; v=DKIM1"], FAILED, "has a TXT record that is no key"),
}

DMARC: dict[str, tuple[str | list[str] | None, Status, str]] = {
    "reject": ("v=DMARC1; p=reject", OK, "is reject"),
    "spaced": ("v=DMARC1 ; p=quarantine ; rua=mailto:a@example.com", OK, "is quarantine"),
    "watch": ("v=DMARC1; p=none; rua=mailto:a@example.com", WARNING, "is none (_dmarc.watch.test)"),
    "trial": ("v=DMARC1; p=reject; t=y", WARNING, "is in test mode (_dmarc.trial.test, t=y)"),
    "enforced": ("v=DMARC1; p=reject; t=n; psd=n", OK, "is reject"),
    "zero": ("v=DMARC1; p=reject; pct=0", WARNING, "applies to 0% of the messages"),
    "nothing": (None, FAILED, "has no DMARC record"),
    "double": (["v=DMARC1; p=reject", "v=DMARC1; p=none"], FAILED, "has 2 DMARC records"),
    "cluttered": ("v=DMARC1; p=reject; rua;; fo=1; later", OK, "is reject"),
    "wrong": ("v=DMARC1; p=deny", FAILED, "without a valid policy (p=deny)"),
    "parent": ("v=DMARC1; p=reject; sp=none", OK, ""),
    "sub.parent": (None, WARNING, "is none (_dmarc.parent.test)"),
    "sub.reject": (None, OK, "is reject"),
}


def _asks_itself(records: str | list[str]) -> bool:
    """Whether a policy depends on the MX or address of its own domain."""
    return not {"a", "mx"}.isdisjoint(term.partition("/")[0] for term in str(records).split())


def split(text: str) -> list[str]:
    """A text as the strings of one record: none has more than 255 characters."""
    return [text[start : start + 255] for start in range(0, len(text), 255)]


@pytest.fixture(scope="module")
def server() -> Iterator[Bind]:
    """Every state under a name of its own."""
    records = zone({name: value for name, (value, *_) in SPF.items()})
    records += zone({f"_dmarc.{name}": value for name, (value, *_) in DMARC.items() if value})
    records += [
        txt(f"{selector}._domainkey.ok", *split(text)) for selector, (texts, *_) in DKIM.items() for text in texts[:1]
    ]
    records += [txt("twice._domainkey.ok", *split(f"v=DKIM1; k=rsa; p={STRONG}"))]
    records += [txt(f"strong._domainkey.{name}", *split(f"v=DKIM1; p={STRONG}")) for name in DMARC]
    records += [f"mail{number} IN A 203.0.113.{number + 10}" for number in range(11)]
    records += [txt("*._domainkey.wild", "v=spf1 -all"), txt("_dmarc.ok", "v=DMARC1; p=reject")]
    records += [
        "listed IN MX 10 mail1",
        txt("listed", "v=spf1 mx a:mail2.test/31 -all"),
        txt("_dmarc.listed", "v=DMARC1; p=reject"),
    ]
    records += [
        "nullmx IN MX 0 .",
        txt("nullmx", OWN),
        "silent IN A 203.0.113.5",
        txt("silent", OWN),
        *("dangling IN MX 10 gone", txt("dangling", OWN)),
        *("half-gone IN MX 10 gone", "half-gone IN MX 20 mail1", txt("half-gone", OWN)),
        *("looped IN MX 10 here", "here IN A 127.0.0.1", txt("looped", OWN)),
        *("numbered IN MX 10 203.0.113.9.", txt("numbered", OWN)),
    ]
    records += [txt("mute", OWN), txt("_dmarc.mute", "v=DMARC1; p=reject")]
    records += [f"{name} IN MX 10 mail1" for name, (value, *_) in SPF.items() if not _asks_itself(value)]
    with bind(records) as running:
        yield running


async def judged(server: Bind, name: str = "ok.test", **options: Any) -> Result:
    settings = {"name": name, "dkim_selectors": ("strong",), "nameservers": (f"{LOOPBACK}:{server.port}",), **options}
    return await see_mail_domain(MailDomain.model_validate(settings, strict=False))


async def test_records_that_receivers_accept(server: Bind) -> None:
    result = await judged(server)
    assert (result.status, result.measurements) == (OK, {"spf_lookups": 0}), result
    result = await judged(server, sending_addresses=("203.0.113.5",))
    assert "allows 203.0.113.5 and nobody else" in result.summary
    result = await judged(server, sending_addresses=("203.0.113.5", "203.0.113.6"))
    assert (result.status, "does not allow 203.0.113.6, which messages are sent from (fail)" in result.summary) == (
        FAILED,
        True,
    )


@pytest.mark.parametrize("name", SPF)
async def test_spf_is_evaluated(server: Bind, name: str) -> None:
    _, status, words = SPF[name]
    assert server.texts(f"{name}.test")  # it is served as written
    result = await judged(server, return_path=f"{name}.test")
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_servers_that_take_mail_may_send(server: Bind) -> None:
    for address, status in (("203.0.113.11", OK), ("203.0.113.12", OK), ("203.0.113.13", OK), ("203.0.113.14", FAILED)):
        result = await judged(server, return_path="listed.test", sending_addresses=(address,))
        assert result.status is status, (address, result.summary)


@pytest.mark.parametrize("selector", DKIM)
async def test_a_key_has_to_be_of_use(server: Bind, selector: str) -> None:
    _, status, words = DKIM[selector]
    result = await judged(server, dkim_selectors=(selector,))
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_wildcard_is_no_key(server: Bind) -> None:
    assert server.texts("anything._domainkey.wild.test")
    result = await judged(server, "wild.test", return_path="ok.test", dkim_selectors=("s1",))
    assert (result.status, "s1._domainkey.wild.test has a TXT record that is no key" in result.summary) == (
        FAILED,
        True,
    )


@pytest.mark.parametrize("name", DMARC)
async def test_a_policy_has_to_be_enforced(server: Bind, name: str) -> None:
    _, status, words = DMARC[name]
    result = await judged(server, f"{name}.test", return_path="ok.test")
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_receivers_reject_what_cannot_bounce(server: Bind) -> None:
    for name, status, words in (
        ("silent.test", OK, ""),  # an address takes mail where there is no MX
        ("mute.test", FAILED, "mute.test has neither an MX record nor an address"),
        ("nullmx.test", FAILED, "nullmx.test has a null MX record"),
        ("dangling.test", FAILED, "dangling.test has MX records whose hosts have no address"),
        ("half-gone.test", OK, ""),
        ("numbered.test", FAILED, "numbered.test has MX records whose hosts have no address"),
        ("looped.test", FAILED, "looped.test has mail servers at 127.0.0.1 alone"),
    ):
        result = await judged(server, return_path=name)
        assert (result.status, words in result.summary) == (status, True), result.summary


async def test_no_answer_is_no_fact(server: Bind) -> None:
    result = await judged(server, "example.com", return_path="example.com")  # not its zone: refused
    assert (result.status, "no resolver answers or knows them" in result.summary) == (UNKNOWN, True), result.summary
    silent = await judged(server, nameservers=(f"{LOOPBACK}:{free_port()}",), timeout="500ms")
    assert silent.status is UNKNOWN, silent.summary


@pytest.mark.parametrize(
    "options",
    [
        {"name": "example"},
        {"name": "-a.example.com"},
        {"dkim_selectors": ()},
        {"dkim_selectors": ("a b",)},
        {"dkim_selectors": ("",)},
        {"sending_addresses": ("mail.example.com",)},
        {"nameservers": ("ns.example.com",)},
        {"nameservers": ("127.0.0.1:0",)},
        {"timeout": "0s"},
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"name": "example.com", "dkim_selectors": ("s1",), **options}
    with pytest.raises(ValidationError):
        MailDomain.model_validate(whole, strict=False)
