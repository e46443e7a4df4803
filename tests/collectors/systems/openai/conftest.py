"""The servers that the tests of this folder use."""

from tests.servers.openai import openai_server
