"""Who is who: one person in several spellings, and the people and roles that an allowed_signers file lists for a key. Pure."""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from exporter.evidence.records import Record

__all__ = [
    "Person",
    "Signer",
    "Signers",
    "distinct",
    "fingerprint",
    "names_nobody",
    "public_keys",
    "role_named",
    "same_person",
]

_PLAIN = r"[^\s<>()\[\]\"',;:|]"
_ADDRESS = re.compile(rf"(?<!{_PLAIN}){_PLAIN}+@{_PLAIN}+")  # only from where a word begins: a long one is read once
_MARK = re.compile(r"(?:[-*+\u2022]|\d{1,4}[.)]|\[[ x]?\])\s+")
_FILLER = re.compile("[\u115f\u1160\u3164\uffa0]")  # drawn as blanks, though they count as letters
_IGNORED = re.compile("[\u034f\u17b4\u17b5\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SUBADDRESS = re.compile(r"\+[^@]*(?=@)")
_KEY_TYPE = re.compile(
    r"(?:sk-)?(?:ssh-(?:rsa|dss|ed25519|ed448)|ecdsa-sha2-[\w-]+)(?:-cert-v\d\d@openssh\.com|@openssh\.com)?"
)
_ACCENTS = re.compile("[\u0300-\u036f]")
#: Letters of other alphabets that look like Latin ones, small or large, and the typographic forms of signs within names.
_LOOKALIKES = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
    "\u2018\u2019\u02bc\u00b4`\u2010\u2011\u2012\u2013\u2014",
    "abekmhopctyxijs" + "abezhikmnoptux" + "'" * 5 + "-" * 5,
)
_BRACKETED = re.compile(r"(?<=.)[(\[][^()\[\]]*[)\]]")
_NOBODY = re.compile(
    r"tb[acd]|to be (?:announced|confirmed|decided|defined|done|named)|todo|fixme|n/?a|not applicable|none|nobody|no one|unknown"
    r"|anonymous|(?:some|any|every)(?:one|body)|all|me|myself|us|(?:jane|john) doe|(?:max|erika) mustermann"
    r"|(?:your |full |first |last |user)?name|first last|root|admin(?:istrator)?|\$\{?\w+|\$\(\w+|%\w+%|\{?\{.*"
    r"|(?:your name )?<?you@example\.(?:com|org)|e-?mail(?: address)?|\d+|https?://\S*|.*\[bot\]?"
    r"|(?:(?:test|demo|example|sample|dummy)[ _-]?)?(?:user|person|people|participant|attendee|trainee|employee"
    r"|member|guest)s?[ _-]?\d*|(?:new hire|contractor|engineer|operator|developer|candidate|agent|colleague|team ?mate"
    r"|staff)[ _-]?(?:(?:#|no\.? ?)?\d+|[a-z])"
    r"|placeholder|null|nil|undefined|x{2,}|(?:[^\w\ufffd]|_)*"
)
_FIELD = re.compile(r'(?:"(?:\\.|[^"])*"|[^\s"])+')


def _folded(text: str) -> str:
    """A name as it is compared: without case, compatibility forms, kinds and numbers of blanks, and invisible characters."""
    text = _IGNORED.sub("", _FILLER.sub(" ", unicodedata.normalize("NFKC", text)))
    text = unicodedata.normalize("NFKC", text.replace("\u0130", "i").casefold())
    return " ".join("".join(character for character in text if unicodedata.category(character) != "Cf").split())


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as named in a record, a roster or allowed_signers: by an address, by a name, or by both, as `Name <address>`."""

    name: str
    address: str | None

    @classmethod
    def of(cls, text: str) -> Person:
        """Read a name or an address."""
        folded = _folded(text)
        while match := _MARK.match(folded):  # of a list
            folded = folded[match.end() :]
        found = list(dict.fromkeys(_ADDRESS.findall(folded)))
        if len(found) != 1:
            return cls(_in_order(folded), None)
        name = _folded(folded.replace(found[0], " ").replace("mailto:", " ").replace('"', " "))
        return cls(_in_order(name.strip("<>()[]\"',;:| ")), _plain(found[0]))

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name and self.address else self.address or self.name

    def is_same(self, other: Person) -> bool:
        """Whether both can be one person: by their addresses, where both have one, else by their names."""
        if self.address is not None and other.address is not None:
            return _drawn(self.address) == _drawn(other.address)
        return bool(self.name) and _drawn(self.name) == _drawn(other.name)


@functools.lru_cache(maxsize=20_000)
def _drawn(text: str) -> str:
    """A folded name as it looks: without accents and what is in brackets, in one alphabet, with one kind of apostrophe."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFD", text)).translate(_LOOKALIKES)
    return " ".join(_BRACKETED.sub(" ", plain).split()).lstrip("@") or text


def names_nobody(text: str) -> bool:
    """Whether a text stands where a person will be named: `TBD`, `n/a`, `________`."""
    return _NOBODY.fullmatch(_folded(text).strip("<>()[]{} ")) is not None


