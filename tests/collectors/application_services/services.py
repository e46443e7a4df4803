"""Targets of the sections of this folder, and one run on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from collectors.application_services.api_service import ApiService
from collectors.application_services.backend_api import BackendApi
from collectors.application_services.data_service import DataService
from collectors.application_services.frontend import Frontend
from collectors.application_services.orchestrator_service import OrchestratorService
from collectors.systems.http.check.service import AskingCollector
from exporter.collector import Client
from exporter.evidence.validity import Evidence
from exporter.verdict import Result
from tests.support import make_context, verify

SECTIONS: Mapping[str, type[AskingCollector[Any, Any]]] = {
    kind.section(): kind for kind in (ApiService, DataService, OrchestratorService, BackendApi, Frontend)
}


async def see(
    section: str,
    item: str,
    url: str,
    *,
    clients: Mapping[str, Client[Any]] | None = None,
    memory: dict[str, Any] | None = None,
    evidence: Evidence | None = None,
    later: timedelta = timedelta(0),
    timeout: str = "2m",
    **options: Any,
) -> Result:
    """What one run finds of an item; `later` than now, where the section has this `timeout`."""
    kind = SECTIONS[section]
    assert kind.Target is not None
    # The machine may be busy.
    given = {"name": "service", "url": url, "request_timeout": "20s"} | options
    target = kind.Target.model_validate_json(json.dumps(given))
    settings = kind.Settings.model_validate_json(json.dumps({"timeout": timeout, "targets": [given]}))
    context = make_context(clients=clients, memory=memory, evidence=evidence)
    now = context.now
    context.now = lambda: now() + later
    return (await verify(kind, settings, target, items=(item,), context=context))[item].result
