"""The servers that the tests of this folder use."""

from tests.servers.kubernetes import control_plane
from tests.servers.postgresql import pair, postgresql
from tests.servers.redis import any_redis, redis_replication
