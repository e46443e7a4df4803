"""The section Configuration Verification on real servers: keys, their age, and what they may do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import parse_qs

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collectors.systems.aws.client import Aws, AwsSettings
from collectors.systems.kubernetes.model.kinds import WORKLOADS
from collectors.systems.prometheus.client import Prometheus as PrometheusClient
from collectors.systems.prometheus.client import PrometheusSettings
from exporter.threads import Threads
from exporter.verdict import Reason, Status
from tests.collectors.environment_and_secrets.shop import external, from_secret, run, run_item, see, store
from tests.collectors.evidence import attested
from tests.collectors.systems.kubernetes.clusters import manifest
from tests.servers.aws import AwsServer
from tests.servers.exporters import Exposition
from tests.servers.kubernetes import ControlPlane, pod_spec, workload
from tests.servers.postgresql import Postgres, create_monitor, postgresql_15
from tests.servers.process import LOOPBACK, eventually, free_port, scratch, unprivileged
from tests.servers.prometheus import Prometheus, scrape
from tests.servers.web import Handler, served
from tests.support import Run, sees


@asynccontextmanager
async def amazon(aws: AwsServer) -> AsyncIterator[dict[str, Aws]]:
    """The client of AWS."""
    client = Aws(AwsSettings.model_validate(aws.settings), Threads())
    try:
        yield {"aws": client}
    finally:
        await client.close()


# Tokens

JWT = "jwt_secrets_secure"


def encoded(number: int) -> str:
    """A number, as keys have it."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).decode().rstrip("=")


def rsa_key(bits: int = 2048, **more: Any) -> dict[str, Any]:
    """A new RSA key of this size."""
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {
        "kty": "RSA",
        "kid": f"rsa-{bits}",
        "n": encoded(numbers.n),
        "e": encoded(numbers.e),
        "alg": "RS256",
        **more,
    }


def ec_key(**more: Any) -> dict[str, Any]:
    """A new key on P-256."""
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encoded(numbers.x), "y": encoded(numbers.y), **more}


def token(secret: str = "", algorithm: str = "HS256", kid: str = "a") -> dict[str, str]:
    """A token that this secret signed."""
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": algorithm, "kid": kid}, {"sub": "synthetic"})
    )
    signature = hmac.digest(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256) if algorithm != "none" else b""
    return {"name": "session", "token": f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"}


@pytest.fixture
def issuer() -> Iterator[Exposition]:
    """A server of a key set."""
    with Exposition() as server:
        yield server


def run_jwks(cluster: ControlPlane, issuer: Exposition, *keys: Any, **options: Any) -> Run:
    """One run on an issuer with these keys."""
    issuer.text = json.dumps({"keys": keys})
    jwks = [{"url": f"http://{LOOPBACK}:{issuer.port}/jwks.json", "timeout": "30s"}]
    return run_item(cluster, JWT, "default", jwks=jwks, **options)


look = sees(run_jwks)


@pytest.mark.verifies("configuration_verification.jwt_secrets_secure", "ok")
async def test_strong_keys_pass(control_plane: ControlPlane, issuer: Exposition, tmp_path: Path) -> None:
    result = await look(control_plane, issuer, rsa_key(), ec_key(), rsa_key(1024, use="enc"))
    assert (result.status, result.summary) == (Status.OK, "2 keys of 1 key set are strong; 0 tokens were checked.")
    strong = token("J8v-2kfPq9zXw4Rm7tYb1nCd5hGs3LaE0uVi6oTx")
    alone = await see(
        control_plane, JWT, "default", tokens=[strong], evidence=attested(tmp_path, f"configuration_verification.{JWT}")
    )
    assert alone.status is Status.OK


@pytest.mark.verifies("configuration_verification.jwt_secrets_secure", "failed")
async def test_weak_and_published_keys_fail(control_plane: ControlPlane, issuer: Exposition) -> None:
    example = ec_key(x="MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", y="4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")
    even = rsa_key() | {"n": encoded(2**2047 + 6)}
    states = {
        "has 1024 bits": rsa_key(1024),
        "is a shared secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        "with its private part": rsa_key(d="AQAB"),
        "is the example of a standard": example,
        "is no sound RSA key": even,
        "is for HS256": rsa_key(alg="HS256"),
        "is on the curve P-192": ec_key(crv="P-192"),
        "is no point on its curve": ec_key(x=encoded(5), y=encoded(7)),
        "is no sound RSA": rsa_key(n=encoded(2**2203 - 1)),  # a prime
        "is for RS1": rsa_key(alg="RS1"),
        "is for RS256": ec_key(alg="RS256"),
    }
    for expected, key in states.items():
        result = await look(control_plane, issuer, ec_key(), key)
        assert result.status is Status.FAILED
        assert expected in result.summary
    assert "no key that signs" in (await look(control_plane, issuer)).summary
    padded = rsa_key(n=base64.urlsafe_b64encode(bytes(128) + _decoded(rsa_key(1024)["n"])).decode().rstrip("="))
    assert "has 1024 bits" in (await look(control_plane, issuer, padded)).summary
    for weak in (
        token("my-super-secret-key"),
        token("secret\n"),
        token("a" * 32),
        token("secret"),
        token("your-256-bit-secret"),
        token(""),
        token(algorithm="none"),
    ):
        result = await look(control_plane, issuer, ec_key(), tokens=[weak])
        assert result.status is Status.FAILED
        assert weak["token"] not in str(result)
    without_record = await look(
        control_plane, issuer, ec_key(), tokens=[token("J8v-2kfPq9zXw4Rm7tYb1nCd5hGs3LaE0uVi6oTx")]
    )
    assert (without_record.status, without_record.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)


def _decoded(number: str) -> bytes:
    return base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))


