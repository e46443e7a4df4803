"""The servers that the tests of this folder use."""

from tests.servers.oncall import oncall_server
