"""Varnish 7.1 from Debian: a shared cache in front of another server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch


class Varnish(Server):
    """Varnish in front of the server that listens on `behind`; it answers on `port`, in plaintext."""

    def __init__(self, folder: Path, behind: int) -> None:
        root = debian("varnish", "libvarnishapi3", "libjemalloc2", "libedit2", "libbsd0")
        self.port = free_port()
        configuration = folder / "default.vcl"
        configuration.write_text(f'vcl 4.1;\nbackend default {{ .host = "{LOOPBACK}"; .port = "{behind}"; }}\n')
        environment = library_environment(root)
        environment["LD_LIBRARY_PATH"] += f":{next(root.glob('usr/lib/*-linux-gnu*'))}/varnish"
        super().__init__(
            "varnish",
            [
                *(root / "usr/sbin/varnishd", "-F", "-j", "none", "-a", f"{LOOPBACK}:{self.port}", "-T", "none"),
                *("-n", folder / "work", "-s", "malloc,16m", "-f", configuration),
                *("-p", f"vmod_path={next(root.glob('usr/lib/*-linux-gnu*'))}/varnish/vmods"),
            ],
            directory=folder,
            env=environment,
            ready=lambda: listening(self.port),
            deadline=60,  # it compiles its configuration with the C compiler
        )


@contextmanager
def varnish(behind: int) -> Iterator[Varnish]:
    """Run Varnish in front of a port of 127.0.0.1."""
    with scratch("varnish") as folder, Varnish(folder, behind) as server:
        yield server
