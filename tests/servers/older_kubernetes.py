"""The control plane of an older Kubernetes, as clusters run that are upgraded once a year; etcd and KWOK are the newest."""

from pathlib import Path

from tests.servers.kubernetes import ControlPlane, component

VERSION = "v1.34.4"
"""Three minor versions older than the newest, which is as far as kubelets may lag behind their API server."""

_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def build() -> None:
    """Build the program that is every part but etcd and KWOK."""
    component("control_plane_older", VERSION)


class OlderControlPlane(ControlPlane):
    """A cluster of that version."""

    version = VERSION

    def program(self, part: str) -> Path:
        return component("control_plane_older", VERSION) if part in _PARTS else super().program(part)
