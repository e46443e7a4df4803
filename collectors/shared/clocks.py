"""Time as servers have it."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from exporter.reply import Reply

__all__ = ["server_time"]

#: Some servers write their date once in several seconds.
_ROUGH = timedelta(seconds=30)


def server_time(reply: Reply, now: datetime) -> datetime:
    """The time of the server that replied, where it is another than ours, `now`; ours where it does not tell."""
    try:
        dated = parsedate_to_datetime(reply.headers.get("date", ""))
    except ValueError:
        return now
    return dated if dated.tzinfo and abs(dated - now) > _ROUGH else now
