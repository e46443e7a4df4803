"""OpenSSH keys, and what they sign."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.packages import debian
from tests.servers.sharing import shared

NAMESPACE = "checklist-exporter"


class Keys:
    """Private keys by name, made when first asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def private(self, name: str) -> Path:
        """Return the private key's file."""
        key = self.directory / name
        if not key.exists():
            run = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
            subprocess.run(run, check=True, capture_output=True)
        return key

    def public(self, name: str) -> str:
        """Return the public key, as it stands in allowed_signers."""
        return self.private(name).with_suffix(".pub").read_text().strip()

    def sign(self, path: Path, name: str, namespace: str = NAMESPACE) -> Path:
        """Sign a file, by hand as it were; return the signature's file."""
        signature = path.with_name(f"{path.name}.sig")
        signature.unlink(missing_ok=True)
        run = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self.private(name)), "-n", namespace, str(path)]
        subprocess.run(run, check=True, capture_output=True)
        return signature


@pytest.fixture(scope="session")
@shared
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """OpenSSH keys made by the real ssh-keygen."""
    with pytest.MonkeyPatch.context() as patch:
        if shutil.which("ssh-keygen") is None:
            unpacked = debian("openssh-client") / "usr/bin"
            patch.setenv("PATH", f"{unpacked}:{os.environ['PATH']}")
        yield Keys(tmp_path_factory.mktemp("keys"))
