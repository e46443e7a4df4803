"""What fields that hold a secret are called, and the forms of values that are none."""

from __future__ import annotations

import re

from collectors.systems.loki.model.harmless import is_token_of_no_secret

__all__ = ["may_be_secret"]

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
_TOKENS = frozenset({"secret", "jwt", "token", "apikey", "credential", "credentials", "creds"})
_HASH = re.compile(r"[0-9A-Fa-f]{32,128}")
_KEY_BASE = ["secret", "key", "base"]
#: Words before `key` and before `token` that show what it is for.
_KEYS = frozenset(
    {
        "api",
        "access",
        "private",
        "secret",
        "account",
        "auth",
        "encryption",
        "signing",
        "shared",
        "preshared",
        "master",
        "jwt",
        "hmac",
    }
    | {"subscription", "functions", "webhook", "unseal"}
    | {"openai", "anthropic", "stripe", "sendgrid", "mailgun", "twilio", "datadog", "aws", "azure"}
)
_HARMLESS_TOKENS = frozenset(
    {"page", "next", "continuation", "continue", "sync", "cursor", "start", "cancellation", "resume", "change"}
    | {"pagination", "scroll", "lock", "fencing", "request", "idempotency"}
)
#: Names of objects and files, and numbers: what programs write as a "secret" or "token" that is none.
_NO_TOKEN = re.compile(r"\d+|[a-z]+(?:[-_.:][a-z]+)*|[a-z0-9.-]*(?:/[a-z0-9._-]+)+/?|/.*|.{0,7}")
_NO_PASSWORD = re.compile(r"[./~].*/.*|/.*|\d+(?:px|em|%)")


def may_be_secret(name: str, value: str) -> bool:
    """Whether a field of this name holds a secret, with a value of this form."""
    words = [word.lower() for word in _WORDS.findall(name)]
    last, before = words[-1] if words else "", words[-2] if len(words) > 1 else ""
    if _named_password(name.lower(), last, before, value):
        return not _NO_PASSWORD.fullmatch(value)
    if last == "hash" and before in _PASSWORDS:
        return bool(_HASH.fullmatch(value))
    if last in _CODES or (last == "code" and before in _CODES_BEFORE):
        return bool(_CODE.fullmatch(value))
    if last == "auth" and before:
        return bool(_MIXED.fullmatch(value)) and not _METHOD.fullmatch(value)
    if (
        (last in _TOKENS and before not in _HARMLESS_TOKENS)
        or (last == "key" and before in _KEYS)
        or words[-3:] == _KEY_BASE
        or words[-2:] == ["code", "verifier"]
    ):
        return not _NO_TOKEN.fullmatch(value) and not is_token_of_no_secret(value)
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
