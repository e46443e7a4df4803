"""What the judges say of the answers that real NATS servers gave in `test_recordings.py`."""

import pytest

from collectors.systems.nats.judge.clusters import peer_problems
from collectors.systems.nats.judge.groups import meta_problems
from collectors.systems.nats.judge.server_storage import store_problems
from collectors.systems.nats.model import Monitor, NatsLimits
from exporter.verdict import Status
from tests.collectors.systems.nats.test_recordings import Documents
from tests.recordings import recorded, states

#: By state: how many servers there shall be, and what the judges find.
EXPECTED: dict[str, tuple[int, list[str]]] = {
    "cluster_healthy": (3, []),
    "without_jetstream": (1, ["NATS server n1 runs without JetStream."]),
}


def test_every_recording_is_judged() -> None:
    assert states("nats") == sorted(EXPECTED)


@pytest.mark.parametrize("state", EXPECTED)
def test_a_state_is_judged_as_it_was(state: str) -> None:
    size, expected = EXPECTED[state]
    found = recorded("nats", state, list[Documents])
    monitors = [Monitor(f"http://n{number}:8222", one.varz, one.jsz, one.routez) for number, one in enumerate(found, 1)]
    problems = [*peer_problems(monitors, size), *meta_problems(monitors, size, NatsLimits())]
    problems += [problem for monitor in monitors for problem in store_problems(monitor, NatsLimits())]
    assert {problem.status for problem in problems} <= {Status.FAILED}
    assert [problem.summary for problem in problems] == expected
