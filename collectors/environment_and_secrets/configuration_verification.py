"""Configuration Verification"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self, TypeVar

from pydantic import Field, model_validator

from collectors.shared.verdicts import collected, verdict
from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.default_logins.check import judge_logins
from collectors.systems.default_logins.model.options import DefaultLogin, demand_distinct
from collectors.systems.kubernetes.check.clusters import OfCluster, ScopedTarget
from collectors.systems.kubernetes.client.cluster import Kubernetes
from collectors.systems.kubernetes.model.kinds import NAMESPACES
from collectors.systems.kubernetes.model.rbac import DISCOVERY, may_list
from collectors.systems.kubernetes.model.scope import Scope
from collectors.systems.prometheus.client import Prometheus
from collectors.systems.secrets.check.variables import list_stores
from collectors.systems.secrets.client.apis import fetch_keys, try_key
from collectors.systems.secrets.client.aws import describe_key, describe_secret, simulate
from collectors.systems.secrets.client.databases import connected
from collectors.systems.secrets.judge import access, databases, keys, rotation
from collectors.systems.secrets.judge.stores import managed_problems, references
from collectors.systems.secrets.judge.tokens import jwks_problems, shared_problems, token_problems
from collectors.systems.secrets.judge.values import checked, placeholder_problems, secret_problems
from collectors.systems.secrets.judge.variables import all_set, reference_problems, variable_problems
from collectors.systems.secrets.model.access import ACTS, OWN
from collectors.systems.secrets.model.aws import StoredSecret
from collectors.systems.secrets.model.endpoints import KeyOptions, SampleToken
from collectors.systems.secrets.model.kinds import (
    CONFIG_MAPS,
    PODS,
    STORE_KINDS,
    WORKLOADS,
)
from collectors.systems.secrets.model.options import SettingsOptions
from collectors.systems.secrets.model.stores import Stores
from collectors.systems.secrets.model.tokens import SigningKey, parse_token
from collectors.systems.secrets.model.workloads import ConfigMap, Workload, each_part, merged
from exporter.collector import Mode, SectionSettings, fetched, item
from exporter.evidence.rules import EvidenceRule
from exporter.options import Duration
from exporter.verdict import (
    CRITICAL,
    WARNING,
    ProbeError,
    Reason,
    Result,
    failed,
    ok,
    unknown,
    unobserved,
    worst,
)
from exporter.words import counted

_RIGHTS = may_list(NAMESPACES, PODS, *WORKLOADS)
_MAPS = may_list(CONFIG_MAPS)
_STORES = may_list(*STORE_KINDS)
_REVIEWS = "with `review_accounts`: create subjectaccessreviews.authorization.k8s.io"
_SEEN_FOR = timedelta(days=1)
"""For how long a service counts as connected that was seen once: pools let go of idle connections."""

T = TypeVar("T")
R = TypeVar("R")


class _Options(Scope, SettingsOptions, KeyOptions):
    """What may be set for the section and for one target."""


class ConfigurationTarget(ScopedTarget, _Options):
    """A part of the cluster, and what its workloads need."""

    default_logins: tuple[DefaultLogin, ...] = Field(
        (), description="Servers whose default login is tried, at most once a day; requires `state.file`."
    )


class ConfigurationVerificationSettings(SectionSettings, _Options):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=60), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[ConfigurationTarget, ...] = Field(min_length=1, description="The parts of the cluster to verify.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        demand_distinct(login for target in self.targets for login in target.default_logins)
        return self


class ConfigurationVerification(OfCluster[ConfigurationVerificationSettings, ConfigurationTarget]):
    """Judges the names and sources of settings; values only while they are read, and Secrets never."""

    Settings = ConfigurationVerificationSettings
    Target = ConfigurationTarget
    rights = f"""\
{OfCluster.rights}ConfigMaps are read, with all that is in them. With `databases`: a role with pg_monitor on each PostgreSQL.
With `kms_keys`: kms:DescribeKey and kms:GetKeyRotationStatus. With `aws_secrets`: secretsmanager:DescribeSecret and
secretsmanager:ListSecretVersionIds; never secretsmanager:GetSecretValue. With `iam_principals`: iam:SimulatePrincipalPolicy.
"""

    @fetched
    async def workloads(self) -> Sequence[Workload]:
        """The workloads that are judged, each as its template and all its pods have it. Raises ProbeError where there is none."""
        if not (found := self._judged(merged([*await self.templates(), *await self.from_pods()]))):
            raise ProbeError(
                f"No workload is in the namespaces of {self.target.name}, so nothing was checked.", Reason.MISSING
            )
        return found

    def _judged(self, workloads: Iterable[Workload]) -> list[Workload]:
        exempt = self.target.exempt_workloads
        return [one for one in workloads if f"{one.namespace}/{one.name}" not in exempt]

    @fetched
    async def templates(self) -> Sequence[Workload]:
        """The templates in the namespaces that are judged."""
        scope = await self.scope()
        return [one for kind in WORKLOADS for one in scope.within(await self.everything(kind))]

    @fetched
    async def from_pods(self) -> Sequence[Workload]:
        """What each pod in the namespaces that are judged has of its workload."""
        return (await self.scope()).within(await self.everything(PODS))

    @fetched
    async def maps(self) -> Sequence[ConfigMap]:
        """The ConfigMaps in the namespaces that are judged."""
        return (await self.scope()).within(await self.everything(CONFIG_MAPS))

    @fetched
    async def stores(self) -> Stores:
        """What writes Secrets there; nothing where the cluster has no such kinds."""
        return await list_stores(self.client(Kubernetes), (await self.scope()).namespaces)

    @item(
        "All required environment variables are set",
        severity=CRITICAL,
        needs=("option required", _RIGHTS, _MAPS, _STORES, DISCOVERY),
    )
    async def required_variables_set(self) -> Result:
        """A variable that is missing is found at the next restart, or by the first request that needs it.

        Each variable that `required` names is set, and not empty, in its workload's template and in each of its running pods:
        literally, by a key of a ConfigMap that exists, or by a Secret. Secrets are not read: a running container proves that a key
        exists which it refers to and which is not optional; which keys a whole Secret has (`envFrom`) is known where an
        ExternalSecret or a SealedSecret lists them.
        In all workloads, no container waits for a missing Secret or ConfigMap, and no `$(NAME)` is left unresolved.

        How to fix it: add the variable, or the key that it refers to, and restart the workload.
        """
        workloads, options, maps = await self.workloads(), self.target, await self.maps()
        parts = self._judged(each_part(await self.templates(), await self.from_pods()))
        problems = [
            *reference_problems(workloads, maps),
            *variable_problems(parts, maps, await self.stores(), options.required),
        ]
        if not options.required:
            problems.append(
                unknown(
                    f"Option required of {options.name} is not set, so it is not known which variables its workloads need.",
                    reason=Reason.NOT_CONFIGURED,
                )
            )
        return await self.in_scope(verdict(problems, all_set(options.required)))

    @item(
        "No default/example values remain in production",
        severity=CRITICAL,
        needs=(_RIGHTS, _MAPS, "with option default_logins: state.file"),
    )
    async def no_default_values(self) -> Result:
        """What was copied from an example works until somebody else who read the same example tries it.

        Environment variables, command lines and ConfigMaps, files in them included, are searched for values to be changed,
        placeholders, default passwords, example domains, documented and test keys, a database on localhost (but where a pod has
        several containers), environments other than production, and debugging. The setting and the rule are named, never the
        value. `allowed` names what a rule finds and is right. Values in Secrets are not read. Each of `default_logins` is tried,
        at most once a day and over restarts too: Grafana, PostgreSQL, Redis, Neo4j and NATS must refuse the login that they are
        delivered with. An answer other than that the password is wrong is unknown.

        How to fix it: set the value that is meant for production.
        """
        recall = self.context.recall
        before = recall("no_default_values") if recall else None
        logins = self.target.default_logins
        refused, measured = await judge_logins(logins, self.context.memory, before, self.context.now())
        try:  # what is measured of the logins must be known in any case: else they would be tried again
            judged = await self._judged_values(refused)
        except ProbeError as why:
            judged = worst(unobserved(why), *refused)
        return replace(judged, measurements={**judged.measurements, **measured})

    async def _judged_values(self, others: Iterable[Result]) -> Result:
        """The verdict on the values of settings, with what is wrong besides."""
        workloads, maps = await self.workloads(), await self.maps()
        problems = [*others, *placeholder_problems(workloads, maps, self.target)]
        count = checked(workloads, maps)
        logins = len(self.target.default_logins)
        refused = (
            f", and {counted(logins, 'server')} refused the default login when it was last tried" if logins else ""
        )
        good = ok(
            f"None of {counted(count, 'setting')} holds a default or example value{refused}.", settings_checked=count
        )
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

    async def _each(self, many: Iterable[T], ask: Callable[[T], Awaitable[R]]) -> list[tuple[T, R | ProbeError]]:
        """What is answered about each of many, or why it is not."""

        async def one(thing: T) -> tuple[T, R | ProbeError]:
            try:
                return thing, await ask(thing)
            except ProbeError as why:
                return thing, why

        return list(await asyncio.gather(*map(one, many)))

    async def _with_record(self, name: str, problems: Sequence[Result], good: Result, *, needed: bool) -> Result:
        """The verdict on what was observed, and on a record where one is needed: it takes the place of what was not verified."""
        if not needed and not any(one.reason is Reason.NOT_VERIFIED for one in problems):
            return verdict(problems, good)
        record = await self.attested(name)
        if not record.status.is_ok:
            return verdict([*problems, record], good)
        left = [one for one in problems if one.reason is not Reason.NOT_VERIFIED]
        return worst(verdict(left, good), record)

    @item(
        "Secrets are rotated regularly",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            _RIGHTS,
            _STORES,
            DISCOVERY,
            "with option aws_secrets: clients.aws",
            "with clients.prometheus: metrics of kube-state-metrics",
            "a record, for Secrets whose rotation no date shows",
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=90)),
    )
    async def secrets_rotated(self) -> Result:
        """A secret that leaked unnoticed is of use until it is replaced, and one that was never replaced cannot be in a hurry.

        Only dates that mean rotation count, each at most `max_secret_age` old: LastRotatedDate of `aws_secrets` (that rotation is
        enabled is none, nor is a new version), of ExternalSecrets that take all they have from these and were read since, and the
        last renewal of Certificates that make a new key each time (`rotationPolicy: Always`). Metrics of kube-state-metrics show
        Secrets that nothing has written to, which fail; that one was written to shows nothing. For all other Secrets that workloads
        use, a record shows that somebody replaced them.

        How to fix it: rotate the secret that is named. Record it:
        `checklist-exporter attest configuration_verification.secrets_rotated`.
        """
        oldest, now = self.target.max_secret_age, self.context.now()
        stores, used = await self.stores(), references(await self.workloads())
        described = await self._stored_secrets()
        stored = [one for one in described if isinstance(one, StoredSecret)]
        problems = [one for one in described if isinstance(one, Result)]
        problems += rotation.stored_problems(stored, oldest, now)
        problems += rotation.certificate_problems(stores.certificates, oldest, now)
        problems += await self._untouched(used, oldest)
        rotated = {one.name: one.rotated for one in stored if one.rotated and rotation.is_rotated(one, oldest, now)}
        shown = used & rotation.rotated_in_cluster(stores, rotated, oldest, now)
        good = ok(
            f"Dates show the rotation of {counted(len(shown), 'Secret')} of {len(used)} that workloads use, and of "
            f"{counted(len(rotated), 'secret')} in AWS Secrets Manager.",
            secrets_used=len(used),
            secrets_shown_rotated=len(shown),
        )
        needed = shown != used or not (used or stored)
        return await self.in_scope(await self._with_record("secrets_rotated", problems, good, needed=needed))

    async def _stored_secrets(self) -> list[StoredSecret | Result]:
        if not self.target.aws_secrets:
            return []
        aws = self.client(Aws)
        found: list[StoredSecret | Result] = []
        for name, answer in await self._each(self.target.aws_secrets, lambda one: describe_secret(aws, one)):
            if isinstance(answer, AwsError) and answer.reason is Reason.MISSING:
                found.append(failed(f"AWS Secrets Manager has no secret {name}.", reason=Reason.MISSING))
            else:
                found.append(unobserved(answer) if isinstance(answer, ProbeError) else answer)
        return found

    async def _untouched(self, used: set[tuple[str, str]], oldest: timedelta) -> list[Result]:
        if not self.has_client(Prometheus) or not used:
            return []
        version = "max by (namespace, secret) (kube_secret_metadata_resource_version{})"
        before = version.format(f" offset {round(oldest.total_seconds())}s")
        try:
            samples = await self.client(Prometheus).query(f"{version.format('')} == {before}")
        except ProbeError as why:
            return [unobserved(why)]
        untouched = {(one.labels.get("namespace", ""), one.labels.get("secret", "")) for one in samples}
        return list(rotation.untouched_problems(used, untouched, oldest))

    @item(
        "Database credentials are unique per service",
        severity=WARNING,
        needs=(_RIGHTS, _STORES, DISCOVERY, "option databases, with a role that has pg_monitor on each"),
    )
    async def database_credentials_unique(self) -> Result:
        """Credentials that several services share cannot be revoked for one of them, and nobody can tell which of them leaked.

        No two workloads sign in to a database by the same key of a Secret, or by keys that ExternalSecrets read from the same place
        of a store, and on each PostgreSQL of `databases` every role is
        used from the pods of one workload, which shows in the addresses of its sessions; none of these is a superuser, can become
        one, or can run programs or use files on the server. What is
        used is remembered for a day. Sessions of a pooler, of a node's network or from outside of the cluster hide whose they
        are: unknown, as is a workload that has credentials and was not observed to be connected.
        `services` names workloads that are one.

        How to fix it: `CREATE ROLE` for the service that is named, a Secret of its own, and revoke what it does not need.
        """
        workloads, services = await self.workloads(), self.target.services
        problems = list(databases.shared_key_problems(workloads, services, await self.stores()))
        if not self.target.databases:
            problems.append(
                unknown(
                    f"Option databases of {self.target.name} is not set: Secrets may differ and hold the same role.",
                    reason=Reason.NOT_CONFIGURED,
                )
            )
        seen: set[str] = set()
        roles = 0
        for database, clients in await self._each(self.target.databases, connected):
            if isinstance(clients, ProbeError):
                problems.append(unobserved(clients))
                continue
            now, single = databases.seen_services(clients, workloads, services)
            used = self._remembered(database.name, now)
            problems += [*databases.role_problems(database.name, used), *single]
            seen.update(*used.values())
            roles += len(used)
        if self.target.databases:
            problems += databases.unseen_problems(workloads, services, seen)
            if not seen and not problems:
                problems.append(
                    unknown(
                        "No pod is connected to any of `databases`, so nothing shows who uses which role.",
                        reason=Reason.PENDING,
                    )
                )
        good = ok(
            f"{counted(roles, 'role')} of databases {'is' if roles == 1 else 'are'} each used by one service.",
            roles_used=roles,
        )
        return await self.in_scope(verdict(problems, good))

    def _remembered(self, database: str, used: dict[str, set[str]]) -> dict[str, set[str]]:
        """The services that used each role within a day."""
        now = self.context.now()
        memory: dict[tuple[str, str, str], datetime] = self.context.memory.setdefault("roles used", {})
        memory |= {(database, role, service): now for role, found in used.items() for service in found}
        for key in [key for key, at in memory.items() if now - at > _SEEN_FOR]:
            del memory[key]
        found: dict[str, set[str]] = {}
        for of, role, service in memory:
            if of == database:
                found.setdefault(role, set()).add(service)
        return found

    @item(
        "JWT secrets are cryptographically secure",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=("option jwks, for keys that sign tokens", "option tokens", "a record, for secrets that sign tokens"),
        evidence=EvidenceRule(valid_for=timedelta(days=365)),
    )
    async def jwt_secrets_secure(self) -> Result:
        """Whoever finds the secret that signs tokens, in seconds where it is a word, is every user.

        Each key set of `jwks` is read: its keys are RSA of at least 2048 bits or on a curve for signatures, have no private part,
        are no shared secret and no example of a standard. Each of `tokens` is signed, by a key of one of these sets or by a
        secret; the secrets that manuals use, and everybody tries first, are compared with it here, and nothing is sent. That a
        secret is none of these does not show that it is strong: a record does, with how it was made.

        How to fix it: make a secret of 32 random bytes, or better sign with a key pair, and end the sessions of the old one.
        """
        problems: list[Result] = []
        published: list[SigningKey] = []
        for settings, answer in await self._each(self.target.jwks, fetch_keys):
            if isinstance(answer, ProbeError):
                problems.append(unobserved(answer))
            else:
                published += answer
                problems += jwks_problems(settings.url, answer)
        problems += shared_problems(published)
        shared = 0
        for sample in self.target.tokens:
            problems += collected(self._token_problems(sample, published))
            shared += self._is_shared(sample)
        good = ok(
            f"{counted(len(published), 'key')} of {counted(len(self.target.jwks), 'key set')} "
            f"{'is' if len(published) == 1 else 'are'} strong; "
            f"{counted(len(self.target.tokens), 'token')} {'was' if len(self.target.tokens) == 1 else 'were'} checked."
        )
        needed = bool(shared) or not self.target.jwks
        return await self._with_record("jwt_secrets_secure", problems, good, needed=needed)

    @staticmethod
    def _token_problems(sample: SampleToken, published: Sequence[SigningKey]) -> Iterator[Result]:
        yield from token_problems(sample.name, parse_token(sample.token.get_secret_value()), published)

    @staticmethod
    def _is_shared(sample: SampleToken) -> bool:
        try:
            return parse_token(sample.token.get_secret_value()).algorithm.startswith("HS")
        except ProbeError:
            return False  # which is a problem of its own

    @item(
        "API keys have appropriate permissions",
        severity=WARNING,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            _RIGHTS,
            _REVIEWS,
            "option api_keys",
            "with option iam_principals: clients.aws",
            "a record, without api_keys and iam_principals",
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=180)),
    )
    async def api_key_permissions_appropriate(self) -> Result:
        """A key that may do everything turns one leaked file into the loss of everything.

        With each of `api_keys`, GET of its allowed path is answered, and without the key it is not; GET of its forbidden path is
        refused with 401 or 403. Nothing but GET is sent. With `review_accounts`, the API server is asked about each service
        account of the workloads: none may do everything (in the cluster, in kube-system, or in its own namespace), read the Secrets
        of all namespaces, escalate its rights, impersonate others, or create pods or run commands in them everywhere, by its own
        bindings or by those of its groups, but `privileged_accounts`. Each of `iam_principals` may do what it needs, by
        IAM's simulation, and not what it must not. Without these and `api_keys` a record shows that keys were reviewed.

        How to fix it: give the key only the scopes that it uses; bind the account to a Role of its own.
        """
        problems: list[Result] = []
        for key, answers in await self._each(self.target.api_keys, try_key):
            problems += (
                [unobserved(answers)] if isinstance(answers, ProbeError) else access.key_problems(key.name, answers)
            )
        problems += await self._principals()
        accounts = sorted({(one.namespace, one.account) for one in await self._reviewed()})
        for (namespace, account), answer in await self._each(accounts, self._excess):
            if isinstance(answer, ProbeError):
                problems.append(unobserved(answer))
            elif answer is not None and f"{namespace}/{account}" not in self.target.privileged_accounts:
                problems.append(answer)
        keys_of = counted(len(self.target.api_keys), "API key")
        if self.target.iam_principals:
            keys_of += f", {counted(len(self.target.iam_principals), 'principal')} of AWS"
        good = ok(
            f"{keys_of} and {counted(len(accounts), 'service account')} may do no more than they should."
            if self.target.review_accounts
            else f"{keys_of} may do no more than they should; service accounts were not checked (option review_accounts).",
            accounts_checked=len(accounts),
        )
        needed = not self.target.api_keys and not self.target.iam_principals
        return await self.in_scope(
            await self._with_record("api_key_permissions_appropriate", problems, good, needed=needed)
        )

    async def _principals(self) -> list[Result]:
        """What is wrong with what principals of AWS may do."""
        if not self.target.iam_principals:
            return []
        aws = self.client(Aws)
        problems: list[Result] = []
        for principal, answer in await self._each(self.target.iam_principals, lambda one: simulate(aws, one)):
            if isinstance(answer, AwsError) and answer.reason is Reason.MISSING:
                problems.append(failed(f"AWS has no principal {principal.arn}.", reason=Reason.MISSING))
            elif isinstance(answer, ProbeError):
                problems.append(unobserved(answer))
            else:
                problems += access.principal_problems(principal, answer)
        return problems

    async def _reviewed(self) -> Sequence[Workload]:
        """The workloads whose accounts are checked."""
        return await self.workloads() if self.target.review_accounts else ()

    async def _excess(self, account: tuple[str, str]) -> Result | None:
        """The worst that an account may do, as a verdict; None where it may do nothing of that kind."""
        client = self.client(Kubernetes)
        for act in ACTS:
            place = account[0] if act.place == OWN else act.place
            if await client.account_may(*account, act.verb, act.resource, act.group, place=place):
                return access.account_problem(*account, act)
        return None

    @item(
        "Encryption keys are backed up securely",
        severity=CRITICAL,
        mode=Mode.PROBE_AND_EVIDENCE,
        needs=(
            _STORES,
            DISCOVERY,
            "with option kms_keys: clients.aws",
            "a record of a test of the copy, for keys that AWS did not make",
        ),
        evidence=EvidenceRule(valid_for=timedelta(days=180), measured=("decrypted",)),
    )
    async def encryption_keys_backed_up(self) -> Result:
        """Backups, volumes and sealed secrets are worth as much as the copy of the key that opens them.

        Each of `kms_keys` is Enabled: not disabled, not to be deleted, not without material; material that expires within 30 days
        and keys that AWS does not rotate are a warning. AWS keeps the keys that it made. For all others (imported material, keys of
        Sealed Secrets, of applications, of backups) a record shows that a copy is kept in another place, and that something was
        decrypted with it: `decrypted` is how many samples, at least one. Only without such keys is no record needed.

        How to fix it: copy the key to a safe that does not depend on it, decrypt a backup with that copy alone, and record it:
        `checklist-exporter attest configuration_verification.encryption_keys_backed_up --measured decrypted=1`.
        """
        problems, described = [], []
        if self.target.kms_keys:
            aws = self.client(Aws)
            for name, answer in await self._each(self.target.kms_keys, lambda one: describe_key(aws, one)):
                if isinstance(answer, AwsError) and answer.reason is Reason.MISSING:
                    problems.append(failed(f"AWS KMS has no key {name}.", reason=Reason.MISSING))
                elif isinstance(answer, ProbeError):
                    problems.append(unobserved(answer))
                else:
                    described.append(answer)
        problems += keys.key_problems(described, self.context.now())
        sealed = (await self.stores()).sealed
        good = ok(
            f"{counted(len(described), 'key')} of KMS {'is' if len(described) == 1 else 'are'} Enabled.",
            kms_keys=len(described),
        )
        needed = not described or bool(sealed) or not all(key.kept_by_aws for key in described)
        if needed:
            record = await self.attested("encryption_keys_backed_up")
            if record.status.is_ok and record.evidence[0].measured.get("decrypted", 0) < 1:
                record = failed(
                    "The record shows no sample that was decrypted with the copy (decrypted).", reason=Reason.INVALID
                )
            if not record.status.is_ok:
                return verdict([*problems, record], good)
            return worst(verdict(problems, good), record) if described or problems else record
        return verdict(problems, good)
