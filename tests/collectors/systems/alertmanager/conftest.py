"""The servers that the tests of this folder use."""

from tests.servers.alertmanager import any_alertmanager
from tests.servers.pages import pages
