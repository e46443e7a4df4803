"""The servers that the tests of this folder use."""

from tests.servers.openai import openai_server
from tests.servers.pages import pages
from tests.servers.stripe import stripe_server, webhook
from tests.servers.stripe_mock import stripe_mock
from tests.servers.twilio import twilio_server
