"""Secrets in log lines: counted, never shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from collectors.shared.tokens import known_tokens
from collectors.systems.loki.model.lines import Stream

__all__ = ["literally", "secrets_in", "without_secrets"]


def literally(text: str) -> str:
    """A regular expression for this text (letters, digits, hyphens) that does not match itself.

    Loki and the proxies before it log the queries that they are asked: a query with the text in it would find itself.
    """
    middle = len(text) // 2
    return f"{text[:middle]}[{text[middle]}]{text[middle + 1 :]}"


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """What a server said; something else where it repeats what it was asked, with one of these secrets or a part of one in it."""
    if any(part in text for secret in secrets for part in (secret[:8], secret[-8:])):
        return "What was answered instead has the marker's secrets in it, and is not shown."
    return text


_REDACTED = re.compile(
    r"(?i)[*x•#.\-_]+|.*(?:redacted|masked|hidden|filtered|removed|omitted|\*{3}|%2a%2a|xxxx).*|<.*>|null|none|nil|undefined|true|false|empty"
    r"|\$\{.*|%[sv]|required|invalid|incorrect|missing|expired"
)
#: `name=value`, `"name":"value"`, and the same within quoted text. Names are judged by their words, values by their form.
_NAMED = re.compile(
    r"(?<![\w.\-])(?P<name>[A-Za-z_][\w.\-]{0,60})\\*[\"']?\s?[:=]\s?\[?\\*[\"']?(?P<value>[^\s\"'&,;{}\[\]\\]{4,})"
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = frozenset({"password", "passwd", "pwd", "passphrase", "passcode"})
_PASSWORDS_WITHIN = "password", "passwd", "passphrase"  # PGPASSWORD, dbpassword
_TOKENS = frozenset({"secret", "token", "apikey", "credential", "credentials"})
#: Words before `key` and before `token` that tell what it is for.
_KEYS = frozenset(
    {"api", "access", "private", "secret", "account", "auth", "encryption", "signing", "shared", "master"}
)
_HARMLESS_TOKENS = frozenset(
    {"page", "next", "continuation", "continue", "sync", "cursor", "start", "cancellation", "resume", "change"}
)
#: Names of objects and files, and numbers: what programs write as a "secret" or "token" that is none.
_NO_TOKEN = re.compile(r"\d+|[a-z]+(?:[-_.:][a-z]+)*|[a-z0-9.-]*(?:/[a-z0-9._-]+)+/?|/.*|.{0,7}")
_NO_PASSWORD = re.compile(r"[./~].*/.*|/.*")
_WHOLE: Mapping[str, re.Pattern[str]] = {
    "a bearer token": re.compile(r"(?i)\bbearer\s(?![a-z_]{2,20}=\S)(?P<value>[a-z0-9._~+/=*-]{8,})"),
    "basic credentials": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?basic\s(?P<value>[a-z0-9+/*]{8,})"
    ),
    "a cookie": re.compile(
        r"(?i)(?<![\w-])(?:set-)?cookie\\*[\"']?\s?[:=]\s?\[?\\*[\"']?[^\s\"';=]{1,80}=(?P<value>[^\s\"';\\]{8,})"
    ),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{16,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an address with a password": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"']{0,100}:(?P<value>[^\s/@\"']{3,200})@"
    ),
}
_KNOWN = "a token of a known service"


def _named_secret(name: str, value: str) -> bool:
    """Whether a field of this name holds a secret with this value."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _REDACTED.fullmatch(value):
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _PASSWORDS or last.endswith(_PASSWORDS_WITHIN):
        return not _NO_PASSWORD.fullmatch(value)
    if (last in _TOKENS and before not in _HARMLESS_TOKENS) or (last == "key" and before in _KEYS):
        return not _NO_TOKEN.fullmatch(value)
    return False


_CARD = re.compile(r"(?<![\w.-])(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011)([ -]?)\d{4}\1\d{4}\1\d{4}(?![\w.-])")
_AMEX = re.compile(r"(?<![\w.-])3[47]\d\d([ -]?)\d{6}\1\d{5}(?![\w.-])")


def secrets_in(streams: Iterable[Stream], further: Mapping[str, str]) -> Counter[str]:
    """How many lines hold what looks like a secret, by what it looks like."""
    patterns = {**_WHOLE, **{name: re.compile(pattern) for name, pattern in further.items()}}
    found: Counter[str] = Counter()
    for stream in streams:
        for _, line in stream.entries:
            found.update(name for name, pattern in patterns.items() if _shown(pattern, line))
            found.update(_others(line))
    return found


def _others(line: str) -> Iterator[str]:
    if any(_named_secret(match["name"], match["value"]) for match in _NAMED.finditer(line)):
        yield "a password"
    if any(pattern.search(line) for pattern in known_tokens()):
        yield _KNOWN
    if any(map(_card, _CARD.finditer(line))) or any(map(_card, _AMEX.finditer(line))):
        yield "a payment card"


def _shown(pattern: re.Pattern[str], line: str) -> bool:
    """Whether a line has a match that is not what redaction leaves."""
    whole = "value" not in pattern.groupindex
    return any(whole or not _REDACTED.fullmatch(match["value"]) for match in pattern.finditer(line))


def _card(match: re.Match[str]) -> bool:
    """Whether a number has the check digit of a payment card."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
