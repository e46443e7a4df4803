"""Who leads, by a Lease of a real cluster: never two, whatever clocks, partitions and other writers do."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.election import Election, ElectionOptions
from tests.servers.faults import Proxy, answering, hanging_up
from tests.servers.kubernetes import ControlPlane
from tests.servers.process import LOOPBACK, eventually

NAMESPACE = "default"
RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
]
PATIENT = {"lease_duration": "120s", "renew_deadline": "90s", "retry_period": "200ms"}
"""Durations in which a busy machine loses no Lease."""


class Tick:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kubeconfig(control_plane: ControlPlane) -> Path:
    return control_plane.account(namespaced={NAMESPACE: RULES})


def candidate(
    kubeconfig: Path, name: str, *, lease: str, clock: Callable[[], float] | None = None, **options: str
) -> tuple[str, Election]:
    given = {"name": lease, "namespace": NAMESPACE, "kubeconfig": str(kubeconfig), **PATIENT, **options}
    parsed = ElectionOptions.model_validate(given, strict=False)
    return name, Election(parsed, identity=name, **({"clock": clock} if clock else {}))


def lease_of(cluster: ControlPlane, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}")
    return found


def fresh() -> str:
    return f"checklist-{secrets.token_hex(4)}"


@asynccontextmanager
async def standing(*candidates: Election) -> AsyncIterator[list[str]]:
    """Have them stand for election, and fail where two lead at a time; gives who has led, in order."""
    led: list[str] = []

    async def stand(one: Election) -> None:
        async def lead() -> None:
            led.append(one.identity)

        async def follow() -> None:
            assert not one.leads

        await one.run(lead, follow)

    async def watch() -> None:
        while True:
            assert sum(one.leads for one in candidates) <= 1, "Two lead."
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(stand(one)) for one in candidates]
    tasks.append(asyncio.create_task(watch()))
    try:
        yield led
        for task in tasks:
            assert not task.done(), task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_of_several_leads_and_hands_over_when_it_ends(control_plane: ControlPlane, kubeconfig: Path) -> None:
    name = fresh()
    some = dict(candidate(kubeconfig, f"c{number}", lease=name) for number in range(4))
    async with standing(*some.values()) as led:
        await eventually(lambda: led, "one to be elected")
        first = some[led[0]]
        spec = lease_of(control_plane, name)["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (led[0], 120, 0)
        await eventually(lambda: {one.holder for one in some.values()} == {led[0]}, "all to know who leads")
    await first.release()
    assert lease_of(control_plane, name)["spec"]["holderIdentity"] == ""
    others = [one for one in some.values() if one is not first]
    async with standing(*others) as led:
        await eventually(lambda: led, "another one to lead")
        assert lease_of(control_plane, name)["spec"]["leaseTransitions"] == 1


async def test_a_deleted_lease_stays_its_holders(control_plane: ControlPlane, kubeconfig: Path) -> None:
    name = fresh()
    (_, leader), (_, other) = (candidate(kubeconfig, who, lease=name) for who in ("a", "b"))
    assert await leader._attempt()
    assert not await other._attempt()
    control_plane.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}")
    assert not await other._attempt()  # its holder does not know yet
    assert leader.leads
    assert await leader._attempt()
    assert lease_of(control_plane, name)["spec"]["holderIdentity"] == "a"
    assert not await other._attempt()


async def test_a_lease_that_another_took_ends_the_leadership(control_plane: ControlPlane, kubeconfig: Path) -> None:
    name = fresh()
    _, leader = candidate(kubeconfig, "a", lease=name)
    async with standing(leader) as led:
        await eventually(lambda: led, "it to be elected")
        stolen = lease_of(control_plane, name)
        stolen["spec"]["holderIdentity"] = "thief"
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"
        control_plane.call("PATCH", path, {"spec": stolen["spec"]}, content="application/merge-patch+json")
        await eventually(lambda: not leader.leads, "it to stop")
        assert leader.holder == "thief"


@pytest.mark.parametrize("written", ["2099-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000Z"])
async def test_no_time_that_another_clock_wrote_is_believed(
    control_plane: ControlPlane, kubeconfig: Path, written: str
) -> None:
    name, clock = fresh(), Tick()
    manifest: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"team": "sre"}},
        "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 15, "renewTime": written, "acquireTime": written},
    }
    control_plane.apply(manifest)
    _, one = candidate(kubeconfig, "a", lease=name, clock=clock)
    assert not await one._attempt()
    clock.now += 14
    assert not await one._attempt()
    control_plane.apply({**manifest, "spec": {**manifest["spec"], "leaseTransitions": 3}})  # a sign of its holder
    assert not await one._attempt()
    clock.now += 14
    assert not await one._attempt()
    clock.now += 2
    assert await one._attempt()
    found = lease_of(control_plane, name)
    assert (found["spec"]["holderIdentity"], found["spec"]["leaseTransitions"]) == ("a", 4)
    assert found["metadata"]["labels"] == {"team": "sre"}


async def test_of_two_that_saw_the_same_lease_one_is_refused(control_plane: ControlPlane, kubeconfig: Path) -> None:
    name = fresh()
    some = [candidate(kubeconfig, f"c{number}", lease=name)[1] for number in range(8)]
    won = await asyncio.gather(*(one._attempt() for one in some))
    assert sum(won) == 1
    assert [one.leads for one in some] == won


async def test_a_leader_that_is_cut_off_stops_before_another_begins(
    control_plane: ControlPlane, kubeconfig: Path
) -> None:
    name = fresh()
    short: dict[str, Any] = {"lease_duration": "6s", "renew_deadline": "3s", "retry_period": "300ms"}
    async with Proxy(LOOPBACK, control_plane.ports["api"]) as proxy:
        apart = control_plane.account(namespaced={NAMESPACE: RULES}, url=f"https://{LOOPBACK}:{proxy.address[1]}")
        (_, leader), (_, other) = (
            candidate(apart, "a", lease=name, **short),
            candidate(kubeconfig, "b", lease=name, **short),
        )
        async with standing(leader) as led:
            await eventually(lambda: leader.leads, "it to be elected")
            proxy.pause()
            async with standing(other) as others:
                await eventually(lambda: not leader.leads, "it to stop")
                await eventually(lambda: others, "the other one to lead")
                assert not leader.leads
                proxy.resume()
                await eventually(lambda: leader.holder == "b", "it to see who leads")
                assert led == ["a"]


async def test_a_deadline_that_passed_while_nothing_ran_ends_the_leadership(
    control_plane: ControlPlane, kubeconfig: Path
) -> None:
    clock = Tick()
    _, leader = candidate(kubeconfig, "a", lease=fresh(), clock=clock)
    assert await leader._attempt()
    clock.now += 89
    assert leader.leads
    clock.now += 2
    assert not leader.leads  # at once, also where no code of the election ran: the machine slept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("token: [canary", "it is not YAML"),
        ("[canary]", "cannot be used"),
        ("{}", "cannot be used"),
        ("canary", "cannot be used"),
    ],
)
async def test_a_kubeconfig_that_is_none_is_reported_and_ends_nothing(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    _, one = candidate(file, "a", lease="x")
    assert not await one._attempt()
    assert why in str(one.error)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>Log in</html>", "Expecting value"),
        (200, [1], "the answer is no object"),
        (503, {"message": "etcd is down."}, "503 etcd is down"),
        (500, b"null", "the answer is no object"),
    ],
)
async def test_what_is_no_api_server_gives_no_lease(tmp_path: Path, status: int, body: object, why: str) -> None:
    async with answering(body, status) as (url, _):
        file = tmp_path / "kubeconfig"
        cluster = {"name": "a", "cluster": {"server": url}}
        context = {"name": "a", "context": {"cluster": "a", "user": "a"}}
        user = {"name": "a", "user": {"token": "canary"}}
        config = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "a"}
        file.write_text(json.dumps(config))
        _, one = candidate(file, "a", lease="x")
        assert not await one._attempt()
        assert why in str(one.error)
        assert not one.leads


async def test_a_handshake_that_fails_is_no_error_of_the_system(control_plane: ControlPlane) -> None:
    async with hanging_up() as (host, port):
        kubeconfig = await asyncio.to_thread(control_plane.account, url=f"https://{host}:{port}")
        _, one = candidate(kubeconfig, "a", lease="x")
        assert not await one._attempt()
    assert str(one.error) in (
        "The Lease x cannot be read: the TLS handshake failed.",
        "The Lease x cannot be read: Connection reset by peer.",
    )


async def test_an_account_without_the_rights_says_so(control_plane: ControlPlane) -> None:
    _, one = candidate(control_plane.account(), "a", lease="forbidden")
    assert not await one._attempt()
    assert str(one.error).startswith("The Lease forbidden cannot be read: 403 leases.coordination.k8s.io")
    _, absent = candidate(Path("/nonexistent"), "a", lease="x")
    assert not await absent._attempt()
    assert str(absent.error).startswith("The configuration from kubeconfig /nonexistent cannot be used: ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"lease_duration": "10s", "renew_deadline": "10s"}, "lease_duration > renew_deadline"),
        ({"renew_deadline": "2s", "retry_period": "2s"}, "renew_deadline > 1.2"),
        ({"lease_duration": "15500ms"}, "whole seconds"),
    ],
)
def test_durations_that_cannot_work_are_refused(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ElectionOptions.model_validate(options)
