"""The servers that the tests of this folder use."""

from tests.servers.prometheus import any_prometheus, prometheus
from tests.servers.signing import keys
