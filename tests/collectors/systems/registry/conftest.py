"""The servers that the tests of this folder use."""

from tests.servers.pages import pages
from tests.servers.registry import private_registry, registry, token_registry
