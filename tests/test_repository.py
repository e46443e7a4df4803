"""What stands around the code is in step with it: requirements, image, compose file, Makefile."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from exporter.config import load
from exporter.daemon import ServeOptions
from tests.servers.alertmanager import amtool
from tests.servers.packages import skip_or_fail
from tests.servers.prometheus import promtool

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "run": [*PROJECT["project"]["dependencies"], *EXTRAS["aws"], *EXTRAS["http3"]],
    "demo": [*PROJECT["project"]["dependencies"], *EXTRAS["aws"], *EXTRAS["http3"], *EXTRAS["demo"]],
    "dev": [*PROJECT["project"]["dependencies"], *EXTRAS["aws"], *EXTRAS["http3"], *EXTRAS["demo"], *EXTRAS["dev"]],
    "build": PROJECT["dependency-groups"]["build"],
    "release": PROJECT["dependency-groups"]["release"],
}


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {
        canonicalize_name(found[1]): found[2]
        for found in re.finditer(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("name", WANTED)
def test_requirements_are_in_step_with_the_project(name: str) -> None:
    pins = locked(name)
    for wanted in map(Requirement, WANTED[name]):
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin, f"requirements/{name}.txt lacks {wanted}: run `make lock`"
        assert wanted.specifier.contains(pin, prereleases=True), f"requirements/{name}.txt pins {pin} against {wanted}"


@pytest.mark.parametrize("name", WANTED)
def test_requirements_are_hashed_and_name_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^[\w.\[\]-]+==[^\\]*$", text, re.MULTILINE), "a requirement without a hash"


def test_what_is_asked_for_with_extras_is_pinned_with_them() -> None:
    """An older pip ignores the pin of ``coverage`` where a package asks for ``coverage[toml]``, and takes the newest."""
    pinned = map(
        Requirement, re.findall(r"^([^\s#][^\s;]+==[^\s;]+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    )
    extras = {canonicalize_name(pin.name): pin.extras for pin in pinned}
    for distribution in distributions():
        for wanted in map(Requirement, distribution.requires or ()):
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                assert wanted.extras <= extras.get(canonicalize_name(wanted.name), wanted.extras), (
                    f"pin {wanted}: run `make lock`"
                )


def test_what_runs_is_pinned_alike_everywhere() -> None:
    for name, version in locked("run").items():
        assert locked("demo")[name] == locked("dev")[name] == version


def test_the_image_is_built_as_hadolint_demands() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        skip_or_fail("hadolint has no wheel for this machine.")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_runs_the_program_as_a_numeric_user() -> None:
    instructions = dict(
        line.split(" ", 1) for line in (ROOT / "Dockerfile").read_text().splitlines() if re.match(r"[A-Z]+ ", line)
    )
    program = next(iter(PROJECT["project"]["scripts"]))
    assert json.loads(instructions["ENTRYPOINT"]) == [program, "serve"]
    assert json.loads(instructions["HEALTHCHECK"].split("CMD ")[1]) == [program, "healthcheck"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions["USER"])


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "exporter", "collectors"]
    assert held == set(subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    return document


def test_compose_publishes_to_this_machine_only_and_names_what_it_defines(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert all(config["source"] in compose["configs"] for config in service.get("configs", ()))
        assert all(volume.split(":")[0] in compose["volumes"] for volume in service.get("volumes", ()))
    exposed = re.search(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed
    assert ServeOptions().listen_addresses == (f":{exposed[1]}",)
    assert compose["services"]["exporter"]["ports"] == [f"127.0.0.1:{exposed[1]}:{exposed[1]}"]


def test_compose_configures_the_exporter_rightly(compose: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(compose["configs"]["exporter"]["content"])
    assert load(file).config.environment == "compose"


def mounted(compose: dict[str, Any], service: str, root: Path) -> None:
    """Write the configs of a service below a folder that stands for its root."""
    for config in compose["services"][service]["configs"]:
        declared = compose["configs"][config["source"]]
        text = declared.get("content") or (ROOT / "deploy" / declared["file"]).read_text()
        file = root / config["target"].lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("/etc/", f"{root}/etc/"))


def test_compose_configures_prometheus_rightly(compose: dict[str, Any], tmp_path: Path) -> None:
    mounted(compose, "prometheus", tmp_path)
    check: list[str | Path] = [promtool(), "check", "config", tmp_path / "etc/prometheus/prometheus.yml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"SUCCESS: [1-9]\d* rules found", done.stdout), "the rules are loaded"


def test_compose_configures_alertmanager_rightly(compose: dict[str, Any], tmp_path: Path) -> None:
    mounted(compose, "alertmanager", tmp_path)
    check: list[str | Path] = [amtool(), "check-config", tmp_path / "etc/alertmanager/alertmanager.yml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_gives_grafana_every_dashboard(compose: dict[str, Any], tmp_path: Path) -> None:
    mounted(compose, "grafana", tmp_path)
    folder = tmp_path / "etc/grafana"
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/checklist.yaml").read_text())["providers"]
    given = {file.name: json.loads(file.read_text()) for file in Path(provider["options"]["path"]).iterdir()}
    assert given == {file.name: json.loads(file.read_text()) for file in (ROOT / "dashboards").glob("*.json")}
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", directory)
    shutil.copytree(ROOT / "requirements", directory / "requirements")
    shutil.copy(ROOT / "pyproject.toml", directory)
    return subprocess.run(["make", *arguments], cwd=directory, capture_output=True, text=True, check=False)


def test_every_command_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))


@pytest.mark.parametrize("python", ["", "false"])
def test_a_python_that_is_missing_or_too_old_is_told_in_one_sentence(tmp_path: Path, python: str) -> None:
    done = make(tmp_path, "test", f"PYTHON={python}")
    assert done.returncode == 2
    assert "checklist-exporter requires Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("script", sorted((ROOT / ".ci").iterdir()), ids=lambda script: script.name)
def test_the_scripts_of_ci_are_programs_that_bash_can_read(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_the_image_runs_on_a_python_that_is_supported() -> None:
    versions = re.findall(r"^FROM python:(3\.\d+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    classified = [name.rpartition(" ")[2] for name in PROJECT["project"]["classifiers"] if "Python :: 3." in name]
    assert len(versions) == 2
    assert len(set(versions)) == 1
    assert versions[0] in classified
    assert PROJECT["project"]["requires-python"] == f">={classified[0]}"


def test_a_python_without_venv_is_told_in_one_sentence(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; *) exit 0;; esac\n')
    python.chmod(0o755)
    done = make(tmp_path, "test", f"PYTHON={python}")
    assert done.returncode == 2
    assert "lacks its venv module" in done.stderr


UNIT = ROOT / "deploy/systemd/checklist-exporter.service"


def test_the_systemd_unit_is_valid_and_gives_few_rights(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on the PATH: apt install systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/checklist-exporter/bin/checklist-exporter", sys.executable))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    security = [analyze, "security", "--offline=true", "--threshold=20", str(unit)]  # 20 of 100: 2.0, "OK"
    done = subprocess.run(security, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_systemd_unit_leaves_what_the_exporter_requires() -> None:
    unit = UNIT.read_text()
    assert "MemoryDenyWriteExecute=no" in unit, "pyOpenSSL could not be called back, and no certificate be verified"
    assert "ProcSubset" not in unit, "without /proc/stat there are no process metrics"


@pytest.fixture
def release(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Tries to release a repository with one commit, of what a release looks at."""
    for name in (".ci/release", "pyproject.toml", "Dockerfile", "deploy/chart/Chart.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n## {PROJECT['project']['version']}\n")
    git = ["git", "-c", "user.name=platform", "-c", "user.email=platform@example.com", "-C", str(tmp_path)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Release"]):
        subprocess.run([*git, *command], check=True)
    return lambda: subprocess.run([tmp_path / ".ci/release"], capture_output=True, text=True, check=False)


def test_a_release_has_the_tag_of_its_version(
    tmp_path: Path, release: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    version = PROJECT["project"]["version"]
    assert release().stderr == (
        f"The commit checked out has no tag v{version}, the version in pyproject.toml (tags: none).\n"
    )
    subprocess.run(["git", "-C", tmp_path, "tag", f"v{version}"], check=True)
    assert (release().returncode, release().stderr) == (0, "")
    (tmp_path / "left").touch()
    assert release().stderr == "The working tree has changes that are not committed.\n"


@pytest.mark.parametrize(
    ("file", "what", "why"),
    [
        ("CHANGELOG.md", "## ", "CHANGELOG.md has no section"),
        ("Dockerfile", "ARG VERSION=", "The Dockerfile has version"),
        ("deploy/chart/Chart.yaml", "appVersion: ", "deploy/chart/Chart.yaml has appVersion"),
    ],
)
def test_a_release_names_one_version_everywhere(
    tmp_path: Path, release: Callable[[], subprocess.CompletedProcess[str]], file: str, what: str, why: str
) -> None:
    changed = tmp_path / file
    changed.write_text(changed.read_text().replace(what, f"{what}9"))
    done = release()
    assert (done.returncode, done.stderr.startswith(why)) == (1, True), done.stderr
