"""The servers that the tests of this folder use."""

from tests.servers.pages import pages
from tests.servers.postgresql import instance