async def test_who_signed_a_token_shows_in_its_signature_and_not_in_its_name(
    control_plane: ControlPlane, issuer: Exposition, tmp_path: Path
) -> None:
    kept = attested(tmp_path, f"configuration_verification.{JWT}")
    private, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    curve = ec.generate_private_key(ec.SECP256R1())
    numbers, point = private.public_key().public_numbers(), curve.public_key().public_numbers()
    keys = (
        {"kty": "RSA", "kid": "rsa", "n": encoded(numbers.n), "e": "AQAB"},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encoded(point.x), "y": encoded(point.y)},
    )

    def by(algorithm: str, kid: str, signer: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, str]:
        signed = token(algorithm=algorithm, kid=kid)["token"].rpartition(".")[0].encode()
        if isinstance(signer, ec.EllipticCurvePrivateKey):
            r, s = utils.decode_dss_signature(signer.sign(signed, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32) + s.to_bytes(32)
        elif algorithm == "PS256":
            signature = signer.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        else:
            signature = signer.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return {
            "name": "session",
            "token": f"{signed.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}",
        }

    own = [by("RS256", "rsa", private), by("PS256", "rsa", private), by("ES256", "ec", curve)]
    assert (await look(control_plane, issuer, *keys, tokens=own)).status is Status.OK
    result = await look(control_plane, issuer, *keys, tokens=[by("RS256", "rsa", other)], evidence=kept)
    assert (result.status, "by none of the keys of `jwks`" in result.summary) == (Status.UNKNOWN, True), result
    text = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    result = await look(control_plane, issuer, *keys, tokens=[token(text, kid="rsa")], evidence=kept)
    assert (result.status, "with a public key of `jwks` as its secret" in result.summary) == (Status.FAILED, True), (
        result
    )


@pytest.mark.verifies("configuration_verification.jwt_secrets_secure", "unknown")
async def test_what_is_no_key_set_and_keys_that_are_not_in_it_are_unknown(
    control_plane: ControlPlane, issuer: Exposition
) -> None:
    jwks = [{"url": f"http://{LOOPBACK}:{issuer.port}/", "timeout": "30s"}]
    for text in ("<html>", '{"issuer": "x"}', '{"keys": [1]}', '{"keys": [{"kty": "RSA", "n": "!"}]}'):
        issuer.text = text
        result = await see(control_plane, JWT, "default", jwks=jwks)
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MALFORMED), text
    closed = [{"url": f"http://{LOOPBACK}:{free_port()}/"}]
    assert (await see(control_plane, JWT, "default", jwks=closed)).reason is Reason.UNREACHABLE
    result = await look(control_plane, issuer, ec_key(), tokens=[token("x" * 40, algorithm="RS256", kid="other")])
    assert result.status is not Status.OK
    assert "in no key set" in result.summary or "record" in result.summary
    result = await look(control_plane, issuer, ec_key(), tokens=[{"name": "session", "token": "no.token"}])
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MISCONFIGURED)
    assert "no.token" not in str(result)


