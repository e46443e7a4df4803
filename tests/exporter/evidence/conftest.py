"""The servers that the tests of this folder use."""

from tests.servers.pages import pages
from tests.servers.signing import keys
