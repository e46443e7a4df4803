"""Strangers at the web server: floods of logins, connections, selections and reloads, and files that open doors."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import bcrypt
import psutil
import pytest

from exporter.web import Options, connections, server
from exporter.web.access import AccessFile
from exporter.web.connections import Connections
from exporter.web.guard import FAILURES, TooManyLogins, Users, network
from tests.exporter.samples import planned, state
from tests.exporter.web.site import Site, running
from tests.servers.certificates import Issued
from tests.servers.process import eventually
from tests.support import Clock

PASSWORD = "canary-secret-of-alice"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()
USERS = f"basic_auth_users:\n  alice: {HASH}\n"


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def web_config(tmp_path: Path) -> Path:
    file = tmp_path / "web.yaml"
    file.write_text(USERS)
    return file


@pytest.fixture
async def site(web_config: Path) -> AsyncIterator[Site]:
    """A site for alice, with reloads enabled."""
    async with running(
        state(planned()), Clock(), web_config=web_config, options=Options(enable_lifecycle=True)
    ) as started:
        yield started


# The file


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "basic_auth_users: {}\n", "basic_auth_users:\n", "rate_limit: {burst: 3}\n"]
)
async def test_an_emptied_file_opens_no_door(
    site: Site, web_config: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await site.get("/metrics")).status_code == 401
    web_config.write_text(text)
    for _ in range(3):
        assert (await site.get("/metrics")).status_code == 401
        assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
    assert "the last good one stays in force" in caplog.text
    web_config.write_text(USERS.replace("alice", "carol"))
    assert (await site.get("/metrics", **basic("carol", PASSWORD))).status_code == 200, "other users need no restart"


async def test_client_certificates_that_were_required_stay_required(tmp_path: Path) -> None:
    authority = Issued.root("checklist-exporter tests")
    authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    served = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
    file = tmp_path / "web.yaml"
    file.write_text(f"{served}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n")
    access = AccessFile(file)
    for weaker in ("", "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: clients.pem\n"):
        file.write_text(served + weaker)
        found = (await access.fresh()).tls
        assert found is not None
        assert found.verify_mode is ssl.CERT_REQUIRED


async def test_a_file_that_hangs_holds_up_nobody(site: Site, web_config: Path) -> None:
    assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
    web_config.unlink()
    os.mkfifo(web_config)
    started = time.monotonic()
    for _ in range(10):
        assert (await site.get("/-/healthy")).status_code == 200
        assert (await site.get("/metrics", **basic("alice", PASSWORD))).status_code == 200
        assert (await site.get("/metrics")).status_code == 401
    assert time.monotonic() - started < 10
    with suppress(OSError):  # let go of the thread that reads
        os.close(os.open(web_config, os.O_WRONLY | os.O_NONBLOCK))


# Logins


async def test_a_flood_of_wrong_passwords_locks_nobody_out(site: Site) -> None:
    async with site.client() as scraper:
        assert (await scraper.get("/metrics", headers=basic("alice", PASSWORD))).status_code == 200

        async def guess(number: int) -> int:
            return (await site.get("/metrics", **basic("alice", f"wrong-{number}"))).status_code

        flood = [asyncio.create_task(guess(number)) for number in range(150)]
        slowest = 0.0
        while not all(task.done() for task in flood):
            started = time.monotonic()
            assert (await scraper.get("/metrics", headers=basic("alice", PASSWORD))).status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        codes = [task.result() for task in flood]
        assert set(codes) <= {401, 429}
        assert codes.count(401) <= 2 * FAILURES
        assert slowest < 5


async def test_guesses_of_one_address_hold_up_no_other() -> None:
    users, hashes = Users(), {"alice": HASH.encode()}

    async def login(password: str, address: str) -> bool | None:
        try:
            return await users.admit(basic("alice", password)["authorization"].encode(), hashes, address)
        except TooManyLogins:
            return None

    flood = [asyncio.create_task(login(f"wrong-{number}", "192.0.2.1")) for number in range(200)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(login(PASSWORD, "192.0.2.2"), 5) is True
    assert sum(not task.done() for task in flood) <= 5, "the others were refused at once"
    for task in flood:
        task.cancel()
    users.close()


async def test_what_nobody_waits_for_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    users, hashes, checked = Users(), {"alice": HASH.encode()}, 0
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        nonlocal checked
        checked += 1
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for number in range(50):
        header = basic("alice", f"wrong-{number}")["authorization"].encode()
        left = asyncio.create_task(users.admit(header, hashes, f"192.0.2.{number}"))
        await asyncio.sleep(0)
        left.cancel()
    assert await users.admit(basic("alice", PASSWORD)["authorization"].encode(), hashes, "192.0.2.99")
    assert checked <= 3
    users.close()


async def test_a_wrong_password_costs_the_same_for_every_user(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"cheap": 4, "dear": 7}
    hashes = {user: bcrypt.hashpw(b"right", bcrypt.gensalt(cost)) for user, cost in costs.items()}
    users, check = Users(), bcrypt.checkpw
    rounds = 0

    def counted(password: bytes, hashed: bytes) -> bool:
        nonlocal rounds
        rounds += 2 ** int(hashed[4:6])
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for user in ("cheap", "dear", "nobody"):
        rounds = 0
        assert not await users.admit(basic(user, "wrong")["authorization"].encode(), hashes, user)
        assert rounds == 2**7
    users.close()


async def test_strangers_take_nothing_of_the_rate(web_config: Path) -> None:
    web_config.write_text(USERS + "rate_limit: {interval: 1h, burst: 2}\n")
    async with running(state(planned()), Clock(), web_config=web_config) as site:
        for _ in range(10):
            assert (await site.get("/metrics")).status_code == 401
        codes = [(await site.get("/metrics", **basic("alice", PASSWORD))).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_host_is_one_however_many_addresses_it_has(host: str, known: str) -> None:
    assert network(host) == known


# Connections


async def idle(port: int, count: int) -> list[asyncio.StreamWriter]:
    return [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]


async def test_idle_connections_to_tls_cost_little_and_stop_no_scrape(tmp_path: Path) -> None:
    authority = Issued.root("checklist-exporter tests")
    authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
    file = tmp_path / "web.yaml"
    file.write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n")
    context = ssl.create_default_context(cadata=authority.pem.decode())
    async with running(state(planned()), Clock(), web_config=file) as site:
        async with site.client(verify=context) as client:
            assert (await client.get("/metrics")).status_code == 200
        before = psutil.Process().memory_info().rss
        writers = await idle(site.port, 1500)
        grown = psutil.Process().memory_info().rss - before
        async with site.client(verify=context) as client:
            assert (await client.get("/metrics")).status_code == 200
        for writer in writers:
            writer.close()
    assert grown < 100 << 20, "client and server together"


async def test_a_handshake_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 1)
    authority = Issued.root("checklist-exporter tests")
    authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
    file = tmp_path / "web.yaml"
    file.write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n")
    async with running(state(planned()), Clock(), web_config=file) as site:
        for begun in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(begun)
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()


async def test_the_oldest_idle_connection_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "QUIET_PER_ADDRESS", 8)
    monkeypatch.setattr(connections, "SPARED", 0.0)
    async with running(state(planned()), Clock()) as site:
        opened = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(20)]
        await asyncio.sleep(0.2)
        closed = []
        for reader, _ in opened:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.05):
                    await reader.read(1)
            closed.append(reader.at_eof() or reader.exception() is not None)
        assert closed == [True] * 12 + [False] * 8
        assert (await site.get("/metrics")).status_code == 200
        for _, writer in opened:
            writer.close()


class _Transport(asyncio.Transport):
    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 1)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_of_all_connections_one_of_the_address_with_most_gives_way() -> None:
    limited = Connections(limit=10)
    flood = [_Transport("192.0.2.1") for _ in range(9)]
    scraper = _Transport("192.0.2.2")
    made = [limited.made(transport) for transport in (*flood, scraper)]
    assert all(made)
    newcomer = _Transport("192.0.2.3")
    assert limited.made(newcomer) is not None
    assert [transport.aborted for transport in (*flood, scraper, newcomer)] == [True] + [False] * 10
    for connection in limited:
        connection.busy()
    refused = _Transport("192.0.2.4")
    assert limited.made(refused) is None
    assert refused.aborted
    assert len(limited) == 10


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_SECONDS", 0.5)
    items = [planned(f"item_{number}") for number in range(400)]
    async with running(state(*items), Clock()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        with suppress(ConnectionError):
            await asyncio.sleep(3)
            async with asyncio.timeout(10):
                while await reader.read(1 << 20):
                    pass
        writer.close()
        assert (await site.get("/metrics")).status_code == 200


# Work for those who left


async def test_selections_that_nobody_waits_for_delay_no_scrape(site: Site) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in basic("alice", PASSWORD).items())
    async with site.client() as scraper:
        assert (await scraper.get("/metrics", headers=basic("alice", PASSWORD))).status_code == 200
        for number in range(600):
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(f"GET /metrics?name[]=a{number} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
            writer.transport.abort()
        started = time.monotonic()
        assert (await scraper.get("/metrics", headers=basic("alice", PASSWORD))).status_code == 200
        assert time.monotonic() - started < 5


async def test_too_many_names_are_refused(site: Site) -> None:
    query = "&".join(f"name[]=a{number}" for number in range(2000))
    assert (await site.get(f"/metrics?{query}", **basic("alice", PASSWORD))).status_code == 400


# Reloads


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_another_site_reloads_nothing(site: Site, headers: dict[str, str], code: int) -> None:
    async with site.client() as client:
        answer = await client.post("/-/reload", headers={**basic("alice", PASSWORD), **headers})
    assert (answer.status_code, site.reloads) == (code, int(code == 200))


async def test_reloads_that_come_together_are_two(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    going, let = asyncio.Event(), asyncio.Event()

    async def slow() -> str | None:
        site.reloads += 1
        going.set()
        await let.wait()
        return None

    monkeypatch.setattr(site, "slow", slow)
    let.set()
    async with site.client() as client:
        assert (await client.post("/-/reload", headers=basic("alice", PASSWORD))).status_code == 200
    site.reloads = 0
    let.clear()
    going.clear()

    async def ask() -> int:
        async with site.client() as one:
            return (await one.post("/-/reload", headers=basic("alice", PASSWORD), timeout=30)).status_code

    asked = [asyncio.create_task(ask()) for _ in range(40)]
    await asyncio.wait_for(going.wait(), 10)
    for task in asked[::2]:
        task.cancel()  # the browser was closed
    await asyncio.sleep(0.5)
    let.set()
    codes = await asyncio.gather(*asked, return_exceptions=True)
    assert [code for code in codes if not isinstance(code, asyncio.CancelledError)] == [200] * 20
    await eventually(lambda: site.reloads == 2, "the second reload")


async def test_nothing_of_a_login_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "exporter")
    for headers in (basic("alice", PASSWORD), basic("alice", "wrong-canary")):
        await site.get("/metrics", **headers)
    assert "canary" not in "".join(record.getMessage() for record in caplog.records if record.name != "httpx")
