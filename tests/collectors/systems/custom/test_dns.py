"""DNS: what resolvers answer is a fact, and that nobody answers is none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.rcode
import pytest
from pydantic import ValidationError

from exporter.verdict import Reason, Result, Status
from tests.collectors.systems.custom.lines import line, seen
from tests.servers.bind import Bind, bind, txt
from tests.servers.process import LOOPBACK

OK, FAILED, UNKNOWN = Status.OK, Status.FAILED, Status.UNKNOWN

RECORDS = [
    "shop 300 IN A 192.0.2.7",
    "shop 300 IN A 192.0.2.8",
    "www 30 IN CNAME shop",
    "lost IN CNAME gone",
    "one IN CNAME two",
    "two IN CNAME one",
    "only6 IN AAAA 2001:db8::7",
    "@ IN MX 10 Mail",
    "mail IN A 192.0.2.9",
    '@ IN CAA 0 issue "letsencrypt.org"',
    "_sip._tcp IN SRV 0 5 5060 mail",
    txt("policy", "v=1; ", "p=reject"),
    txt("long", *("x" * 250 for _ in range(20))),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Bind]:
    with bind(RECORDS) as running:
        yield running


async def resolved(server: Bind, *names: str, **options: Any) -> Result:
    given = {"names": [f"{name}.test" for name in names], "resolvers": [f"{LOOPBACK}:{server.port}"], "timeout": "20s"}
    return await seen(dns={**given, **options})


@pytest.mark.parametrize(
    ("name", "kind", "conditions", "status", "words"),
    [
        ("shop", "A", [], OK, "as wanted"),
        ("shop", "A", ['records == ["192.0.2.7", "192.0.2.8"]', 'ttl >= duration("1m")'], OK, "ttl is 5m"),
        ("shop", "A", ['records.all(r, r == "192.0.2.7")'], FAILED, "it is not true of 1 of 2"),
        ("shop", "AAAA", [], FAILED, "has no such records"),
        ("www", "A", ['"192.0.2.7" in records'], OK, "as wanted"),
        ("www", "A", ['ttl >= duration("1m")'], FAILED, "ttl is 30s"),  # the alias expires first
        ("www", "CNAME", ['records == ["shop.test"]'], OK, "as wanted"),
        ("lost", "A", [], FAILED, "does not exist: the answer is NXDOMAIN"),
        ("one", "A", [], UNKNOWN, "SERVFAIL"),  # aliases in a circle
        ("gone", "A", [], FAILED, "does not exist"),
        ("gone", "A", ['rcode == "NXDOMAIN"'], OK, 'rcode is "NXDOMAIN"'),
        ("shop", "AAAA", ['rcode == "NOERROR"'], FAILED, "has no such records"),
        ("shop", "AAAA", ['rcode == "NXDOMAIN"'], FAILED, 'rcode is "NOERROR"'),
        ("gone", "A", ['!("192.0.2.7" in records)'], FAILED, "does not exist"),
        ("shop", "A", ['rcode != "NXDOMAIN"', "size(records) == 0 || records.exists(r, r.startsWith('10.'))"], FAILED, "192.0.2.7"),
        ("only6", "A", [], FAILED, "has no such records"),
        ("policy", "TXT", ['records.exists(r, r == "v=1; p=reject")'], OK, "as wanted"),
        ("long", "TXT", ["records.all(r, size(r) == 5000)"], OK, "as wanted"),  # truncated by UDP
        ("_sip._tcp", "SRV", ['records == ["0 5 5060 mail.test"]'], OK, "as wanted"),
        ("shop", "A", ["authentic"], FAILED, "authentic is false"),
        ("x.broken", "A", [], UNKNOWN, "SERVFAIL"),
        ("x.broken", "A", ['rcode == "SERVFAIL"'], OK, "as wanted"),
    ],
)  # fmt: skip
async def test_what_is_answered_decides(
    server: Bind, name: str, kind: str, conditions: list[str], status: Status, words: str
) -> None:
    result = await resolved(server, name, type=kind, conditions=conditions)
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_mail(server: Bind) -> None:
    options = {"resolvers": [f"{LOOPBACK}:{server.port}"], "timeout": "20s", "names": ["test"]}
    mx = await seen(dns={**options, "type": "MX", "conditions": ['records == ["10 mail.test"]']})
    caa = await seen(dns={**options, "type": "CAA", "conditions": ["records == ['0 issue \"letsencrypt.org\"']"]})
    assert (mx.status, caa.status) == (OK, OK), (mx.summary, caa.summary)


async def test_one_resolver_that_answers_otherwise(server: Bind) -> None:
    """The zone was changed on one server of two."""
    with bind(["shop 300 IN A 192.0.2.66"]) as other:
        resolvers = [f"{LOOPBACK}:{one.port}" for one in (server, other)]
        result = await resolved(server, "shop", resolvers=resolvers, conditions=['"192.0.2.7" in records'])
    assert (result.status, f"from {LOOPBACK}:{other.port}" in result.summary) == (FAILED, True), result.summary


class _Replies(asyncio.DatagramProtocol):
    """Answers every query in a way of its own; without one, never."""

    def __init__(self, reply: Any = None) -> None:
        self.reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self.reply:
            self.transport.sendto(self.reply(data), address)


async def asked(reply: Any, timeout: str) -> Result:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Replies(reply), local_addr=(LOOPBACK, 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        return await seen(dns={"names": ["shop.test"], "resolvers": [f"{LOOPBACK}:{port}"], "timeout": timeout})
    finally:
        transport.close()


def _refused(data: bytes) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(data))
    reply.set_rcode(dns.rcode.REFUSED)
    return reply.to_wire()


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        (None, {Reason.TIMEOUT}),
        (_refused, {Reason.REFUSED}),
        (lambda data: b"nonsense", {Reason.MALFORMED, Reason.TIMEOUT}),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], {Reason.MALFORMED, Reason.TIMEOUT}),  # somebody else's answer
    ],
    ids=["silent", "refuses", "nonsense", "another id"],
)
async def test_what_is_no_answer_proves_nothing(reply: Any, reasons: set[Reason]) -> None:
    result = await asked(reply, "30s" if reasons == {Reason.REFUSED} else "1s")
    assert (result.status, result.reason in reasons) == (UNKNOWN, True), result


async def test_a_resolver_that_does_not_listen() -> None:
    result = await seen(dns={"names": ["shop.test"], "resolvers": [f"{LOOPBACK}:1"], "timeout": "1s"})
    assert result.status is UNKNOWN


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": ["a..b"]}, "expected a host name"),
        ({"names": ["shop.test"], "type": "ANY"}, "'A', 'AAAA'"),
        ({"names": ["shop.test"], "resolvers": ["dns.google"]}, "expected the IP address of a resolver"),
        ({"names": ["shop.test"], "conditions": ["records == '192.0.2.7'"]}, "found no matching overload"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        line(dns=options)
