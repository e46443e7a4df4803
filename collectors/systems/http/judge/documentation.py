"""Whether an API's documentation can be read by those who shall, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectors.systems.http.model.documentation import is_sample
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown
from exporter.words import listed, one_line

__all__ = [
    "asset_problems",
    "configuration_problems",
    "elsewhere_problems",
    "exposed_problems",
    "page_problems",
    "specification_problems",
]

_CLOSED = (401, 403, 404, 410)


def page_problems(page: Reply) -> Iterator[Result]:
    """Why a page of documentation cannot be read."""
    if page.status in (401, 403, 407):
        yield unknown(
            f"{page.where} answered {page.status}: the exporter's credentials were not accepted.", reason=Reason.DENIED
        )
    elif page.status in (404, 410):
        yield failed(f"{page.where} answered {page.status}: there is no documentation.", reason=Reason.MISSING)
    elif page.status != 200:
        yield failed(f"{page.where} answered {page.status} (expected 200).", reason=Reason.DOWN)
    elif page.kind != "an HTML page":
        yield failed(
            f"{page.where} answered 200 with {page.kind}, where an HTML page was wanted.", reason=Reason.INVALID
        )


def specification_problems(found: Reply | None, paths: int | None, tried: Iterable[str]) -> Iterator[Result]:
    """Why there is no specification behind the page, which describes that many paths: pages are the same with and without one."""
    if found is None:
        yield failed(f"No OpenAPI document is served at {listed(tried, most=8)}.", reason=Reason.MISSING)
    elif found.status in (401, 403):
        yield unknown(
            f"{found.where} answered {found.status}: the exporter's credentials were not accepted.",
            reason=Reason.DENIED,
        )
    elif paths is None or found.status != 200:
        yield failed(f"{found.where} answered {found.status} with no OpenAPI document.", reason=Reason.INVALID)
    elif not paths:
        yield failed(f"The OpenAPI document at {found.where} describes no operation.", reason=Reason.INVALID)


def elsewhere_problems(page: Reply, named: Iterable[str], own: Iterable[str]) -> Iterator[Result]:
    """Pages that show the document of another host, where those are all that it names and which of them are its `own`."""
    named, own = list(named), set(own)
    if samples := [address for address in named if is_sample(address)]:
        yield failed(
            f"{page.where} shows {samples[0]}, the sample of Swagger UI, instead of this API.",
            reason=Reason.MISCONFIGURED,
        )
    elif named and not own:
        yield unknown(
            f"{page.where} shows {one_line(named[0])}, which is on another host and was not asked; set spec_path.",
            reason=Reason.NOT_VERIFIED,
        )


def configuration_problems(page: Reply, configuration: Reply, named: Iterable[str]) -> Iterator[Result]:
    """Why a page cannot load its options, which name those documents."""
    if configuration.status != 200 or not list(named):
        yield failed(
            f"{configuration.where}, from which {page.where.partition(' ')[2]} loads its options, answered "
            f"{configuration.status} and names no OpenAPI document.",
            reason=Reason.MISSING,
        )


def asset_problems(asset: Reply) -> Iterator[Result]:
    """Why a script or style sheet of the page's own host is missing."""
    if asset.status != 200 or asset.kind == "an HTML page":
        yield failed(
            f"{asset.where}, which the documentation needs, answered {asset.status} with {asset.kind}.",
            reason=Reason.MISSING,
        )


def exposed_problems(reply: Reply, wanted: str) -> Iterator[Result]:
    """Whether something is served that shall not be."""
    if reply.status in _CLOSED or 300 <= reply.status < 400:
        return
    if reply.status >= 500 or not 200 <= reply.status < 300:
        yield unknown(f"{reply.where} answered {reply.status}, so who can read the documentation was not observed.")
    else:
        yield failed(
            f"{reply.where} answered {reply.status}, though docs_exposure is {wanted}.", reason=Reason.CONTRADICTED
        )
