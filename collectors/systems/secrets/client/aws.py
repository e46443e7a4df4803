"""What AWS says of keys and secrets, by calls that return no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.secrets.model.access import Decision, IamPrincipal
from collectors.systems.secrets.model.aws import KmsKey, StoredSecret

__all__ = ["describe_key", "describe_secret", "simulate"]

_NO_ROTATION = frozenset({"UnsupportedOperationException", "KMSInvalidStateException"})


async def describe_key(aws: Aws, key: str) -> KmsKey:
    """A key of KMS, by its id, ARN or alias. Raises AwsError, and ProbeError without an answer."""
    about = (await aws.call("kms", "describe_key", KeyId=key))["KeyMetadata"]
    rotates = None
    if (
        about.get("KeySpec") == "SYMMETRIC_DEFAULT"
        and about.get("Origin") == "AWS_KMS"
        and about.get("KeyState") == "Enabled"
    ):
        try:
            rotates = bool(
                (await aws.call("kms", "get_key_rotation_status", KeyId=about["KeyId"])).get("KeyRotationEnabled")
            )
        except AwsError as error:
            if error.code not in _NO_ROTATION:
                raise
    return KmsKey(
        key,
        about.get("KeyState", ""),
        about.get("Origin", ""),
        about.get("DeletionDate"),
        about.get("ValidTo"),
        rotates,
    )


async def describe_secret(aws: Aws, secret: str) -> StoredSecret:
    """A secret of Secrets Manager, by its name or ARN. Raises AwsError, and ProbeError without an answer."""
    about = await aws.call("secretsmanager", "describe_secret", SecretId=secret)
    created = None
    if not about.get("DeletedDate"):
        versions = await aws.pages("secretsmanager", "list_secret_version_ids", "Versions", SecretId=secret)
        created = next(
            (one.get("CreatedDate") for one in versions if "AWSCURRENT" in one.get("VersionStages", ())), None
        )
    return StoredSecret(
        secret,
        bool(about.get("RotationEnabled")),
        about.get("LastRotatedDate"),
        about.get("NextRotationDate"),
        created,
        about.get("DeletedDate"),
    )


async def simulate(aws: Aws, principal: IamPrincipal) -> list[Decision]:
    """What AWS decides on every action of a principal, on each resource. Raises AwsError, and ProbeError without an answer."""
    results = await aws.pages(
        "iam",
        "simulate_principal_policy",
        "EvaluationResults",
        PolicySourceArn=principal.arn,
        ActionNames=[*principal.allowed, *principal.forbidden],
        ResourceArns=list(principal.resources),
    )
    found: list[Decision] = []
    for result in results:
        single = result.get("ResourceSpecificResults") or ()
        found += (_decision(result, one["EvalResourceName"], one["EvalResourceDecision"], one) for one in single)
        if not single:
            found.append(_decision(result, result.get("EvalResourceName", "*"), result["EvalDecision"], result))
    return found


def _decision(result: Mapping[str, Any], resource: str, decision: str, about: Mapping[str, Any]) -> Decision:
    return Decision(
        result["EvalActionName"], resource, decision == "allowed", tuple(about.get("MissingContextValues") or ())
    )
