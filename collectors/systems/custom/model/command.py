"""Commands: how a program ends, and what it prints."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from collectors.shared.cel import Language
from collectors.systems.custom.model.probe import Demand, Probe
from exporter.options import Duration, Secret, Size
from exporter.verdict import Reason

__all__ = ["Command"]

_PROGRAM = Language(status="int", text="string", errors="string", json="dyn", latency="duration")
Condition = Annotated[str, _PROGRAM.condition]


def _argument(text: str) -> str:
    if "\0" in text:
        raise ValueError("expected a text without a null character")
    return text


Argument = Annotated[str, AfterValidator(_argument)]


class Command(Probe):
    """A program to run, without a shell, as the exporter's own user."""

    language: ClassVar[Language] = _PROGRAM
    demands: ClassVar = {"status": Demand("status == 0", Reason.UNMET, "reports an error")}
    needs: ClassVar[tuple[str, ...]] = ("`--enable-commands`",)

    command: tuple[Argument, ...] = Field(
        min_length=1,
        max_length=200,
        description="The program and its arguments, each an entry of its own; no shell is used. A name without a slash is searched "
        "in /usr/local/bin, /usr/bin and /bin.",
    )
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Secret] = Field(
        default_factory=dict,
        description="Variables of its environment, which otherwise has PATH, HOME (/) and LANG (C.UTF-8) alone; never shown.",
    )
    timeout: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        description="How long it may run, before it and what it started is killed.",
    )
    max_bytes: Size = Field(2**20, gt=0, le=4 * 2**20, description="Maximum size of its output.")
    conditions: tuple[Condition, ...] = Field(
        (),
        description="What must be true, in CEL: `status` (its exit status), `text` (its output as UTF-8), `json`, `errors` (its "
        "error output), `latency`. Unless a condition names `status`, it must be 0.",
    )
    warn_unless: tuple[Condition, ...] = Field((), description="Conditions without which the line is a `warning`.")

    def __hash__(self) -> int:  # a mapping has no hash
        return hash((self.command, self.conditions))

    @property
    def subject(self) -> str:
        """What is checked."""
        return f"`{self.command[0]}` reports what is wanted"
