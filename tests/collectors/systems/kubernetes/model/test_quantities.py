"""Quantities are read exactly, whatever suffix they have."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.systems.kubernetes.model.quantities import format_amount, parse_quantity
from exporter.verdict import ProbeError

#: The table of the API reference, as powers of 10 and of 2.
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**9).map(str),
    st.decimals(-1000, 10**6, places=3).map(lambda number: f"{number:f}"),
    st.integers(0, 999).map(lambda number: f".{number}"),
    st.integers(0, 999).map(lambda number: f"{number}."),
    st.integers(0, 999).map(lambda number: f"+{number}"),
)


@given(NUMBERS, st.sampled_from(sorted(DECIMAL)))
def test_decimal_suffixes(number: str, suffix: str) -> None:
    assert parse_quantity(number + suffix) == Fraction(Decimal(number).scaleb(DECIMAL[suffix]))


@given(NUMBERS, st.sampled_from(sorted(BINARY)))
def test_binary_suffixes(number: str, suffix: str) -> None:
    assert parse_quantity(number + suffix) == Fraction(Decimal(number)) * (1 << BINARY[suffix])


@given(NUMBERS, st.sampled_from("eE"), st.integers(-12, 18), st.sampled_from(("", "+")))
def test_exponents(number: str, letter: str, exponent: int, sign: str) -> None:
    told = f"{sign if exponent >= 0 else ''}{exponent}"
    assert parse_quantity(f"{number}{letter}{told}") == Fraction(Decimal(number).scaleb(exponent))


def test_equal_amounts_are_equal() -> None:
    assert parse_quantity("1") == parse_quantity("1000m") == parse_quantity("1e0") == parse_quantity(1)
    assert parse_quantity("1Gi") == parse_quantity("1024Mi") == parse_quantity("1073741824")
    assert parse_quantity("1E") == parse_quantity("1e18") != parse_quantity("1Ei")
    assert parse_quantity(0.5) == parse_quantity("500m")


@pytest.mark.parametrize(
    "text",
    ["", "m", "1 Gi", "1K", "1mi", "1e", "1e3k", "--1", ".", "1,5", "1GiB", "NaN", "inf", "1e999999999999", True],
)
def test_anything_else_is_not_guessed(text: str) -> None:
    with pytest.raises(ProbeError, match="is no quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("resource", "quantity", "told"),
    [
        ("cpu", "250m", "250m"),
        ("requests.cpu", "1500m", "1.5"),
        ("limits.memory", "64Mi", "67.1 MB"),
        ("requests.storage", "1Gi", "1.07 GB"),
        ("pods", "12", "12"),
    ],
)
def test_amounts_in_sentences(resource: str, quantity: str, told: str) -> None:
    assert format_amount(resource, parse_quantity(quantity)) == told
