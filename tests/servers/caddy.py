"""Caddy 2.6 from Debian: HTTP/1.1, HTTP/2 and HTTP/3, with the site blocks that a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, listening, scratch

_OPTIONS = """
{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	default_bind {host}
	storage file_system {folder}/storage
	servers {{
		protocols {protocols}
	}}
}}
"""


class Caddy(Server):
    """One Caddy with these site blocks, ready when the port listens on 127.0.0.1. Without a bind it would listen everywhere."""

    def __init__(self, folder: Path, sites: str, *, port: int, protocols: str = "h1 h2 h3") -> None:
        configuration = folder / "Caddyfile"
        configuration.write_text(_OPTIONS.format(host=LOOPBACK, folder=folder, protocols=protocols) + sites)
        super().__init__(
            "caddy",
            [debian("caddy") / "usr/bin/caddy", "run", "--config", configuration, "--adapter", "caddyfile"],
            directory=folder,
            env={"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            ready=lambda: listening(port),
        )


@contextmanager
def caddy(sites: str, *, port: int, protocols: str = "h1 h2 h3") -> Iterator[Caddy]:
    """Run Caddy with these site blocks; ready when the port listens on 127.0.0.1."""
    with scratch("caddy") as folder, Caddy(folder, sites, port=port, protocols=protocols) as server:
        yield server
