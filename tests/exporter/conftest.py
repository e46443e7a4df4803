"""The servers that the tests of this folder use."""

from tests.servers.kubernetes import control_plane
from tests.servers.pages import pages
from tests.servers.postgresql import instance
