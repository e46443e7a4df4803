"""The servers that the tests of this folder use."""

from tests.servers.patroni import patroni
from tests.servers.postgresql import pair, postgresql
