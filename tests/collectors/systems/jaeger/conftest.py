"""The servers that the tests of this folder use."""

from tests.servers.jaeger import jaeger
