"""E-mail on Postfix and aiosmtpd, Twilio on a server that answers as its official document says, templates on any API."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.systems.prometheus.client import Prometheus, PrometheusSettings
from collectors.systems.smtp.check import see_server
from collectors.systems.smtp.client import SmtpServer
from collectors.third_party_integrations.communications import Communications, CommunicationsSettings
from exporter.runner import utc_now
from exporter.threads import Threads
from exporter.verdict import Result, Status
from tests.collectors.evidence import Folder, evidence_of
from tests.servers.bind import bind, zone
from tests.servers.certificates import Issued, authority
from tests.servers.pages import Pages
from tests.servers.postfix import Postfix, postfix
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prometheus import Prometheus as PrometheusServer
from tests.servers.smtp import PASSWORD, USER, Submission, submission
from tests.servers.twilio import ACCOUNT, KEY, SECRET, TwilioServer, error, number
from tests.support import Run, make_context, sees

OK, WARNING, FAILED, UNKNOWN = Status.OK, Status.WARNING, Status.FAILED, Status.UNKNOWN
NUMBER = "+15005550006"
DKIM_KEY = f"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(32)).decode()}"


evidence = evidence_of("communications")


def run(evidence: Folder, item: str, **settings: Any) -> Run:
    clients = settings.pop("clients", None)
    context = make_context(clients=clients, **evidence.context)
    return Run(Communications, [item], settings=settings, context=context, secrets=[PASSWORD, SECRET])


seen = sees(run)


# E-mail


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return authority().issue("127.0.0.1").write(tmp_path, "mail")


@pytest.fixture
def mail(files: tuple[Path, Path]) -> Iterator[Submission]:
    with submission(files) as server:
        yield server


async def sent(evidence: Folder, port: int, /, *, mail_domain: dict[str, Any] | None = None, **settings: Any) -> Result:
    domain = {"mail_domain": mail_domain} if mail_domain else {}
    of = mail_domain["name"] if mail_domain else "example.com"
    server = {
        "host": LOOPBACK,
        "port": port,
        "username": USER,
        "password": PASSWORD,
        "sender": f"shop@{of}",
        "recipient": "sre@example.org",
        "tls": {"ca_file": str(evidence.path / "ca.pem")},
    }
    return await seen(evidence, "email_configured", smtp=server | settings, **domain)


@pytest.mark.verifies("communications.email_configured", "ok")
async def test_a_recipient_is_accepted_after_the_login_alone_and_nothing_is_sent(
    evidence: Folder, mail: Submission
) -> None:
    result = await sent(evidence, mail.port)
    assert result.status is OK, result.summary
    assert mail.asked == ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "RSET"]


@pytest.mark.verifies("communications.email_configured", "failed")
@pytest.mark.verifies("communications.email_configured", "unknown")
@pytest.mark.parametrize(
    ("step", "answer", "status", "summary"),
    [
        ("login", "535 5.7.8 Error: authentication failed", FAILED, "535 to AUTH: the login was rejected"),
        ("login", "534 5.7.9 Application-specific password required", FAILED, "the login was rejected"),
        ("login", "454 4.7.0 Temporary authentication failure", UNKNOWN, "answered 454 to AUTH"),
        ("login", "504 5.5.4 Unrecognized", UNKNOWN, "answered 504 to AUTH"),
        ("recipient", "554 5.7.1 Relay access denied", FAILED, "recipient rejected"),
        ("recipient", "450 4.2.0 Greylisted", UNKNOWN, "answered 450 to RCPT TO"),
        ("sender", "553 5.7.1 Sender address rejected", FAILED, "sender rejected"),
        ("sender", "452 4.3.1 Insufficient system storage", UNKNOWN, "answered 452 to MAIL FROM"),
        ("anonymous", "450 4.2.0 Greylisted", UNKNOWN, "450 to RCPT TO without a login, which is no refusal for good"),
        ("anonymous", "250 2.1.5 Ok", UNKNOWN, "accepts the recipient without a login too"),
    ],
)
async def test_each_step_may_be_refused(
    evidence: Folder, mail: Submission, step: str, answer: str, status: Status, summary: str
) -> None:
    setattr(mail, step, answer)
    result = await sent(evidence, mail.port)
    assert (result.status, summary in result.summary) == (status, True), result.summary
    assert "DATA" not in mail.asked


async def test_logins(evidence: Folder, files: tuple[Path, Path], mail: Submission) -> None:
    assert (await sent(evidence, mail.port, password="canary-wrong")).status is FAILED
    assert (await sent(evidence, mail.port, password="Pässwort")).status is FAILED
    result = await sent(evidence, mail.port, username=None, password=None)
    assert (result.status, "recipient rejected" in result.summary) == (FAILED, True)
    mail.anonymous = mail.recipient  # a relay that trusts addresses
    assert (await sent(evidence, mail.port, username=None, password=None)).status is OK
    with submission(files, auth_exclude_mechanism=["PLAIN"]) as server:
        assert (await sent(evidence, server.port)).status is OK
    with submission(files, auth_exclude_mechanism=["PLAIN", "LOGIN"]) as server:
        result = await sent(evidence, server.port)
        assert (result.status, "offers no login" in result.summary) == (FAILED, True), result.summary
    with submission(files, auth_require_tls=False) as server:
        result = await sent(evidence, server.port)
        assert (result.status, "before the connection is encrypted" in result.summary) == (WARNING, True)


async def test_a_server_that_lets_everybody_in_shows_nothing(evidence: Folder, mail: Submission) -> None:
    mail.any_login = True  # as servers for tests do, which catch all messages and deliver none
    result = await sent(evidence, mail.port)
    assert (result.status, "accepts any login" in result.summary) == (UNKNOWN, True), result.summary
    assert mail.users == [USER, "checklist-exporter-nobody"]


async def test_a_stranger_is_tried_once_a_day(tmp_path: Path, mail: Submission) -> None:
    """Servers ban addresses from which many logins are rejected."""
    server = SmtpServer.model_validate(
        {
            "host": LOOPBACK,
            "port": mail.port,
            "username": USER,
            "password": PASSWORD,
            "sender": "shop@example.com",
            "recipient": "sre@example.org",
            "tls": {"ca_file": tmp_path / "ca.pem"},
        }
    )
    now, rejected = datetime.now(UTC), dict[str, datetime]()
    for hours in (0, 1, 23, 25):
        result = await see_server(server, asyncio.to_thread, rejected, now + timedelta(hours=hours))
        assert result.status is OK, result.summary
    assert mail.users.count("checklist-exporter-nobody") == 2


async def test_each_address_is_tried(
    evidence: Folder, files: tuple[Path, Path], mail: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second connection of a product goes to the other address."""
    addresses, resolve = [LOOPBACK, "127.0.0.2"], socket.getaddrinfo

    def answered(host: Any, port: Any, *how: Any, **more: Any) -> Any:
        if host != "mail.shop.test":
            return resolve(host, port, *how, **more)
        return [found for address in addresses for found in resolve(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", answered)
    tls = {"ca_file": str(evidence.path / "ca.pem"), "server_name": LOOPBACK}
    result = await sent(evidence, mail.port, host="mail.shop.test", tls=tls)
    assert (result.status, "at 127.0.0.2 cannot be reached" in result.summary) == (WARNING, True), result.summary
    with submission(files, host="127.0.0.2", port=mail.port) as other:
        assert (await sent(evidence, mail.port, host="mail.shop.test", tls=tls)).status is OK
        other.login = "535 5.7.8 Error: authentication failed"
        result = await sent(evidence, mail.port, host="mail.shop.test", tls=tls)
        assert (result.status, "at 127.0.0.2 answered 535" in result.summary) == (FAILED, True), result.summary
    addresses[0] = "::1"  # where nothing listens, as where there is no IPv6
    addresses[1] = LOOPBACK
    assert (await sent(evidence, mail.port, host="mail.shop.test", tls=tls)).status is OK
    mail.login, addresses[0], mail.users = "535 5.7.8 Error", LOOPBACK, []
    addresses[1] = "127.0.0.2"
    assert (await sent(evidence, mail.port, host="mail.shop.test", tls=tls)).status is FAILED
    assert mail.users == [USER]  # a wrong password is tried once


async def test_encryption_is_verified(evidence: Folder, files: tuple[Path, Path], mail: Submission) -> None:
    assert (await sent(evidence, mail.port, host="localhost")).status is FAILED  # the name is not in it
    renamed = {"ca_file": str(evidence.path / "ca.pem"), "server_name": LOOPBACK}
    assert (await sent(evidence, mail.port, host="localhost", tls=renamed)).status is OK
    for issued in (Issued.root("127.0.0.1"), authority().issue("127.0.0.1", days=-1, age=3)):
        with submission(issued.write(evidence.path, "bad")) as server:
            result = await sent(evidence, server.port)
            assert (result.status, "was not accepted" in result.summary) == (FAILED, True), result.summary
            assert server.asked == []
    with submission(None) as server:
        result = await sent(evidence, server.port)
        assert (result.status, "does not offer STARTTLS" in result.summary) == (FAILED, True)
        assert server.asked == []
    with submission(files, tls=True, auth_require_tls=False) as server:  # aiosmtpd means STARTTLS by it
        assert (await sent(evidence, server.port, security="tls")).status is OK
        assert (await sent(evidence, server.port, timeout="500ms")).status is UNKNOWN
    assert "TLS handshake" in (await sent(evidence, mail.port, security="tls")).summary


@pytest.fixture(scope="module")
def real() -> Iterator[Postfix]:
    with postfix() as server:
        yield server


#: What each port of Postfix has to be found to be.
POSTFIX: dict[str, tuple[dict[str, Any], Status, str]] = {
    "submission": ({}, OK, "accepts the login, the sender and the recipient"),
    "smtps": ({"security": "tls"}, OK, "accepts the login"),
    "broken": ({}, UNKNOWN, "answered 454 to AUTH"),
    "greylists": ({}, UNKNOWN, "answered 4"),
    "defers_relay": ({}, OK, "accepts the login, the sender and the recipient"),  # as Postfix does by default
    "refuses_senders": ({}, FAILED, "sender rejected"),
    "refuses_clients": ({}, UNKNOWN, "answered 554 to the connection"),
    "refuses_addresses": ({}, UNKNOWN, "it refuses the exporter's address"),
    "refuses_names": ({}, UNKNOWN, "it refuses the exporter's address or name (hello)"),
    "few_errors": ({}, OK, "accepts the login, the sender and the recipient"),
    "expiring": ({}, WARNING, "expires in 2d"),
    "owned_senders": ({}, FAILED, "recipient rejected"),  # Postfix says so at RCPT TO
    "trusts_addresses": ({}, UNKNOWN, "accepts the recipient without a login too"),
    "unencrypted": ({}, FAILED, "does not offer STARTTLS"),
    "in_the_clear": ({}, WARNING, "before the connection is encrypted"),
    "without_login": ({}, FAILED, "offers no login"),
    "self_signed": ({}, FAILED, "was not accepted"),
    "expired": ({}, FAILED, "was not accepted"),
}


@pytest.mark.parametrize("service", POSTFIX)
async def test_postfix(evidence: Folder, files: tuple[Path, Path], real: Postfix, service: str) -> None:
    settings, status, words = POSTFIX[service]
    evidence.clock.at = utc_now()  # by which its certificates were issued
    result = await sent(evidence, real.ports[service], username=f"{USER}@shop.test", **settings)
    assert (result.status, words in result.summary) == (status, True), result.summary


async def test_postfix_refuses_a_wrong_password_and_is_sent_nothing(
    evidence: Folder, files: tuple[Path, Path], real: Postfix
) -> None:
    port, user = real.ports["submission"], f"{USER}@shop.test"
    result = await sent(evidence, port, username=user, password="canary-wrong")
    assert (result.status, "535" in result.summary or "rejected" in result.summary) == (FAILED, True), result.summary
    assert (await sent(evidence, port, username=user, host="localhost")).status is FAILED  # not in the certificate
    assert (await sent(evidence, port, username=user)).status is OK
    assert "client=localhost[127.0.0.1]" in real.mail  # a recipient was accepted
    assert "message-id" not in real.mail  # and no message followed it
    assert real.queued == []


async def test_receivers_have_to_recognise_what_is_sent(evidence: Folder, mail: Submission) -> None:
    own = "v=spf1 ip4:203.0.113.5 -all"
    records = zone({"shop": own, "s1._domainkey.shop": "v=DKIM1; p=", "_dmarc.shop": "v=DMARC1; p=none"})
    records.append("shop IN A 203.0.113.5")
    with bind(records) as server:
        domain = {"name": "shop.test", "dkim_selectors": ["s1"], "nameservers": [f"{LOOPBACK}:{server.port}"]}
        result = await sent(evidence, mail.port, mail_domain=domain)
    assert (result.status, result.summary) == (FAILED, "DKIM key s1._domainkey.shop.test is revoked (p= is empty).")
    result = await sent(evidence, mail.port, mail_domain={**domain, "timeout": "200ms"})
    assert result.status is UNKNOWN, result.summary


async def test_the_records_have_to_be_those_of_the_sender(evidence: Folder, mail: Submission) -> None:
    own = "v=spf1 ip4:203.0.113.5 -all"
    records = zone({"shop": own, "s1._domainkey.shop": DKIM_KEY, "_dmarc.shop": "v=DMARC1; p=reject"})
    records += ["shop IN MX 10 mail", "mail IN A 203.0.113.5"]
    with bind(records) as server:
        domain = {"name": "shop.test", "dkim_selectors": ["s1"], "nameservers": [f"{LOOPBACK}:{server.port}"]}
        for sender in ("a@shop.test", "a@Mail.Shop.test"):
            result = await sent(evidence, mail.port, mail_domain=domain, sender=sender)
            assert result.status is OK, result.summary
        for sender in ("a@myshop.test", "a@other.test"):
            result = await sent(evidence, mail.port, mail_domain=domain, sender=sender)
            assert (result.status, "were not checked" in result.summary) == (UNKNOWN, True), result.summary


@pytest.mark.parametrize(
    ("greeting", "summary"),
    [
        (b"554 No SMTP service here\r\n", "answered 554 to the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "as a mail server does"),
        (b"", "ended the connection instead of answering the connection"),
        (None, "within 500ms"),
    ],
)
async def test_what_is_no_mail_server_shows_nothing(
    evidence: Folder, files: tuple[Path, Path], greeting: bytes | None, summary: str
) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def greet() -> None:
            accepted, _ = listener.accept()
            with accepted:
                if greeting is not None:
                    accepted.sendall(greeting)
                else:
                    accepted.recv(1)  # until the other side gives up

        thread = threading.Thread(target=greet)
        thread.start()
        result = await sent(evidence, listener.getsockname()[1], timeout="500ms")
        thread.join(10)
    assert result.status is UNKNOWN
    assert summary in result.summary or (greeting is None and "in time" in result.summary), result.summary


async def test_no_server(evidence: Folder, files: tuple[Path, Path]) -> None:
    result = await sent(evidence, free_port())
    assert (result.status, "cannot be reached" in result.summary) == (UNKNOWN, True), result.summary
    assert (await seen(evidence, "email_configured")).status is UNKNOWN


# Twilio


@pytest.fixture
def twilio(twilio_server: TwilioServer) -> TwilioServer:
    """A full account whose number works: every line passes."""
    twilio_server.numbers = {NUMBER: number()}
    twilio_server.messages = [("outbound-api", "delivered")] * 9 + [("outbound-api", "undelivered")]
    twilio_server.calls = [{"from": "+15005550001", "to": NUMBER, "status": "completed", "duration": "12"}]
    return twilio_server


def account(server: TwilioServer, **settings: Any) -> dict[str, Any]:
    whole = {"url": server.url, "account": ACCOUNT, "username": KEY, "password": SECRET, "sms_numbers": [NUMBER]}
    return {"twilio": whole | {"voice_numbers": [NUMBER]} | settings}


@pytest.mark.verifies("communications.sms_configured", "ok")
async def test_a_full_account_whose_messages_arrive(evidence: Folder, twilio: TwilioServer) -> None:
    result = await seen(evidence, "sms_configured", **account(twilio, min_balance=120.5))
    assert (result.status, "1 of 10 messages" in result.summary) == (OK, True), result.summary
    twilio.messages = [("outbound-api", "failed")] * 4 + [("inbound", "received")] * 9  # too few to be judged
    assert (await seen(evidence, "sms_configured", **account(twilio))).status is OK


@pytest.mark.verifies("communications.sms_configured", "failed")
@pytest.mark.parametrize(
    ("change", "summary"),
    [
        ({"status": "suspended"}, "is suspended (expected active)"),
        ({"type": "Trial"}, "of type Trial"),
        ({"numbers": {NUMBER: number(sms=False)}}, "cannot send text messages"),
        ({"numbers": {f"{NUMBER}7": number()}}, "does not belong to the account"),
        ({"numbers": {}}, "does not belong to the account"),
        ({"balance": "-3.20"}, "-3.20 USD (at least 1.00 wanted)"),
        ({"messages": [("outbound-api", "undelivered")] * 3 + [("outbound-reply", "delivered")] * 7}, "3 of 10"),
        ({"forced": {"Messages": error(20003), ACCOUNT: error(20003)}}, "the key was rejected"),
        ({"forced": {"Messages": error(20005, 403), ACCOUNT: error(20003)}}, "the account is not active"),
    ],
)
async def test_messages_that_do_not_leave(
    evidence: Folder, twilio: TwilioServer, change: dict[str, Any], summary: str
) -> None:
    for name, value in change.items():
        setattr(twilio, name, value)
    result = await seen(evidence, "sms_configured", **account(twilio, min_balance=1.0))
    assert (result.status, summary in result.summary) == (FAILED, True), result.summary


async def test_one_number_that_carriers_refuse_is_not_hidden_by_others(evidence: Folder, twilio: TwilioServer) -> None:
    ours = ("outbound-api", "undelivered", NUMBER)
    others = [("outbound-api", "delivered", f"whatsapp:{NUMBER}"), ("outbound-api", "delivered", "+15005550009")]
    twilio.messages = [ours] * 5 + others * 40
    result = await seen(evidence, "sms_configured", **account(twilio))
    assert (result.status, f"5 of 5 messages from {NUMBER} since" in result.summary) == (FAILED, True), result.summary
    twilio.messages = [(*ours[:2], "+15005550009")] * 5 + [("outbound-api", "delivered", NUMBER)] * 40
    assert (await seen(evidence, "sms_configured", **account(twilio))).status is OK  # another product's number


@pytest.mark.verifies("communications.sms_configured", "unknown")
@pytest.mark.parametrize(
    ("forced", "summary"),
    [
        ({ACCOUNT: error(20003)}, "takes a main key"),
        ({"Messages": error(70051, 403)}, "messages were not checked"),
        ({"Messages": (401, b"<html>Sign in</html>"), ACCOUNT: (401, b"<html>")}, "messages were not checked"),
        ({"Messages": error(20429, 429)}, "answered 429"),
        ({"Messages": (200, b"<html>Sign in</html>")}, "HTML page"),
        ({"IncomingPhoneNumbers": error(70051, 403)}, "may not read this"),
        ({ACCOUNT: (200, {"sid": f"AC{'1' * 32}", "status": "active", "type": "Full"})}, "another account"),
        ({"Balance": (200, {"balance": "much", "currency": "USD"})}, "no number"),
        (
            {"IncomingPhoneNumbers": (200, {"incoming_phone_numbers": [{"phone_number": NUMBER, "capabilities": {}}]})},
            "missing required field `sms`",
        ),
    ],
)
async def test_what_twilio_does_not_show(
    evidence: Folder, twilio: TwilioServer, forced: dict[str, Any], summary: str
) -> None:
    twilio.forced = forced
    result = await seen(evidence, "sms_configured", **account(twilio, min_balance=1.0))
    assert (result.status, summary in result.summary) == (UNKNOWN, True), result.summary


@pytest.mark.parametrize("item", ["sms_configured", "voice_tested"])
async def test_nothing_is_known_without_twilio(evidence: Folder, twilio: TwilioServer, item: str) -> None:
    evidence.record("voice_tested")
    assert (await seen(evidence, item)).status is UNKNOWN
    assert (await seen(evidence, item, **account(twilio, password=None))).status is UNKNOWN
    assert (await seen(evidence, item, **account(twilio, sms_numbers=[], voice_numbers=[]))).status is UNKNOWN
    assert (await seen(evidence, item, **account(TwilioServer(f"http://{LOOPBACK}:{free_port()}")))).status is UNKNOWN


@pytest.mark.verifies("communications.voice_tested", "ok")
@pytest.mark.verifies("communications.voice_tested", "failed")
@pytest.mark.verifies("communications.voice_tested", "unknown")
async def test_a_number_answers_and_somebody_listened(evidence: Folder, twilio: TwilioServer) -> None:
    item, settings = "voice_tested", account(twilio)
    assert (await seen(evidence, item, **settings)).status is FAILED  # no record
    evidence.record(item)
    result = await seen(evidence, item, **settings)
    assert result.status is OK, result.summary
    assert any(query.get("StartTime>") == ["2026-07-15"] for resource, query in twilio.asked if resource == "Calls")
    for changed, summary in (
        (number(voice=False), "has no voice"),
        (number(voice_url=""), "are answered by nothing"),
        (number(voice_url="https://demo.twilio.com/welcome/voice/"), "Twilio's demo"),
        (number(voice_url="http://shop.example.com/calls"), "not encrypted"),
    ):
        twilio.numbers[NUMBER] = changed
        result = await seen(evidence, item, **settings)
        assert (result.status, summary in result.summary) == (FAILED, True), result.summary
    twilio.numbers[NUMBER] = number(voice_url=None, voice_application_sid=f"AP{'0' * 32}")
    assert (await seen(evidence, item, **settings)).status is OK
    for calls in ([], [{"to": NUMBER, "status": "completed", "duration": "0"}], [{"to": NUMBER, "status": "busy"}]):
        twilio.calls = calls
        result = await seen(evidence, item, **settings)
        assert (result.status, "was completed within" in result.summary) == (FAILED, True), result.summary
    twilio.numbers = {}
    assert "does not belong" in (await seen(evidence, item, **settings)).summary
    twilio.forced = {"IncomingPhoneNumbers": error(20003)}
    assert (await seen(evidence, item, **settings)).status is UNKNOWN


# Templates


@pytest.mark.verifies("communications.templates_loaded", "ok")
@pytest.mark.verifies("communications.templates_loaded", "failed")
@pytest.mark.verifies("communications.templates_loaded", "unknown")
async def test_templates_are_requested_one_by_one(evidence: Folder, pages: Pages) -> None:
    item = "templates_loaded"
    api = {
        "url": pages.url,
        "path": "/t/{name}",
        "required": ["paid", "a b".replace(" ", "/")],
        "filled": ["/v/0/text"],
    }
    filled = json.dumps({"v": [{"text": "Thank you"}]})
    pages.add("/t/paid", filled)
    pages.add("/t/a%2Fb", filled)
    result = await seen(evidence, item, templates=api)
    assert result.status is OK, result.summary
    for empty in ('{"v": []}', '{"v": [{"text": "  "}]}', '{"v": null}', "{}"):
        pages.add("/t/paid", empty)
        result = await seen(evidence, item, templates=api)
        assert (result.status, "paid has nothing at /v/0/text" in result.summary) == (FAILED, True), result.summary
    del pages.pages["/t/paid"]
    assert "paid does not exist" in (await seen(evidence, item, templates=api)).summary
    for status in (401, 403, 429, 500):
        pages.add("/t/paid", filled, status)
        assert (await seen(evidence, item, templates=api)).status is UNKNOWN
    for page in ("<html>Sign in</html>", '"text"', ""):
        pages.add("/t/paid", page)
        assert (await seen(evidence, item, templates=api)).status is UNKNOWN
    pages.add("/t/paid", filled)
    pages.add("/t/checklist-exporter-no-such-template", filled)
    result = await seen(evidence, item, templates=api)
    assert (result.status, "does not exist" in result.summary) == (UNKNOWN, True)


async def test_templates_by_a_record(evidence: Folder) -> None:
    assert (await seen(evidence, "templates_loaded")).status is FAILED
    evidence.record("templates_loaded", release="1.4.2")
    assert (await seen(evidence, "templates_loaded")).status is OK
    evidence.record("templates_loaded", release="1.4.1")
    assert (await seen(evidence, "templates_loaded")).status is FAILED


# Receipts


@pytest.mark.verifies("communications.delivery_tracking_enabled", "ok")
@pytest.mark.verifies("communications.delivery_tracking_enabled", "failed")
@pytest.mark.verifies("communications.delivery_tracking_enabled", "unknown")
async def test_receipts_are_held_against_outcomes(
    evidence: Folder, twilio: TwilioServer, prometheus: PrometheusServer
) -> None:
    client = Prometheus(PrometheusSettings(url=prometheus.url), Threads())
    item = "delivery_tracking_enabled"

    async def receipts(query: str) -> Result:
        settings = {"receipts_query": query, "clients": {"prometheus": client}}
        return await seen(evidence, item, **account(twilio), **settings)

    try:
        for query, status in {
            "vector(9)": OK,
            "vector(8)": FAILED,
            "vector(0)": FAILED,
            "vector(0) / 0": FAILED,
            "vector(1) / 0": FAILED,
            "receipts_of_nobody": UNKNOWN,
        }.items():
            result = await receipts(query)
            assert result.status is status, result.summary
        twilio.messages = [("outbound-api", "delivered")] * 4 + [("outbound-api", "sent")] * 9
        result = await receipts("vector(100)")
        assert (result.status, "Only 4 messages" in result.summary) == (UNKNOWN, True)
        twilio.forced = {"Messages": error(20003)}
        assert (await receipts("vector(100)")).status is UNKNOWN
    finally:
        await client.close()


async def test_tracking_by_a_record(evidence: Folder, pages: Pages) -> None:
    item = "delivery_tracking_enabled"
    evidence.hosts = [pages.url]
    assert (await seen(evidence, item)).status is FAILED
    evidence.record(item)
    assert (await seen(evidence, item)).status is not OK  # no link
    evidence.record(item, links=[{"url": pages.add("/receipts", "<h1>Receipts of messages</h1>")}])
    result = await seen(evidence, item)
    assert result.status is OK, result.summary


@pytest.mark.parametrize(
    "settings",
    [
        {"smtp": {"host": "a", "sender": "a", "recipient": "b@example.com"}},
        {"smtp": {"host": "a", "sender": "a@example.com\r\nDATA", "recipient": "b@example.com"}},
        {"smtp": {"host": "a", "sender": "a@example.com", "recipient": "b@example.com", "username": "a"}},
        {"smtp": {"host": "a", "sender": "a@example.com", "recipient": "b@example.com", "security": "none"}},
        {"smtp": {"host": "a b", "sender": "a@example.com", "recipient": "b@example.com"}},
        {"mail_domain": {"name": "example.com", "dkim_selectors": []}},
        {"twilio": {"account": "AC1"}},
        {"twilio": {"account": ACCOUNT, "sms_numbers": ["015005550006"]}},
        {"templates": {"url": "http://a", "path": "/t", "required": ["a"], "filled": ["/a"]}},
        {"templates": {"url": "http://a", "path": "/{name}", "required": [], "filled": ["/a"]}},
        {"templates": {"url": "http://a", "path": "/{name}", "required": ["a"], "filled": ["a"]}},
        {"receipts_query": ""},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommunicationsSettings.model_validate_json(json.dumps(settings))
