"""The official Kubernetes client, configured by a kubeconfig or the service account of the pod."""

from __future__ import annotations

import os
import ssl
from typing import Any

from exporter.verdict import ProbeError, Reason
from exporter.words import one_line

__all__ = ["configured", "source"]


def source(kubeconfig: os.PathLike[str] | str | None, context: str | None) -> tuple[str, str]:
    """From where the configuration is read, in words, and the file; an empty one for that of a pod."""
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return "the pod's service account", ""
    from kubernetes import config

    path = str(kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION)
    return f"kubeconfig {path}", path


def configured(kubeconfig: os.PathLike[str] | str | None, context: str | None) -> Any:
    """An `ApiClient`, which has asked nothing yet. An exec plugin of the kubeconfig runs for as long as it likes.

    Raises ProbeError where the configuration cannot be used or holds no credentials.
    """
    import yaml
    from kubernetes import client
    from kubernetes import config as untyped

    config: Any = untyped
    configuration = client.Configuration()
    named, path = source(kubeconfig, context)
    try:
        if path:
            config.load_kube_config(path, context, configuration, persist_config=False)
        else:
            config.load_incluster_config(client_configuration=configuration)
    except yaml.YAMLError:  # its text may quote a credential
        raise ProbeError(
            f"The configuration from {named} cannot be used: it is not YAML.", Reason.NOT_CONFIGURED
        ) from None
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProbeError(
            f"The configuration from {named} cannot be used: {one_line(error)}.", Reason.NOT_CONFIGURED
        ) from None
    encrypted = configuration.host.startswith("https")
    if encrypted and not (configuration.api_key or configuration.cert_file):
        # Else an exec plugin that failed would be reported as a right that anonymous users lack.
        raise ProbeError(
            f"The configuration from {named} has no credentials: neither a token nor a certificate.", Reason.DENIED
        )
    made = client.ApiClient(configuration)
    if encrypted:
        _accept_as_others_do(made.rest_client.pool_manager, configuration)
    return made


def _accept_as_others_do(pool_manager: Any, configuration: Any) -> None:
    """Verify certificates as kubectl, curl and Go do, without the strict checks that Python 3.13 adds.

    Those refuse certificates without an Authority Key Identifier (EKS, older GKE) and authorities without keyUsage or whose
    basicConstraints are not critical. Trust, names and dates are verified as before.
    """
    from urllib3.util import ssl_

    context = ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.ssl_ca_cert and not getattr(configuration, "ca_cert_data", None):
        context.load_default_certs()
    pool_manager.connection_pool_kw["ssl_context"] = context
