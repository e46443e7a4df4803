"""The servers that the tests of this folder use."""

from tests.servers.aws import aws, aws_server
from tests.servers.kubernetes import control_plane
