"""The servers that the tests of this folder use."""

from tests.servers.kubernetes import control_plane
from tests.servers.openai import openai_server
from tests.servers.pages import pages
from tests.servers.postgresql import pair, postgresql
from tests.servers.prometheus import prometheus
from tests.servers.redis import start_redis
from tests.servers.signing import keys
