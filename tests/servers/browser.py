"""Chromium, from Debian, driven by Playwright; axe-core finds what keeps people from using a page."""

import importlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.servers.packages import debian, library_environment, python_packages

# The browser, a font, and the libraries that Debian's packages of it name, with theirs: a server has few of them.
_PACKAGES = (
    *("chromium-headless-shell", "chromium-common", "fonts-liberation"),
    *("libasound2", "libasyncns0", "libatk1.0-0", "libatspi2.0-0", "libbrotli1", "libbsd0", "libdav1d6", "libdbus-1-3"),
    *("libdouble-conversion3", "libdrm2", "libexpat1", "libflac12", "libfontconfig1", "libfreetype6", "libgbm1"),
    *("libglib2.0-0", "libgraphite2-3", "libharfbuzz0b", "libharfbuzz-subset0", "libjpeg62-turbo", "liblcms2-2"),
    *("libmd0", "libminizip1", "libmp3lame0", "libmpg123-0", "libnspr4", "libnss3", "libogg0", "libopenh264-7"),
    *("libopenjp2-7", "libopus0", "libpng16-16", "libpulse0", "libsndfile1", "libvorbis0a", "libvorbisenc2"),
    *("libwayland-server0", "libx11-6", "libxau6", "libxcb1", "libxcomposite1", "libxdamage1", "libxdmcp6", "libxext6"),
    *("libxfixes3", "libxi6", "libxkbcommon0", "libxnvctrl0", "libxrandr2", "libxrender1", "libzstd1"),
)
_PYTHON = ("playwright==1.65.2", "axe-playwright-python==0.1.8")


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """Start a browser, and give Playwright's `Browser`. Skips (or fails) where it cannot be had."""
    root = debian(*_PACKAGES)
    _importable()
    playwright = importlib.import_module("playwright.async_api")
    with TemporaryDirectory() as folder:
        async with playwright.async_playwright() as started:
            browser = await started.chromium.launch(
                executable_path=root / "usr/lib/chromium/chromium-headless-shell",
                args=["--no-sandbox"],  # which needs a user that is not root; only our own pages are opened
                env={**os.environ, **_environment(root, Path(folder))},
            )
            yield browser
            await browser.close()


def _environment(root: Path, folder: Path) -> dict[str, str]:
    """The libraries, and the unpacked fonts alone, so that text is as wide on every machine."""
    environment = library_environment(root)
    environment["LD_LIBRARY_PATH"] += "".join(f":{libraries}" for libraries in root.glob("usr/lib/*/pulseaudio"))
    fonts = folder / "fonts.conf"
    fonts.write_text(f"<fontconfig><dir>{root / 'usr/share/fonts'}</dir><cachedir>{folder}</cachedir></fontconfig>")
    return {**environment, "FONTCONFIG_FILE": str(fonts)}


async def violations(page: Any) -> list[str]:
    """Return what axe finds on a page, WCAG 2.2 AA and best practices: each rule with the elements that break it."""
    _importable()
    axe = importlib.import_module("axe_playwright_python.async_playwright").Axe()
    found = await axe.run(page, options={"runOnly": {"type": "tag", "values": _RULES}})
    return [
        f"{rule['id']}: {', '.join(node['html'] for node in rule['nodes'])}" for rule in found.response["violations"]
    ]


_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def _importable() -> None:
    folder = str(python_packages(*_PYTHON))
    if folder not in sys.path:
        sys.path.append(folder)  # last: what is installed comes first
