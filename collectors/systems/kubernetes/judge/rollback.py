"""Whether Deployments can be rolled back to what ran before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collectors.systems.kubernetes.model.revisions import Revised
from exporter.verdict import Reason, Result, failed, warning

__all__ = ["rollback_problems", "rollback_target"]


def rollback_problems(
    wanted: Iterable[str], deployments: Sequence[Revised], replica_sets: Sequence[Revised]
) -> Iterator[Result]:
    """What keeps each Deployment (`namespace/name`) from going back: it is absent, keeps no revisions, or has no earlier one.

    A ReplicaSet with the images of today is no earlier release: a restart or a change of a label makes one, too.
    """
    known = {each.path: each for each in deployments}
    for path in wanted:
        if (deployment := known.get(path)) is None:
            yield failed(f"There is no Deployment {path}.", reason=Reason.MISSING)
            continue
        if deployment.spec.revision_history_limit == 0:
            yield failed(
                f"Deployment {path} has revisionHistoryLimit 0 (at least 1 wanted): it keeps nothing to go back to.",
                reason=Reason.MISCONFIGURED,
            )
        earlier = _earlier(deployment, replica_sets)
        previous = [each for each in earlier if not each.runs_the_same_as(deployment)]
        if not previous:
            what = "no earlier ReplicaSet" if not earlier else "no earlier ReplicaSet with other images"
            yield failed(f"Deployment {path} has {what} to roll back to.", reason=Reason.MISSING)
        elif max(earlier, key=lambda each: each.revision) not in previous:
            yield warning(
                f"Deployment {path} has the images of today in its last revision as well: roll back with --to-revision."
            )
        if deployment.spec.paused:
            yield failed(
                f"Deployment {path} is paused: a rollback would not be carried out.", reason=Reason.MISCONFIGURED
            )


def rollback_target(deployment: Revised, replica_sets: Sequence[Revised]) -> Revised | None:
    """The latest earlier ReplicaSet with other images than those of today, which is what a rollback is for; None without any."""
    previous = [each for each in _earlier(deployment, replica_sets) if not each.runs_the_same_as(deployment)]
    return max(previous, key=lambda each: each.revision, default=None)


def _earlier(deployment: Revised, replica_sets: Sequence[Revised]) -> list[Revised]:
    own = [each for each in replica_sets if each.is_of(deployment) and each.metadata.deletion_timestamp is None]
    return [each for each in own if each.revision and each.revision != deployment.revision]
