"""What is raised where evidence proves not to be what it says."""

from __future__ import annotations

from exporter.verdict import Reason

__all__ = ["BadSignature", "Refuted"]


class Refuted(Exception):
    """An artefact, a link or a signature is not what the record says. The item becomes `failed`, for this reason."""

    def __init__(self, summary: str, reason: Reason = Reason.CONTRADICTED) -> None:
        super().__init__(summary)
        self.reason = reason


class BadSignature(Refuted):
    """The signature does not prove what it should."""

    def __init__(self, summary: str, reason: Reason = Reason.INVALID) -> None:
        super().__init__(summary, reason)
