"""What shows, after a restart, whether a result was observed with the settings that hold now."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

__all__ = ["applies", "fingerprint", "observed_with"]

_KEYWORDS = re.compile(r"\b(host|hostaddr|port|dbname|service)\s*=\s*('[^']*'|\S+)")
_CREDENTIALS = re.compile(r"//[^/@]*@")


def fingerprint(*options: BaseModel | Mapping[str, object] | None, without: Collection[str] = ()) -> str:
    """A short text for the options that are set, but those `without`.

    It is another one where an address, a limit or a condition is another.
    Nothing of a secret goes into it but the address in it, so that nobody who reads the text can guess credentials; a password that
    was rotated does not change it.
    """
    parts = [_plain(one, without) for one in options]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()


def observed_with(settings: str, used: Iterable[str], sources: Mapping[str, str]) -> str:
    """A short text for what a result rests on: its settings, and those of `sources`, by name, that were used; fingerprints all."""
    return " ".join([settings, *(f"{name}={sources.get(name, '')}" for name in sorted(used))])


def applies(observed: str, settings: str, sources: Mapping[str, str]) -> bool:
    """Whether what a result was observed with is what holds now."""
    before, *used = observed.split(" ")
    named = (source.partition("=") for source in used)
    return before == settings and all(sources.get(name, "") == known for name, _, known in named)


def _plain(value: Any, without: Collection[str] = ()) -> Any:
    if isinstance(value, BaseModel):
        names = sorted(value.model_fields_set - set(without))
        return {
            name: _plain(value.__dict__[name]) for name in names
        }  # by attribute pydantic warns of what is deprecated
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, SecretStr):
        return _address(value.get_secret_value())
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return _CREDENTIALS.sub("//", text) if "@" in text else text


def _address(secret: str) -> list[str]:
    """Where a secret leads, such as a data source name; nothing for a mere password."""
    if "://" not in secret:
        return [f"{name}={value}" for name, value in sorted(_KEYWORDS.findall(secret))]
    try:
        found = urlsplit(secret)
        hosts = found.netloc.rpartition("@")[2]
    except ValueError:
        return []
    # The path of a web hook is a secret, that of a database is its name.
    return [found.scheme, hosts, found.path if found.scheme.startswith(("postgres", "redis", "valkey")) else ""]
