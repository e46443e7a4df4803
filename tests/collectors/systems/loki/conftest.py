"""The servers that the tests of this folder use."""

from tests.servers.loki import loki
