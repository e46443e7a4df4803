"""When the certificate at an address expires, for clients whose libraries do not show it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from collectors.shared.addresses import address_and_port
from exporter.http import Trust
from exporter.options import format_duration, format_seconds
from exporter.verdict import ProbeError, Reason, Result, warning

__all__ = ["certificate_expiry", "expiry_problems"]


async def certificate_expiry(host: str, port: int, trust: Trust, timeout: timedelta) -> datetime | None:
    """When the certificate of a TLS server expires; None where it is not verified, as Python does not read it then.

    Raises ProbeError when there is no TLS connection in time.
    """
    where = address_and_port(host, port)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            _, writer = await asyncio.open_connection(
                host, port, ssl=trust.context, server_hostname=trust.server_name or host
            )
    except TimeoutError:
        limit = format_duration(timeout)
        raise ProbeError(f"{where} showed no certificate within {limit}.", Reason.TIMEOUT) from None
    except ssl.SSLError as error:
        raise ProbeError(f"{where} shows no certificate that is accepted ({error.reason}).", Reason.REFUSED) from None
    except OSError:
        raise ProbeError(f"{where} accepted no connection to show its certificate.", Reason.UNREACHABLE) from None
    try:
        ends = (writer.get_extra_info("peercert") or {}).get("notAfter")
    finally:
        writer.transport.abort()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


def expiry_problems(where: str, expiry: datetime | None, warn: timedelta, now: datetime) -> Iterator[Result]:
    """Whether a certificate is valid for longer than `warn`."""
    if expiry is not None and expiry - now <= warn:
        left = format_seconds(expiry - now)
        yield warning(f"The certificate of {where} expires in {left} (limit {format_duration(warn)}).")
