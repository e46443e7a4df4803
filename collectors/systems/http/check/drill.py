"""Evicts one of several pods while it answers a slow request, seldom, and sees whether the request is answered."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from collectors.shared.addresses import address_and_port
from collectors.shared.verdicts import verdict
from collectors.systems.http.check.service import AskingCollector
from collectors.systems.http.judge.drill import MARGIN_SECONDS, drill_problems
from collectors.systems.http.model.drill import Drained, Drill, Made
from collectors.systems.kubernetes.check.pods import Pods
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.model.kinds import PODS
from collectors.systems.kubernetes.model.rbac import may_evict
from exporter.http import Http
from exporter.options import format_duration
from exporter.reply import Reply
from exporter.verdict import ProbeError, Reason, Result, Status, failed, ok, unknown, unobserved
from exporter.words import counted

__all__ = ["DRILL_RIGHTS", "see_drill"]

DRILL_RIGHTS = may_evict(PODS, "drill")
"""What an item needs that evicts a pod where the option `drill` is set."""

_FIRST_AFTER = timedelta(minutes=5)  # a crash loop of the exporter must not become one of the service
_AGAIN_AFTER = timedelta(hours=1)
_UNDER_WAY_SECONDS = 0.5
_POLL_SECONDS, _SPARE_SECONDS = 0.5, 3.0


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last attempt, when another may follow, and its verdict."""

    drill: Drill
    until: datetime
    result: Result


async def see_drill(collector: AskingCollector[Any, Any], pods: Pods, drill: Drill, item: str) -> Result:
    """The verdict on a drill, the last one while another would come too soon. `item` is what its measurements are kept under."""
    memory: dict[str, Any] = collector.context.memory
    now, recall = collector.now, collector.context.recall
    if recall is None:
        return unknown(
            "No pod was evicted: state.file is not configured, so a restart of the exporter would forget when that was.",
            reason=Reason.NOT_CONFIGURED,
        )
    made: Made | None = memory.get("drill made") or Made.recalled(recall(item), now)
    tried: _Tried | None = memory.get("drill")
    if tried is not None and tried.drill == drill and now < tried.until:
        result = tried.result
    elif made is not None and now < made.at + drill.every:
        result = _last(made)
    elif now - memory.setdefault("drill due", now) < _FIRST_AFTER:
        result = unknown(
            f"A pod of {pods} is due to be evicted, {format_duration(_FIRST_AFTER)} after the exporter started at the earliest.",
            reason=Reason.PENDING,
        )
    else:
        memory["drill"] = _Tried(drill, now + _AGAIN_AFTER, _CUT_SHORT)
        result, evicted = await _drill(collector, pods, drill)
        if evicted:
            made = Made(now, result.status.is_ok, result.status is Status.FAILED)
        memory["drill"] = _Tried(drill, now + (drill.every if evicted else _AGAIN_AFTER), result)
        memory["drill made"] = made
    return replace(result, measurements=made.measurements() if made else {})


_CUT_SHORT = unknown("A drill did not end in time: the section's `timeout` has to be longer than two slow requests.")


def _last(made: Made) -> Result:
    when = f"A pod was last evicted on {made.at:%Y-%m-%d}, before the exporter or its configuration changed"
    if made.passed:
        return ok(f"{when}, and answered the request that it had.")
    if made.failed:
        return failed(f"{when}, and did not answer the request that it had.")
    return unknown(f"{when}, and what became of its request is not known.", reason=Reason.NOT_VERIFIED)


async def _drill(collector: AskingCollector[Any, Any], pods: Pods, drill: Drill) -> tuple[Result, bool]:
    """The verdict, and whether a pod was evicted."""
    started = time.monotonic()
    try:
        pod = await _chosen(collector.client(Kubernetes), pods)
        name, hooks = f"{pods.namespace}/{pod['metadata']['name']}", _hooks(pod, drill)
        usual, reply = await _asked(collector, pod, drill)
        least = hooks + MARGIN_SECONDS + _UNDER_WAY_SECONDS
        if usual < least or not 200 <= reply.status < 300:
            raise ProbeError(
                f"Pod {name} answered {reply.status} to {drill.path.partition('?')[0]} within {usual:.1f} s: a drill needs a "
                f"request that is answered 2xx after {least:g} s or more.",
                Reason.NOT_CONFIGURED,
            )
        asking = asyncio.create_task(_asked(collector, pod, drill))
        await asyncio.wait((asking,), timeout=_UNDER_WAY_SECONDS)
        if asking.done():
            await asking
            raise ProbeError(f"Pod {name} was not evicted: its answer came too soon.", Reason.NOT_VERIFIED)
        before = collector.context.memory.get("drill made")
        # Kept first: where the run is cut short from here on, the pod may be gone.
        collector.context.memory["drill made"] = Made(collector.now)
        try:
            await collector.client(Kubernetes).evict(pod["metadata"]["name"], pods.namespace)
        except ProbeError as why:
            asking.cancel()
            if why.reason is not Reason.TIMEOUT:
                collector.context.memory["drill made"] = before
            raise
    except ProbeError as why:
        return unobserved(why), False
    at = time.monotonic()
    try:
        _, reply = await asking
    except ProbeError as why:
        drained = Drained(name, usual, time.monotonic() - at, broken=str(why).rstrip("."))
    else:
        drained = Drained(name, usual, time.monotonic() - at, status=reply.status)
        patience = collector.settings.timeout.total_seconds() - (at - started) - _SPARE_SECONDS
        drained = await _ended(collector.client(Kubernetes), pods, pod, drained, at, patience)
    good = ok(
        f"Pod {name} was evicted, answered the request that it had {drained.after:.1f} s later, and ended before its "
        f"{drained.grace:.0f} s were over."
    )
    return verdict(drill_problems(drained, hooks), good), True


