"""OpenSSH signatures of files: `ssh-keygen -Y` with an allowed_signers file, as a person would verify them by hand."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter.evidence.errors import BadSignature
from exporter.evidence.people import Signers, fingerprint, public_keys
from exporter.options import format_duration
from exporter.positioned_yaml import YamlError, read_bounded
from exporter.verdict import ProbeError, Reason

__all__ = ["NAMESPACE", "BadSignature", "SigningPolicy", "sign", "verify"]

NAMESPACE = "checklist-exporter"
TIMEOUT = timedelta(seconds=5)
_KEY = re.compile(rb"SHA256:[A-Za-z0-9+/=]+")
_KRL = b"SSHKRL\n\0"
_LEAST_RSA = 2048
_MAX_FILE = 4 * 2**20


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """Whose signatures count: `allowed_signers`, and `revoked_keys`, a key revocation list or a file of public keys."""

    allowed_signers: Path
    revoked_keys: Path | None = None

    async def signer(self, content: bytes, signature: Path, principal: str, by: datetime) -> str:
        """The fingerprint of the key with which `principal` signed `content`, `by` then at the latest (aware); see `verify`.

        The key is long enough, was valid by then already, and is not revoked.

        Raises BadSignature when it proves nothing, ProbeError when that could not be found out.
        """
        key = await verify(content, signature, self.allowed_signers, principal)
        signers = self.signers()
        if signers.unclear:
            raise ProbeError(
                f"{self.allowed_signers.name}:{signers.unclear[0]}: markers such as @cert-authority are those of known_hosts, "
                "and ssh-keygen does not honor them here.",
                Reason.MALFORMED,
            )
        signed = _read(signature, "no signature was verified")
        if weak := _weakness(_blob(signed)):
            raise BadSignature(f"The key of {signature.name} is {weak}.")
        if by < datetime.now(UTC) and (signers.limited or b"-cert-" in _text(_blob(signed))):
            await verify(content, signature, self.allowed_signers, principal, by)
        if {key, *_certified(signed)} & signers.revoked:
            raise BadSignature(
                f"{self.allowed_signers.name} marks the key of {signature.name} as @revoked.", Reason.EXPIRED
            )
        await self._not_revoked(key, signature)
        return key

    def signers(self) -> Signers:
        """The file as read now. Raises ProbeError when it cannot be read."""
        return Signers.read(_read(self.allowed_signers, "no signature was verified").decode("utf-8", "replace"))

    async def _not_revoked(self, key: str, signature: Path) -> None:
        if self.revoked_keys is None:
            return
        listed = _read(self.revoked_keys, "it is not known whether a key is revoked")
        name = self.revoked_keys.name
        if listed.startswith(_KRL):
            public = _public_key(_read(signature, "no signature was verified"))
            code, out, err = await _ssh_keygen(
                "-Q", "-f", str(self.revoked_keys), "/dev/stdin", given=public, timeout=TIMEOUT
            )
            if code == 0 and b"REVOKED" not in out:
                return
            if code != 1:
                why = err.decode("utf-8", "replace").strip().replace(str(self.revoked_keys), name) or f"code {code}"
                raise ProbeError(f"Revoked keys could not be read: {why.rstrip('.')}.", Reason.MALFORMED)
        else:
            lines = [line for line in listed.decode("utf-8", "replace").splitlines() if line.strip()]
            lines = [line for line in lines if not line.lstrip().startswith("#")]
            keys = list(public_keys("\n".join(lines)))
            if len(keys) != len(lines) or not listed:  # an empty file is one that was not written to its end
                raise ProbeError(
                    f"{name} is neither a key revocation list nor a list of public keys.", Reason.MALFORMED
                )
            if not {key, *_certified(_read(signature, "no signature was verified"))}.intersection(keys):
                return
        raise BadSignature(f"The key of {signature.name} is revoked in {name}.", Reason.EXPIRED)


async def verify(
    content: bytes, signature: Path, allowed_signers: Path, principal: str, at: datetime | None = None
) -> str:
    """The fingerprint of the key with which `principal` signed `content`, as it is listed now, or as it was `at` a time (aware).

    Raises BadSignature when the content was altered, the signature is for another purpose, or allowed_signers does not list its
    key for the principal; ProbeError when that could not be found out.
    """
    _readable(signature, allowed_signers)
    arguments = ["-Y", "verify", "-f", str(allowed_signers), "-I", principal, "-n", NAMESPACE, "-s", str(signature)]
    if at is not None:
        arguments += ["-O", f"verify-time={at.astimezone():%Y%m%d%H%M%S}"]
    code, out, err = await _ssh_keygen(*arguments, given=content, timeout=TIMEOUT)
    if code == 0 and (key := _KEY.search(out)):
        return key[0].decode()
    why = err.decode("utf-8", "replace").strip().partition("\n")[0].replace(f"{allowed_signers}:", "line ")
    if b"Could not verify signature" not in out:
        raise ProbeError(
            f"Signature {signature.name} could not be verified: ssh-keygen exited with {code} ({why or 'silent'})."
        )
    if not why:
        raise BadSignature(f"{allowed_signers.name} does not list the key of {signature.name} for {principal}.")
    reason = Reason.EXPIRED if "expired" in why else Reason.INVALID
    raise BadSignature(f"Signature {signature.name} does not verify for {principal}: {why}.", reason)


def _readable(signature: Path, allowed_signers: Path) -> None:
    """ssh-keygen says the same of a missing file as of a wrong signature."""
    if not signature.is_file():
        raise BadSignature(f"Signature file {signature.name} does not exist.", Reason.MISSING)
    for path in (allowed_signers, signature):
        _read(path, "no signature was verified")


def _read(path: Path, so: str) -> bytes:
    try:
        return read_bounded(path, _MAX_FILE)
    except OSError as error:
        reason = Reason.DENIED if isinstance(error, PermissionError) else Reason.UNOBSERVED
        raise ProbeError(f"{path.name} cannot be read, so {so}: {error.strerror}.", reason) from None
    except YamlError as error:
        raise ProbeError(f"{path.name} cannot be read, so {so}: {error.problem}.", Reason.LIMIT) from None


def _public_key(signature: bytes) -> bytes:
    """The public key that an armored signature carries, as a line of an .pub file. The signature was verified before."""
    key = _blob(signature)
    return _text(key) + b" " + base64.b64encode(key) + b"\n"


def _blob(signature: bytes) -> bytes:
    armored = b"".join(line for line in signature.splitlines() if not line.startswith(b"-----"))
    try:
        return _text(base64.b64decode(armored)[10:])  # behind "SSHSIG" and the version
    except (binascii.Error, ValueError):
        raise ProbeError("A signature could not be read.", Reason.MALFORMED) from None


def _weakness(key: bytes) -> str | None:
    """Why a key is too weak to sign for anybody, or None; `key` is a public key or a certificate."""
    kind = _text(key)
    if kind.startswith(b"ssh-dss"):
        return "a DSA key, which OpenSSH accepts no longer"
    if not kind.startswith(b"ssh-rsa"):
        return None
    rest = key[4 + len(kind) :]
    for _ in range(2 if b"-cert-" in kind else 1):  # a nonce, the exponent
        rest = rest[4 + len(_text(rest)) :]
    bits = int.from_bytes(_text(rest)).bit_length()
    return f"an RSA key of {bits} bits (at least {_LEAST_RSA} wanted)" if bits < _LEAST_RSA else None


def _text(content: bytes) -> bytes:
    """The first string of what OpenSSH writes: its length, then its bytes."""
    return content[4 : 4 + int.from_bytes(content[:4], "big")]


def _certified(signature: bytes) -> Iterator[str]:
    """The fingerprints by which a certificate that signed may be revoked: its own, and that of the authority that issued it."""
    key = _blob(signature)
    kind = _text(key)
    if b"-cert-" not in kind:
        return
    yield _fingerprint(key)
    rest, strings = key[4 + len(kind) :], []
    for _ in range(1 + _KEY_FIELDS.get(kind.partition(b"-cert-")[0], 1)):  # a nonce, then the key itself
        rest = rest[4 + len(_text(rest)) :]
    rest = rest[12:]  # serial, type
    for _ in range(2):  # key id, principals
        rest = rest[4 + len(_text(rest)) :]
    rest = rest[16:]  # valid after, valid before
    for _ in range(4):  # critical options, extensions, reserved, the authority's key
        strings.append(_text(rest))
        rest = rest[4 + len(strings[-1]) :]
    yield _fingerprint(strings[-1])


def _fingerprint(blob: bytes) -> str:
    return fingerprint(base64.b64encode(blob).decode()) or ""


_KEY_FIELDS = {
    b"ssh-rsa": 2, b"ssh-dss": 4, b"sk-ssh-ed25519": 2, b"sk-ecdsa-sha2-nistp256": 3,
    **{b"ecdsa-sha2-nistp" + size: 2 for size in (b"256", b"384", b"521")},
}  # fmt: skip


async def sign(path: Path, key: Path) -> Path:
    """Sign a file with a private key (or, with its public half, through the agent); returns the signature's path, `<path>.sig`.

    ssh-keygen asks for a passphrase on the terminal. Raises ProbeError when it did not sign.
    """
    code, _, err = await _ssh_keygen(
        "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(path), given=None, timeout=timedelta(minutes=2)
    )
    signature = path.with_name(f"{path.name}.sig")
    if code != 0 or not signature.exists():
        why = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ProbeError(f"{path.name} was not signed: ssh-keygen exited with {code} ({why or 'silent'}).")
    return signature


async def _ssh_keygen(*arguments: str, given: bytes | None, timeout: timedelta) -> tuple[int, bytes, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh-keygen", *arguments, stdin=DEVNULL if given is None else PIPE, stdout=PIPE, stderr=PIPE
        )
    except FileNotFoundError:
        raise ProbeError(
            "ssh-keygen is not installed (package openssh-client), so no signature was verified.", Reason.MISSING
        ) from None
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            out, err = await process.communicate(given)
    except TimeoutError:
        raise ProbeError(f"ssh-keygen did not finish within {format_duration(timeout)}.", Reason.TIMEOUT) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out, err
