"""The servers that the tests of this folder use."""

from tests.servers.twilio import twilio_server
