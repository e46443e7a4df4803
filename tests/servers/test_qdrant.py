"""The servers of the tests: what replays Qdrant says what was recorded, and nothing else."""

from collections.abc import Mapping
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.servers.qdrant import READER, replay


def status(url: str, headers: Mapping[str, str] | None = None) -> int:
    try:
        with urlopen(Request(url, headers=dict(headers or {})), timeout=5) as reply:
            code: int = reply.status
            return code
    except HTTPError as error:
        error.close()
        return error.code


def test_each_peer_answers_to_each_key_as_recorded() -> None:
    with replay("cluster_healthy") as qdrant:
        assert len(qdrant.peers) == 3
        for peer in qdrant.peers:
            url = f"{peer.url}/collections"
            assert status(url) == status(url, {"api-key": "another"}) == 401
            assert status(url, {"api-key": READER}) == status(url, {"Authorization": f"Bearer {READER}"}) == 200


def test_what_was_not_recorded_is_refused_and_noticed() -> None:
    with pytest.raises(AssertionError, match="Asked for what was not recorded"), replay("single_healthy") as qdrant:
        assert status(f"{qdrant.peers[0].url}/locks", {"api-key": READER}) == 501
    with replay("single_recovery_mode", lacking=("bulk",)) as qdrant:
        assert status(f"{qdrant.peers[0].url}/collections/bulk", {"api-key": READER}) == 501
        assert qdrant.refused == [("GET", "/collections/bulk", "reader")]
