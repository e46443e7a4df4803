"""Whether the keys that sign tokens are strong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors.systems.secrets.model.tokens import SigningKey, Token, confused, guessed, shared_factors, verifies
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["jwks_problems", "shared_problems", "token_problems"]

_CURVES = frozenset({"P-256", "P-384", "P-521", "secp256k1", "Ed25519", "Ed448"})
_LEAST_BITS = 2048
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512", "ES256K"),
    "OKP": ("EdDSA", "Ed25519", "Ed448"),
}


def jwks_problems(where: str, keys: Sequence[SigningKey]) -> Iterator[Result]:
    """Keys of a set that are secret, known to all, too small, or of a kind that signs nothing."""
    if not keys:
        yield failed(f"{where} has no key that signs tokens.", reason=Reason.MISSING)
    for key in keys:
        name = f"Key {key.id or 'without a kid'} of {where}"
        if key.kind == "oct":
            yield failed(f"{name} is a shared secret, which everybody can read there.", reason=Reason.MISCONFIGURED)
        elif key.private:
            yield failed(f"{name} is published with its private part.", reason=Reason.MISCONFIGURED)
        elif key.published:
            yield failed(
                f"{name} is the example of a standard, whose private part everybody knows.", reason=Reason.MISCONFIGURED
            )
        elif key.algorithm == "none" or key.algorithm.startswith("HS"):
            yield failed(
                f"{name} is for {key.algorithm}, which a public key must not be used for.", reason=Reason.MISCONFIGURED
            )
        else:
            yield from _strength_problems(name, key)


def shared_problems(keys: Sequence[SigningKey]) -> Iterator[Result]:
    """Keys of all sets together that have a prime in common."""
    for one, other in shared_factors(keys):
        yield failed(
            f"Keys {one.id or 'without a kid'} and {other.id or 'without a kid'} of jwks have a prime in common, so that "
            "everybody can compute both.",
            reason=Reason.INVALID,
        )


def _strength_problems(name: str, key: SigningKey) -> Iterator[Result]:
    if key.kind == "RSA" and key.bits < _LEAST_BITS:
        yield failed(f"{name} has {key.bits} bits (at least {_LEAST_BITS} required).", reason=Reason.LIMIT)
    elif key.kind == "RSA" and key.broken:
        yield failed(f"{name} is no sound RSA key: its modulus or exponent is weak.", reason=Reason.INVALID)
    elif key.kind in ("EC", "OKP") and key.curve not in _CURVES:
        yield failed(
            f"{name} is on the curve {key.curve or 'that it does not name'}, which is not one for signatures.",
            reason=Reason.INVALID,
        )
    elif key.kind in ("EC", "OKP") and key.broken:
        yield failed(f"{name} is no point on its curve {key.curve}.", reason=Reason.INVALID)
    elif key.algorithm and key.algorithm not in _ALGORITHMS.get(key.kind, (key.algorithm,)):
        yield failed(
            f"{name} is for {key.algorithm}, by which a key of kind {key.kind} does not sign safely.",
            reason=Reason.INVALID,
        )
    elif key.kind not in ("RSA", "EC", "OKP"):
        yield unknown(f"{name} is of kind {key.kind or 'none'}, which is not known.", reason=Reason.NOT_VERIFIED)


def token_problems(name: str, token: Token, keys: Sequence[SigningKey]) -> Iterator[Result]:
    """A token that is not signed, is signed by a secret that is guessed at once, or by a key that is in no set."""
    if token.algorithm.lower() == "none" or not token.signature:
        yield failed(f"Token {name} is not signed (algorithm {token.algorithm}).", reason=Reason.MISCONFIGURED)
        return
    if token.algorithm.startswith("HS"):
        if guessed(token):
            yield failed(
                f"The secret that signed token {name} is among those that are guessed first.",
                reason=Reason.MISCONFIGURED,
            )
        elif confused(token, keys):
            yield failed(
                f"Token {name} is signed by {token.algorithm} with a public key of `jwks` as its secret, which everybody has.",
                reason=Reason.MISCONFIGURED,
            )
        return
    named = [key for key in keys if key.id == token.key or not token.key]
    if named and not any(verifies(key, token) for key in named):
        yield unknown(
            f"The signature of token {name} is by none of the keys of `jwks` that it could be by, so the key that signed it was "
            "not checked.",
            reason=Reason.INVALID,
        )
    elif not named:
        yield unknown(
            f"Token {name} is signed by a key that is in no key set of `jwks`, so its strength was not checked.",
            reason=Reason.NOT_VERIFIED,
        )
