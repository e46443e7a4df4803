"""The Pod Security Standards as a real API server's admission controller takes them: no pod is judged otherwise."""

import json
import ssl
from http.client import HTTPResponse, HTTPSConnection
from typing import Any

import pytest

from collectors.systems.kubernetes.judge.pod_security import ENFORCE, Level, violations
from tests.collectors.systems.kubernetes.objects import compacted
from tests.collectors.systems.kubernetes.pod_security_corpus import CASES, corpus, patched, restricted_pod
from tests.servers.kubernetes import ControlPlane

WARN = ENFORCE.replace("enforce", "warn")
CORPUS = 800


class Admission:
    """Asks whether pods would be admitted to a namespace; nothing is stored."""

    def __init__(self, control_plane: ControlPlane, **labels: str) -> None:
        trust = ssl.create_default_context(cadata=control_plane.authority.pem.decode())
        self.namespace = control_plane.namespace("admission", **labels)
        self._headers = {"Authorization": f"Bearer {control_plane.tokens['admin']}"}
        self.connection = HTTPSConnection("127.0.0.1", control_plane.ports["api"], context=trust)

    def ask(self, pod: dict[str, Any]) -> tuple[HTTPResponse, dict[str, Any]]:
        """The reply and the object in it: the pod as it would be stored, or why it would not."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All"
        return self._send("POST", path, {"apiVersion": "v1", "kind": "Pod", **pod})

    def ask_to_debug(self, pod: str, container: dict[str, Any]) -> tuple[HTTPResponse, dict[str, Any]]:
        """The reply and the pod that is there, as it would be with an ephemeral container."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/ephemeralcontainers?dryRun=All"
        change = {"spec": {"ephemeralContainers": [container]}}
        return self._send("PATCH", path, change, content="application/strategic-merge-patch+json")

    def _send(
        self, method: str, path: str, body: object, *, content: str = "application/json"
    ) -> tuple[HTTPResponse, dict[str, Any]]:
        self.connection.request(method, path, json.dumps(body), self._headers | {"Content-Type": content})
        reply = self.connection.getresponse()
        return reply, json.loads(reply.read())


@pytest.mark.parametrize("level", [Level.BASELINE, Level.RESTRICTED], ids=str)
def test_every_pod_is_judged_as_the_admission_controller_does(control_plane: ControlPlane, level: Level) -> None:
    differences, kept, broken = [], 0, 0
    admission = Admission(control_plane, **{WARN: level})
    for what, pod in corpus(CORPUS):
        reply, answered = admission.ask(pod)
        if reply.status == 422:  # no pod at all, by the API's own rules
            continue
        assert reply.status == 201, answered
        warnings = [told for told in reply.headers.get_all("Warning") or () if "PodSecurity" in told]
        found = violations(compacted(answered)[0].template, level)
        if bool(warnings) != bool(found):
            differences.append((what, warnings, found))
        kept, broken = kept + (not warnings), broken + bool(warnings)
    admission.connection.close()
    assert not differences
    assert kept + broken >= 500
    assert min(kept, broken) >= 50


@pytest.mark.parametrize("level", [Level.BASELINE, Level.RESTRICTED], ids=str)
def test_what_is_enforced_is_what_is_judged(control_plane: ControlPlane, level: Level) -> None:
    admission = Admission(control_plane, **{ENFORCE: level})
    for what, _, patch in CASES:
        pod = patched(restricted_pod(), patch)
        reply, answered = admission.ask(pod)
        if reply.status == 422:
            continue
        found = violations(compacted(pod)[0].template, level)
        assert reply.status == (403 if found else 201), (what, answered.get("message"), found)
        if found:
            assert "violates PodSecurity" in answered["message"]
    admission.connection.close()


@pytest.mark.parametrize("level", [Level.BASELINE, Level.RESTRICTED], ids=str)
def test_ephemeral_containers_are_judged_as_the_admission_controller_does(
    control_plane: ControlPlane, level: Level
) -> None:
    """They are added to pods that run, which no pod that is made anew shows."""
    admission = Admission(control_plane, **{WARN: level})
    running = restricted_pod("running")
    control_plane.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            **running,
            "metadata": {"name": "running", "namespace": admission.namespace},
        }
    )
    kept, broken = 0, 0
    for what, _, patch in CASES:
        if set(patch) == {"container"}:
            (debug,) = patched(running, patch)["spec"]["containers"]
            reply, answered = admission.ask_to_debug("running", debug | {"name": "debug"})
            if reply.status == 422:  # it may have no ports, probes and hooks
                continue
            assert reply.status == 200, answered
            warnings = [told for told in reply.headers.get_all("Warning") or () if "PodSecurity" in told]
            found = violations(compacted(answered)[0].template, level)
            assert bool(warnings) == bool(found), (what, warnings, found)
            kept, broken = kept + (not warnings), broken + bool(warnings)
    admission.connection.close()
    assert kept >= 5
    assert broken >= 5
