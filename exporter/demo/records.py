"""A folder of evidence records, as a team would keep it in git: most hold, one soon expires, one has, one is missing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from exporter.demo.service import Fault, Place, Service, ServiceError, write_private
from exporter.demo.website import Website
from exporter.evidence.signatures import NAMESPACE, sign
from exporter.verdict import ProbeError

__all__ = ["RELEASE", "Records"]

RELEASE = "1.4.2"
_ROSTER = "".join(f"member-{number}@example.com\n" for number in range(1, 6))
_SECTIONS = ("documentation", "training", "signatories", "final_checklist")
# The executive sponsor has not signed.
_SIGNED = ("technical_lead", "security_lead", "operations_lead", "qa_lead", "product_owner")
_TAMPERED = "qa_lead"


class Records(Service):
    """Evidence for documentation, training and sign-offs; sign-offs are signed with keys made for it."""

    name: ClassVar[str] = "Evidence records and signatures"

    def __init__(self, place: Place, website: Website) -> None:
        super().__init__(place)
        self._website = website
        self._folder = place.directory / "evidence"
        self._today = datetime.now(UTC).date()

    async def start(self) -> None:
        """Write the records, and sign those of the signatories where ssh-keygen is installed."""
        self._folder.mkdir()
        roster = self._folder / "roster.txt"
        roster.write_text(_ROSTER)
        for section, records in self._records().items():
            (self._folder / f"{section}.yaml").write_text(yaml.safe_dump_all(records, sort_keys=False))
        if shutil.which("ssh-keygen"):
            keys = self.place.directory / "keys"
            keys.mkdir(mode=0o700)
            signers = [await self._sign(keys, role) for role in _SIGNED]
            self._signers.write_text("".join(signers))

    async def stop(self) -> None:
        """Nothing runs."""

    def config(self) -> Mapping[str, Any]:
        """The folder, where its links lead, and the sections that it is for."""
        return {
            "environment": "demo",
            "release": RELEASE,
            "evidence": {
                "folder": str(self._folder),
                "allowed_signers": str(self._signers),
                "hosts": [{"url": self._website.url, "tls": {"ca_file": str(self._website.ca_file)}}],
            },
            "waivers": [
                {
                    "item": "postgresql.failover_tested",
                    "reason": "The demo has no failover mechanism.",
                    "owner": "platform-team",
                    "until": (self._today + timedelta(days=30)).isoformat(),
                }
            ],
            "sections": {
                **{section: {"every": "5s"} for section in _SECTIONS},
                "neo4j": {"not_applicable": "The demo stores no graph."},
            },
        }

    def faults(self) -> Sequence[Fault]:
        """Change a record after it was signed; take one away."""
        signed = self._folder / f"{_TAMPERED}.yaml"
        kept, away = self._folder / "training.yaml", self.place.directory / "training.yaml"

        async def alter() -> None:
            signed.write_text(f"{signed.read_text()}note: Altered after it was signed.\n")

        async def restore() -> None:
            signed.write_text(signed.read_text().partition("note:")[0])

        async def take() -> None:
            if kept.exists():
                kept.rename(away)

        async def give_back() -> None:
            away.rename(kept)

        return (
            Fault(
                "signature",
                "The QA lead's sign-off was altered after it was signed: its line fails.",
                alter,
                restore,
            ),
            Fault(
                "evidence",
                "The records about training are gone: the lines of Training fail.",
                take,
                give_back,
            ),
        )

    @property
    def _signers(self) -> Path:
        return self.place.directory / "allowed_signers"

    def _records(self) -> dict[str, list[dict[str, Any]]]:
        """Records by file. Each is about a line of the bundled checklist."""
        roster = {"path": "roster.txt", "sha256": hashlib.sha256(_ROSTER.encode()).hexdigest(), "kind": "roster"}
        trained: dict[str, Any] = {"artifact": roster, "measured": {"trained": 5, "total": 5}}
        return {
            "documentation": [
                self._record("documentation.architecture_diagrams_updated", 20, links=self._links("architecture")),
                self._record("documentation.runbooks_created", 20, links=self._links("runbooks")),
                self._record("documentation.on_call_documented", 100, 6, links=self._links("on-call")),
                self._record(
                    "documentation.escalation_paths_defined",
                    *(120, -2),
                    links=self._links("escalation"),
                    measured={"levels": 3},
                ),
                self._record(
                    "documentation.knowledge_base_created",
                    20,
                    links=self._links("deploying", "monitoring", "backups", "incidents", "access"),
                ),
            ],
            "training": [
                self._record(f"training.{team}_trained", 30, links=self._links("training")) | trained
                for team in ("operations", "support", "development", "security")
            ],
            "launch": [
                self._record("final_checklist.launch_window_confirmed", 1, window=self._window()),
                self._record(
                    "final_checklist.communication_plan_ready",
                    1,
                    links=self._links("communication"),
                    measured={"channels": 2, "contacts": 5, "templates": 3},
                ),
            ],
            "drills": [
                self._record("postgresql.backups_enabled_and_tested", 10, note="Restored into staging, rows counted."),
                self._record("postgresql.failover_tested", 15, note="Standby promoted in staging."),
            ],
        } | {
            role: [self._record(f"signatories.{role}", 1, by=_email(role), role=role, release=RELEASE)]
            for role in _SIGNED
        }

    def _record(self, item: str, age: int, valid_for: int | None = None, **more: Any) -> dict[str, Any]:
        """A record of `age` days ago that ends in `valid_for` days (has ended, when negative)."""
        record: dict[str, Any] = {"item": item, "result": "passed", "by": "platform-team@example.com"}
        record["on"] = (self._today - timedelta(days=age)).isoformat()
        if valid_for is not None:
            record["valid_until"] = (self._today + timedelta(days=valid_for)).isoformat()
        return record | more

    def _window(self) -> dict[str, str]:
        """The launch is tomorrow."""
        return dict.fromkeys(("start", "end"), (self._today + timedelta(days=1)).isoformat())

    def _links(self, *pages: str) -> list[str]:
        return [f"{self._website.url}/handbook/{page}" for page in pages]

    async def _sign(self, keys: Path, role: str) -> str:
        """Make a key for the role and sign its record; the line of allowed_signers that admits the key."""
        private = Ed25519PrivateKey.generate()
        key = write_private(
            keys / role, private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        )
        try:
            await sign(self._folder / f"{role}.yaml", key)
        except ProbeError as cannot:
            raise ServiceError(str(cannot)) from None
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return f'{_email(role)},{role} namespaces="{NAMESPACE}" {public}\n'


def _email(role: str) -> str:
    return f"{role.replace('_', '-')}@example.com"
