"""OpenSSH signatures of files: `ssh-keygen -Y` with an allowed_signers file, as a human would verify them by hand."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from datetime import timedelta
from pathlib import Path

from exporter.options import format_duration
from exporter.verdict import ProbeError

__all__ = ["NAMESPACE", "BadSignature", "sign", "verify"]

NAMESPACE = "checklist-exporter"
TIMEOUT = timedelta(seconds=5)
_KEY = re.compile(rb"SHA256:[A-Za-z0-9+/=]+")


class BadSignature(Exception):
    """The signature does not prove what it should."""


async def verify(content: bytes, signature: Path, allowed_signers: Path, principal: str) -> str:
    """The fingerprint of the key with which `principal` signed `content`.

    Raises BadSignature when the content was altered, the signature is for another purpose, or allowed_signers does not list its
    key for the principal; ProbeError when that could not be found out.
    """
    _readable(signature, allowed_signers)
    arguments = ("-Y", "verify", "-f", str(allowed_signers), "-I", principal, "-n", NAMESPACE, "-s", str(signature))
    code, out, err = await _ssh_keygen(*arguments, given=content, timeout=TIMEOUT)
    if code == 0 and (key := _KEY.search(out)):
        return key[0].decode()
    why = err.decode("utf-8", "replace").strip().partition("\n")[0].replace(f"{allowed_signers}:", "line ")
    if b"Could not verify signature" not in out:
        raise ProbeError(
            f"Signature {signature.name} could not be verified: ssh-keygen ended with {code} ({why or 'silent'})."
        )
    if not why:
        raise BadSignature(f"{allowed_signers.name} does not list the key of {signature.name} for {principal}.")
    raise BadSignature(f"Signature {signature.name} does not verify for {principal}: {why}.")


def _readable(signature: Path, allowed_signers: Path) -> None:
    """ssh-keygen says the same of a missing file as of a wrong signature."""
    if not signature.is_file():
        raise BadSignature(f"Signature file {signature.name} does not exist.")
    for path in (allowed_signers, signature):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ProbeError(f"{path.name} cannot be read, so no signature was verified: {error.strerror}.") from None


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
        raise ProbeError(f"{path.name} was not signed: ssh-keygen ended with {code} ({why or 'silent'}).")
    return signature


async def _ssh_keygen(*arguments: str, given: bytes | None, timeout: timedelta) -> tuple[int, bytes, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh-keygen", *arguments, stdin=DEVNULL if given is None else PIPE, stdout=PIPE, stderr=PIPE
        )
    except FileNotFoundError:
        raise ProbeError(
            "ssh-keygen is not installed (package openssh-client), so no signature was looked at."
        ) from None
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            out, err = await process.communicate(given)
    except TimeoutError:
        raise ProbeError(f"ssh-keygen did not end within {format_duration(timeout)}.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out, err
