"""Time as servers have it."""

from __future__ import annotations

from datetime import datetime, timedelta

from exporter.reply import Reply

__all__ = ["server_time"]

#: Some servers write their date once in several seconds.
_ROUGH = timedelta(seconds=30)


def server_time(reply: Reply, now: datetime) -> datetime:
    """The time of the server that replied, where it is another than ours, `now`; ours where it does not report it."""
    dated = reply.date
    return dated if dated is not None and abs(dated - now) > _ROUGH else now
