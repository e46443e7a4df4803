"""The servers that the tests of this folder use."""

from tests.collectors.environment_and_secrets.shop import cluster
from tests.servers.aws import aws, aws_server
from tests.servers.kubernetes import control_plane