# Encryption keys

ESCROW = "encryption_keys_backed_up"


@pytest.mark.verifies("configuration_verification.encryption_keys_backed_up", "ok")
async def test_keys_that_aws_keeps_need_no_record_and_others_do(
    cluster: ControlPlane, aws: AwsServer, tmp_path: Path
) -> None:
    kms, namespace = aws.client("kms"), cluster.namespace("shop")
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=made)
    kms.create_alias(AliasName="alias/orders", TargetKeyId=made)
    async with amazon(aws) as further:
        result = await see(cluster, ESCROW, namespace, further=further, kms_keys=["alias/orders"])
        assert (result.status, result.summary) == (Status.OK, "1 key of KMS is Enabled.")
        sealed = manifest(
            "bitnami.com/v1alpha1", "SealedSecret", "sealed", namespace, spec={"encryptedData": {"a": "AgB"}}
        )
        cluster.apply(sealed)
        result = await see(cluster, ESCROW, namespace, further=further, kms_keys=["alias/orders"])
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        kept = attested(tmp_path, f"configuration_verification.{ESCROW}", measured={"decrypted": 2})
        result = await see(cluster, ESCROW, namespace, further=further, kms_keys=["alias/orders"], evidence=kept)
        assert result.status is Status.OK
        untried = attested(tmp_path, f"configuration_verification.{ESCROW}", measured={"decrypted": 0})
        result = await see(cluster, ESCROW, namespace, further=further, kms_keys=["alias/orders"], evidence=untried)
        assert (result.status, result.reason) == (Status.FAILED, Reason.INVALID)


@pytest.mark.verifies("configuration_verification.encryption_keys_backed_up", "failed")
async def test_keys_that_decrypt_nothing_fail_whatever_a_record_says(
    cluster: ControlPlane, aws: AwsServer, tmp_path: Path
) -> None:
    kms, namespace = aws.client("kms"), cluster.namespace("shop")
    kept = attested(tmp_path, f"configuration_verification.{ESCROW}", measured={"decrypted": 2})
    disabled, leaving = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.disable_key(KeyId=disabled)
    kms.schedule_key_deletion(KeyId=leaving, PendingWindowInDays=7)
    expected = {
        disabled: "is in state Disabled",
        leaving: "will be deleted",
        "alias/none": "has no key",
    }
    async with amazon(aws) as further:
        for key, words in expected.items():
            result = await see(cluster, ESCROW, namespace, further=further, kms_keys=[key], evidence=kept)
            assert result.status is Status.FAILED, key
            assert words in result.summary
        still = kms.create_key()["KeyMetadata"]["KeyId"]
        result = await see(cluster, ESCROW, namespace, further=further, kms_keys=[still])
        assert (result.status, "is not rotated by AWS" in result.summary) == (Status.WARNING, True)
    assert (await see(cluster, ESCROW, namespace)).reason is Reason.NOT_CONFIGURED


@pytest.mark.verifies("configuration_verification.encryption_keys_backed_up", "unknown")
@pytest.mark.verifies("configuration_verification.secrets_rotated", "unknown")
async def test_without_aws_its_keys_and_secrets_are_unknown(cluster: ControlPlane) -> None:
    namespace = run(cluster)
    for item, option in ((ESCROW, "kms_keys"), (ROTATED, "aws_secrets")):
        named: dict[str, Any] = {option: ["alias/orders"]}
        result = await see(cluster, item, namespace, **named)
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)
        assert "clients.aws" in result.summary


# Rotation

ROTATED = "secrets_rotated"


def certificate(cluster: ControlPlane, namespace: str, *, days: int, **private_key: str) -> None:
    """A Certificate that was renewed so many days ago, as cert-manager leaves it."""
    made = manifest(
        "cert-manager.io/v1", "Certificate", "web", namespace, spec={"secretName": "web-tls", "privateKey": private_key}
    )
    cluster.apply(made)
    begun = datetime.now(UTC) - timedelta(days=days)
    cluster.patch_status(
        made, notBefore=begun.strftime("%Y-%m-%dT%H:%M:%SZ"), conditions=[{"type": "Ready", "status": "True"}]
    )