def _in_order(name: str) -> str:
    """`lee, ann` as `ann lee`."""
    last, comma, first = name.partition(",")
    return (
        f"{first.strip()} {last}"
        if comma and len(first.split()) == 1 == len(last.split()) and "," not in first
        else name
    )


def _plain(address: str) -> str:
    """An address without what makes no other mailbox of it: a `+suffix`, the spelling of its domain."""
    local, _, domain = _SUBADDRESS.sub("", address).rpartition("@")
    domain = domain.rstrip(".")
    with contextlib.suppress(UnicodeError):  # a domain that cannot exist
        domain = domain.encode("idna").decode("ascii")
    return f"{local}@{domain}"


def distinct(people: Iterable[Person]) -> list[Person]:
    """Each person once. A name alone is whoever has an address beside the same name."""
    found: list[Person] = []
    # Names with addresses first: a bare name, or a bare address, is whoever has it.
    for person in sorted(set(people), key=lambda person: (person.address is None, not person.name, str(person))):
        if not any(person.is_same(other) for other in found):
            found.append(person)
    return found


def role_named(text: str, roles: Iterable[str]) -> str | None:
    """The role of which a text is only the name, with an address or not: `QA lead`, `qa.lead` and `QA Lead <qa@example.com>`."""
    plain = re.sub(r"[\W_]+", "", Person.of(text).name)
    return next((role for role in roles if plain and plain == role.replace("_", "")), None)


def same_person(one: Record, other: Record) -> bool:
    """Whether two records can be by one person: the same key, or a name in common, of those in allowed_signers too."""
    if one.key is not None and one.key == other.key:
        return True
    theirs = [Person.of(name) for name in (other.by, *other.names)]
    return any(Person.of(name).is_same(person) for name in (one.by, *one.names) for person in theirs)


@dataclass(frozen=True, slots=True)
class Signer:
    """One line of an allowed_signers file: `principals`, the fingerprint of its `key`, whether that is an `authority`."""

    principals: tuple[str, ...]
    key: str
    authority: bool = False
    number: int = 0

    def people(self, roles: Iterable[str]) -> tuple[str, ...]:
        """The principals that name a person: neither roles nor patterns."""
        return tuple(
            name for name in self.principals if not role_named(name, roles) and not any(sign in name for sign in "*?!")
        )


@dataclass(frozen=True, slots=True)
class Signers:
    """An allowed_signers file. `unclear` are the numbers of lines that this reads otherwise than their author may think.

    `limited` is whether any of its keys is valid from some time on only.
    """

    lines: tuple[Signer, ...] = ()
    revoked: frozenset[str] = frozenset()
    unclear: tuple[int, ...] = field(default=())
    limited: bool = False

    @classmethod
    def read(cls, content: str) -> Signers:
        """Read a file as ssh-keygen does, and the markers of known_hosts that it takes for a principal."""
        lines: list[Signer] = []
        revoked: set[str] = set()
        unclear: list[int] = []
        for number, text in enumerate(content.splitlines(), 1):
            if not text.strip() or text.lstrip().startswith("#"):
                continue
            first, *rest = _FIELD.findall(text.strip())
            keys = list(public_keys(text))
            if first.startswith("@"):
                revoked.update(keys if first.lower() == "@revoked" else ())
                if not keys or first.lower() != "@revoked":
                    unclear.append(number)
            elif keys:
                options = rest[0].lower() if rest and not _KEY_TYPE.fullmatch(rest[0]) else ""
                names = tuple(name for name in first.strip('"').split(",") if name)
                lines.append(Signer(names, keys[0], "cert-authority" in options.split(","), number))
        return cls(tuple(lines), frozenset(revoked), tuple(unclear), "valid-after" in content.lower())

    def of(self, key: str) -> tuple[Signer, ...]:
        """The lines that list a key by itself, not by who certified it."""
        return tuple(line for line in self.lines if line.key == key and not line.authority)

    def names(self, key: str, roles: Iterable[str]) -> tuple[str, ...]:
        """Every name of the person whose key this is: also those of other keys that are listed for one of them."""
        roles = tuple(roles)
        names = dict.fromkeys(name for line in self.of(key) for name in line.people(roles))
        others = [line.people(roles) for line in self.lines if not line.authority]
        while joined := [listed for listed in others if _share(names, listed)]:
            others = [listed for listed in others if listed not in joined]
            names |= dict.fromkeys(name for listed in joined for name in listed)
        return tuple(names)


def _share(some: Iterable[str], others: Iterable[str]) -> bool:
    people = [Person.of(name) for name in some]
    return any(Person.of(name).is_same(person) for name in others for person in people)


def public_keys(text: str) -> Iterator[str]:
    """The fingerprints of the public keys in a text that has at most one on each line."""
    for line in text.splitlines():
        fields = _FIELD.findall(line)
        for kind, blob in itertools.pairwise(fields):
            if _KEY_TYPE.fullmatch(kind) and (key := fingerprint(blob)):
                yield key
                break


def fingerprint(blob: str) -> str | None:
    """The fingerprint of a public key in Base64, as ssh-keygen prints it; None when it is none."""
    try:
        content = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"SHA256:{base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')}"
