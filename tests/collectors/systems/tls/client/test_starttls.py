"""Asking for TLS in other protocols, of the servers that people run, and of those that answer something else."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.systems.tls.client import handshake as handshakes
from collectors.systems.tls.client.client_hello import offer, suites_for
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.hello import Accepted, Version
from collectors.systems.tls.model.starttls import NotOffered, StartTls
from exporter.verdict import ProbeError, Reason
from tests.servers import faults
from tests.servers.certificates import Issued, intermediate
from tests.servers.process import LOOPBACK, scratch
from tests.servers.starttls import SERVERS

NAME = "mail.example.com"


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch("starttls") as path:
        yield path


@pytest.fixture(scope="module")
def leaf() -> Issued:
    return intermediate().issue(NAME, kind="rsa")


def address(port: int) -> Address:
    return Address(socket.AF_INET, (LOOPBACK, port))


def s_client(port: int, protocol: str) -> str:
    """What OpenSSL's own client says of the server."""
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            "-connect",
            f"{LOOPBACK}:{port}",
            "-starttls",
            protocol,
            "-servername",
            NAME,
            "-name",
            NAME,
        ],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("protocol", SERVERS)
async def test_a_server_that_offers_tls(folder: Path, leaf: Issued, protocol: str, no_leftovers: None) -> None:
    with SERVERS[protocol](leaf.write(folder, "leaf")) as port:
        assert f"subject=CN = {NAME}" in await asyncio.to_thread(s_client, port, protocol)
        starttls = StartTls(protocol)
        served = await handshakes.handshake(address(port), NAME, timeout=20, starttls=starttls)
        assert served.leaf == leaf.certificate
        suites = suites_for(Version.TLS_1_2)
        answer = await offer(address(port), Version.TLS_1_2, suites, server_name=NAME, timeout=20, starttls=starttls)
        assert isinstance(answer, Accepted)


@pytest.mark.parametrize("protocol", SERVERS)
async def test_a_server_that_does_not_offer_tls(protocol: str, no_leftovers: None) -> None:
    with SERVERS[protocol](None) as port:
        if protocol != "xmpp":  # there OpenSSL's client waits for ever
            assert "subject=" not in await asyncio.to_thread(s_client, port, protocol)
        with pytest.raises(NotOffered, match=rf"{LOOPBACK}:{port} does not offer TLS in {protocol}: .+\.$") as refused:
            await handshakes.handshake(address(port), NAME, timeout=20, starttls=StartTls(protocol))
    assert refused.value.reason is Reason.MISCONFIGURED


@pytest.mark.parametrize("protocol", StartTls)
@pytest.mark.parametrize("fault", ["garbage", "mute", "endless", "hanging_up", "half", "refused"])
async def test_a_server_that_speaks_something_else(protocol: StartTls, fault: str, no_leftovers: None) -> None:
    servers = {
        "garbage": lambda: faults.half_reply(b"\xfe\xff\x00HTTP/1.1 400 Bad Request\r\n\r\n"),
        "mute": faults.mute,
        "endless": lambda: faults.endless(b"220-", more=b"220-" * 2000),
        "hanging_up": faults.hanging_up,
        "half": lambda: faults.half_reply(b"2"),
        "refused": faults.refused,
    }
    async with servers[fault]() as (_, port):
        with pytest.raises(ProbeError, match=rf"{LOOPBACK}:{port} .*\.$") as error:
            await handshakes.handshake(address(port), NAME, timeout=1, starttls=protocol)
    assert not isinstance(error.value, NotOffered), "nothing was observed of its TLS"
    assert error.value.reason in {Reason.MALFORMED, Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE}


GREETINGS = {
    "smtp": b"421 mx.example.com too many connections\r\n",
    "imap": b"* BYE too many connections\r\n",
    "pop3": b"-ERR too many connections\r\n",
    "ftp": b"421 too many connections\r\n",
    "postgres": b"E\0\0\0\x29SFATAL\0C53300\0Mtoo many connections\0\0",
    "mysql": b"\x17\0\0\0\xff\x10\x04too many connections",
    "ldap": bytes.fromhex("300c 020101 7807 0a0133 0400 0400"),
}


@pytest.mark.parametrize("protocol", GREETINGS)
async def test_a_server_that_is_busy_has_not_refused_tls(protocol: str, no_leftovers: None) -> None:
    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if protocol in {"ldap", "postgres"}:  # the client speaks first
            await reader.read(100)
        writer.write(GREETINGS[protocol])
        await reader.read()

    async with faults.serving(turn_away) as (_, port):
        with pytest.raises(ProbeError, match=r"too many connections|too busy") as error:
            await handshakes.handshake(address(port), NAME, timeout=5, starttls=StartTls(protocol))
    assert error.value.reason is Reason.REFUSED
    assert not isinstance(error.value, NotOffered)
