"""nginx with ModSecurity and the OWASP core rules at paranoia level 1, from Debian, in front of an application."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.packages import debian, library_environment
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch

_PACKAGES = (
    *("nginx", "libnginx-mod-http-modsecurity", "modsecurity-crs", "libmodsecurity3", "libyajl2", "liblua5.3-0"),
    *("libfuzzy2", "libgeoip1", "libmaxminddb0", "libcurl3-gnutls", "libnginx-mod-http-ndk"),
)
_CONFIGURATION = """
load_module {module};
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
  server {{
    listen {host}:{port};
    modsecurity on;
    modsecurity_rules_file {folder}/rules.conf;
    location / {{ proxy_pass {upstream}; proxy_set_header Host $http_host; }}
  }}
}}
"""


class Firewall(Server):
    """A WAF; ``url`` is its address, ``alerts()`` the ids of the rules that matched."""

    url: str

    def alerts(self) -> list[str]:
        """The log lines of rules that matched."""
        return [
            line
            for line in self.log.read_text(errors="replace").splitlines()
            if "ModSecurity: " in line and "[id " in line
        ]


@contextmanager
def waf(upstream: str) -> Iterator[Firewall]:
    """Run the WAF in front of an address."""
    root, port = debian(*_PACKAGES), free_port()
    rules = root / "usr/share/modsecurity-crs"
    with scratch("waf") as folder:
        includes = [f"Include {root}/etc/modsecurity/crs/crs-setup.conf", f"Include {rules}/rules/*.conf"]
        folder.joinpath("rules.conf").write_text(
            "\n".join(["SecRuleEngine On", "SecRequestBodyAccess On", *includes]) + "\n"
        )
        module = next(root.rglob("ngx_http_modsecurity_module.so"))
        configuration = _CONFIGURATION.format(module=module, folder=folder, host=LOOPBACK, port=port, upstream=upstream)
        folder.joinpath("nginx.conf").write_text(configuration)
        argv: list[str | Path] = [root / "usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        server = Firewall("nginx", argv, directory=folder, env=library_environment(root), ready=lambda: listening(port))
        server.url = f"http://{LOOPBACK}:{port}"
        with server:
            yield server
