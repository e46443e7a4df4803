"""The servers that the tests of this folder use."""

from tests.servers.grafana import grafana
from tests.servers.kubernetes import control_plane
from tests.servers.oncall import oncall_server
from tests.servers.pages import pages
from tests.servers.registry import registry
from tests.servers.signing import keys
from tests.servers.trackers import trackers
