"""The servers that the tests of this folder use."""

from tests.servers.aws import aws, aws_server
from tests.servers.pages import pages
from tests.servers.signing import keys
