"""The servers that the tests of this folder use."""

from tests.servers.stripe import stripe_server
