"""Files: whether they exist, how old and large they are, and what is in them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from collectors.shared.cel import Language
from collectors.systems.custom.model.probe import Demand, Probe, named_once
from exporter.collector import Target
from exporter.options import Size
from exporter.verdict import Reason
from exporter.words import listed

__all__ = ["Files"]

_FILE = Language(exists="bool", age="duration", size="int", text="string", json="dyn")
Condition = Annotated[str, _FILE.condition]


def _paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    if any(len(str(path)) > 128 or str(path) != str(path).strip() for path in paths):
        raise ValueError("expected paths of at most 128 characters, without spaces at their ends")
    named_once(tuple(map(str, paths)))
    return paths


class Files(Probe):
    """Files of the machine, or the container, that the exporter runs on."""

    language: ClassVar[Language] = _FILE
    demands: ClassVar = {"exists": Demand("exists", Reason.MISSING, "does not exist")}

    paths: Annotated[tuple[Path, ...], AfterValidator(_paths)] = Field(
        min_length=1, max_length=100, description="Paths of regular files; symbolic links are followed."
    )
    max_bytes: Size = Field(
        2**20, gt=0, le=4 * 2**20, description="Maximum size of a file whose content a condition names."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `exists`, `age` (since it was last written), `size` (bytes), `text` (as UTF-8), "
        "`json`. Unless a condition names `exists`, it must exist.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    @property
    def reads(self) -> bool:
        """Whether a condition is about the content."""
        return not self.named.isdisjoint({"text", "json"})

    @property
    def parts(self) -> tuple[Target, ...]:
        """The files."""
        return tuple(Target(name=str(path)) for path in self.paths)

    @property
    def longest(self) -> timedelta:
        """How long one file may take: it is checked before, while and after it is read."""
        return self.timeout * 3

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"{listed(map(str, self.paths))} {'is' if len(self.paths) == 1 else 'are'} as wanted"