@pytest.mark.verifies("configuration_verification.secrets_rotated", "ok")
async def test_a_certificate_that_makes_new_keys_is_shown_to_be_rotated(cluster: ControlPlane, tmp_path: Path) -> None:
    namespace = run(cluster, [from_secret("TLS_KEY", "web-tls", "tls.key")])
    certificate(cluster, namespace, days=20, rotationPolicy="Always")
    result = await see(cluster, ROTATED, namespace)
    assert result.status is Status.OK
    assert "rotation of 1 Secret of 1 that workloads use" in result.summary
    certificate(cluster, namespace, days=20, rotationPolicy="Never")
    assert (await see(cluster, ROTATED, namespace)).reason is Reason.NOT_CONFIGURED
    assert (
        await see(cluster, ROTATED, namespace, evidence=attested(tmp_path, f"configuration_verification.{ROTATED}"))
    ).status is Status.OK


@pytest.mark.verifies("configuration_verification.secrets_rotated", "failed")
async def test_an_old_key_fails_whatever_a_record_says(cluster: ControlPlane, tmp_path: Path) -> None:
    namespace = run(cluster, [from_secret("TLS_KEY", "web-tls", "tls.key")])
    certificate(cluster, namespace, days=200, rotationPolicy="Always")
    result = await see(
        cluster, ROTATED, namespace, evidence=attested(tmp_path, f"configuration_verification.{ROTATED}")
    )
    assert (result.status, result.reason) == (Status.FAILED, Reason.LIMIT)
    assert "is 200 days old (limit 90d)" in result.summary


async def test_that_rotation_is_enabled_in_aws_is_no_rotation(cluster: ControlPlane, aws: AwsServer) -> None:
    namespace, manager = run(cluster), aws.client("secretsmanager")
    manager.create_secret(Name="orders", SecretString="cAn4ry")
    async with amazon(aws) as further:
        result = await see(cluster, ROTATED, namespace, further=further, aws_secrets=["orders"])
        assert result.status is not Status.OK
        manager.delete_secret(SecretId="orders")
        result = await see(cluster, ROTATED, namespace, further=further, aws_secrets=["orders"])
        assert "is deleted" in result.summary
        result = await see(cluster, ROTATED, namespace, further=further, aws_secrets=["absent"])
        assert "has no secret absent" in result.summary


async def test_a_secret_that_nothing_has_written_to_fails(cluster: ControlPlane, tmp_path: Path) -> None:
    namespace = run(cluster, [from_secret("DB_PASSWORD")])
    series = f'kube_secret_metadata_resource_version{{namespace="{namespace}",secret="orders"}} '
    with (
        Exposition(f"{series}4711\n") as metrics,
        Prometheus(tmp_path, scrapes=[scrape("kube-state-metrics", metrics.port)]) as prometheus,
    ):
        prometheus.wait_for("kube_secret_metadata_resource_version offset 2s")
        client = PrometheusClient(PrometheusSettings(url=prometheus.url), Threads())
        further, kept = {"prometheus": client}, attested(tmp_path, f"configuration_verification.{ROTATED}")
        result = await see(cluster, ROTATED, namespace, further=further, evidence=kept, max_secret_age="2s")
        assert result.status is Status.FAILED
        assert f"Secret {namespace}/orders was not changed within 2s" in result.summary
        metrics.text = f"{series}4712\n"
        prometheus.wait_for("kube_secret_metadata_resource_version == 4712")
        result = await see(cluster, ROTATED, namespace, further=further, max_secret_age="2s")
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_CONFIGURED)  # changed is not rotated
        await client.close()


# Permissions

RIGHTS = "api_key_permissions_appropriate"


def bind(cluster: ControlPlane, binding: str, role: str, **subject: str) -> None:
    """Bind a ClusterRole to somebody everywhere."""
    rbac = "rbac.authorization.k8s.io"
    cluster.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": binding},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        }
    )


def api_key(cluster: ControlPlane, token: str, forbidden: str) -> list[dict[str, Any]]:
    """A token of the API server as a key: it may list namespaces."""
    tls = {"ca_file": str(cluster.directory / "ca.pem")}
    paths = {"allowed": "/api/v1/namespaces", "forbidden": forbidden}
    return [{"name": "cluster", "url": cluster.url, "bearer_token": token, "tls": tls, **paths}]


