"""Settings, and who gets which value: what an instance sets, a database or a role may set differently."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.verdict import ProbeError, Reason

__all__ = ["Setting", "Settings", "libraries", "milliseconds"]

_MILLISECONDS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, where it applies: to a database, a role, both, or (without either) to the whole instance."""

    name: str
    value: str
    database: str | None = None
    role: str | None = None

    def scope(self, instance: str = "the instance") -> str:
        """Where it applies, in words."""
        parts = [f"role {self.role}" if self.role else "", f"database {self.database}" if self.database else ""]
        return " in ".join(part for part in parts if part) or instance


@dataclass(frozen=True, slots=True)
class Settings:
    """Some settings of an instance.

    `instance` are the values that hold where neither a database nor a role has its own (`overrides`, of roles that can log in and
    databases that let in). A name in `hidden` is missing there: the database asked sets it itself. A name in `masked` is missing
    because the exporter's own role or connection sets it.
    """

    database: str
    instance: Mapping[str, str]
    overrides: tuple[Setting, ...] = ()
    hidden: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    _by_place: dict[tuple[str, str | None, str | None], Setting] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        by_place = {(setting.name, setting.database, setting.role): setting for setting in self.overrides}
        object.__setattr__(self, "_by_place", by_place)

    def effective(self, name: str, database: str | None = None, role: str | None = None) -> Setting | None:
        """The setting that a session of this role in this database gets; None where that is not known.

        None as database or role stands for those without settings of their own.
        """
        for place in ((database, role), (None, role), (database, None), (None, None)):
            if found := self._by_place.get((name, *place)):
                return found
        return Setting(name, self.instance[name]) if name in self.instance else None

    def value(self, name: str, database: str | None = None, role: str | None = None, default: str = "") -> str:
        """The value of the effective setting, in lower case; `default` where it is not known."""
        found = self.effective(name, database, role)
        return default if found is None else found.value.lower()

    def everywhere(self, name: str) -> list[Setting]:
        """What the setting is on the instance, and what this database and roles in it have instead."""
        general = [Setting(name, self.instance[name])] if name in self.instance else []
        return general + [
            setting for setting in self.overrides if setting.name == name and setting.database in (None, self.database)
        ]

    def places(self, names: Collection[str], roles: Iterable[str]) -> list[tuple[str | None, str | None]]:
        """Every database and role between which these settings may differ, the general ones first.

        Without `roles`, all roles count.
        """
        overrides = [setting for setting in self.overrides if setting.name in names]
        databases: list[str | None] = [None, *sorted({setting.database for setting in overrides if setting.database})]
        named: list[str | None] = [*sorted(roles)] or [
            None,
            *sorted({setting.role for setting in overrides if setting.role}),
        ]
        return [(database, role) for role in named for database in databases]


def milliseconds(value: str) -> float:
    """A duration as PostgreSQL writes it in settings (`500`, `1s`, `-1`), in milliseconds. Raises ProbeError for anything else."""
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
    if not match or match[2] not in _MILLISECONDS:
        raise ProbeError(f"The value {value!r} of a setting was not understood.", Reason.MALFORMED)
    return float(match[1]) * _MILLISECONDS[match[2]]


def libraries(setting: str) -> set[str]:
    """The names in a list of libraries, without their folders and quotes."""
    return {entry.strip(' "').rpartition("/")[2] for entry in setting.split(",")}
