"""Which Secrets of a cluster have the values that a store was given last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collectors.systems.secrets.judge.rotation import rotated_in_cluster
from collectors.systems.secrets.model.stores import ExternalSecret, SecretStore, Stores

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROTATED = NOW - timedelta(days=2)


def rotated(
    *, provider: Any = None, read: datetime | None = None, ready: str = "True", synced: str = "1-a", **spec: Any
) -> bool:
    """Whether a Secret that is read from a secret of AWS counts as rotated with that."""
    about = {"name": "orders", "namespace": "shop", "generation": 1}
    status: dict[str, Any] = {
        "refreshTime": (read or NOW).isoformat(),
        "conditions": [{"type": "Ready", "status": ready}],
        "syncedResourceVersion": synced,
    }
    data = [{"secretKey": "password", "remoteRef": {"key": "shop/orders", **spec.pop("ref", {})}}]
    made = {"metadata": about, "spec": {"data": data, "secretStoreRef": {"name": "aws"}, **spec}, "status": status}
    place = {"metadata": {"name": "aws", "namespace": "shop"}, "spec": {"provider": provider or AWS}}
    external, store = msgspec.convert(made, ExternalSecret, strict=False), msgspec.convert(place, SecretStore)
    found = rotated_in_cluster(
        Stores(external=(external,), stores=(store,)), {"shop/orders": ROTATED}, timedelta(days=90), NOW
    )
    return found == {("shop", "orders")}


AWS = {"aws": {"service": "SecretsManager", "region": "eu-central-1"}}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, True),
        ({"ref": {"version": "AWSCURRENT"}}, True),
        ({"ref": {"version": "AWSPREVIOUS"}}, False),
        ({"ref": {"version": "uuid/1a2b3c4d"}}, False),
        ({"ref": {"key": "shop/other"}}, False),
        ({"read": ROTATED - timedelta(hours=1)}, False),
        ({"read": ROTATED - timedelta(hours=1), "refreshPolicy": "CreatedOnce"}, False),
        ({"read": ROTATED + timedelta(hours=1), "refreshInterval": "0"}, True),
        ({"ready": "False"}, False),
        ({"synced": "0-a"}, False),
        ({"provider": {"vault": {"server": "https://vault"}}}, False),
        ({"provider": {"aws": {"service": "ParameterStore"}}}, False),
        ({"secretStoreRef": {"name": "gone"}}, False),
        ({"dataFrom": [{"extract": {"key": "shop/orders"}}]}, False),
    ],
)
def test_a_secret_is_rotated_when_the_new_value_has_arrived(state: dict[str, Any], expected: bool) -> None:
    assert rotated(**state) is expected
