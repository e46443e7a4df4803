"""Reports are valid by the schemas that others publish, and the jobs that docs/pipelines.md shows work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
import yaml

from tests.exporter.cli.conftest import Ended
from tests.servers import schemas

Json = dict[str, Any]

PAGE = Path(__file__).parents[3] / "docs" / "pipelines.md"
GITHUB, GITLAB = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
CHECKLIST = """# Launch ✓
## Search & "quotes"
- [ ] Index <is> fresh
- [ ] Shards are green
- [ ] Training & drills
- [ ] Mesh is there
- [ ] Nobody verifies this
"""
CONFIGURATION = """environment: staging
checklist: launch.md
evidence: evidence
custom:
  - {section: 'Search & "quotes"', line: Index <is> fresh, severity: critical, evidence: {valid_for: 30d}}
  - {section: 'Search & "quotes"', line: Shards are green, severity: warning, evidence: {valid_for: 30d}}
  - {section: 'Search & "quotes"', line: Training & drills, severity: warning, evidence: {valid_for: 30d}}
  - {section: 'Search & "quotes"', line: Mesh is there, evidence: {valid_for: 30d}}
waivers:
  - {item: search_quotes.training_drills, reason: "Later & never.", owner: platform, until: 2999-12-31}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository of a user: a line that fails, some that are unknown, one that is waived, and the rest."""
    (tmp_path / "launch.md").write_text(CHECKLIST)
    (tmp_path / "checklist.yaml").write_text(CONFIGURATION)
    (tmp_path / "evidence").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def report(repository: Path, run: Callable[..., Ended]) -> Callable[..., str]:
    """What `check` prints."""

    def check(*options: str) -> str:
        ended = run("check", *options)
        assert ended.code in (0, 1, 2)
        return ended.out

    return check


@pytest.mark.parametrize("options", [["--config.file=checklist.yaml"], []], ids=["own lines", "the bundled checklist"])
def test_sarif_is_valid_by_the_schema_of_oasis(report: Callable[..., str], options: list[str]) -> None:
    schema = schemas.sarif()
    log = json.loads(report(*options, "--format=sarif"))
    jsonschema.Draft4Validator.check_schema(schema)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    assert log["runs"][0]["results"]


@pytest.mark.parametrize("options", [["--config.file=checklist.yaml"], []], ids=["own lines", "the bundled checklist"])
def test_junit_is_valid_by_the_schema_of_jenkins(report: Callable[..., str], options: list[str]) -> None:
    text = report(*options, "--fail-on=critical", "--format=junit")
    xmlschema.XMLSchema(schemas.junit()).validate(text)
    assert list(ET.fromstring(text).iter("testcase"))


def test_the_schemas_refuse_what_is_not_valid(report: Callable[..., str]) -> None:
    text, schema = (
        report("--config.file=checklist.yaml", "--report-all", "--format=junit"),
        xmlschema.XMLSchema(schemas.junit()),
    )
    schema.validate(text)
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(text.replace("<testcase ", "<case ").replace("/testcase", "/case"))
    log = json.loads(report("--config.file=checklist.yaml", "--format=sarif"))
    log["runs"][0]["results"][0]["level"] = "critical"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schemas.sarif()).validate(log)


def test_the_job_for_github_is_valid_and_its_check_works(repository: Path) -> None:
    job = yaml.safe_load(GITHUB.replace("\non:", '\n"on":'))  # which YAML 1.1 takes for true
    jsonschema.validate(job, schemas.github_workflow())
    done = _shell([step["run"] for step in job["jobs"]["checklist"]["steps"] if "check " in step.get("run", "")])
    log = json.loads((repository / "checklist.sarif").read_text())
    assert done.returncode == 1, done.stderr
    result = next(one for one in log["runs"][0]["results"] if one["ruleId"] == "search_quotes.index_is_fresh")
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("launch.md", 3)


def test_the_job_for_gitlab_is_valid_and_its_check_works(repository: Path) -> None:
    pipeline = yaml.safe_load(GITLAB)
    jsonschema.validate(pipeline, schemas.gitlab_pipeline())
    done = _shell([line for line in pipeline["checklist"]["script"] if "check " in line])
    assert done.returncode == 1, done.stderr
    root = ET.parse(repository / pipeline["checklist"]["artifacts"]["reports"]["junit"]).getroot()
    found = {case.get("name"): case[0] for case in root.iter("testcase")}
    assert found["index_is_fresh"].tag == "failure"
    assert found["shards_are_green"].tag == "skipped", "less than --fail-on"
    assert found["shards_are_green"].get("message") == (
        "failed with severity warning, below --fail-on critical: There is no evidence for search_quotes.shards_are_green."
    )
    assert found["training_drills"].tag == "skipped", "waived"


def _shell(lines: list[str]) -> subprocess.CompletedProcess[str]:
    (command,) = lines
    programs = Path(sys.executable).parent
    return subprocess.run(
        ["sh", "-ec", command],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
