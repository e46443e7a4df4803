"""Whether the templates that the product uses exist, with their contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectors.systems.templates.model import Template
from exporter.verdict import Reason, Result, failed, unknown

__all__ = ["template_problems"]


def template_problems(templates: Iterable[Template], control: Template) -> Iterator[Result]:
    """What is missing. `control` is the answer for a template that does not exist."""
    for template in templates:
        if template.status in (404, 410):
            yield failed(
                f"Template {template.name} does not exist ({template.where} answered {template.status}).",
                reason=Reason.MISSING,
            )
        elif template.status != 200:
            denied = template.status in (401, 403)
            yield unknown(
                f"{template.where} answered {template.status}, so template {template.name} was not checked.",
                reason=Reason.DENIED if denied else Reason.REFUSED,
            )
        for pointer in template.empty:
            yield failed(f"Template {template.name} has nothing at {pointer}.", reason=Reason.MISSING)
    if control.status == 200:
        yield unknown(
            f"{control.where} answered 200 for a template that does not exist, so its other answers prove nothing.",
            reason=Reason.CONTRADICTED,
        )
