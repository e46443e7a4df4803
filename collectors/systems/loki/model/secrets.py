"""Secrets in log lines: counted, never shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from collectors.shared.tokens import known_tokens
from collectors.systems.loki.model.forms import FORMS
from collectors.systems.loki.model.harmless import is_redacted, is_said_of_it
from collectors.systems.loki.model.lines import Stream
from collectors.systems.loki.model.names import may_be_secret
from collectors.systems.secrets.model.commands import passwords_in

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


#: `name=value`, `"name":"value"`, and the same within quoted text and within other values. Names are judged by their words,
#: values by their form.
_NAMED = re.compile(
    r"(?:(?<![\w.\-])|(?<=%26))(?P<name>[^\W\d][\w.\-]{0,60})\\*[\"']?\]?(?:\s{0,4}(?:=>|[:=]|%3[Dd])|\s->)\s{0,4}(?:string\(\d+\)\s|[ub](?=[\"'])|\[)?\\*[\"']?(?!//)(?=(?P<value>[^\s\"'&,;{}\[\]\\]{4,200}))"
)
#: Options of a command, `--password=value` or `--password value`: the latter is a sentence unless it looks like no word.
_OPTION = re.compile(
    r"(?<![\w\-])--?(?P<name>[A-Za-z][\w\-]{2,40})(?:=[\"']?|\s+(?=\S*[\dA-Z!$%^&*+]))(?P<value>[^\s\"'&,;{}\[\]\\\-][^\s\"',;{}\[\]\\]{3,})"
)
#: A name and its value as two fields, and as an element of XML.
_PAIR = re.compile(
    r"(?i)\\*[\"'](?:name|key|field)\\*[\"']\s?:\s?\\*[\"'](?P<name>[\w.\- ]{1,60})\\*[\"']\s?,\s?\\*[\"']value\\*[\"']\s?:"
    r"\s?\\*[\"'](?P<value>[^\s\"'\\]{4,})"
)
#: A name and its value as elements of a list.
_LISTED = re.compile(
    r"[(\[]\\*[\"'](?P<name>[\w.\-]{1,60})\\*[\"'],\s?\\*[\"'](?P<value>(?=[^\"'\\]*\d)[^\s\"'\\]{4,})\\*[\"']\s?[)\]]"
)
_ELEMENT = re.compile(r"<(?P<name>[A-Za-z][\w:.\-]{0,60})(?:\s[^<>]{0,80})?>(?P<value>[^<>\s]{4,200})</(?P=name)>")
_KNOWN = "a token of a known service"


def _named_secret(match: re.Match[str]) -> bool:
    """Whether a field is called as a secret is, and its value may be one."""
    name, value = match["name"], match["value"]
    if not may_be_secret(name, value) or is_redacted(value):
        return False
    line = match.string
    before, between = (
        line[max(0, match.start("name") - 80) : match.start("name")],
        line[match.end("name") : match.start("value")],
    )
    return not is_said_of_it(before, between, value, line[match.end("value") :][:1])


_CARD = re.compile(r"(?<![\w.-])(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011)([ -]?)\d{4}\1\d{4}\1\d{4}(?![\w.-])")
_AMEX = re.compile(r"(?<![\w.-])3[47]\d\d([ -]?)\d{6}\1\d{5}(?![\w.-])")


def secrets_in(streams: Iterable[Stream], further: Mapping[str, str]) -> Counter[str]:
    """How many lines hold what looks like a secret, by what it looks like."""
    patterns = {**FORMS, **{name: re.compile(pattern) for name, pattern in further.items()}}
    found: Counter[str] = Counter()
    for stream in streams:
        for _, line in stream.entries:
            shown = (name for name, pattern in patterns.items() if _shown(pattern, line))
            found.update({*shown, *_others(line)} or _commanded(line))
    return found


#: An account number, whose check digits tell it from other texts, and a number of US social security.
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")
_SOCIAL = re.compile(r"(?i)\b(?:ssn|social.security)\D{0,20}(?!000|666|9)\d{3}([- ]?)(?!00)\d\d\1(?!0000)\d{4}\b")
#: A code that a sentence has.
_TOLD = re.compile(
    r"(?i)\b(?:one.time (?:code|password)|otp|pin(?: code)?|verification code|security code"
    r"|(?:2fa|mfa) code)\b(?: is| was)?[:= ]{1,3}\d{4,8}\b"
    r"|\b(?:recovery|backup) codes?(?: is| was)?[:= ]{1,3}[0-9a-z]{4,6}(?:-[0-9a-z]{4,6})+\b"
    r"|\byour (?:\w{1,20} )?code(?: is|:) \d{4,8}\b|\b(?:cvv|cvc)2?\b[\"']?\s?[:=]\s?[\"']?\d{3,4}\b"
)


def _others(line: str) -> Iterator[str]:
    named = (match for pattern in (_NAMED, _OPTION, _PAIR, _LISTED, _ELEMENT) for match in pattern.finditer(line))
    if any(map(_named_secret, named)):
        yield "a password"
    if _TOLD.search(line):
        yield "a code for one person"
    if any(map(_account, _IBAN.finditer(line))):
        yield "a bank account"
    if _SOCIAL.search(line):
        yield "a social security number"
    if any(pattern.search(line) for pattern in known_tokens()):
        yield _KNOWN
    if any(map(_card, _CARD.finditer(line))) or any(map(_card, _AMEX.finditer(line))):
        yield "a payment card"


#: What a line has that may be such a command or statement; the search for all of them takes ten times as long.
_COMMAND = re.compile(
    r"(?i) -\w|--\w|\||identified|password '|sqlplus|rabbitmqctl|\bmc |authtoken|unseal|configure set|net use|rclone"
    r"|\{(?:plain|cleartext)\}"
)
_WORD = re.compile(r"[a-z]+[.,;:!?]?|--?\w.*|\d{1,5}")


def _commanded(line: str) -> set[str]:
    """What is a password where a command or a statement takes one; a word that follows an option is hardly one."""
    if not _COMMAND.search(line):
        return set()
    values = (value for value in passwords_in(line) if not is_redacted(value) and not _WORD.fullmatch(value))
    return {"a password of a command"} if any(values) else set()


def _shown(pattern: re.Pattern[str], line: str) -> bool:
    """Whether a line has a match that is not what redaction leaves."""
    if "value" not in pattern.groupindex:
        return bool(pattern.search(line))
    shown = (next(value for value in match.groups() if value is not None) for match in pattern.finditer(line))
    return any(not is_redacted(value) for value in shown)


def _account(match: re.Match[str]) -> bool:
    """Whether a text has the check digits of an IBAN."""
    text = match[0].replace(" ", "")
    digits = "".join(str(int(character, 36)) for character in text[4:] + text[:4])
    return 15 <= len(text) <= 34 and int(digits) % 97 == 1


def _card(match: re.Match[str]) -> bool:
    """Whether a number has the check digit of a payment card."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
