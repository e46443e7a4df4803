"""What the words of a setting's name say that it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["NAMING_KEYS", "OBJECT_WORDS", "kind_of", "names_password", "own_value", "words_of"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
#: Words at the end of a name that do not change what it is for: API_KEY_2, PASSWORD_PROD, SECRET_KEY_BASE.
_TRAILING = frozenset(
    {
        "v",
        "value",
        "plain",
        "plaintext",
        "cleartext",
        "current",
        "old",
        "new",
        "prod",
        "production",
        "b64",
        "base",
        "string",
        "text",
    }
)
_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "passwords")
_SHORT_PASSWORDS = frozenset(
    {
        *(
            "pass",
            "pwd",
            "pw",
            "dbpass",
            "userpass",
            "storepass",
            "keypass",
            "requirepass",
            "masterauth",
            "psw",
            "bindpw",
            "authtok",
            "psk",
        ),
        *(
            "passe",
            "passwort",
            "kennwort",
            "contrasena",
            "contraseña",
            "senha",
            "wachtwoord",
            "haslo",
            "hasło",
            "parola",
        ),
    }
)
_WORDS_IN_PASS = ("bypass", "compass", "encompass", "overpass", "surpass", "trespass", "underpass")
_TOKENS = (
    "secret",
    "token",
    "apikey",
    "apikeys",
    "credential",
    "credentials",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "masterkey",
)
_KEYS = frozenset(
    {
        "api", "access", "private", "secret", "account", "auth", "encryption", "encrypt", "signing", "shared", "master",
        "session", "cookie", "app", "jwt", "hmac", "aes", "webhook", "cipher", "crypto", "service", "storage", "deploy",
        "license", "stream", "rtmp",
    }
)  # fmt: skip
#: Keys that name something, before which digits of a key are none.
NAMING_KEYS = frozenset(
    {
        "public",
        "partition",
        "cache",
        "sort",
        "primary",
        "row",
        "group",
        "object",
        "idempotency",
        "shard",
        "foreign",
    }
)
#: Stores whose password is their AUTH: REDIS_AUTH.
_AUTHS = ("redis", "valkey", "keydb", "sentinel", "mongo", "mysql", "smtp")
_HARMLESS_BEFORE = frozenset(
    {"page", "next", "continuation", "sync", "cursor", "start", "resume", "public", "max", "min", "eos", "bos"}
)
#: Words of names whose value is the name of an object that holds the secret.
OBJECT_WORDS = frozenset(
    {"tls", "cert", "certificate", "pull", "image", "ref", "existing", "name", "kubernetes", "mount"}
)

_DEFAULTED = re.compile(
    r"\$\{(?!(?:env|file|sys|vault|secret|secrets|aws|ssm|s3|gcp|keyvault|prop|bundle|const|config):[^:}]*(?::[^-:}][^:}]*)?\})"
    r"(?:env:)?[\w.]+:-?(?P<value>[^}$]{3,})\}"
)


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `dbPassword` and `DB_PASSWORD` have two."""
    return [word.lower() for word in _WORDS.findall(name)]


def kind_of(words: Sequence[str]) -> str:
    """`password`, `token` or nothing, for the words of a name."""
    left = list(words)
    while len(left) > 1 and (left[-1].isdigit() or left[-1] in _TRAILING):
        left.pop()
    if not left:
        return ""
    last, before = left[-1], left[-2] if len(left) > 1 else ""
    if _is_password(last):
        return "password"
    if last.endswith(_TOKENS) and before not in _HARMLESS_BEFORE:
        return "token"
    if (
        (last == "key" and before in _KEYS)
        or (last == "keys" and before in ("api", "app"))
        or last in ("salt", "pepper")
    ):
        return "token"
    if last == "auth" and before.startswith(_AUTHS):
        return "token"
    return ""


def names_password(words: Sequence[str]) -> bool:
    """Whether the last word of a name is one for passwords."""
    return bool(words) and _is_password(words[-1])


def _is_password(word: str) -> bool:
    return (
        word.endswith((*_PASSWORDS, "pwd"))
        or word in _SHORT_PASSWORDS
        or (word.endswith("pass") and word not in _WORDS_IN_PASS)
    )


def own_value(value: str) -> str:
    """The default within `${NAME:-default}`; else the value itself."""
    match = _DEFAULTED.fullmatch(value)
    return match["value"] if match else value
