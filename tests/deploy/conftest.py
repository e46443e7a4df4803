"""The servers that the tests of this folder use."""

from tests.servers.helm import helm
from tests.servers.kubernetes import control_plane
