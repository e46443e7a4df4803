"""A Prometheus that scrapes the exporter and evaluates the alerting rules: where one is on the PATH, and the rules are at hand."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import yaml

from exporter.demo.ports import free_port
from exporter.demo.service import Place, Process, Service

__all__ = ["Prometheus", "hurried"]

#: The rules are beside the packages in the source tree; what pip installs does not have them.
RULES = Path(__file__).parents[2] / "alerts" / "checklist.rules.yaml"
#: What the rules wait ten minutes for is reported after ten seconds here.
HASTE = 60
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def hurried(rules: Mapping[str, Any], times: int) -> dict[str, Any]:
    """A rule file whose alerts wait, look back and keep firing so many times shorter; evaluated every second."""
    made = deepcopy(dict(rules))
    for group in made["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            for key in rule.keys() & {"for", "keep_firing_for"}:
                rule[key] = f"{_duration(rule[key]) / times / timedelta(milliseconds=1):.0f}ms"
            rule["expr"] = re.sub(
                r"(> time\(\) - )(\d+)", lambda found: f"{found[1]}{int(found[2]) / times:g}", rule["expr"]
            )
    return made


def _duration(text: str) -> timedelta:
    """A duration as Prometheus writes it: `1h30m`."""
    return timedelta(**{_UNITS[unit]: int(amount) for amount, unit in re.findall(r"(\d+)([smhd])", text)})


class Prometheus(Service):
    """Never required: `trouble` says why there is none, and then `url` is empty."""

    name: ClassVar[str] = "Prometheus with the alerting rules"

    def __init__(self, place: Place, exporter: str) -> None:
        """`exporter` is the address that the exporter will listen on, as its flag takes it."""
        super().__init__(place)
        host, _, port = exporter.rpartition(":")
        self._exporter = f"{host if host not in ('', '0.0.0.0', '[::]') else '127.0.0.1'}:{port}"  # noqa: S104  # where to ask
        self._server: Process | None = None
        self.url = ""
        self.trouble = ""

    @classmethod
    def available(cls) -> bool:
        """Whether there is one to start."""
        return shutil.which("prometheus") is not None and RULES.is_file()

    async def start(self, deadline: float = 20.0) -> None:
        """Start it, and wait until it is ready. Takes a second."""
        program = shutil.which("prometheus")
        assert program is not None
        folder, port = self.place.folder("prometheus"), free_port()
        rules = self.place.give(folder / "rules.yaml", json.dumps(hurried(yaml.safe_load(RULES.read_text()), HASTE)))
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": "checklist-exporter", "static_configs": [{"targets": [self._exporter]}]},
            ],
            "rule_files": [str(rules)],
        }
        argv = [
            program,
            f"--config.file={self.place.give(folder / 'prometheus.yaml', json.dumps(settings))}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._server = Process(self.place, argv, folder / "prometheus.log")
        await self._server.start()
        url = f"http://127.0.0.1:{port}"
        try:
            async with asyncio.timeout(deadline):
                while self._server.running:
                    if await _ready(url):
                        break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self._server.stop()
        if self._server.running:
            self.url = url
        else:
            self.trouble = f"{program} did not start, so no rules are shown: {self._server.last_words()}"

    async def stop(self) -> None:
        """Stop it."""
        if self._server:
            await self._server.stop()

    def config(self) -> Mapping[str, Any]:
        """Nothing: it watches the exporter, not the other way round."""
        return {}


async def _ready(url: str) -> bool:
    import httpx

    try:
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:  # noqa: S501  # no TLS on loopback
            return (await client.get(f"{url}/-/ready", timeout=2)).is_success
    except httpx.HTTPError:
        return False