async def _ended(
    client: Kubernetes, pods: Pods, pod: Mapping[str, Any], drained: Drained, at: float, patience: float
) -> Drained:
    """What a drill showed, with when the pod ended: looked at until it has, its grace is over, or `patience` is (seconds)."""
    given = pod["spec"].get("terminationGracePeriodSeconds")
    grace = 30.0 if given is None else float(given)
    found: Sequence[Mapping[str, Any]]
    while True:
        looked = time.monotonic() - at
        try:
            found = await client.objects("v1", "Pod", namespaces=(pods.namespace,), selector=pods.selector)
        except ProbeError:
            found = [pod]  # not seen to have ended
        if not any(_runs(one) for one in found if one["metadata"].get("uid") == pod["metadata"].get("uid")):
            return replace(drained, grace=grace, ended=looked, looked=looked)
        if looked >= min(patience, grace + _SPARE_SECONDS):
            return replace(drained, grace=grace, ended=grace if looked >= grace else None, looked=looked)
        await asyncio.sleep(_POLL_SECONDS)


def _runs(pod: Mapping[str, Any]) -> bool:
    """Whether a container of a pod runs, or may."""
    states = [one.get("state") or {} for one in pod.get("status", {}).get("containerStatuses") or ()]
    return not states or any("terminated" not in state for state in states)


async def _chosen(client: Kubernetes, pods: Pods) -> Mapping[str, Any]:
    """One of the pods. Raises ProbeError unless there are two or more, and all of them are ready."""
    found = await client.objects("v1", "Pod", namespaces=(pods.namespace,), selector=pods.selector)
    found = [pod for pod in found if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    ready = sum(map(_is_ready, found))
    if ready < max(2, len(found)):
        raise ProbeError(
            f"{ready} of {counted(len(found), 'pod')} of {pods} {'is' if ready == 1 else 'are'} ready: one is evicted only where "
            "there are two or more, all of them ready.",
            Reason.PENDING,
        )
    return secrets.choice(found)


async def _asked(collector: AskingCollector[Any, Any], pod: Mapping[str, Any], drill: Drill) -> tuple[float, Reply]:
    """How long the slow request took in seconds, and its answer, on a connection of its own."""
    target, where = collector.target, address_and_port(pod["status"]["podIP"], drill.port)
    settings = target.reached(target).model_copy(
        update={"url": f"{urlsplit(target.url).scheme}://{where}", "timeout": collector.settings.timeout}
    )
    http = Http(settings, connections=1)
    headers = {"traceparent": f"00-{collector.trace_id}-{secrets.token_hex(8)}-01"}
    started = time.monotonic()
    try:
        reply = await http.request("GET", drill.path, headers=headers, expect=None)
    finally:
        await http.close()
    return time.monotonic() - started, reply


def _is_ready(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status", {})
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and bool(status.get("podIP")) and "deletionTimestamp" not in pod["metadata"]


def _hooks(pod: Mapping[str, Any], drill: Drill) -> float:
    """How many seconds the preStop hooks of a pod take. Raises ProbeError where that is not known."""
    seconds = drill.hook.total_seconds() if drill.hook else 0.0
    for container in pod["spec"]["containers"]:
        hook: Mapping[str, Any] = (container.get("lifecycle") or {}).get("preStop") or {}
        seconds = max(seconds, (hook.get("sleep") or {}).get("seconds", 0))
        if hook.keys() - {"sleep"} and drill.hook is None:
            raise ProbeError(
                f"The preStop hook of container {container['name']} is a command or a request: drill.hook has to state how long "
                "it takes.",
                Reason.NOT_CONFIGURED,
            )
    return seconds
