"""Which networks are as good as the internet."""

from __future__ import annotations

import pytest

from collectors.systems.aws_perimeter.model import wide_open

SCATTERED = "16 networks from 20.0.0.0/10 to 27.128.0.0/10, which are more than a /8 together,"


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (("0.0.0.0/0",), "0.0.0.0/0"),
        (("0.0.0.0/1", "128.0.0.0/1"), "0.0.0.0/0"),
        (tuple(f"{first}.0.0.0/8" for first in range(64, 128)), "64.0.0.0/2"),
        (("::/0", "10.0.0.0/8"), "::/0"),
        (("2000::/3",), "2000::/3"),
        (("10.0.0.0/8", "172.16.0.0/12", "fc00::/7", "203.0.113.0/24", "2001:db8::/32"), None),
        (tuple(f"{first}.{second}.0.0/10" for first in range(20, 28) for second in (0, 128)), SCATTERED),
        (tuple(f"{first}.0.0.0/10" for first in range(20, 23)), None),
        ((), None),
    ],
)
def test_networks_count_together(networks: tuple[str, ...], expected: str | None) -> None:
    assert wide_open(networks) == expected
