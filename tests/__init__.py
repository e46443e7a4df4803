"""Tests, laid out as the packages that they test; ``tests.servers`` starts the real servers."""

import pytest

pytest.register_assert_rewrite("tests.servers", "tests.support")
