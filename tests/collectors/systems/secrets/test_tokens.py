"""Keys that look strong and are not, by their numbers alone."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from collectors.systems.secrets.judge.tokens import jwks_problems, shared_problems
from collectors.systems.secrets.model.tokens import SigningKey, parse_jwks
from exporter.verdict import Status


def _primes() -> tuple[int, int]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return numbers.p, numbers.q


def _key(first: int, second: int, name: str) -> dict[str, Any]:
    modulus = first * second
    encoded = base64.urlsafe_b64encode(modulus.to_bytes((modulus.bit_length() + 7) // 8)).decode().rstrip("=")
    return {"kty": "RSA", "kid": name, "n": encoded, "e": "AQAB", "alg": "RS256"}


def _read(*keys: dict[str, Any]) -> list[SigningKey]:
    return parse_jwks(json.dumps({"keys": keys}).encode(), "https://login.example/keys")


def test_keys_with_a_prime_in_common_are_none() -> None:
    (p, q), (r, s) = _primes(), _primes()
    common = list(shared_problems(_read(_key(p, q, "one"), _key(p, r, "two"), _key(q, s, "three"))))
    assert {problem.status for problem in common} == {Status.FAILED}
    assert [problem.summary.partition(" of jwks")[0] for problem in common] == [
        "Keys one and two",
        "Keys one and three",
    ]
    sound = _read(_key(p, q, "one"), _key(r, s, "two"), _key(p, q, "the same"))
    assert not list(shared_problems(sound))
    assert not list(jwks_problems("https://login.example/keys", sound))


def test_primes_next_to_each_other_are_found_at_once() -> None:
    p, _ = _primes()
    q = next(number for number in range(p + 2, p + 20_000, 2) if pow(2, number - 1, number) == 1)
    (problem,) = jwks_problems("https://login.example/keys", _read(_key(p, q, "one")))
    assert (problem.status, "is no sound RSA key" in problem.summary) == (Status.FAILED, True)
