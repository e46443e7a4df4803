"""The servers that the tests of this folder use."""

from tests.servers.grafana import grafana
from tests.servers.jaeger import jaeger
from tests.servers.loki import loki
from tests.servers.pages import pages
