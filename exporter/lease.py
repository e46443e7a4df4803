"""A Lease of a Kubernetes cluster, read and written by its resourceVersion: whoever has seen an older one is refused.

The official client brings configuration, credentials and transport. Its `LeaseLock` blocks and does not release; its models are not
used either, so that fields of a Lease that newer servers know survive.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.kubernetes_client import configured, source
from exporter.logs import hide
from exporter.verdict import ProbeError
from exporter.words import one_line

__all__ = ["Changed", "Lease", "Record", "Unavailable"]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Unavailable(Exception):
    """The Lease cannot be read or written for now; the text says why, as a full sentence."""


class Changed(Exception):
    """The Lease is no longer what was read: another one wrote, made or deleted it in between."""


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as it was read: `holder` is empty where nobody has it; `seconds` is for how long the holder has it."""

    raw: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the holder wrote."""
        return self.raw.get("spec") or {}

    @property
    def holder(self) -> str:
        """Who has it."""
        return self.spec.get("holderIdentity") or ""

    @property
    def seconds(self) -> float:
        """For how long after each change of it."""
        return float(self.spec.get("leaseDurationSeconds") or 0)


class Lease:
    """The Lease `name` in a namespace. Every call blocks for at most about `timeout` seconds, and belongs in a thread.

    `kubeconfig` and `context` say where the cluster is; with neither, the pod's service account does, or else the default
    kubeconfig. Without `namespace` it is that of the pod, or of the context.
    """

    def __init__(
        self, name: str, namespace: str | None, kubeconfig: Path | None, context: str | None, timeout: float
    ) -> None:
        self._name = name
        self._namespace = namespace
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self) -> Record | None:
        """The Lease as it is; None where there is none. Raises Unavailable."""
        return self._call("GET", self._name)

    def create(self, holder: str, seconds: int) -> Record:
        """Make it, held. Raises Changed where there is one already, and Unavailable."""
        now = _now()
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now}
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": {**spec, "leaseTransitions": 0},
        }
        made = self._call("POST", "", body)
        if made is None:
            raise Unavailable(f"The Lease {self._name} cannot be made: its namespace does not exist.")
        return made

    def replace(self, known: Record, holder: str, seconds: int) -> Record:
        """Take it, renew it or, with an empty `holder`, release it, if it is still what was read.

        Raises Changed where it is not, and Unavailable.
        """
        now = _now()
        spec = {**known.spec, "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": now}
        if holder and holder != known.holder:
            spec |= {"acquireTime": now, "leaseTransitions": int(known.spec.get("leaseTransitions") or 0) + 1}
        written = self._call("PUT", self._name, {**known.raw, "spec": spec})
        if written is None:
            raise Changed
        return written

    def _call(self, method: str, name: str, body: object = None) -> Record | None:
        """The Lease that is answered; None for 404. Raises Changed and Unavailable."""
        import urllib3

        try:
            client, namespace, headers = self._configured()
            path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases" + (f"/{name}" if name else "")
            reply = client.rest_client.pool_manager.request(
                method,
                f"{client.configuration.host}{path}",
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
                retries=False,
            )
            answer = _object(reply.data) if reply.status not in (404, 409) else {}
        except (urllib3.exceptions.HTTPError, OSError, ValueError, TypeError) as error:
            self._client = None
            raise Unavailable(f"The Lease {self._name} cannot be {_done(method)}: {_why(error)}.") from None
        if reply.status == 404:
            return None
        if reply.status == 409:
            raise Changed
        if reply.status >= 300:
            self._client = None  # credentials are read again
            why = one_line(answer.get("message") or "an error without a message")
            raise Unavailable(f"The Lease {self._name} cannot be {_done(method)}: {reply.status} {why}.")
        return Record(answer)

    def _configured(self) -> tuple[Any, str, dict[str, str]]:
        """The official client, the namespace, and the headers of a request: the client reads those that expire again."""
        with self._lock:
            if self._client is None:
                self._client = self._configure()
            client, namespace = self._client
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Unavailable(f"The cluster's credentials cannot be renewed: {one_line(error)}.") from None
        hide(headers.get("authorization", "").split()[1:])  # a proxy's error page may send back what it was sent
        return client, namespace, {name: value.strip() for name, value in headers.items()}

    def _configure(self) -> tuple[Any, str]:
        try:
            made = configured(self._kubeconfig, self._context)
        except ProbeError as error:
            raise Unavailable(str(error)) from None
        return made, self._namespace or self._default_namespace() or "default"

    def _default_namespace(self) -> str | None:
        """That of the pod, or of the kubeconfig's context, which could be read before."""
        from kubernetes import config as untyped

        config: Any = untyped
        _, path = source(self._kubeconfig, self._context)
        if not path:
            try:
                return _ACCOUNT.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise Unavailable(f"The pod's namespace cannot be read: {error.strerror}.") from None
        contexts, current = config.list_kube_config_contexts(path)
        named = next((one for one in contexts if one["name"] == self._context), current)
        return named["context"].get("namespace")  # type: ignore[no-any-return]


def _object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise TypeError("the answer is no object")
    return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _done(method: str) -> str:
    return {"GET": "read", "POST": "made", "PUT": "written"}[method]


def _why(error: BaseException) -> str:
    """Why the server was not reached, in the words of the system where there are some."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "the API server did not answer in time"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate was not accepted ({cause.verify_message or cause.reason})"
        if isinstance(cause, ssl.SSLError):  # whose number is none of the system's
            return "the TLS handshake failed"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return "the API server did not answer" if "timed out" in str(error).lower() else one_line(error)
