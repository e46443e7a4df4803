"""Words that people write where a secret is to come, in several languages."""

from __future__ import annotations

import re

__all__ = ["is_filler"]

_PART = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FILLERS = frozenset(
    {
        "a", "abc", "abcd", "access", "aendern", "an", "api", "app", "auth", "client", "cookie", "database", "db", "jwt", "pg",
        "session", "temporary", "temp", "and", "any", "asdf", "bar", "baz", "be", "before", "bitte", "cambiame",
        "cambiar", "change", "changed", "changeme", "changez", "clave", "contrasena", "contraseña", "cámbiame", "de",
        "default", "dein", "demo", "dev", "development", "do", "dummy", "ein", "einsetzen", "eintragen", "empty", "enter",
        "ersetzen", "example", "fake", "fill", "foo", "for", "geheim", "geheimnis", "haslo", "hasło", "here", "hidden",
        "hier", "hunter", "i", "ici", "ihr", "in", "insecure", "insert", "is", "it", "kennwort", "key", "later", "letmein",
        "local", "localhost", "masked", "modifier", "moi", "mot", "mudar", "must", "my", "never", "non", "not", "of", "only", "own",
        "parola", "pass", "passe", "passphrase", "password", "passwort", "placeholder", "please", "prod", "production",
        "provide", "put", "pwd", "qwerty", "random", "real", "redacted", "removed", "remplacer", "replace", "replaced",
        "salt",
        "sample", "secret", "secreto", "secure",
        "strong", "senha", "set", "setme", "some", "something", "string", "super", "tbd", "test",
        "testing", "tests", "the", "this", "to", "todo", "token", "trocar", "undefined", "unsafe", "unset", "use", "value",
        "via", "wachtwoord", "welcome", "will", "with", "your", "yours", "ändern", "изменить", "пароль", "パスワード", "密码",
    }
)  # fmt: skip
#: Of these alone, a value may be the name of a Secret: `prod-secret`.
_ALSO_NAMES = frozenset(
    {
        "access", "and", "api", "app", "auth", "client", "cookie", "database", "db", "default", "demo", "dev", "development",
        "example", "for", "hidden", "in", "jwt", "key", "local", "my", "of", "or", "own", "pass", "passphrase", "password",
        "pg", "prod", "production", "pwd", "random", "real", "sample", "secret", "session", "some", "string", "super", "test",
        "testing", "tests", "the", "to", "token", "use",
    }
)  # fmt: skip
#: What a setting may say of a secret without being one: which kind it is of, and where it is used.
_KINDS = (
    *(["token"], ["key"], ["value"], ["string"], ["local"], ["not", "set"], ["prod"], ["production"], ["password"]),
    *(["secret"], ["pass"], ["random"], ["hidden"], ["masked"], ["removed"]),
)


def is_filler(value: str, *, of_password: bool) -> bool:
    """Whether a value has nothing but words that hold the place of a secret, and numbers as everybody counts.

    A word that is capitalised, or several of them with spaces, are texts of an interface. What is not `of_password` needs a word
    that is in no name of an object.
    """
    if len(value) > 60 or any(mark in value for mark in " /:$") or (value.istitle() and value.isalpha()):
        return False
    parts = [part.lower() for part in _PART.findall(_CAMEL.sub(" ", value))]
    words = [part for part in parts if not part.isdecimal()]
    if not all(part in "01234567890" or not part.strip(part[0]) for part in parts if part.isdecimal()):
        return False
    if not words:
        return bool(parts) and len(value) >= 4
    if words in _KINDS or not (of_password or any(word not in _ALSO_NAMES for word in words)):
        return False
    return all(map(_is_made_of_fillers, words))


def _is_made_of_fillers(word: str) -> bool:
    """Whether a word is one of them, or several of them joined."""
    if word in _FILLERS:
        return True
    return any(word[:end] in _FILLERS and _is_made_of_fillers(word[end:]) for end in range(2, min(len(word), 12)))
