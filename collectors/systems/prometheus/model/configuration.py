"""What Prometheus's own configuration says of what it scrapes."""

from __future__ import annotations

import re

__all__ = ["pools_that_keep_labels"]

_SCRAPES = re.compile(r"^scrape_configs:\n(.*?)(?=^[a-z_]+:|\Z)", re.MULTILINE | re.DOTALL)
_POOL = re.compile(r"^- job_name: (.*)\n((?:[ ].*\n?)*)", re.MULTILINE)
_KEEPS = re.compile(r"^  honor_labels: true$", re.MULTILINE)


def pools_that_keep_labels(configuration: str) -> frozenset[str]:
    """The scrape configurations with `honor_labels`, whose series may be of any job, by the configuration as the API shows it.

    It may be megabytes of discovery: it is read by its lines, as Prometheus writes them.
    """
    scrapes = _SCRAPES.search(configuration)
    pools = _POOL.findall(scrapes[1]) if scrapes else []
    return frozenset(name.strip("'\"") for name, rest in pools if _KEEPS.search(rest))
