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
    def refreshes_every(self) -> timedelta | None:
        """How often it is read from the store again; None where it never is."""
        if self.spec.refresh_policy in ("CreatedOnce", "OnChange"):
            return None
        try:
            interval = parse_duration(self.spec.refresh_interval)
        except ValueError:
            return None
        return interval or None


class SecretStore(_Object, frozen=True):
    """Where ExternalSecrets are read from."""

    status: _Status = _Status()


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

    def writes(self, namespace: str, secret: str) -> bool:
        """Whether one of them writes this Secret."""
        written = {(one.namespace, one.secret) for one in self.external}
        written |= {(one.namespace, one.secret) for one in self.sealed}
        return (namespace, secret) in written | {(one.namespace, one.spec.secret_name) for one in self.certificates}
