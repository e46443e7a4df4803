"""AWS by moto: S3, RDS, KMS and more, from the Python package index. It checks no signature, so that any key is accepted."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from tests.servers.packages import python_packages
from tests.servers.process import LOOPBACK, Server, answers, free_port, scratch
from tests.servers.sharing import shared

_PACKAGES = ("moto[server]>=5.2",)
REGION = "eu-central-1"


class AwsServer(Server):
    """One account of AWS. `settings` are the options of `clients.aws` that reach it, `client` is what a test changes it with."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        super().__init__(
            "moto",
            [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)],
            directory=directory,
            env={"PYTHONPATH": str(python_packages(*_PACKAGES)), "AWS_DEFAULT_REGION": REGION},
            ready=lambda: answers(f"{self.url}/moto-api/data.json"),
            deadline=90,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The options of `clients.aws` that reach this server."""
        return {
            "region": REGION,
            "endpoint_url": self.url,
            "access_key_id": "AKIAEXAMPLEEXAMPLE00",
            "secret_access_key": "a-secret-key",
        }

    def client(self, service: str) -> Any:
        """Return boto3's client of a service, such as `s3`."""
        return boto3.Session().client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
            aws_secret_access_key="a-secret-key",
        )

    def reset(self) -> None:
        """Forget everything."""
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST"), timeout=30).close()


@pytest.fixture(scope="session")
@shared
def aws_server() -> Iterator[AwsServer]:
    """An account of AWS; use `aws` for an empty one."""
    with scratch("moto") as directory, AwsServer(directory) as server:
        yield server


@pytest.fixture
def aws(aws_server: AwsServer) -> AwsServer:
    """An account of AWS with nothing in it."""
    aws_server.reset()
    return aws_server
