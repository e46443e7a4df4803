"""The servers that the tests of this folder use."""

from tests.servers.kubernetes import control_plane
from tests.servers.loki import loki
from tests.servers.pages import pages
from tests.servers.prefect import prefect
from tests.servers.temporal import temporal
