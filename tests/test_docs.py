"""What the documentation shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.config import load

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "custom.md",
    ROOT / "docs" / "checklists.md",
    *sorted((ROOT / "docs" / "sections").glob("*.md")),
]
VARIABLES = {"ADYEN_KEY": "a-key", "CHECKLIST_PASSWORD": "a-password", "GIT_SHA": "0c0ffee", "NATS_PASSWORD": "secret"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_configuration_shown_can_be_loaded(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        (tmp_path / "secret").write_text("postgresql://checklist_exporter@db/orders")
        (tmp_path / "evidence").mkdir(exist_ok=True)
        file = tmp_path / f"{number}.yaml"
        file.write_text(re.sub(r"_file: /[\w./-]+", f"_file: {tmp_path / 'secret'}", block))
        assert load(file, environ=VARIABLES).plan.jobs


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.stem
)
def test_every_file_linked_is_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links {link}"
