"""Configuration Verification"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from collectors.shared.verdicts import verdict
from collectors.systems.kubernetes.check.clusters import OfCluster, ScopedTarget
from collectors.systems.kubernetes.model.kinds import NAMESPACES
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_list
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.secrets.judge.stores import managed_problems, references
from collectors.systems.secrets.judge.values import checked, placeholder_problems, secret_problems
from collectors.systems.secrets.judge.variables import variable_problems
from collectors.systems.secrets.model.kinds import (
    CERTIFICATES,
    CLUSTER_SECRET_STORES,
    CONFIG_MAPS,
    EXTERNAL_SECRETS,
    PODS,
    SEALED_SECRETS,
    SECRET_STORES,
    STORE_KINDS,
    WORKLOADS,
)
from collectors.systems.secrets.model.options import SettingsOptions
from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.workloads import ConfigMap, Workload, merged
from exporter.collector import SectionSettings, fetched, item
from exporter.options import Duration
from exporter.verdict import CRITICAL, ProbeError, Reason, Result, ok, unknown
from exporter.words import counted

_RIGHTS = may_list(NAMESPACES, PODS, *WORKLOADS)
_MAPS = may_list(CONFIG_MAPS)
_STORES = may_list(*STORE_KINDS)


class _Options(Scope, SettingsOptions):
    """What may be set for the section and for one target."""


class ConfigurationTarget(ScopedTarget, _Options):
    """A part of the cluster, and what its workloads need."""


class ConfigurationVerificationSettings(SectionSettings, _Options):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[ConfigurationTarget, ...] = Field(min_length=1, description="The parts of the cluster to verify.")


class ConfigurationVerification(OfCluster[ConfigurationVerificationSettings, ConfigurationTarget]):
    """Judges the names and sources of settings; values only while they are read, and Secrets never."""

    Settings = ConfigurationVerificationSettings
    Target = ConfigurationTarget
    rights = f"""\
{OfCluster.rights}ConfigMaps are read, with all that is in them.
"""

    @fetched
    async def workloads(self) -> Sequence[Workload]:
        """The workloads that are judged, each as its template and all its pods have it. Raises ProbeError where there is none."""
        scope = await self.scope()
        parts = [one for kind in (*WORKLOADS, PODS) for one in scope.within(await self.everything(kind))]
        exempt = self.target.exempt_workloads
        found = [one for one in merged(parts) if f"{one.namespace}/{one.name}" not in exempt]
        if not found:
            raise ProbeError(
                f"No workload is in the namespaces of {self.target.name}, so nothing was checked.", Reason.MISSING
            )
        return found

    @fetched
    async def maps(self) -> Sequence[ConfigMap]:
        """The ConfigMaps in the namespaces that are judged."""
        return (await self.scope()).within(await self.everything(CONFIG_MAPS))

    @fetched
    async def stores(self) -> Stores:
        """What writes Secrets there; nothing where the cluster has no such kinds."""
        scope = await self.scope()
        return Stores(
            tuple(scope.within(await self.in_any_version(*EXTERNAL_SECRETS))),
            tuple(scope.within(await self.in_any_version(*SECRET_STORES))),
            tuple(await self.in_any_version(*CLUSTER_SECRET_STORES)),
            tuple(scope.within(await self.in_any_version(SEALED_SECRETS))),
            tuple(scope.within(await self.in_any_version(CERTIFICATES))),
        )

    @item(
        "All required environment variables are set",
        severity=CRITICAL,
        needs=("option required", _RIGHTS, _MAPS, _STORES, DISCOVERY),
    )
    async def required_variables_set(self) -> Result:
        """A variable that is missing is found at the next restart, or by the first request that needs it.

        Each variable that `required` names is set in a container of its workload, and not empty: literally, by a key of a ConfigMap
        that exists, or by a Secret. Secrets are not read: a running container proves that a key exists which it refers to and which
        is not optional; which keys a whole Secret has (`envFrom`) is known where an ExternalSecret or a SealedSecret lists them.
        In all workloads, no container waits for a missing Secret or ConfigMap, and no `$(NAME)` is left unresolved.

        How to fix it: add the variable, or the key that it refers to, and restart the workload.
        """
        workloads, options = await self.workloads(), self.target
        problems = list(variable_problems(workloads, await self.maps(), await self.stores(), options))
        if not options.required:
            problems.append(
                unknown(
                    f"Option required of {options.name} is not set, so it is not known which variables its workloads need.",
                    reason=Reason.NOT_CONFIGURED,
                )
            )
        names = sum(len(required) for required in options.required.values())
        good = ok(
            f"{counted(names, 'required variable')} of {counted(len(options.required), 'workload')} "
            f"{'is' if names == 1 else 'are'} set.",
            required_variables=names,
        )
        return await self.in_scope(verdict(problems, good))

    @item(
        "No default/example values remain in production",
        severity=CRITICAL,
        needs=(_RIGHTS, _MAPS),
    )
    async def no_default_values(self) -> Result:
        """What was copied from an example works until somebody else who read the same example tries it.

        Environment variables, command lines and ConfigMaps, files in them included, are searched for values to be changed,
        placeholders, default passwords, example domains, documented and test keys, a database on localhost (but where a pod has
        several containers), environments other than production, and debugging. The setting and the rule are named, never the
        value. `allowed` names what a rule finds and is right. Values in Secrets are not read.

        How to fix it: set the value that is meant for production.
        """
        workloads, maps = await self.workloads(), await self.maps()
        problems = placeholder_problems(workloads, maps, self.target)
        count = checked(workloads, maps)
        good = ok(f"None of {counted(count, 'setting')} holds a default or example value.", settings_checked=count)
        return await self.in_scope(verdict(problems, good))

    @item("Secrets are not stored in plain text", severity=CRITICAL, needs=(_RIGHTS, _MAPS))
    async def no_plain_text_secrets(self) -> Result:
        """Whoever may list pods or ConfigMaps, or reads the repository they were applied from, has every secret that is in them.

        Environment variables, command lines, probes, annotations (also what `kubectl apply` remembers) and ConfigMaps, files and
        encoded values in them included, are searched by the names of settings and by the forms of values: private keys, URLs with
        a password, tokens of known services, random values. References and password hashes are none. The setting and the rule
        are named, never the value. Whether the API server encrypts Secrets at rest cannot be observed by its API.

        How to fix it: move the value into a Secret, refer to it by `secretKeyRef`, and replace the secret: it has been read.
        """
        workloads, maps = await self.workloads(), await self.maps()
        problems = secret_problems(workloads, maps, self.target)
        count = checked(workloads, maps)
        good = ok(f"None of {counted(count, 'setting')} holds a secret in plain text.", settings_checked=count)
        return await self.in_scope(verdict(problems, good))

    @item(
        "Secrets are managed via Kubernetes Secrets or AWS Secrets Manager",
        severity=CRITICAL,
        needs=(_RIGHTS, _STORES, DISCOVERY),
    )
    async def secrets_managed(self) -> Result:
        """A secret that is managed nowhere is rotated by nobody, and a store that is no longer read leaves old secrets in use.

        Workloads take their secrets from Secrets or from a CSI volume, and none by a literal value. Each ExternalSecret is Ready,
        was read again within two of its intervals, and names a store that exists and is Ready; each SealedSecret is decrypted.
        That no workload refers to any secret proves nothing, and is unknown.

        How to fix it: refer to a Secret by `secretKeyRef`; see the conditions of the object that is named.
        """
        workloads, stores = await self.workloads(), await self.stores()
        problems = list(managed_problems(workloads, stores, self.target, self.context.now()))
        used = references(workloads)
        if not used and not any(one.csi for one in workloads):
            problems.append(
                unknown(
                    f"No workload of {self.target.name} refers to a Secret, so nothing shows how its secrets are managed.",
                    reason=Reason.NOT_VERIFIED,
                )
            )
        written = sum(stores.writes(*secret) for secret in used)
        good = ok(
            f"Workloads take their secrets from {counted(len(used), 'Secret')}, of which {written} "
            f"{'is' if written == 1 else 'are'} written from a store.",
            secrets_used=len(used),
        )
        return await self.in_scope(verdict(problems, good))
