"""HAProxy 2.6, from Debian, with the configuration that a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian, library_environment
from tests.servers.process import Server, listening, scratch

_DEFAULTS = """
global
  log stderr format raw local0 err
  ssl-default-bind-options ssl-min-ver TLSv1.0
defaults
  mode tcp
  timeout connect 10s
  timeout client 10s
  timeout server 10s
"""


@contextmanager
def haproxy(configuration: str, *, port: int) -> Iterator[Server]:
    """Run HAProxy with these sections; ready when the port listens."""
    root = debian("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0")
    with scratch("haproxy") as folder:
        (folder / "haproxy.cfg").write_text(_DEFAULTS + configuration)
        argv: list[str | Path] = [root / "usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"]
        env = library_environment(root)
        with Server("haproxy", argv, directory=folder, env=env, ready=lambda: listening(port)) as server:
            yield server