@pytest.mark.verifies("configuration_verification.api_key_permissions_appropriate", "ok")
@pytest.mark.verifies("configuration_verification.api_key_permissions_appropriate", "failed")
async def test_what_accounts_may_do_by_their_own_and_their_groups_bindings(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    namespace = run(control_plane)
    kept = attested(tmp_path, f"configuration_verification.{RIGHTS}")
    result = await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept)
    assert result.status is Status.OK
    assert (await see(control_plane, RIGHTS, namespace, review_accounts=True)).reason is Reason.NOT_CONFIGURED
    bind(
        control_plane,
        namespace,
        "cluster-admin",
        kind="Group",
        apiGroup="rbac.authorization.k8s.io",
        name=f"system:serviceaccounts:{namespace}",
    )
    result = await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept)
    assert (result.status, result.reason) == (Status.FAILED, Reason.MISCONFIGURED)
    assert f"{namespace}/default may do everything" in result.summary
    reasoned = {f"{namespace}/default": "It installs the cluster."}
    assert (
        await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept, privileged_accounts=reasoned)
    ).status is Status.OK
    namespace = run(control_plane)
    reader = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": namespace}}
    control_plane.apply(reader | {"rules": [{"apiGroups": ["*"], "resources": ["secrets"], "verbs": ["get", "list"]}]})
    bind(control_plane, namespace, namespace, kind="ServiceAccount", namespace=namespace, name="default")
    result = await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept)
    assert "may read the Secrets of all namespaces" in result.summary


async def test_an_account_need_not_be_an_administrator_to_become_one(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    namespace, kept = run(control_plane), attested(tmp_path, f"configuration_verification.{RIGHTS}")
    rbac = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": namespace}}
    harmless = {"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get", "list", "watch"]}
    control_plane.apply(role | {"rules": [harmless]})
    bind(control_plane, namespace, namespace, kind="ServiceAccount", namespace=namespace, name="default")

    async def fails(words: str) -> None:
        """RBAC notices changes a moment later."""
        deadline = monotonic() + 60
        while True:
            result = await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept)
            if result.status is Status.FAILED and words in result.summary:
                return
            assert monotonic() < deadline, result
            await asyncio.sleep(0.1)

    assert (await see(control_plane, RIGHTS, namespace, review_accounts=True, evidence=kept)).status is Status.OK
    for group, resource, verb, words in (
        ("", "secrets", "watch", "read the Secrets of all namespaces"),
        (rbac, "clusterroles", "bind", "give itself any role"),
        ("", "serviceaccounts/token", "create", "make tokens for any service account"),
        ("", "groups", "impersonate", "act as any group"),
        ("", "pods/exec", "create", "run commands in the pods of all namespaces"),
        ("", "nodes/proxy", "get", "reach the kubelets"),
        ("apps", "deployments", "create", "create workloads in all namespaces"),
        ("", "pods/exec", "get", "by WebSockets"),
        ("", "pods/ephemeralcontainers", "patch", "add containers to the pods"),
        ("batch", "cronjobs", "create", "create workloads in all namespaces"),
        ("apps", "deployments", "patch", "change the workloads of all namespaces"),
        ("", "persistentvolumes", "create", "create volumes of any directory"),
    ):
        control_plane.apply(
            role | {"rules": [harmless, {"apiGroups": [group], "resources": [resource], "verbs": [verb]}]}
        )
        await fails(words)
    control_plane.apply(role | {"rules": [harmless]})
    for place, words in (("kube-system", "everything in kube-system"), (namespace, "everything in its namespace")):
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": namespace, "namespace": place},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "default"}],
        }
        control_plane.apply(binding)
        await fails(words)
        control_plane.delete(binding)


@pytest.mark.verifies("configuration_verification.api_key_permissions_appropriate", "unknown")
async def test_without_the_right_to_ask_accounts_are_unknown(control_plane: ControlPlane, tmp_path: Path) -> None:
    namespace = run(control_plane)
    kinds = ["namespaces", "pods", *(kind.plural for kind in WORKLOADS)]
    account = control_plane.account([{"apiGroups": ["", "apps", "batch"], "resources": kinds, "verbs": ["list"]}])
    result = await see(
        control_plane,
        RIGHTS,
        namespace,
        review_accounts=True,
        kubeconfig=account,
        evidence=attested(tmp_path, f"configuration_verification.{RIGHTS}"),
    )
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.DENIED)
    assert "create subjectaccessreviews" in result.summary


