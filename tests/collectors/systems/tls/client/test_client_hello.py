"""ClientHellos as others read them, and answers of every kind: what is no answer is never taken for a refusal."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
import tlslite.constants
from hypothesis import example, given
from hypothesis import strategies as st
from tlslite.messages import ClientHello, ServerHello
from tlslite.utils.codec import Parser

from collectors.systems.tls.client.client_hello import client_hello, offer, read_answer, suites_for
from collectors.systems.tls.model import cipher_suites
from collectors.systems.tls.model.addresses import Address
from collectors.systems.tls.model.cipher_suites import SUITES
from collectors.systems.tls.model.hello import Accepted, Refused, Version
from exporter.verdict import ProbeError
from tests.servers import faults

SUITE = 0xC02F
NAME = "shop.example.com"


def server_hello(version: int = Version.TLS_1_2, suite: int = SUITE) -> bytes:
    """A ServerHello as tlslite-ng writes it, in a record."""
    hello = ServerHello()
    legacy = min(version, Version.TLS_1_2)
    hello.create(divmod(legacy, 256), bytearray(32), bytearray(b"session"), suite)
    message = bytes(hello.write())
    if version == Version.TLS_1_3:
        message = bytes(hello.write())[4:] + bytes.fromhex("0006 002b 0002 0304")
        message = b"\x02" + len(message).to_bytes(3, "big") + message
    return struct.pack(">BHH", 22, 0x0303, len(message)) + message


def alert(level: int, description: int) -> bytes:
    return bytes((21, 3, 3, 0, 2, level, description))


def answer(data: bytes, *, ended: bool = False, version: Version = Version.TLS_1_2) -> Accepted | Refused | None:
    return read_answer(data, version, (SUITE, 0x1301), ended=ended)


@pytest.mark.parametrize("version", Version)
def test_a_client_hello_is_one(version: Version) -> None:
    record = client_hello(version, suites_for(version), NAME)
    kind, record_version, length = struct.unpack_from(">BHH", record)
    assert (kind, length) == (22, len(record) - 5)
    assert record_version == min(version, Version.TLS_1_0), "middleboxes drop what claims to be newer"
    hello = ClientHello().parse(Parser(bytearray(record[6:])))
    assert hello.client_version == divmod(min(version, Version.TLS_1_2), 256)
    assert set(hello.cipher_suites) == {*suites_for(version), 0x00FF}
    assert 0x5600 not in hello.cipher_suites, "TLS_FALLBACK_SCSV would have old versions refused for another reason"
    names = [bytes(name).decode() for name in hello.server_name.split()] if version > Version.SSL_3 else []
    assert names == ([NAME] if version > Version.SSL_3 else [])
    if version is Version.TLS_1_3:
        assert [*hello.getExtension(43).versions] == [(3, 4)]


def test_an_address_is_not_sent_as_a_name() -> None:
    hello = ClientHello().parse(Parser(bytearray(client_hello(Version.TLS_1_2, (SUITE,), "2001:db8::1")[6:])))
    assert not hello.server_name


def test_suites_have_the_names_of_the_registry() -> None:
    known = {number: name.upper() for number, name in tlslite.constants.CipherSuite.ietfNames.items()}
    shared = SUITES.keys() & known.keys()
    assert len(shared) > 80
    assert {number: SUITES[number].upper() for number in shared} == {number: known[number] for number in shared}


def test_families_have_what_they_say() -> None:
    strict = cipher_suites.STRICT
    assert cipher_suites.INTERMEDIATE.items() <= strict.items()
    assert all(strict.values())
    assert 0x0005 in strict["RC4"]
    assert 0x0003 in strict["EXPORT"]
    assert 0x000A in strict["3DES"]
    assert 0x000A not in strict["DES"]
    assert 0x0009 in strict["DES"]
    assert {0xC0B4, 0x003B} < set(strict["NULL encryption"])
    assert 0x002F in strict["CBC with SHA-1"]
    assert 0xC02F not in {suite for family in strict.values() for suite in family}
    assert 0xC02F in suites_for(Version.TLS_1_2)
    assert 0xC02F not in suites_for(Version.TLS_1_1), "it came with TLS 1.2"
    assert SUITES.keys() == set(suites_for(Version.TLS_1_2)) | set(suites_for(Version.TLS_1_3))


def test_versions_have_the_names_that_people_use() -> None:
    assert [str(version) for version in Version] == ["SSL 3", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"]


@pytest.mark.parametrize("number", Version)
def test_an_acceptance(number: Version) -> None:
    suite = 0x1301 if number is Version.TLS_1_3 else SUITE
    assert answer(server_hello(number, suite), version=Version.TLS_1_3) == Accepted(number, suite)


def test_an_acceptance_after_a_warning_about_the_name() -> None:
    assert answer(alert(1, 112)) is None
    assert answer(alert(1, 112) + server_hello()) == Accepted(Version.TLS_1_2, SUITE)


def test_an_acceptance_in_pieces() -> None:
    whole = server_hello()
    assert {answer(whole[:size]) for size in range(len(whole))} == {None}
    message = whole[5:]
    split = b"".join(struct.pack(">BHH", 22, 0x0303, 1) + bytes((byte,)) for byte in message)
    assert answer(split) == Accepted(Version.TLS_1_2, SUITE)


@pytest.mark.parametrize(("description", "explicit"), [(40, True), (70, True), (71, True), (0, False), (80, False)])
def test_a_refusal(description: int, explicit: bool) -> None:
    assert answer(alert(2, description)) == Refused(description)
    assert Refused(description).explicit is explicit


def test_a_closed_connection() -> None:
    assert answer(b"") is None
    assert answer(b"", ended=True) == Refused(None)
    assert not Refused(None).explicit


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered something that is not TLS"),
        (b"\x16\x02", "answered something that is not TLS"),
        (b"\x16\x03\x03\x00\x00", "answered something that is not TLS"),
        (b"\x16\x03\x03\xff\xff", "answered something that is not TLS"),
        (bytes((21, 3, 3, 0, 3, 2, 40, 0)), "malformed alert"),
        (alert(3, 40), "malformed alert"),
        (alert(2, 112), "alert 112, which does not refuse the offer"),
        (alert(2, 50), "alert 50, which does not refuse the offer"),
        (b"\x16\x03\x03\x00\x04\x0b\x00\x00\x00", "handshake message 11, where a ServerHello was expected"),
        (b"\x16\x03\x03\x00\x04\x02\xff\xff\xff", "malformed ServerHello"),
        (b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x03", "malformed ServerHello"),
        (server_hello(Version.TLS_1_2, 0x0005), "chose TLS 1.2 with cipher suite 0x0005, which it was not offered"),
        (server_hello(0x0200), "malformed ServerHello"),
        (server_hello()[:30], "closed the connection in the middle of its answer"),
    ],
)
def test_what_is_neither_yes_nor_no(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        answer(data, ended=True)


def test_a_version_that_was_not_offered() -> None:
    with pytest.raises(ValueError, match=r"chose TLS 1\.2 with cipher suite 0xC02F, which it was not offered"):
        answer(server_hello(), version=Version.TLS_1_1)


@pytest.mark.parametrize(
    "extensions", ["0001", "0002 002b", "0004 002b 0002", "0006 002b 0009 0304", "0005 002b 0001 03"]
)
def test_broken_extensions(extensions: str) -> None:
    hello = server_hello()[9:] + bytes.fromhex(extensions)
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello
    with pytest.raises(ValueError, match="malformed ServerHello"):
        answer(struct.pack(">BHH", 22, 0x0303, len(message)) + message)


def refuses(data: bytes) -> bool:
    """Whether bytes are an alert that turns down an offer, after any number of warnings about the name."""
    while data.startswith(b"\x15\x03") and data[3:7] == b"\0\x02\x01\x70":
        data = data[7:]
    return (
        data[:2] == b"\x15\x03"
        and data[3:5] == b"\0\2"
        and data[5:6] in b"\1\2"
        and data[6:7] in b"\x00\x28\x46\x47\x50"
    )


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"\x15\x03\x03\x00\x02" + tail), st.booleans())
@example(b"\x15\x03\x03\x00\x02\x02\x28", True)
@example(b"\x15\x03", True)
def test_garbage_is_never_a_refusal(data: bytes, ended: bool) -> None:
    try:
        seen = answer(data, ended=ended)
    except ValueError:
        return
    assert not isinstance(seen, Accepted)
    if isinstance(seen, Refused):
        assert refuses(data) or (ended and not data)


@given(st.data())
def test_a_damaged_acceptance_is_never_a_refusal(data: st.DataObject) -> None:
    whole = bytearray(server_hello())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(1, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        seen = answer(bytes(whole[: data.draw(st.integers(1, len(whole)))]), ended=True)
    except ValueError:
        return
    assert isinstance(seen, Accepted)


async def ask(port: int) -> Accepted | Refused:
    address = Address(socket.AF_INET, ("127.0.0.1", port))
    return await offer(address, Version.TLS_1_2, (SUITE,), server_name=NAME, timeout=20)


async def test_a_connection_that_is_closed_or_reset_at_once(no_leftovers: None) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        _linger(writer)

    async with faults.hanging_up() as (_, port):
        assert await ask(port) == Refused(None)
    async with faults.serving(reset) as (_, port):
        assert await ask(port) == Refused(None)


@pytest.mark.parametrize("closed", [1, 2])
async def test_a_refusal_in_several_hellos_is_as_certain_as_the_least_certain(closed: int, no_leftovers: None) -> None:
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await reader.read(65536)
        if count != closed:
            writer.write(alert(2, 40))
            await writer.drain()

    suites = suites_for(Version.TLS_1_2)
    assert len(suites) > 100
    async with faults.serving(talk) as (_, port):
        address = Address(socket.AF_INET, ("127.0.0.1", port))
        found = await offer(address, Version.TLS_1_2, suites, server_name=NAME, timeout=20)
    assert found == Refused(None)
    assert count == 2


async def test_a_connection_that_is_reset_in_the_middle_of_the_answer(no_leftovers: None) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(server_hello()[:20])
        await asyncio.sleep(0.1)
        _linger(writer)

    async with faults.serving(reset) as (_, port):
        with pytest.raises(
            ProbeError, match=r"reset the connection in the middle of its answer to a ClientHello of TLS 1\.2\."
        ):
            await ask(port)


def _linger(writer: asyncio.StreamWriter) -> None:
    """Have the connection reset, not closed, when it is aborted."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_warnings_without_end(no_leftovers: None) -> None:
    async with faults.endless(b"", more=alert(1, 112) * 1000) as (_, port):
        with pytest.raises(ProbeError, match="answered more than 65536 bytes without a ServerHello"):
            await ask(port)


async def test_a_network_that_fails(monkeypatch: pytest.MonkeyPatch, no_leftovers: None) -> None:
    async def lost(*_: object) -> bytes:
        raise OSError(113, "No route to host")

    async with faults.mute() as (_, port):
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", lost)
        with pytest.raises(ProbeError, match=rf"127\.0\.0\.1:{port} could not be asked: No route to host\."):
            await ask(port)
