"""The server of ours answers as the official document says."""

from __future__ import annotations

from tests.servers.specs import validate_reply
from tests.servers.twilio import TwilioServer, number

_ACCOUNTS = "/2010-04-01/Accounts"


def test_it_answers_as_the_document_says(twilio_server: TwilioServer) -> None:
    server = twilio_server
    server.numbers = {"+15005550006": number()}
    server.messages = [("outbound-api", "delivered"), ("inbound", "received")]
    server.calls = [{"from": "+15005550006", "status": "completed", "duration": "12"}]
    validate_reply("twilio", f"{_ACCOUNTS}/{{Sid}}.json", server.account())
    validate_reply("twilio", f"{_ACCOUNTS}/{{AccountSid}}/Balance.json", server.list_balance({}))
    validate_reply("twilio", f"{_ACCOUNTS}/{{AccountSid}}/Messages.json", server.list_messages({}))
    validate_reply("twilio", f"{_ACCOUNTS}/{{AccountSid}}/Calls.json", server.list_calls({}))
    numbers = server.list_incomingphonenumbers({})
    validate_reply("twilio", f"{_ACCOUNTS}/{{AccountSid}}/IncomingPhoneNumbers.json", numbers)
