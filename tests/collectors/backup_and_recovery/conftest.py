"""The servers that the tests of this folder use."""

from tests.servers.oncall import oncall_server
from tests.servers.pages import pages
