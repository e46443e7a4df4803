"""nginx 1.22, from Debian, with the server blocks that a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, listening, scratch

_CONFIGURATION = """
{modules}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {blocks}
}}
"""


class Nginx(Server):
    """One nginx with these server blocks, ready when the port listens on 127.0.0.1; `root` may have modules to load."""

    def __init__(self, folder: Path, blocks: str, *, port: int, root: Path | None = None, modules: str = "") -> None:
        root = root or debian("nginx")
        (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, blocks=blocks, modules=modules))
        super().__init__(
            "nginx",
            [root / "usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"],
            directory=folder,
            env=library_environment(root),
            ready=lambda: listening(port),
        )


def server_block(
    port: int,
    certificate: tuple[Path, Path] | list[tuple[Path, Path]],
    *,
    name: str = "_",
    host: str = LOOPBACK,
    extra: str = "",
) -> str:
    """Return a block that serves TLS on a port of a loopback address, with one certificate or several."""
    pairs = certificate if isinstance(certificate, list) else [certificate]
    files = "".join(f"ssl_certificate {chain}; ssl_certificate_key {key};\n" for chain, key in pairs)
    return f"server {{ listen {host}:{port} ssl; server_name {name};\n{files}{extra}\nlocation = / {{ return 200 'hello'; }} }}"


@contextmanager
def nginx(blocks: str, *, port: int) -> Iterator[Nginx]:
    """Run nginx with these server blocks; ready when the port listens on 127.0.0.1."""
    with scratch("nginx") as folder, Nginx(folder, blocks, port=port) as server:
        yield server