async def test_a_key_is_tried_by_one_call_that_it_allows_and_one_that_it_forbids(control_plane: ControlPlane) -> None:
    namespace = run(control_plane)
    file = control_plane.account([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]}])
    limited, admin = json.loads(file.read_text())["users"][0]["user"]["token"], control_plane.tokens["admin"]
    expected = {
        (limited, "/api/v1/secrets"): (
            Status.OK,
            None,
            "1 API key and 1 service account may do no more than they should.",
        ),
        (admin, "/api/v1/nodes"): (Status.FAILED, Reason.MISCONFIGURED, "reads the forbidden path"),
        ("cAn4ry", "/api/v1/nodes"): (Status.FAILED, Reason.DOWN, "is not accepted"),
        (admin, "/api/v1/no-such-thing"): (Status.UNKNOWN, Reason.NOT_VERIFIED, "answered 404"),
    }
    for (token, forbidden), (status, reason, words) in expected.items():
        result = await see(
            control_plane, RIGHTS, namespace, review_accounts=True, api_keys=api_key(control_plane, token, forbidden)
        )
        if reason is Reason.NOT_VERIFIED:
            assert not result.status.is_ok
        else:
            assert (result.status, result.reason) == (status, reason), result.summary
        assert words in result.summary
        assert token not in str(result)


class Simulator(Handler):
    """IAM's simulation as AWS documents its answers, from recorded decisions: moto has none."""

    decisions: ClassVar[dict[str, tuple[str, str]]] = {}

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if "role/absent" in sent["PolicySourceArn"][0]:
            error = "<Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>no such role</Message></Error>"
            self.reply(404, f"<ErrorResponse {_IAM}>{error}<RequestId>a</RequestId></ErrorResponse>".encode(), _XML)
            return
        actions = [value for name, (value,) in sent.items() if name.startswith("ActionNames.member.")]
        members = "".join(self._member(action) for action in actions if action in self.decisions)
        result = f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
        body = f"<SimulatePrincipalPolicyResult>{result}</SimulatePrincipalPolicyResult>"
        answer = f"<SimulatePrincipalPolicyResponse {_IAM}>{body}</SimulatePrincipalPolicyResponse>"
        self.reply(200, answer.encode(), _XML)

    def _member(self, action: str) -> str:
        decision, missing = self.decisions[action]
        context = f"<MissingContextValues><member>{missing}</member></MissingContextValues>" if missing else ""
        named = f"<EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        return f"<member>{named}<EvalDecision>{decision}</EvalDecision>{context}</member>"


_IAM = 'xmlns="https://iam.amazonaws.com/doc/2010-05-08/"'
_XML = {"Content-Type": "text/xml"}


async def test_what_principals_of_aws_may_do_is_simulated(control_plane: ControlPlane) -> None:
    namespace = run(control_plane)
    states = (
        ("allowed", "", "implicitDeny", "", Status.OK, "1 principal of AWS"),
        ("allowed", "", "explicitDeny", "", Status.OK, "1 principal of AWS"),
        ("allowed", "", "allowed", "", Status.FAILED, "orders (role/orders) may do kms:ScheduleKeyDeletion on *."),
        ("implicitDeny", "", "implicitDeny", "", Status.FAILED, "may not do s3:GetObject on *, which it needs"),
        ("allowed", "", "implicitDeny", "aws:SourceIp", Status.UNKNOWN, "depends on aws:SourceIp"),
        ("allowed", "", None, "", Status.UNKNOWN, "AWS did not decide on kms:ScheduleKeyDeletion"),
    )
    principal = {
        "name": "orders",
        "arn": "arn:aws:iam::123456789012:role/orders",
        "allowed": ["s3:GetObject"],
        "forbidden": ["kms:ScheduleKeyDeletion"],
    }
    with served(Simulator) as url:
        settings = {"endpoint_url": url, "region": "eu-central-1", "access_key_id": "AKIAEXAMPLEEXAMPLE00"}
        client = Aws(
            AwsSettings.model_validate({**settings, "secret_access_key": "a-secret-key", "timeout": "30s"}), Threads()
        )
        for needed, lacking, other, missing, status, words in states:
            Simulator.decisions = {"s3:GetObject": (needed, lacking)}
            if other is not None:
                Simulator.decisions["kms:ScheduleKeyDeletion"] = (other, missing)
            result = await see(control_plane, RIGHTS, namespace, further={"aws": client}, iam_principals=[principal])
            assert (result.status, words in result.summary) == (status, True), result
        absent = {**principal, "arn": "arn:aws:iam::123456789012:role/absent"}
        result = await see(control_plane, RIGHTS, namespace, further={"aws": client}, iam_principals=[absent])
        assert (result.status, result.reason) == (Status.FAILED, Reason.MISSING), result
        await client.close()


