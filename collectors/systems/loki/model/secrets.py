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
#: `name=value`, `"name":"value"`, and the same within quoted text and within other values. Names are judged by their words,
#: values by their form.
_NAMED = re.compile(
    r"(?:(?<![\w.\-])|(?<=%26))(?P<name>[^\W\d][\w.\-]{0,60})\\*[\"']?\s?(?:=>|->|[:=]|%3[Dd])\s?\[?\\*[\"']?(?!//)(?=(?P<value>[^\s\"'&,;{}\[\]\\]{4,200}))"
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
_ELEMENT = re.compile(r"<(?P<name>[A-Za-z][\w:.\-]{0,60})(?:\s[^<>]{0,80})?>(?P<value>[^<>\s]{4,200})</(?P=name)>")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = frozenset(
    {"password", "passwd", "pwd", "pw", "psk", "passphrase", "passcode", "passwort", "kennwort", "contraseña", "contrasena"}
    | {"senha", "heslo", "wachtwoord", "lösenord", "adgangskode"}
    | {"hasło", "haslo", "şifre", "пароль", "密码", "密碼", "パスワード", "비밀번호"}
)  # fmt: skip
#: Words before `pass` that make no password of it.
_PASSING = frozenset(
    {
        "first",
        "second",
        "third",
        "last",
        "next",
        "each",
        "single",
        "low",
        "high",
        "band",
        "render",
        "by",
        "test",
        "tests",
        "all",
        "boarding",
    }
)
_PASSWORDS_IN_WORDS = "motdepasse", "mot_de_passe", "mot-de-passe"
#: What is sent to one person to be typed in once.
_CODES = frozenset({"otp", "totp", "pin"})
_CODES_BEFORE = frozenset({"verification", "mfa", "2fa", "onetime", "otp", "sms", "security"})
_CODE = re.compile(r"\d{4,8}")
_PASSWORDS_WITHIN = "password", "passwd", "passphrase"  # PGPASSWORD, dbpassword
_PASS_OF = re.compile(
    "(?:db|root|user|admin|smtp|mail|ftp|ldap|bind|my|mysql|pg|postgres|mongo|redis|amqp|rabbitmq|nats|http|proxy|wifi|app|require)pass"
)
#: Settings of Redis and OpenLDAP that are passwords, and what they are set to where they are switches.
_AUTHS = "redis_auth", "redisauth", "rediscli_auth", "valkey_auth", "valkeycli_auth", "masterauth", "bindpw"
_SWITCHED = re.compile(r"(?i)enabled?|disabled?|optional|yes|default|acl|basic|success(?:ful)?|succeeded|failed|\d+")
#: Ways to log in, which names that end in `auth` have as values as well.
_METHOD = re.compile(
    r"(?i)(?:\w+[-_])?(?:basic|digest|ntlm|o?auth|kerberos|krb|ldap|saml|oidc|m?tls|ssl|scram|plain|login|sha|md5|x509|jwt|cert|aws|user|v\d)"
    r"[\w.-]*"
)
#: A value that is hardly a word: letters with digits.
_MIXED = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[^\s/]{6,}")
_TOKENS = frozenset({"secret", "token", "apikey", "credential", "credentials", "creds"})
_KEY_BASE = ["secret", "key", "base"]
#: Words before `key` and before `token` that show what it is for.
_KEYS = frozenset(
    {"api", "access", "private", "secret", "account", "auth", "encryption", "signing", "shared", "master", "jwt"}
    | {"openai", "anthropic", "stripe", "sendgrid", "mailgun", "twilio", "datadog", "aws", "azure"}
)
_HARMLESS_TOKENS = frozenset(
    {"page", "next", "continuation", "continue", "sync", "cursor", "start", "cancellation", "resume", "change"}
)
#: Names of objects and files, and numbers: what programs write as a "secret" or "token" that is none.
_NO_TOKEN = re.compile(r"\d+|[a-z]+(?:[-_.:][a-z]+)*|[a-z0-9.-]*(?:/[a-z0-9._-]+)+/?|/.*|.{0,7}")
_NO_PASSWORD = re.compile(r"[./~].*/.*|/.*|\d+(?:px|em|%)")
_WHOLE: Mapping[str, re.Pattern[str]] = {
    "a bearer token": re.compile(r"(?i)\bbearer\s(?![a-z_]{2,20}=\S)(?P<value>[a-z0-9._~+/=*-]{8,})"),
    "basic credentials": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?basic\s(?P<value>[a-z0-9+/*]{8,})"
    ),
    "a token": re.compile(
        r"(?i)\bauthorization\\?[\"']?\s?[:=]\s?\\?[\"']?(?:token|apikey|api-key)\s(?P<value>[\w.~+/=*-]{12,})"
    ),
    "a cookie": re.compile(
        r"(?i)(?<![\w-])(?:set-)?cookie\\*[\"']?\s?[:=]\s?\[?\\*[\"']?(?:[^\s\"';=]{1,80}=[^\s\"';\\]{0,7};\s?){0,8}"
        r"[^\s\"';=]{1,80}=(?P<value>[^\s\"';\\]{8,})"
    ),
    "a SAML message": re.compile(r"\bSAML(?:Response|Request)\b[\"']?\s?[:=]\s?[\"']?(?P<value>[\w%+/=-]{32,})"),
    "a hash of a password": re.compile(
        r"\$(?:2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|argon2(?:id|i|d)\$v=|[56]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$)"
    ),
    "a password in a sentence": re.compile(
        r"(?i)\b(?:password|passwd|passphrase|passwort|pw)\s(?:is\s|was\s)?[\"']?(?!\S*(?:sha|md5|bcrypt|argon|scrypt|\bv\d))(?=[^\s\"']*\d)"
        r"(?=[^\s\"']*[a-z])(?P<value>[^\s\"'=:,;()]{7,})"
    ),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{16,}"),
    "a private key": re.compile(
        r"-----BEGIN (?:[A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?|USER NKEY SEED|NATS USER JWT)-----"
        r"|\bAGE-SECRET-KEY-1[0-9A-Z]{40}|\bS[UACONX][A-Z2-7]{56}\b"
    ),
    "a password of Redis": re.compile(
        r"(?i)\"AUTH\\*\"\s\\*\"(?:[^\"\\]{1,100}\\*\"\s\\*\")?(?P<value>[^\"\s\\]{4,})\\*\""
        r"|(?-i:\bAUTH\s(?=\S*\d)(?=\S*[a-z])(?P<second>[^\s\"':=]{6,})$)"
        r"|(?:requirepass|masterauth|bindpw)\s\\*[\"']?(?-i:(?=[^\s\"']*[\dA-Z!$%^&*+]))(?P<third>[^\s\"'\\]{4,})"
    ),
    "a login by mail": re.compile(r"\bAUTH (?:PLAIN|LOGIN) (?=\S*[a-z])(?P<value>[A-Za-z0-9+/]{8,}={0,2})(?![^\s\"'])"),
    "a session": re.compile(r"(?i)\b(?:PHPSESSID|JSESSIONID|ASP\.NET_SessionId|connect\.sid)=(?P<value>[\w%.:-]{16,})"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a password of a command": re.compile(
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb[a-z-]*)\s(?:[^|;\n]{0,200}\s)?-p(?P<value>[^\s=\-][^\s\"']{3,})"
        r"|\b(?:docker|podman|buildah|skopeo|oras|az)\slogin\s(?:[^|;\n]{0,200}\s)?-p\s?(?P<fifth>[^\s=\-][^\s\"']{3,})"
        r"|\b(?:sshpass|mongo|mongosh|mongodump)\s(?:[^|;\n]{0,200}\s)?-p\s?(?P<second>[^\s=\-][^\s\"']{3,})"
        r"|\bredis-cli\s(?:[^|;\n]{0,200}\s)?-a\s(?P<third>[^\s\-][^\s\"']{3,})"
        r"|\bcurl\s(?:[^|;\n]{0,200}\s)?(?:-u|--user)\s?[\"']?[^\s:\"']+:(?P<fourth>[^\s\"']{4,})"
    ),
    "a signed address": re.compile(
        r"(?i)(?:[?&](?:x-amz-signature|x-goog-signature|sig)|\bsignature)=(?P<value>[\w%+/=-]{20,})"
    ),
    "an address with a password": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"']{0,100}:(?P<value>[^\s/@\"']{3,200})@"
    ),
}
_KNOWN = "a token of a known service"


def _named_secret(name: str, value: str) -> bool:
    """Whether a field of this name holds a secret with this value."""
    return _may_be_secret(name, value) and not _REDACTED.fullmatch(value)


def _may_be_secret(name: str, value: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    last, before = words[-1] if words else "", words[-2] if len(words) > 1 else ""
    if _named_password(name.lower(), last, before, value):
        return not _NO_PASSWORD.fullmatch(value)
    if last in _CODES or (last == "code" and before in _CODES_BEFORE):
        return bool(_CODE.fullmatch(value))
    if last == "auth" and before:
        return bool(_MIXED.fullmatch(value)) and not _METHOD.fullmatch(value)
    if (
        (last in _TOKENS and before not in _HARMLESS_TOKENS)
        or (last == "key" and before in _KEYS)
        or words[-3:] == _KEY_BASE
    ):
        return not _NO_TOKEN.fullmatch(value)
    return False


def _named_password(whole: str, last: str, before: str, value: str) -> bool:
    """Whether a field of this name, its last two words, holds a password if it has one."""
    if whole in _PASSWORDS or whole.endswith(_PASSWORDS_IN_WORDS):
        return True
    if whole.replace("-", "_").endswith(_AUTHS):
        return not _SWITCHED.fullmatch(value)
    if last in _PASSWORDS or last.endswith(_PASSWORDS_WITHIN):
        return True
    if last == "pass" and not before:
        return bool(_MIXED.fullmatch(value))
    return ((last == "pass" and before not in _PASSING) or bool(_PASS_OF.fullmatch(last))) and not value.isdigit()


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


#: An account number, whose check digits tell it from other texts, and a number of US social security.
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")
_SOCIAL = re.compile(r"(?i)\b(?:ssn|social.security)\D{0,20}(?!000|666|9)\d{3}([- ]?)(?!00)\d\d\1(?!0000)\d{4}\b")
#: A code that a sentence has.
_TOLD = re.compile(
    r"(?i)\b(?:one.time (?:code|password)|otp|pin(?: code)?|verification code|security code)\b(?: is| was)?[:= ]{1,3}\d{4,8}\b"
    r"|\b(?:recovery|backup) codes?(?: is| was)?[:= ]{1,3}[0-9a-z]{4,6}(?:-[0-9a-z]{4,6})+\b"
    r"|\b(?:cvv|cvc)2?\b[\"']?\s?[:=]\s?[\"']?\d{3,4}\b"
)


def _others(line: str) -> Iterator[str]:
    named = (match for pattern in (_NAMED, _OPTION, _PAIR, _ELEMENT) for match in pattern.finditer(line))
    if any(_named_secret(match["name"], match["value"]) for match in named):
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


def _shown(pattern: re.Pattern[str], line: str) -> bool:
    """Whether a line has a match that is not what redaction leaves."""
    if "value" not in pattern.groupindex:
        return bool(pattern.search(line))
    shown = (next(value for value in match.groups() if value is not None) for match in pattern.finditer(line))
    return any(not _REDACTED.fullmatch(value) for value in shown)


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
