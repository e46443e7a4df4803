"""How far the rules and gitleaks agree: on secrets that were planted, and on what is none."""

from __future__ import annotations

from pathlib import Path

from collectors.systems.secrets.model.rules import Finding, Sort, in_setting, in_text
from tests.collectors.systems.secrets import corpus
from tests.servers import gitleaks

DOCS = Path(__file__).parents[4] / "docs/sections/configuration_verification.md"


def _row(folder: Path, what: str, settings: corpus.Texts, files: corpus.Texts) -> str:
    """Plant them, one in a file, and let both look: the row of the table in the docs."""
    folder.mkdir()
    ours = 0
    for number, (name, text) in enumerate((*settings, *files)):
        is_file = number >= len(settings)
        found: tuple[Finding, ...] = in_text(name, text) if is_file else in_setting(name, text)
        ours += any(one.sort is Sort.SECRET for one in found)
        planted = folder / (f"{number:03}-{name.lstrip('.')}" if is_file else f"{number:03}.env")
        planted.write_text(text if is_file else f"{name}={text}\n")
    return f"| {what} | {len(settings) + len(files)} | {ours} | {len(gitleaks.findings(folder))} |"


def test_the_docs_say_how_far_gitleaks_agrees(tmp_path: Path) -> None:
    secrets = _row(tmp_path / "a", "settings and files with a secret", corpus.SECRET_SETTINGS, corpus.SECRET_FILES)
    harmless = _row(tmp_path / "b", "harmless settings and files", corpus.HARMLESS_SETTINGS, corpus.HARMLESS_FILES)
    tokens = _row(tmp_path / "c", "tokens of services", corpus.service_tokens(), ())
    assert f"{secrets}\n{tokens}\n{harmless}\n" in DOCS.read_text()
