"""Security tests: what was scanned, by what, and what is left of what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.pre_launch_validation.security_tests import SecurityTests, SecurityTestsSettings
from collectors.systems.kubernetes.model.images import RUNNING
from exporter.verdict import Reason, Status
from tests.collectors.evidence import Folder, evidence_of
from tests.collectors.pre_launch_validation.reports import attached
from tests.collectors.systems.kubernetes.clusters import asking, listing
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.servers.signing import Keys
from tests.support import Clients, Run, make_context, sees

SCANS, CRITICALS = "vulnerability_scans_completed", "critical_vulnerabilities_remediated"
SAID = {"tool": "Trivy 0.59.1", "database": "2026-10-11", "filters": "none"}


def trivy(
    findings: Mapping[str, str] = {},
    *,
    target: str = "shop:1.4.2",
    at: str = "2026-10-12T10:00:00Z",
    place: str = "app.lock",
) -> dict[str, Any]:
    """What Trivy writes of a scan: advisories and their severities in one place."""
    found = [{"VulnerabilityID": name, "PkgName": "lib", "Severity": level} for name, level in findings.items()]
    result = {"Target": place, "Class": "lang-pkgs", "Type": "pip", "Vulnerabilities": found}
    return {"SchemaVersion": 2, "CreatedAt": at, "ArtifactName": target, "Results": [result]}


evidence = evidence_of("security_tests")


def run(evidence: Folder, item: str, clients: Clients | None = None, **settings: Any) -> Run:
    return Run(SecurityTests, [item], settings=settings, context=make_context(clients=clients, **evidence.context))


seen = sees(run)


@pytest.mark.verifies("security_tests.vulnerability_scans_completed", "ok")
@pytest.mark.verifies("security_tests.vulnerability_scans_completed", "failed")
@pytest.mark.verifies("security_tests.vulnerability_scans_completed", "unknown")
async def test_a_scan_looked_at_everything(evidence: Folder) -> None:
    assert (await seen(evidence, SCANS)).reason is Reason.MISSING
    attached(evidence, SCANS, trivy(), report=SAID)
    result = await seen(evidence, SCANS, scan_targets=["shop"])
    assert (result.status, result.summary) == (Status.OK, "1 scan of 1 target completed.")
    assert result.evidence
    assert result.valid_until
    result = await seen(evidence, SCANS, scan_targets=["shop", "ledger"])
    assert (result.status, result.summary) == (Status.FAILED, "There is no valid vulnerability scan of ledger.")
    for report, said, status, words in (
        (trivy(), None, Status.UNKNOWN, "gives report.tool, report.database, report.filters."),
        (trivy(), SAID | {"filters": "--severity CRITICAL"}, Status.FAILED, "was limited by --severity CRITICAL"),
        (trivy(), SAID | {"database": "2025-12-01"}, Status.FAILED, "used a database that was 315 days old"),
        (trivy(), SAID | {"database": "2026-10-20"}, Status.UNKNOWN, "is older than its database"),
        (trivy(at="2026-09-01T00:00:00Z"), SAID, Status.FAILED, "is 42 days old (at most 7 days)."),
        (trivy(at="2027-09-01T00:00:00Z"), SAID, Status.FAILED, "which is in the future."),
        (trivy() | {"Results": None}, SAID, Status.UNKNOWN, "examined nothing."),
        (b"", SAID, Status.FAILED, "is empty"),
        ([], SAID, Status.UNKNOWN, "expected one of a security scan"),
        (trivy(), SAID | {"target": "ledger"}, Status.UNKNOWN, "is about shop:1.4.2, the evidence record says ledger."),
    ):
        attached(evidence, SCANS, report, report=said)
        result = await seen(evidence, SCANS)
        assert (result.status, words in result.summary) == (status, True), result.summary


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("trivy-secrets-only.json", Status.UNKNOWN),
        ("trivy-empty-scan.json", Status.UNKNOWN),
        ("pip-audit-nothing-audited.json", Status.UNKNOWN),
        ("npm-audit-endpoint-refused.json", Status.UNKNOWN),
        ("bandit-missing-target.json", Status.UNKNOWN),
        ("bandit-filtered-by-severity.json", Status.FAILED),
        ("trivy-clean.json", Status.OK),
        ("trivy-clean-and-filtered", Status.FAILED),
        ("govulncheck-affected.json", Status.OK),
    ],
)
async def test_real_reports_prove_what_they_show(evidence: Folder, name: str, status: Status) -> None:
    evidence.clock.advance(days=48)
    said = {"tool": "x 1", "database": "2026-11-29", "filters": "none"}
    if "trivy" not in name:
        said["target"] = "shop"
    if name == "trivy-clean-and-filtered":
        name, said["filters"] = "trivy-filtered-by-severity.json", "--severity LOW"
    if name.startswith(("govuln", "pip")):
        said["finished"] = "2026-11-29"
    attached(evidence, SCANS, name, report=said, on="2026-11-30")
    result = await seen(evidence, SCANS)
    assert result.status is status, result.summary


@pytest.mark.verifies("security_tests.critical_vulnerabilities_remediated", "ok")
@pytest.mark.verifies("security_tests.critical_vulnerabilities_remediated", "failed")
@pytest.mark.verifies("security_tests.critical_vulnerabilities_remediated", "unknown")
async def test_no_critical_finding_is_open(evidence: Folder) -> None:
    assert (await seen(evidence, CRITICALS)).status is Status.FAILED
    for findings, status, words in (
        ({}, Status.OK, "No critical finding is open in 1 report."),
        ({"CVE-1": "MEDIUM"}, Status.OK, "No critical"),
        ({"CVE-1": "CRITICAL"}, Status.FAILED, "1 critical finding is open: CVE-1 in lib."),
        ({"CVE-1": "HIGH"}, Status.FAILED, "1 high finding is open: CVE-1 in lib (at most 0)."),
        ({"CVE-1": "UNKNOWN"}, Status.UNKNOWN, "1 unrated finding is open and may be critical: CVE-1 in lib."),
    ):
        attached(evidence, SCANS, trivy(findings), report=SAID)
        result = await seen(evidence, CRITICALS)
        assert (result.status, words in result.summary) == (status, True), result.summary
    evidence.tear(SCANS)
    assert (await seen(evidence, CRITICALS)).status is Status.UNKNOWN


async def test_an_acceptance_has_an_owner_and_an_end(evidence: Folder) -> None:
    attached(evidence, SCANS, trivy({"CVE-1": "CRITICAL"}), report=SAID)
    accepted = {"advisory": "CVE-1", "owner": "ann", "reason": "Not reachable.", "until": "2026-10-31"}
    assert (await seen(evidence, CRITICALS, accepted=[accepted])).status is Status.OK
    assert (await seen(evidence, CRITICALS, accepted=[accepted | {"package": "other"}])).status is Status.FAILED
    result = await seen(evidence, CRITICALS, accepted=[accepted | {"until": "2026-10-12"}])
    assert (result.status, "Acceptances that expired: CVE-1 (ann)." in result.summary) == (Status.FAILED, True)
    with pytest.raises(ValueError, match="owner"):
        SecurityTestsSettings.model_validate_json(
            '{"accepted": [{"advisory": "CVE-1", "reason": "a", "until": "2026-10-31"}]}'
        )


@pytest.mark.parametrize("owner", ["", " ", "-", "n/a", "TBD", "nobody"])
def test_an_acceptance_by_nobody_is_none(owner: str) -> None:
    accepted = {"advisory": "CVE-1", "owner": owner, "reason": "Not reachable.", "until": "2026-10-31"}
    with pytest.raises(ValidationError, match="names nobody"):
        SecurityTestsSettings.model_validate_json(json.dumps({"accepted": [accepted]}))


async def test_what_a_scanner_itself_accepted_has_neither(evidence: Folder) -> None:
    evidence.clock.advance(days=48)
    said = {"tool": "Trivy", "database": "2026-11-29", "filters": "none"}
    attached(evidence, SCANS, "trivy-accepted-shown.json", report=said, on="2026-11-30")
    result = await seen(evidence, CRITICALS)
    assert (result.status, "CVE-2099-0001" in result.summary) == (Status.FAILED, True)


async def test_vex_is_about_one_package(evidence: Folder) -> None:
    attached(evidence, SCANS, trivy({"CVE-1": "CRITICAL"}), report=SAID)
    for purl, status, justification, path in (
        ("pkg:pypi/lib@1.0", "not_affected", "vulnerable_code_not_present", Status.OK),
        ("pkg:pypi/lib@1.0", "not_affected", "", Status.FAILED),
        ("pkg:pypi/lib@1.0", "under_investigation", "vulnerable_code_not_present", Status.FAILED),
        ("pkg:pypi/other@1.0", "not_affected", "vulnerable_code_not_present", Status.FAILED),
    ):
        product = {"@id": "shop", "subcomponents": [{"@id": purl}]}
        statement = {
            "vulnerability": {"name": "CVE-1"}, "products": [product], "status": status, "justification": justification
        }  # fmt: skip
        document = {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [statement]}
        vex = evidence.path / "vex.json"
        vex.write_text(json.dumps(document))
        assert (await seen(evidence, CRITICALS, vex=[str(vex)])).status is path
    vex.write_text("{}")
    assert (await seen(evidence, CRITICALS, vex=[str(vex)])).status is Status.UNKNOWN
    assert (await seen(evidence, CRITICALS, vex=[str(vex.with_name("none"))])).status is Status.UNKNOWN


async def test_a_partial_scan_closes_nothing_else(evidence: Folder) -> None:
    old, new = "2026-10-11T10:00:00Z", "2026-10-12T10:00:00Z"
    attached(evidence, SCANS, trivy({"CVE-1": "CRITICAL"}, at=old), name="first", report=SAID, on="2026-10-11")
    # Another target, another place, a filtered one, one that examined nothing: none of them looked again.
    for number, (report, said) in enumerate(
        (
            (trivy(target="ledger:1"), SAID),
            (trivy(place="other.lock"), SAID),
            (trivy() | {"Results": []}, SAID),
        )
    ):
        attached(evidence, SCANS, report, name=f"later{number}", report=said)
    result = await seen(evidence, CRITICALS)
    assert (result.status, "CVE-1 in lib" in result.summary) == (Status.FAILED, True)
    for path in evidence.path.glob("later*"):
        path.unlink()
    attached(evidence, SCANS, trivy(target="shop:1.4.3", at=new), name="later", report=SAID)
    assert (await seen(evidence, CRITICALS)).status is Status.OK


async def test_an_older_database_closes_nothing(evidence: Folder) -> None:
    old = trivy({"CVE-1": "CRITICAL"}, at="2026-10-11T10:00:00Z")
    attached(evidence, SCANS, old, name="first", report=SAID | {"database": "2026-10-10"}, on="2026-10-11")
    for database, status in (("2026-10-06", Status.FAILED), ("2026-10-10", Status.OK), ("2026-10-11", Status.OK)):
        attached(evidence, SCANS, trivy(), report=SAID | {"database": database})
        result = await seen(evidence, CRITICALS)
        assert result.status is status, (database, result.summary)


async def test_one_advisory_that_two_scanners_found_counts_once(evidence: Folder) -> None:
    attached(evidence, SCANS, trivy({"CVE-1": "CRITICAL"}), report=SAID)
    grype: dict[str, Any] = {
        "matches": [
            {
                "vulnerability": {"id": "GHSA-1", "severity": "Critical"},
                "relatedVulnerabilities": [{"id": "CVE-1"}],
                "artifact": {"name": "lib"},
            }
        ],
        "source": {"type": "image", "target": {"userInput": "shop:1.4.2"}},
        "descriptor": {
            "name": "grype", "version": "0.90.0", "timestamp": "2026-10-12T10:00:00Z",
            "db": {"status": {"built": "2026-10-12T01:00:00Z"}}, "configuration": {"only-fixed": False},
        },
    }  # fmt: skip
    attached(evidence, SCANS, grype, name="grype")
    result = await seen(evidence, CRITICALS)
    assert (result.status, result.summary.startswith("1 critical finding is open")) == (Status.FAILED, True)
    grype["descriptor"]["configuration"] = {"only-fixed": True}
    attached(evidence, SCANS, grype, name="grype")
    assert "was limited by only-fixed" in (await seen(evidence, SCANS)).summary


@pytest.mark.verifies("security_tests.penetration_testing_completed", "ok")
@pytest.mark.verifies("security_tests.penetration_testing_completed", "failed")
@pytest.mark.verifies("security_tests.penetration_testing_completed", "unknown")
async def test_a_penetration_test_left_nothing_open(evidence: Folder) -> None:
    item = "penetration_testing_completed"
    clean = {"open_critical": 0, "open_high": 0}
    facts: dict[str, Any] = {"note": "Example Security tested it.", "report": {"target": "https://shop.example.com"}}
    attached(evidence, item, b"%PDF", measured=clean, **facts)
    assert (await seen(evidence, item)).status is Status.OK
    for measured in (clean | {"open_critical": 1}, clean | {"open_high": 2}, {"open_high": 0}):
        attached(evidence, item, b"%PDF", measured=measured, **facts)
        assert (await seen(evidence, item)).status is Status.FAILED
    for left_out in facts:
        attached(evidence, item, b"%PDF", measured=clean, **(facts | {left_out: None}))
        assert (await seen(evidence, item)).reason is Reason.INVALID
    evidence.tear(item)
    assert (await seen(evidence, item)).status is Status.UNKNOWN


@pytest.mark.verifies("security_tests.security_sign_off_obtained", "ok")
@pytest.mark.verifies("security_tests.security_sign_off_obtained", "failed")
@pytest.mark.verifies("security_tests.security_sign_off_obtained", "unknown")
async def test_the_security_lead_signs_this_release(evidence: Folder, keys: Keys) -> None:
    item, role = "security_sign_off_obtained", "security_lead"
    (evidence.path / "allowed_signers").write_text(f"sam@example.com,security_lead {keys.public('sam')}\n")
    path = evidence.record(item, by="sam@example.com", role=role, release="1.4.2", on="2026-10-12")
    assert (await seen(evidence, item)).status is Status.FAILED
    keys.sign(path, "sam")
    assert (await seen(evidence, item)).status is Status.OK
    evidence.release = "1.4.3"
    assert (await seen(evidence, item)).status is Status.FAILED
    evidence.release = None
    assert (await seen(evidence, item)).status is Status.UNKNOWN


async def test_a_good_scan_stands_for_an_earlier_one_of_the_same_target(evidence: Folder) -> None:
    early: dict[str, Any] = {"name": "first", "on": "2026-10-01"}
    for report, said, record in (
        (trivy(at="2026-10-01T00:00:00Z"), SAID | {"database": "2026-10-01"}, early),  # expired, under another tag
        (trivy(at="2026-10-11T00:00:00Z"), SAID | {"filters": "--ignore-unfixed"}, early | {"on": "2026-10-11"}),
        (trivy(at="2026-10-11T00:00:00Z"), SAID, early | {"on": "2026-10-11", "result": "failed"}),
    ):
        attached(evidence, SCANS, report, report=said, **record)
        (evidence.path / f"{SCANS}.yaml").unlink(missing_ok=True)
        assert (await seen(evidence, SCANS)).status is Status.FAILED
        attached(evidence, SCANS, trivy(target="shop:1.4.3"), report=SAID)
        for item in (SCANS, CRITICALS):
            result = await seen(evidence, item)
            assert result.status is Status.OK, result.summary
        secrets = trivy(target="shop:1.4.3") | {"Results": [{"Target": "a", "Class": "secret"}]}
        attached(evidence, SCANS, secrets, report=SAID)
        assert (await seen(evidence, SCANS)).status is Status.FAILED


async def test_a_distribution_out_of_support_has_no_advisories(evidence: Folder) -> None:
    old = trivy() | {"Metadata": {"OS": {"Family": "debian", "Name": "9.13", "EOSL": True}}}
    attached(evidence, SCANS, old, report=SAID)
    for item in (SCANS, CRITICALS):
        result = await seen(evidence, item)
        assert (result.status, "debian 9.13 is out of support" in result.summary) == (Status.UNKNOWN, True)


async def test_a_limit_that_the_record_admits_counts_though_the_file_shows_none(evidence: Folder) -> None:
    evidence.clock.advance(days=48)
    said = {"target": "shop", "finished": "2026-11-29", "database": "2026-11-29", "filters": "./cmd/web alone"}
    attached(evidence, SCANS, "govulncheck-affected.json", report=said, on="2026-11-30")
    result = await seen(evidence, SCANS)
    assert (result.status, "was limited by ./cmd/web alone" in result.summary) == (Status.FAILED, True)


async def test_a_tag_or_a_digest_that_is_wanted_is_that_very_one(evidence: Folder) -> None:
    digest = f"sha256:{'a' * 64}"
    scan = trivy(target="shop:1.3.0") | {"Metadata": {"RepoDigests": [f"shop@{digest}"]}}
    attached(evidence, SCANS, scan, report=SAID)
    for wanted, status in (
        ("shop", Status.OK),
        ("shop:1.3.0", Status.OK),
        ("shop:1.4.2", Status.FAILED),
        (f"shop@{digest}", Status.OK),
        (f"shop@sha256:{'b' * 64}", Status.FAILED),
    ):
        assert (await seen(evidence, SCANS, scan_targets=[wanted])).status is status, wanted


async def test_vex_is_about_one_product_and_version_and_the_latest_counts(evidence: Folder) -> None:
    scan = trivy({"CVE-1": "CRITICAL"})
    scan["Results"][0]["Vulnerabilities"][0]["InstalledVersion"] = "0.9"
    attached(evidence, SCANS, scan, report=SAID)
    vex = evidence.path / "vex.json"

    def statement(product: str, purl: str, status: str = "fixed", at: str = "2026-10-01T00:00:00Z") -> dict[str, Any]:
        named = {"@id": product, "subcomponents": [{"@id": purl}]}
        return {"vulnerability": {"name": "CVE-1"}, "products": [named], "status": status, "timestamp": at}

    good = statement("pkg:oci/shop", "pkg:pypi/lib@0.9")
    for statements, status in (
        ([good], Status.OK),
        ([statement("pkg:oci/shop@1.4.2", "pkg:pypi/lib")], Status.OK),
        ([statement("pkg:oci/shop", "pkg:pypi/lib@1.0")], Status.FAILED),
        ([statement("pkg:oci/shop@1.3.0", "pkg:pypi/lib@0.9")], Status.FAILED),
        ([statement("pkg:oci/ledger", "pkg:pypi/lib@0.9")], Status.FAILED),
        ([statement("pkg:oci/shop", "pkg:pypi/lib@0.9", at="2027-10-01T00:00:00Z")], Status.FAILED),
        ([good, statement("pkg:oci/shop", "pkg:pypi/lib", "affected", "2026-10-05T00:00:00Z")], Status.FAILED),
        ([good, statement("pkg:oci/shop", "pkg:pypi/lib", "affected", "2026-09-05T00:00:00Z")], Status.OK),
    ):
        vex.write_text(json.dumps({"@context": "https://openvex.dev/ns/v0.2.0", "statements": statements}))
        assert (await seen(evidence, CRITICALS, vex=[str(vex)])).status is status, statements


# What runs

ONE, TWO, INIT = (f"sha256:{digit * 64}" for digit in "123")


def scanned(*digests: str) -> dict[str, Any]:
    """A clean scan of an image by Trivy, which knows its digests."""
    return trivy(target="registry.example.com/web:1.4.2") | {
        "Metadata": {"RepoDigests": [f"registry.example.com/web@{digest}" for digest in digests]}
    }


def pulled(
    control_plane: ControlPlane, namespace: str, image_id: str, init_id: str = f"docker-pullable://r/init@{INIT}"
) -> None:
    """Let the node of the one pod have pulled these images."""
    (pod,) = control_plane.pods(namespace)
    control_plane.patch_status(
        {"apiVersion": "v1", "kind": "Pod", **pod},
        containerStatuses=[_status("app", "registry.example.com/web:1.4.2", image_id)],
        initContainerStatuses=[_status("init", "registry.example.com/init:1", init_id)],
    )


def _status(name: str, image: str, image_id: str) -> dict[str, Any]:
    started = {"name": name, "image": image, "imageID": image_id, "ready": True, "restartCount": 0}
    return {**started, "state": {"running": {"startedAt": "2026-10-12T10:00:00Z"}}}


async def test_what_runs_is_what_was_scanned(evidence: Folder, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("shop")
    options: dict[str, Any] = {"running": [{"namespace": namespace, "selector": "app=web"}]}
    attached(evidence, SCANS, scanned(ONE, INIT), report=SAID)

    async def ran(status: Status, words: str = "", **more: Any) -> None:
        async with asking(control_plane) as clients:
            result = await seen(evidence, SCANS, clients, **options | more)
        assert (result.status, words in result.summary) == (status, True), result.summary

    assert (await seen(evidence, SCANS, **options)).reason is Reason.NOT_CONFIGURED
    await ran(Status.UNKNOWN, f"No pod of app=web in {namespace} runs")
    deployment = workload(namespace, "web", spec=pod_spec())
    control_plane.apply(deployment)
    control_plane.wait_ready(deployment)
    pulled(control_plane, namespace, f"registry.example.com/web@{ONE}")
    await ran(Status.OK, "2 images that run were scanned.")
    pulled(control_plane, namespace, f"registry.example.com/web@{TWO}")
    await ran(Status.FAILED, f"Image registry.example.com/web:1.4.2 runs as {TWO}, which no valid scan is about")
    pulled(control_plane, namespace, f"registry.example.com/web@{ONE}", f"registry.example.com/init@{TWO}")
    await ran(Status.FAILED, "Image registry.example.com/init:1 runs as")
    pulled(control_plane, namespace, "")
    await ran(Status.UNKNOWN, "The digest of image registry.example.com/web:1.4.2 is not known")
    pulled(control_plane, namespace, ONE)  # as nodes name images that were never in a registry
    await ran(Status.OK)
    attached(evidence, SCANS, scanned(ONE, INIT) | {"CreatedAt": "2026-09-01T00:00:00Z"}, report=SAID)
    await ran(Status.FAILED, "is 42 days old")
    attached(evidence, SCANS, scanned(ONE, INIT), report=SAID)
    for limits in ({"namespaces": ("default",)}, {"selectors": {"pods": "app=other"}}):
        async with asking(control_plane, **limits) as clients:
            assert (await seen(evidence, SCANS, clients, **options)).reason is Reason.NOT_CONFIGURED
    async with asking(control_plane, listing(control_plane, RUNNING)) as clients:
        assert (await seen(evidence, SCANS, clients, **options)).status is Status.OK
    async with asking(control_plane, listing(control_plane)) as clients:
        assert (await seen(evidence, SCANS, clients, **options)).reason is Reason.DENIED


@pytest.mark.parametrize(
    ("targets", "status"),
    [([], Status.OK), (["shop"], Status.OK), (["shop:web-3", "shop:worker-3"], Status.FAILED)],
)
async def test_two_images_of_one_repository_that_are_both_in_use_do_not_settle_each_other(
    evidence: Folder, targets: list[str], status: Status
) -> None:
    attached(evidence, SCANS, trivy({"CVE-1": "CRITICAL"}, target="shop:web-3"), name="web", report=SAID)
    worker = trivy(target="shop:worker-3", at="2026-10-12T12:00:00Z")
    attached(evidence, SCANS, worker, name="worker", report=SAID)
    result = await seen(evidence, CRITICALS, scan_targets=targets)
    assert result.status is status, result.summary
    rescanned = trivy(target="shop:web-3", at="2026-10-12T13:00:00Z")
    attached(evidence, SCANS, rescanned, name="again", report=SAID)
    assert (await seen(evidence, CRITICALS, scan_targets=targets)).status is Status.OK


async def test_a_clean_report_that_may_be_of_nothing_needs_a_count(evidence: Folder) -> None:
    evidence.clock.advance(days=48)
    for said, status, words in (
        ({}, Status.UNKNOWN, "gives report.examined."),
        ({"examined": 0}, Status.UNKNOWN, "examined nothing."),
        ({"examined": 212}, Status.OK, "1 scan of 1 target completed."),
    ):
        attached(evidence, SCANS, "grype-empty-folder.json", report=said or None, on="2026-11-30")
        result = await seen(evidence, SCANS, valid_for={SCANS: "30d"})
        assert (result.status, words in result.summary) == (status, True), result.summary


async def test_a_scan_of_another_commit_is_of_another_release(evidence: Folder) -> None:
    scan = trivy(target="https://git.example.com/shop") | {"Metadata": {"Commit": "0a1b2c3d" + "4" * 32}}
    for release, status in (
        ("0a1b2c3d", Status.OK),
        ("1.4.2", Status.OK),
        ("20261012", Status.OK),
        ("f" * 39 + "1", Status.UNKNOWN),
    ):
        attached(evidence, SCANS, scan, report=SAID, release=release)
        assert (await seen(evidence, SCANS)).status is status, release


async def test_a_scan_of_several_sites_is_one_of_each(evidence: Folder) -> None:
    sites = [{"@name": f"https://{name}.example.com", "alerts": []} for name in ("shop", "cdn")]
    zap = {"@programName": "ZAP", "@version": "2.17.0", "created": "2026-10-12T10:00:00Z", "site": sites}
    for target, words in (
        ("https://shop.example.com", "There is no valid report of a vulnerability scan"),
        ("https://b.example.com", "is about"),
    ):
        attached(evidence, SCANS, zap, report={"target": target, "filters": "none"})
        assert words in (await seen(evidence, SCANS)).summary
