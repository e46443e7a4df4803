"""The servers that the tests of this folder use."""

from tests.servers.kubernetes import control_plane
from tests.servers.nats import nats_server
from tests.servers.neo4j import neo4j_server
from tests.servers.patroni import patroni
from tests.servers.postgresql import pair, postgresql
from tests.servers.redis import any_redis, redis_cluster, redis_guarded, redis_replication, start_redis