# Credentials of databases

UNIQUE = "database_credentials_unique"


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL that lets two services in from all addresses of the loopback."""
    with scratch("roles", unprivileged()) as folder, Postgres(postgresql_15(), folder, "roles").initialize() as server:
        create_monitor(server)
        with (server.data / "pg_hba.conf").open("r+") as file:
            before = file.read()
            file.seek(0)
            file.write("host all orders,checkout,boss 127.0.0.0/8 trust\n" + before)
        server.script(
            "CREATE ROLE orders LOGIN; CREATE ROLE checkout LOGIN; CREATE ROLE boss SUPERUSER LOGIN; SELECT pg_reload_conf();"
        )
        yield server


@asynccontextmanager
async def session(server: Postgres, role: str, address: str) -> AsyncIterator[None]:
    """A session of a role that comes from an address."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        writer.close()

    relayed = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, server.port, local_addr=(address, 0))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        await far_writer.wait_closed()
        relayed.set()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(relayed.wait)
        listener = await stack.enter_async_context(await asyncio.start_server(relay, LOOPBACK, 0))
        port = listener.sockets[0].getsockname()[1]
        connection = await psycopg.AsyncConnection.connect(
            host=LOOPBACK, port=port, user=role, dbname="orders", sslmode="disable"
        )
        stack.push_async_callback(connection.close)
        yield


def at(cluster: ControlPlane, namespace: str, name: str, address: str) -> None:
    """A running Deployment whose pod has this address, and credentials of a database of its own."""
    web = workload(
        namespace,
        name,
        spec=pod_spec(containers=[pod_spec()["containers"][0] | {"env": [from_secret("DB_PASSWORD", name)]}]),
    )
    cluster.apply(web)
    cluster.wait_ready(web)
    (pod,) = cluster.pods(namespace, f"app={name}")
    cluster.patch_status({"apiVersion": "v1", "kind": "Pod", **pod}, podIP=address, podIPs=[{"ip": address}])


@pytest.mark.verifies("configuration_verification.database_credentials_unique", "ok")
@pytest.mark.verifies("configuration_verification.database_credentials_unique", "failed")
async def test_who_uses_which_role_is_seen_by_the_addresses_of_sessions(
    control_plane: ControlPlane, database: Postgres
) -> None:
    namespace = control_plane.namespace("shop")
    at(control_plane, namespace, "orders", "127.0.0.2")
    at(control_plane, namespace, "checkout", "127.0.0.3")
    options: dict[str, Any] = {"databases": [{"name": "main", "dsn": database.dsn()}], "memory": {}}
    async with session(database, "orders", "127.0.0.2"), session(database, "checkout", "127.0.0.3"):
        result = await see(control_plane, UNIQUE, namespace, **options)
        assert (result.status, result.summary) == (Status.OK, "2 roles of databases are each used by one service.")
    idle = await see(control_plane, UNIQUE, namespace, **options)
    assert idle.status is Status.OK  # remembered
    async with session(database, "orders", "127.0.0.3"):
        result = await see(control_plane, UNIQUE, namespace, **options)
        assert result.status is Status.FAILED
        assert "use the same role orders of database main" in result.summary
        one = {"shop": [f"{namespace}/orders", f"{namespace}/checkout"]}
        assert (
            await see(control_plane, UNIQUE, namespace, services=one, databases=options["databases"])
        ).status is Status.OK
    async with session(database, "boss", "127.0.0.2"):
        result = await see(control_plane, UNIQUE, namespace, databases=options["databases"])
        assert "connected as the superuser boss" in result.summary


