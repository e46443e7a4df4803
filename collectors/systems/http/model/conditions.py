"""Conditions on an answer, in the Common Expression Language (CEL): compiled when the configuration is read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Any

from collectors.shared.cel import Facts, Language, json_of
from exporter.reply import Reply

__all__ = ["Condition", "Expression", "Quantity", "names", "observed", "unmet", "value_of"]

_ANSWERS = Language(
    status="int",
    headers="map(string, string)",
    cookies="map(string, string)",
    json="dyn",
    text="string",
    latency="duration",
    certificate_expires_in="duration",
)
_CHARSET = re.compile(r'(?i)charset="?([\w-]+)')
_CHARSETS = frozenset(
    {"iso-8859-1", "iso-8859-15", "windows-1252", "windows-1251", "utf-16", "shift_jis", "gb18030", "euc-kr"}
)

Condition = Annotated[str, _ANSWERS.condition]
"""What must be true of an answer, such as `json.status == "up"`."""

Expression = Annotated[str, _ANSWERS.reads("a text", "STRING", "DYN")]
"""A text to take out of an answer, such as `json.access_token`."""

Quantity = Annotated[str, _ANSWERS.reads("a number", "INT", "UINT", "DOUBLE", "DYN")]
"""A number to take out of an answer, such as `json.usage.total_tokens`."""


def names(text: str) -> frozenset[str]:
    """Which parts of the answer an expression is about."""
    return _ANSWERS.names(text)


def observed(reply: Reply, seconds: float) -> Mapping[str, Any]:
    """The values of the variables for an answer; `json` is left out where the body is none, and so is what is not encrypted."""
    facts = Facts(
        status=reply.status,
        headers=dict(reply.headers.items()),
        cookies=dict(_cookies(reply)),
        text=_text(reply),
        latency=timedelta(seconds=seconds),
    )
    if (expiry := _expiry(reply.certificate)) is not None:
        facts["certificate_expires_in"] = expiry - datetime.now(UTC)
    body = reply.body.removeprefix(codecs.BOM_UTF8)  # browsers ignore it
    with suppress(ValueError, RecursionError):
        facts["json"] = json_of(body)
    return facts


def _expiry(certificate: bytes) -> datetime | None:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc if certificate else None
    except ValueError:  # OpenSSL took it, and the library does not
        return None


def _text(reply: Reply) -> str:
    """The body in the character set that it names, where that is one of those that pages have; else as UTF-8."""
    found = _CHARSET.search(reply.headers.get("content-type", ""))
    if found is None or found[1].lower() not in _CHARSETS:
        return reply.text
    return reply.body.decode(found[1], "replace")


def _cookies(reply: Reply) -> Iterator[tuple[str, str]]:
    for header in reply.headers.get_list("set-cookie"):
        try:
            cookie = SimpleCookie(header)
        except CookieError:
            continue
        yield from ((name, morsel.value) for name, morsel in cookie.items())


def value_of(expression: str, facts: Mapping[str, Any]) -> Any:
    """The value that an expression takes out of an answer; None where the answer has none."""
    return _ANSWERS.value_of(expression, facts)


def unmet(condition: str, reply: Reply, facts: Mapping[str, Any], *, show_texts: bool = True) -> str | None:
    """What was observed instead, as a clause; None where the condition is true.

    Without `show_texts` no text of the answer is in it: answers to a login have tokens.
    """
    absent = {"json": f"the body is {reply.kind}", "certificate_expires_in": "no certificate was seen"}
    return _ANSWERS.unmet(condition, facts, absent, show_texts=show_texts)
