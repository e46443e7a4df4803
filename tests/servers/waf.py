"""nginx with ModSecurity and the OWASP core rules at paranoia level 1, from Debian, in front of an application."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.nginx import Nginx
from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, free_port, scratch

_PACKAGES = (
    *("nginx", "libnginx-mod-http-modsecurity", "modsecurity-crs", "libmodsecurity3", "libyajl2", "liblua5.3-0"),
    *("libfuzzy2", "libgeoip1", "libmaxminddb0", "libcurl3-gnutls", "libnginx-mod-http-ndk"),
)
_BLOCK = """
server {{
  listen {host}:{port};
  modsecurity on;
  modsecurity_rules_file {folder}/rules.conf;
  location / {{ proxy_pass {upstream}; proxy_set_header Host $http_host; }}
}}
"""


class Firewall(Nginx):
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
        block = _BLOCK.format(folder=folder, host=LOOPBACK, port=port, upstream=upstream)
        server = Firewall(folder, block, port=port, root=root, modules=f"load_module {module};")
        server.url = f"http://{LOOPBACK}:{port}"
        with server:
            yield server