async def test_a_role_that_can_become_a_superuser_is_one(control_plane: ControlPlane, database: Postgres) -> None:
    namespace = control_plane.namespace("shop")
    at(control_plane, namespace, "orders", "127.0.0.2")
    databases = [{"name": "main", "dsn": database.dsn()}]
    for power, words in (
        ("boss", "as checkout, which can become the superuser boss"),
        ("pg_execute_server_program", "as good as a superuser"),
    ):
        database.script(f"GRANT {power} TO checkout")
        async with session(database, "checkout", "127.0.0.2"):
            result = await see(control_plane, UNIQUE, namespace, databases=databases)
        database.script(f"REVOKE {power} FROM checkout")
        assert (result.status, words in result.summary) == (Status.FAILED, True), result
    for attribute, words in (
        ("CREATEROLE", "makes roles and changes their passwords (CREATEROLE)"),
        ("BYPASSRLS", "reads the rows of all tenants (BYPASSRLS)"),
        ("REPLICATION", "copies the entire server (REPLICATION)"),
    ):
        for direct in (True, False):
            owner = "checkout" if direct else "keeper"
            database.script(f"CREATE ROLE keeper; GRANT keeper TO checkout; ALTER ROLE {owner} {attribute}")
            async with session(database, "checkout", "127.0.0.2"):
                result = await see(control_plane, UNIQUE, namespace, databases=databases)
            database.script(f"ALTER ROLE {owner} NO{attribute}; DROP ROLE keeper")
            assert (result.status, words in result.summary) == (Status.FAILED, True), result


async def test_the_same_key_of_a_secret_for_two_services_fails(control_plane: ControlPlane) -> None:
    namespace = run(control_plane, [from_secret("DB_PASSWORD")])
    run(control_plane, [from_secret("MYSQL_PASSWORD")], name="other", namespace=namespace)
    result = await see(control_plane, UNIQUE, namespace)
    assert result.status is Status.FAILED
    assert "by the same key password of Secret" in result.summary


async def test_two_secrets_that_are_read_from_one_place_of_a_store_are_one(cluster: ControlPlane) -> None:
    namespace = run(cluster, [from_secret("DB_PASSWORD", "orders-db")])
    run(cluster, [from_secret("DB_PASSWORD", "billing-db")], name="billing", namespace=namespace)
    store(cluster, None, "vault")
    place = {"secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"}}

    def read(key: str, what: str) -> dict[str, Any]:
        return {**place, "data": [{"secretKey": "password", "remoteRef": {"key": key, "property": what}}]}

    external(cluster, namespace, "orders-db", **read("shop/db", "password"))
    for key, what, shared in (
        ("shop/db", "other", False),
        ("shop/billing", "password", False),
        ("shop/db", "password", True),
    ):
        external(cluster, namespace, "billing-db", **read(key, what))
        result = await see(cluster, UNIQUE, namespace)
        assert (result.status is Status.FAILED) is shared, result
    words = f"Deployment {namespace}/billing and Deployment {namespace}/web sign in to a database by Secrets that are read from"
    assert words in result.summary


@pytest.mark.verifies("configuration_verification.database_credentials_unique", "unknown")
async def test_sessions_of_a_pooler_and_services_that_are_not_connected_are_unknown(
    control_plane: ControlPlane, database: Postgres
) -> None:
    namespace = control_plane.namespace("shop")
    at(control_plane, namespace, "orders", "127.0.0.2")
    databases = [{"name": "main", "dsn": database.dsn()}]
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    await eventually(lambda: not database.query(ended), "sessions of other tests to end")
    assert (await see(control_plane, UNIQUE, namespace)).reason is Reason.NOT_CONFIGURED
    result = await see(control_plane, UNIQUE, namespace, databases=databases)
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.PENDING)
    async with session(database, "orders", "127.0.0.9"), session(database, "orders", "127.0.0.2"):
        result = await see(control_plane, UNIQUE, namespace, databases=databases)
        assert (result.status, result.reason) == (Status.UNKNOWN, Reason.NOT_VERIFIED)
        assert "127.0.0.9" in result.summary
    blind = [{"name": "main", "dsn": f"host={LOOPBACK} port={database.port} user=orders dbname=orders"}]
    result = await see(control_plane, UNIQUE, namespace, databases=blind)
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.DENIED)
