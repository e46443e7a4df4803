"""What the answers of Grafana's HTTP API hold."""

from __future__ import annotations

import msgspec

__all__ = ["Dashboard", "Health"]


class Health(msgspec.Struct, frozen=True):
    """What Grafana says of itself. `database` is `ok` or `failing`."""

    database: str
    version: str = ""


class Dashboard(msgspec.Struct, frozen=True, rename="camel"):
    """One dashboard. `folder_title` is empty for those in no folder."""

    uid: str
    title: str
    type: str = "dash-db"
    folder_title: str = ""
