"""What stands in log lines where a secret would, and is none: traces of redaction, validation errors, types, references."""

from __future__ import annotations

import re

__all__ = ["is_redacted", "is_said_of_it", "is_token_of_no_secret"]

_REDACTED = re.compile(
    r"(?i)[*x•#.\-_]+|.*(?:redacted|masked|hidden|filtered|removed|omitted|\*{3}|%2a%2a|xxxx).*|<.*>|null|none|nil|undefined|true|false|empty"
    r"|\$\{.*|%[sv]|required|invalid|incorrect|missing|expired|protected|\w*secret\w*\(.*"
)
#: What a program reports of a password, and what a schema has as its type; a sentence may end with it.
_REPORTED = re.compile(
    r"(?i)(?:yes|no|ok|(?:un)?set|(?:un)?changed|updated|reset|(?:in)?valid|(?:in)?correct|wrong|provided|given|present|absent|(?:un|mis)?match(?:ed|es)?"
    r"|success(?:ful(?:ly)?)?|succeeded|passed|failed|failure|error|(?:dis|en)abled?|accepted|rejected|denied|verified|required|optional|default"
    r"|chauthtok|cannot|must|should|does|unknown|supplied"
    r"|str(?:ing)?|text|bool(?:ean)?|bytes|object|(?:var)?char\S*|optional|secretstr)[).,;:!?]{0,3}"
)
#: How a sentence about a password begins, where another word follows.
_SENTENCE = re.compile(
    r"(?i)(?:the|this|that|your|new|old|both|please|pass(?:word|phrase)s?|field|value|length|at|too|is|are|was|has|needs|may|can'?t?|contains?|minimum|maximum"
    r"|not|and|for|from|with|sorry)"
)
#: Where the secret is to be had, instead of the secret.
_REFERENCE = re.compile(
    r"\$\w+|%\w+%|arn:aws\S*|projects/[\w-]+/secrets/\S*|(?:vault|op|env|file|ref\+\w+|secretref|keyvault|ssm|awssm|gcpsm|doppler|akv|hmac-sha256):\S+"
)
#: What Java and Python print of an object, and a call of one of its methods.
_OBJECT = re.compile(r"[\w.$]+@[0-9a-f]{5,8}\W?|[\w.]*[A-Z][a-z]+[A-Z]\w*\(.*")
#: What makes a hash, or the name of a resource, of the value after it.
_BEFORE = re.compile(r"(?i)\b(?:sha-?\d{1,3}|md5|hash)\s(?:of\s)?(?:the\s|given\s)*\\?[\"']?$|\barn:aws\S{0,60}:$")
#: Names of classes and of members of an enumeration, names of objects of Kubernetes, numbers with a unit.
_IDENTIFIER = re.compile(
    r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,})(?:[-_.:]?(?:[A-Z][a-z]+|[a-z]{2,}|[A-Z]{2,}))*\W?"
    r"|(?=.{0,60}[g-z])[a-z]{2,}(?:[-.][a-z0-9]{1,12}){1,8}|[\d.]+[a-zµ%]{0,3}"
    r"|[a-z]\w*=[^=\s]\S*|(?:com|org|net|io|android)(?:\.\w+){1,6}(?:/\d+)?:?"
)


def is_redacted(value: str) -> bool:
    """Whether a value is what redaction leaves."""
    return _REDACTED.fullmatch(value) is not None


def is_said_of_it(before: str, between: str, value: str, after: str) -> bool:
    """Whether a value says something of a secret: with what the line has before its name, between the two, and after it."""
    return (
        any(form.fullmatch(value) is not None for form in (_REPORTED, _REFERENCE, _OBJECT))
        or (_SENTENCE.fullmatch(value) is not None and "=" not in between and after[:1] in (" ", "'"))
        or _BEFORE.search(before) is not None
    )


def is_token_of_no_secret(value: str) -> bool:
    """Whether a value is what else is called a token, a key or a secret: a word, an object's name, a measure."""
    return _IDENTIFIER.fullmatch(value) is not None
