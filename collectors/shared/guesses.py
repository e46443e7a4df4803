"""Secrets that sign tokens and that everybody tries first."""

from __future__ import annotations

import base64
import string
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["guesses"]

#: Secrets that manuals, examples and frameworks use, and that every tool tries first.
_WORDS = (
    "secret", "Secret", "SECRET", "secret123", "password", "changeme", "change-me", "change_me", "supersecret", "super-secret",
    "super_secret", "your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", "a-string-secret-at-least-256-bits-long",
    "your_jwt_secret", "your-jwt-secret", "your-secret-key", "your_secret_key", "your-secret", "mysecret", "my-secret",
    "my_secret", "mysecretkey", "my-secret-key", "secretkey", "secret-key", "secret_key", "secretKey", "jwtsecret", "jwt-secret",
    "jwt_secret", "jwtSecret", "JWT_SECRET", "shhhhh", "shh", "test", "testing", "test-secret", "dev", "dev-secret",
    "development", "default", "key", "private", "privatekey", "token", "admin", "root", "guest", "123456", "12345678",
    "123456789", "1234567890", "qwerty", "letmein", "abc123", "s3cr3t", "example", "placeholder", "todo", "none", "null",
    "keyboard cat", "topsecret", "top-secret", "0123456789abcdef", "01234567890123456789012345678901",
    "12345678901234567890123456789012", "0123456789", "password123", "password1", "welcome", "iloveyou", "hello", "world",
    "foobar", "foo", "bar", "local", "dummy", "sample", "demo", "staging", "production", "app", "app-secret", "app_secret",
    "api-secret", "apikey", "api_key", "auth-secret", "auth_secret", "session-secret", "session_secret", "some-secret",
    "some_secret", "verysecret", "very-secret", "very_secret", "veryverysecret", "very_secret_key", "supersecretkey",
    "super-secret-key", "super_secret_key", "SuperSecretKey", "my-super-secret-key", "my_super_secret_key", "mySecretKey",
    "MySecretKey", "ThisIsASecretKey", "this-is-a-secret", "this_is_a_secret", "thisisasecret", "thisismysecret",
    "this is a secret", "secret_key_here", "your-secret-key-here", "your_secret_key_here", "YOUR_SECRET_KEY", "jwt_secret_key",
    "jwt-secret-key", "jwt-key", "jwt_key", "jwtkey", "my_jwt_secret", "my-jwt-secret", "myjwtsecret", "changeit", "change-this",
    "change-me-please", "hs256-secret", "signing-key", "signingkey", "hmac-secret", "dev_secret", "dev-secret-key", "test_secret",
    "test-secret-key", "testsecret", "django-insecure-key", "insecure", "insecure-secret", "notsecure", "not-a-secret", "unsafe",
    "your-super-secret-jwt-token-with-at-least-32-characters-long", "super-secret-jwt-token-with-at-least-32-characters-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "AyM1SysPpbyDfgZld3umj1qzKObwVMko", "q2gYFiwrSDFsPbZg",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970", "a-secret-key", "a-very-secret-key",
    "gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C", "GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk",
    "secrets",
    "secretOrPrivateKey",
    "shhhhhared-secret",
)  # fmt: skip
_LENGTHS = (8, 16, 24, 32, 48, 64)


def guesses() -> Iterator[bytes]:
    """The empty secret; words as they are, with the end of a line, encoded in base64, and what they encode in base64 or as digits
    of hexadecimal numbers; one character many times.
    """
    yield b""
    for word in _WORDS:
        yield from (word.encode(), f"{word}\n".encode(), base64.b64encode(word.encode()))
        with suppress(ValueError):
            yield base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        with suppress(ValueError):
            yield bytes.fromhex(word)
    for char in string.ascii_letters + string.digits + "\0":
        yield from ((char * length).encode() for length in _LENGTHS)
