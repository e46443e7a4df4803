"""Whether a page's own Content-Security-Policy keeps browsers from what the page needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectors.systems.http.model.assets import Asset, Loaded
from collectors.systems.http.model.policies import policies
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed

__all__ = ["policy_problems"]


def policy_problems(page: Reply, found: Loaded, needed: Iterable[Asset]) -> Iterator[Result]:
    """Scripts and style sheets that are `needed`, and scripts within the page, that no browser loads or runs."""
    enforced = policies(page, found)
    if any(policy.sandboxed for policy in enforced):
        yield failed(
            f"{page.where} is sandboxed by its own Content-Security-Policy, without allow-scripts: browsers run no script of it.",
            reason=Reason.MISCONFIGURED,
        )
    for asset in needed:
        if not all(policy.allows(asset) for policy in enforced):
            what = "scripts" if asset.kind.value == "javascript" else "style sheets"
            yield failed(
                f"{page.where} loads {what} from {asset.origin or 'its own host'}, which its own Content-Security-Policy forbids: "
                f"browsers do not load {asset.path.partition('?')[0]}.",
                reason=Reason.MISCONFIGURED,
            )
    if found.inline and not any(all(policy.allows_inline(script) for policy in enforced) for script in found.inline):
        yield failed(
            f"{page.where} starts by a script within the page, which its own Content-Security-Policy forbids.",
            reason=Reason.MISCONFIGURED,
        )
