"""TLS: the certificate that every address presents, judged as clients judge it unless a condition says otherwise."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.servers import faults
from tests.servers.certificates import Issued, authority
from tests.servers.starttls import aiosmtpd

CLIENTS = ExtendedKeyUsageOID.CLIENT_AUTH
OK, FAILED, UNKNOWN, WARNING = Status.OK, Status.FAILED, Status.UNKNOWN, Status.WARNING


@asynccontextmanager
async def presenting(tmp_path: Path, *chains: tuple[Issued, bytes | None]) -> AsyncIterator[str]:
    """A server that presents these certificates in turn, each with the chain that it sends."""
    contexts = []
    for number, (issued, chain) in enumerate(chains):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*issued.write(tmp_path, f"server-{number}", chain))
        contexts.append(context)
    turn = -1

    async def shake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        await writer.start_tls(contexts[turn % len(contexts)])
        await reader.read()

    async with faults.serving(shake) as (host, port):
        yield f"{host}:{port}"


def trusted(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority().pem)
    return file


async def judged(tmp_path: Path, *issued: Issued | tuple[Issued, bytes], trust: bool = True, **options: Any) -> Result:
    chains = [one if isinstance(one, tuple) else (one, None) for one in issued]
    async with presenting(tmp_path, *chains) as endpoint:
        given = {"endpoints": [endpoint], "server_name": "shop.example", "timeout": "20s", **options}
        return await seen(tls=given | ({"ca_file": str(trusted(tmp_path))} if trust else {}))


async def test_a_certificate_for_the_name_is_ok(tmp_path: Path) -> None:
    result = await judged(
        tmp_path,
        authority().issue("shop.example", "127.0.0.1", days=90),
        conditions=['remaining > duration("504h")', '"shop.example" in names', 'key == "ECDSA"', "key_bits >= 256"],
        warn_unless=['remaining > duration("700h")'],
    )  # fmt: skip
    assert result.status is OK, result.summary
    assert 89 < result.measurements["certificate_expiry_seconds"] / 86400 < 91


async def test_what_no_condition_asks_for_is_wanted_all_the_same(tmp_path: Path) -> None:
    """A certificate that has long to live, but for another name, of nobody, or that lived too long."""
    wanted = ['key == "ECDSA"']
    cases = [
        (authority().issue("other.example"), {}, Reason.MISCONFIGURED, "it is for other.example, not for shop.example"),
        (authority().issue("shop.example"), {"trust": False}, Reason.MISCONFIGURED, "not trusted: "),
        (Issued.root("shop.example"), {}, Reason.MISCONFIGURED, "it is for no name"),
        (authority().issue("shop.example", days=-1, age=30), {}, Reason.EXPIRED, "that has expired: remaining is -"),
        (authority().issue("shop.example", age=-2), {}, Reason.MISCONFIGURED, "it is not valid before"),
        (authority().issue("shop.example", usage=CLIENTS), {}, Reason.MISCONFIGURED, "does not include TLS"),
    ]  # fmt: skip
    for issued, options, reason, words in cases:
        result = await judged(tmp_path, issued, conditions=wanted, **options)
        assert (result.status, result.reason, words in result.summary) == (FAILED, reason, True), result.summary


async def test_a_chain_that_lacks_its_intermediate_is_not_trusted(tmp_path: Path) -> None:
    below = authority().intermediate().issue("shop.example")
    assert (await judged(tmp_path, below)).status is OK
    result = await judged(tmp_path, (below, below.pem))
    assert (result.status, "not trusted" in result.summary) == (FAILED, True)


async def test_an_intermediate_that_expires_first_decides(tmp_path: Path) -> None:
    below = authority().intermediate(days=3).issue("shop.example", days=90)
    result = await judged(tmp_path, below, conditions=['remaining > duration("504h")'])
    assert (result.status, "remaining is 2d23h" in result.summary) == (FAILED, True), result.summary


async def test_one_backend_of_two_that_still_has_the_old_certificate(tmp_path: Path) -> None:
    new, old = authority().issue("shop.example", days=90), authority().issue("shop.example", days=2, age=88)
    result = await judged(tmp_path, new, old, conditions=['remaining > duration("504h")'])
    assert result.status is FAILED
    assert timedelta(seconds=result.measurements["certificate_expiry_seconds"]) < timedelta(days=3)


async def test_a_condition_may_take_back_what_is_wanted_by_itself(tmp_path: Path) -> None:
    private = Issued.root("internal", names=("shop.example",))
    assert (await judged(tmp_path, private)).status is FAILED
    pinned = await judged(tmp_path, private, conditions=["!trusted", 'subject == "CN=internal"'])
    assert pinned.status is OK, pinned.summary


async def test_a_warning_is_a_warning(tmp_path: Path) -> None:
    issued = authority().issue("shop.example", days=10)
    result = await judged(tmp_path, issued, warn_unless=['remaining > duration("504h")'])
    assert (result.status, 'does not meet `remaining > duration("504h")`: remaining is 9d23h' in result.summary) == (
        WARNING,
        True,
    )


async def test_what_shows_no_certificate_was_not_observed() -> None:
    async with faults.refused() as gone, faults.mute() as silent, faults.garbage() as plain:
        for (host, port), timeout, reason in (
            (gone, "30s", Reason.UNREACHABLE),
            (silent, "1s", Reason.TIMEOUT),
            (plain, "30s", Reason.MALFORMED),
        ):
            given = {"endpoints": [f"{host}:{port}"], "timeout": timeout, "conditions": ["trusted || !trusted"]}
            result = await seen(tls=given)
            assert (result.status, result.reason) == (UNKNOWN, reason), result.summary


async def test_starttls(tmp_path: Path) -> None:
    files = authority().issue("127.0.0.1").write(tmp_path, "server")
    with aiosmtpd(files) as port:
        options = {"endpoints": [f"127.0.0.1:{port}"], "ca_file": str(trusted(tmp_path)), "timeout": "20s"}
        good = await seen(tls={**options, "starttls": "smtp"})
        without = await seen(tls=options)
    assert (good.status, without.status) == (OK, UNKNOWN), (good.summary, without.summary)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"endpoints": ["shop.example"]}, "expected host:port"),
        ({"endpoints": ["shop.example:443"], "starttls": "telnet"}, "smtp"),
        ({"endpoints": ["shop.example:443"], "conditions": ["remaining > 21"]}, "found no matching overload"),
        ({"endpoints": ["shop.example:443"], "conditions": ['remaining > duration("21d")']}, "21 days are 504h"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(tls=options)
