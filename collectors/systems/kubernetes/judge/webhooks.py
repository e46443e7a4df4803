"""Whether pods can start: webhooks that the API server has to ask, and that nobody answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from collectors.systems.kubernetes.model.objects import (
    EndpointSlice,
    Selector,
    Service,
    Webhook,
    WebhookConfiguration,
)
from exporter.verdict import Reason, Result, failed, warning

__all__ = ["judge_webhooks"]

_EXCEPTIONS = ("NotIn", "DoesNotExist")
"""Operators of selectors that leave out some namespaces or pods, such as those of the webhook itself."""


def judge_webhooks(
    configurations: Iterable[WebhookConfiguration],
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    namespaces: Collection[str] = (),
) -> Iterator[Result]:
    """The webhooks without whose answer no pod starts, and whose Service has no ready endpoint.

    One that is asked about some pods only is a warning. `services` and `slices` are all of the cluster, or of
    these `namespaces`, where those of others are not judged.
    """
    known = {service.path: service for service in services}
    ready: dict[str, set[str]] = {}
    for one in slices:
        if one.ready:
            ready.setdefault(f"{one.namespace}/{one.service}", set()).update(one.ports)
    partial = []
    for configuration in configurations:
        for webhook in configuration.webhooks or ():
            service = webhook.client_config.service
            if service is None or webhook.failure_policy != "Fail" or not _is_about_pods(webhook):
                continue
            path = f"{service.namespace}/{service.name}"
            if namespaces and service.namespace not in namespaces:
                continue
            if (state := _state(known.get(path), service.port, ready.get(path))) is None:
                continue
            sentence = (
                f"Service {path} {state}, and without the answer of its webhook {webhook.name} ({configuration.name})"
            )
            if _is_narrow(webhook):
                partial.append(warning(f"{sentence} no pod starts that it is asked about."))
            else:
                yield failed(f"{sentence} no pod starts.", reason=Reason.DOWN)
    yield from partial


def _state(service: Service | None, number: int, served: Collection[str] | None) -> str | None:
    """What keeps requests to a port of a Service from being answered; None when nothing does."""
    if service is None:
        return "does not exist"
    if service.spec.type == "ExternalName":
        return None
    if served is None:
        return "has no ready endpoint"
    names = [port.name for port in service.spec.ports or () if port.port == number]
    if not names:
        return f"has no port {number}"
    return None if set(names) & set(served) else f"has no ready endpoint on port {number}"


def _is_about_pods(webhook: Webhook) -> bool:
    return any(rule.starts_pods for rule in webhook.rules or ())


def _is_narrow(webhook: Webhook) -> bool:
    """Whether a webhook is asked about some pods only, not about all but some exceptions."""
    return bool(webhook.match_conditions) or any(map(_picks, (webhook.namespace_selector, webhook.object_selector)))


def _picks(selector: Selector) -> bool:
    return bool(selector.match_labels) or any(one.operator not in _EXCEPTIONS for one in selector.match_expressions)
