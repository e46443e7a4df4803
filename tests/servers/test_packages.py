"""Packages are fetched once, whole, and their absence is told with a reason."""

import subprocess
from pathlib import Path

import pytest

from tests.servers import packages
from tests.servers.packages import debian, library_environment, skip_or_fail


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (packages.REQUIRE, packages.BUILD):
        monkeypatch.delenv(name, raising=False)


def test_a_debian_package_runs_from_the_cache() -> None:
    root = debian("redis-tools", "libjemalloc2", "liblzf1")
    program = root / "usr/bin/redis-cli"
    done = subprocess.run(
        [program, "--version"], env=library_environment(root), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("redis-cli 7.0.")
    assert root.stat().st_mode & 0o055 == 0o055


def test_a_package_that_does_not_exist_skips_with_the_reason() -> None:
    with pytest.raises(
        pytest.skip.Exception, match=r"(?s)cannot be had: apt-get ended with status 100.*no-such-package"
    ):
        debian("no-such-package")


def test_a_missing_server_fails_where_servers_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.skip.Exception, match="No such server"):
        skip_or_fail("No such server.")
    monkeypatch.setenv(packages.REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="No such server"):
        skip_or_fail("No such server.")


def test_costly_builds_are_left_to_make_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(packages.CACHE, str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="only built by `make servers`"):
        packages.go_binary("example.com/x/cmd/server", "v1.0.0")
    with pytest.raises(pytest.skip.Exception, match="only built by `make servers`"):
        packages.maven_classpath("org.example:thing:1.0")
    with pytest.raises(pytest.skip.Exception, match="only built by `make servers`"):
        packages.go_program(Path(__file__).parent / "control_plane")
    assert not list(tmp_path.iterdir())


def test_what_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(packages.CACHE, str(tmp_path))

    def torn(folder: Path) -> None:
        (folder / "half").touch()
        raise packages.Unavailable("the line went dead.")

    with pytest.raises(pytest.skip.Exception, match="thing cannot be had: the line went dead"):
        packages._kept("thing", torn)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_what_takes_minutes_is_tried_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(packages.CACHE, str(tmp_path))
    monkeypatch.setenv(packages.BUILD, "1")
    tries = []

    def flaky(folder: Path) -> None:
        tries.append(folder)
        if len(tries) == 1:
            raise packages.Unavailable("the line went dead.")
        (folder / "whole").touch()

    assert [path.name for path in packages._kept("thing", flaky, costly=True).iterdir()] == ["whole"]
    assert len(tries) == 2


DEB822 = """\
# a comment
Types: deb
# another
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Signed-By: /key.gpg

Types: deb
URIs: http://mirror.example.com/security
Suites: bookworm-security
"""
ONE_LINE = """\
deb-src http://mirror.example.com/debian bookworm main
deb [arch=amd64 signed-by=/key.gpg] http://mirror.example.com/debian bookworm main
"""


@pytest.mark.parametrize("sources", [DEB822, ONE_LINE])
def test_both_styles_of_apt_sources_are_read(sources: str) -> None:
    first = next(packages._entries(sources))
    assert first["uris"] == "http://mirror.example.com/debian"
    assert "bookworm" in first["suites"].split()
    assert first["signed-by"] == "/key.gpg"
