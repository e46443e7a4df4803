"""Spellings of one URL."""

from __future__ import annotations

import pytest

from collectors.shared.urls import plain_url


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://Shop.Example.com:443", "https://shop.example.com/"),
        ("http://shop.example.com:80/a?b=c#d", "http://shop.example.com/a"),
        ("https://shop.example.com:8443/a/", "https://shop.example.com:8443/a/"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
        ("https://user:secret@shop.example.com/", "https://shop.example.com/"),
        ("https://shop.example.com:port/", "https://shop.example.com/"),
        ("https://Bücher.example/stripe", "https://xn--bcher-kva.example/stripe"),
        ("https://shop.example.com./stripe", "https://shop.example.com/stripe"),
        ("https://shop.example.com/%7eme/a%2fb", "https://shop.example.com/~me/a%2Fb"),
        (f"https://{'a' * 70}.example/", f"https://{'a' * 70}.example/"),
    ],
)
def test_one_url_has_several_spellings(url: str, plain: str) -> None:
    assert plain_url(url) == plain
