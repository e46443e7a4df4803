"""The servers that the tests of this folder use."""

from tests.servers.alertmanager import alertmanager
from tests.servers.jaeger import jaeger
from tests.servers.kubernetes import control_plane
from tests.servers.loki import loki
from tests.servers.nats import nats_cluster, nats_server
from tests.servers.neo4j import neo4j_server
from tests.servers.prometheus import any_prometheus
