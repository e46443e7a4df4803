"""What writes Secrets from a store: External Secrets, Sealed Secrets, cert-manager. Statuses and names of keys, no values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import field

from collectors.systems.kubernetes.model.base import Condition, Struct
from exporter.options import parse_duration

__all__ = ["Certificate", "ExternalSecret", "SealedSecret", "SecretStore", "Stores"]


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    generation: int = 0


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()

    @property
    def namespace(self) -> str:
        """The namespace; empty for what is in none."""
        return self.metadata.namespace

    @property
    def path(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name


class _Status(Struct, frozen=True):
    conditions: tuple[Condition, ...] | None = None
    refresh_time: datetime | None = None
    not_before: datetime | None = None
    observed_generation: int | None = None
    synced_resource_version: str = ""

    def condition(self, *types: str) -> Condition | None:
        """The first condition of one of these types."""
        return next((one for one in self.conditions or () if one.type in types), None)


class _StoreRef(Struct, frozen=True):
    name: str = ""
    kind: str = "SecretStore"


class _Target(Struct, frozen=True):
    name: str = ""


class _RemoteRef(Struct, frozen=True):
    key: str = ""
    property: str = ""
    version: str = ""


class _Data(Struct, frozen=True):
    secret_key: str = ""
    remote_ref: _RemoteRef = _RemoteRef()


class _ExternalSpec(Struct, frozen=True):
    refresh_interval: str = "1h"
    refresh_policy: str = ""
    secret_store_ref: _StoreRef | None = None
    target: _Target = _Target()
    data: tuple[_Data, ...] | None = None
    data_from: tuple[dict[str, Any], ...] | None = None


class ExternalSecret(_Object, frozen=True):
    """A Secret that the External Secrets Operator writes."""

    spec: _ExternalSpec = _ExternalSpec()
    status: _Status = _Status()

    @property
    def secret(self) -> str:
        """The name of the Secret."""
        return self.spec.target.name or self.metadata.name

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it is known to have."""
        return frozenset(one.secret_key for one in self.spec.data or ())

    @property
    def was_changed(self) -> bool:
        """Whether it was changed after it was last read: the operator remembers of which generation that was."""
        generation = self.status.synced_resource_version.partition("-")[0]
        return generation.isdecimal() and int(generation) < self.metadata.generation

    @property
    def refreshes_every(self) -> timedelta | None:
        """How often it is read from the store again; None where it never is."""
        if self.spec.refresh_policy in ("CreatedOnce", "OnChange"):
            return None
        try:
            interval = parse_duration(self.spec.refresh_interval)
        except ValueError:
            return None
        return interval or None


class _StoreSpec(Struct, frozen=True):
    provider: dict[str, Any] | None = None


class SecretStore(_Object, frozen=True):
    """Where ExternalSecrets are read from."""

    spec: _StoreSpec = _StoreSpec()
    status: _Status = _Status()

    @property
    def is_secrets_manager(self) -> bool:
        """Whether it is AWS Secrets Manager."""
        aws = (self.spec.provider or {}).get("aws")
        return isinstance(aws, dict) and aws.get("service") == "SecretsManager"


class _SealedTemplateMetadata(Struct, frozen=True):
    name: str = ""


class _SealedTemplate(Struct, frozen=True):
    metadata: _SealedTemplateMetadata = _SealedTemplateMetadata()


class _SealedSpec(Struct, frozen=True):
    encrypted_data: dict[str, Any] | None = field(default=None)
    template: _SealedTemplate | None = None


class SealedSecret(_Object, frozen=True):
    """A Secret that the Sealed Secrets controller decrypts."""

    spec: _SealedSpec = _SealedSpec()
    status: _Status = _Status()

    @property
    def secret(self) -> str:
        """The name of the Secret: always its own."""
        return self.metadata.name

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it is known to have."""
        return frozenset(self.spec.encrypted_data or {})


class _PrivateKey(Struct, frozen=True):
    rotation_policy: str = ""


class _CertificateSpec(Struct, frozen=True):
    secret_name: str = ""
    private_key: _PrivateKey | None = None


class Certificate(_Object, frozen=True):
    """A Secret that cert-manager writes. Its key is a new one at each renewal where `rotates_key`."""

    spec: _CertificateSpec = _CertificateSpec()
    status: _Status = _Status()

    @property
    def rotates_key(self) -> bool:
        """Whether a renewal makes a new key, as far as the object says so; the default differs by version."""
        return self.spec.private_key is not None and self.spec.private_key.rotation_policy == "Always"


class Stores(Struct, frozen=True):
    """Everything in a cluster that writes Secrets."""

    external: tuple[ExternalSecret, ...] = ()
    stores: tuple[SecretStore, ...] = ()
    cluster_stores: tuple[SecretStore, ...] = ()
    sealed: tuple[SealedSecret, ...] = ()
    certificates: tuple[Certificate, ...] = ()

    def keys(self, namespace: str, secret: str) -> frozenset[str]:
        """The keys that a Secret is known to have, by what writes it."""
        found: frozenset[str] = frozenset()
        written: tuple[ExternalSecret | SealedSecret, ...] = (*self.external, *self.sealed)
        for one in written:
            condition = one.status.condition("Ready", "Synced")
            if (one.namespace, one.secret) == (namespace, secret) and condition and condition.status == "True":
                found |= one.keys
        return found

    def store_of(self, external: ExternalSecret) -> SecretStore | None:
        """The store that an ExternalSecret names; None where it names none or that does not exist."""
        reference = external.spec.secret_store_ref
        if reference is None:
            return None
        of_cluster = reference.kind == "ClusterSecretStore"
        return next(
            (
                one
                for one in (self.cluster_stores if of_cluster else self.stores)
                if one.metadata.name == reference.name and (of_cluster or one.namespace == external.namespace)
            ),
            None,
        )

    def origin(self, namespace: str, secret: str, key: str) -> tuple[str, ...] | None:
        """Where a key of a Secret is read from: its store, and what it is called there; None where no object says that."""
        for one in self.external:
            reference = one.spec.secret_store_ref
            if (one.namespace, one.secret) != (namespace, secret) or reference is None:
                continue
            place = "" if reference.kind == "ClusterSecretStore" else one.namespace
            for entry in one.spec.data or ():
                if entry.secret_key == key and entry.remote_ref.key:
                    return reference.kind, place, reference.name, entry.remote_ref.key, entry.remote_ref.property
        return None

    def writes(self, namespace: str, secret: str) -> bool:
        """Whether one of them writes this Secret."""
        written = {(one.namespace, one.secret) for one in self.external}
        written |= {(one.namespace, one.secret) for one in self.sealed}
        return (namespace, secret) in written | {(one.namespace, one.spec.secret_name) for one in self.certificates}
