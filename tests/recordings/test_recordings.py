"""What is written, given back and compared."""

from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

import tests.recordings
from collectors.systems.redis.model import Answers, NodeAddress
from tests.recordings import drift, recorded, recording, states

ANSWERS = Answers(
    NodeAddress("127.0.0.1", 40123),
    None,
    {"INFO": f"# Server\r\nrun_id:{'ab' * 20}\r\ntcp_port:40123\r\n", "CONFIG GET dir": NoPermissionError("no")},
)
NAMES = {"40123": "6379"}
write, compare = recording(write=True), recording(write=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings of this test's own."""
    monkeypatch.setattr(tests.recordings, "_FOLDER", tmp_path)
    (tmp_path / "redis").mkdir()
    return tmp_path / "redis"


def test_what_is_recorded_comes_back_in_the_types_of_the_model(folder: Path) -> None:
    write("redis", "one", ANSWERS, names=NAMES)
    compare("redis", "one", ANSWERS, names=NAMES)
    found = recorded("redis", "one", Answers)
    assert found.address == NodeAddress("127.0.0.1", 6379)
    assert found.info == {"run_id": f"{1:040x}", "tcp_port": "6379"}
    assert isinstance(found.replies["CONFIG GET dir"], NoPermissionError)
    assert states("redis") == ["one"]


def test_recording_again_changes_nothing(folder: Path) -> None:
    write("redis", "one", ANSWERS, names=NAMES)
    before = (folder / "one.json").read_text()
    later = Answers(
        NodeAddress("127.0.0.1", 50321),
        None,
        {"INFO": f"# Server\r\nrun_id:{'cd' * 20}\r\ntcp_port:50321\r\n", "CONFIG GET dir": NoPermissionError("no")},
    )
    write("redis", "one", later, names={"50321": "6379"})
    assert (folder / "one.json").read_text() == before


def test_an_answer_of_another_shape_is_shown(folder: Path) -> None:
    write("redis", "one", ANSWERS, names=NAMES)
    other = Answers(
        ANSWERS.address, None, {"INFO": "# Server\r\nrun_id:1\r\nport:1\r\n", "CONFIG GET dir": ["dir", "/data"]}
    )
    with pytest.raises(pytest.fail.Exception) as failure:
        compare("redis", "one", other)
    assert "- .replies.INFO.tcp_port: text" in str(failure.value)
    assert "+ .replies.INFO.port: text" in str(failure.value)
    assert "+ .replies.CONFIG GET dir: list" in str(failure.value)
    assert "make recordings" in str(failure.value)


def test_values_alone_are_no_drift() -> None:
    assert not drift({"lag": 1, "peers": [{"name": "a"}]}, {"lag": 2.5, "peers": [{"name": "b"}, {"name": "c"}]})
    assert drift({"lag": 1}, {"lag": None})


def test_what_is_not_recorded_is_told(folder: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="run `make recordings`"):
        compare("redis", "one", ANSWERS)


def test_folders_of_this_machine_are_refused(folder: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="give it a name"):
        write("redis", "one", {"dir": "/tmp/pytest-of-somebody/x"})
    assert not list(folder.iterdir())
