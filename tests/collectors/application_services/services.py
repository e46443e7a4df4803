"""Targets of the sections of this folder, and one run on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from collectors.application_services.api_service import ApiService
from collectors.application_services.backend_api import BackendApi
from collectors.application_services.data_service import DataService
from collectors.application_services.frontend import Frontend
from collectors.application_services.orchestrator_service import OrchestratorService
from collectors.systems.http.check.service import AskingCollector
from exporter.evidence.validity import Evidence
from exporter.runner import utc_now
from tests.support import Clients, Run, make_context, sees

SECTIONS: Mapping[str, type[AskingCollector[Any, Any]]] = {
    kind.section(): kind for kind in (ApiService, DataService, OrchestratorService, BackendApi, Frontend)
}


def run(
    section: str,
    item: str,
    url: str,
    *,
    clients: Clients | AbstractAsyncContextManager[Clients] | None = None,
    memory: dict[str, Any] | None = None,
    evidence: Evidence | None = None,
    release: str | None = None,
    later: timedelta = timedelta(0),
    timeout: str = "2m",
    secrets: Iterable[str] = (),
    **options: Any,
) -> Run:
    """One run of an item, `later` than now, where the section has this `timeout`; a busy machine gets its time."""
    target = {"name": "service", "url": url, "request_timeout": "20s", **options}
    context = make_context(memory=memory, evidence=evidence, release=release, now=lambda: utc_now() + later)
    settings = {"timeout": timeout}
    return Run(
        SECTIONS[section], [item], settings=settings, target=target, clients=clients, context=context, secrets=secrets
    )


see = sees(run)
