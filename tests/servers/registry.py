"""Registries of images: CNCF's distribution, from Debian, with no login, a password, or tokens of a server of our own."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.servers.packages import debian
from tests.servers.process import LOOPBACK, Server, free_port, listening, scratch
from tests.servers.sharing import shared

USER, PASSWORD = "puller", "a-registry-password"
_OCI = "application/vnd.oci.image"
_CONFIGURATION = """
version: 0.1
storage:
  {cache}
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


class ImageRegistry(Server):
    """One registry. `auth` is its configuration of logins; `cached` lets it remember the blobs that it once had."""

    def __init__(
        self, folder: Path, auth: str = "", *, login: tuple[str, str] | None = None, cached: bool = False
    ) -> None:
        self.port = free_port()
        self.host = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.host}"
        self._login = login
        self._images = folder / "images"
        cache = "cache: {blobdescriptor: inmemory}" if cached else ""
        (folder / "config.yml").write_text(_CONFIGURATION.format(folder=folder, port=self.port, auth=auth, cache=cache))
        super().__init__(
            "registry",
            [debian("docker-registry") / "usr/bin/docker-registry", "serve", folder / "config.yml"],
            directory=folder,
            ready=lambda: listening(self.port),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The options of one of `registries`."""
        return {"url": self.url}

    def push_index(self, repository: str, tag: str, *entries: Mapping[str, Any]) -> str:
        """Push an index with these entries; returns its digest."""
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": entries}
        return self._manifest(repository, tag, index)

    def push(
        self, repository: str, tag: str, *, content: str = "", platforms: tuple[str, ...] = ("linux/amd64",)
    ) -> str:
        """Push an image of two layers, or an index of such where there is not one platform; returns the digest of the tag."""
        found = [self._image(repository, platform, content) for platform in platforms]
        if len(found) == 1:
            return self._manifest(repository, tag, json.loads(found[0]))
        entries = [
            {
                "mediaType": f"{_OCI}.manifest.v1+json",
                "digest": self._manifest(repository, f"{tag}-{number}", json.loads(image)),
                "size": len(image),
                "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True)),
            }
            for number, (platform, image) in enumerate(zip(platforms, found, strict=True))
        ]
        return self.push_index(repository, tag, *entries)

    def _image(self, repository: str, platform: str, content: str) -> bytes:
        system, _, architecture = platform.partition("/")
        configuration = json.dumps({"os": system, "architecture": architecture, "rootfs": {}}).encode()
        layers = [f"{repository} {platform} {content} {layer}".encode() * 50 for layer in ("base", "own")]
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": self._blob(repository, configuration, f"{_OCI}.config.v1+json"),
            "layers": [self._blob(repository, layer, f"{_OCI}.layer.v1.tar+gzip") for layer in layers],
        }
        return json.dumps(manifest).encode()

    def _blob(self, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/", body=b"")
        place = begun["location"]
        self.ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content, "application/octet-stream")
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _manifest(self, repository: str, tag: str, manifest: Mapping[str, Any]) -> str:
        path, body = f"/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode()
        return str(self.ask("PUT", path, body, manifest["mediaType"])["docker-content-digest"])

    def ask(self, method: str, path: str, body: bytes | None = None, media_type: str = "") -> dict[str, str]:
        """The headers, in small letters, of the answer to a request with every right, and `status`; it may be an error."""
        headers = {"Content-Type": media_type} if media_type else {}
        accept = {"Accept": f"{_OCI}.manifest.v1+json, {_OCI}.index.v1+json"}
        url = path if path.startswith("http") else self.url + path
        request = Request(url, data=body, headers=headers | accept | self._credentials(path), method=method)
        try:
            with urlopen(request, timeout=30) as reply:
                return {name.lower(): value for name, value in reply.headers.items()} | {"status": str(reply.status)}
        except HTTPError as error:
            with error:
                return {"status": str(error.code)}

    def _credentials(self, path: str) -> dict[str, str]:
        if self._login is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(self._login).encode()).decode()}

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest as clean-up jobs do: by its digest, so that its tags are gone, too."""
        assert self.ask("DELETE", f"/v2/{repository}/manifests/{digest}")["status"] == "202"

    def stored(self, digest: str) -> Path:
        """The file of a blob."""
        name = digest.removeprefix("sha256:")
        return self._images / f"docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"

    def layers(self, repository: str, version: str) -> list[str]:
        """The digests of an image's configuration and layers."""
        path = f"{self.url}/v2/{repository}/manifests/{version}"
        headers = {"Accept": f"{_OCI}.manifest.v1+json"} | self._credentials(path)
        with urlopen(Request(path, headers=headers), timeout=30) as reply:
            manifest = json.load(reply)
        return [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]


class TokenServer:
    """Gives tokens for a registry: to `USER` for `repositories`, to nobody where `status` is another than 200."""

    service = "a-registry"

    def __init__(self, folder: Path) -> None:
        self.status = 200
        self.repositories = {"shop/web"}
        self.expires_in: int | None = 300
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = folder / "tokens.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = server.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library calls it
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, free_port()), Handler)
        self.realm = f"http://{LOOPBACK}:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def auth(self) -> str:
        """The registry's configuration."""
        return f"auth: {{token: {{realm: {self.realm}, service: {self.service}, issuer: tokens, rootcertbundle: {self.bundle}}}}}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """What a request for a token gets."""
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.status != 200:
            return self.status, b"{}"
        if authorization not in ("", f"Basic {known}"):
            return 401, b"{}"
        scope = parse_qs(urlsplit(path).query).get("scope", [""])[0]
        _, repository, _ = [*scope.split(":"), "", ""][:3]
        granted = authorization and repository in self.repositories
        token = self.token(repository, "pull") if granted else self.token("", "")
        answer: dict[str, Any] = {"token": token}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        return 200, json.dumps(answer).encode()

    def token(self, repository: str, actions: str) -> str:
        """A token as the registry verifies it."""

        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        der = self._certificate.public_bytes(serialization.Encoding.DER)
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": actions.split(",")}] if repository else []
        claims = {"iss": "tokens", "sub": "", "aud": self.service, "exp": now + 300, "nbf": now - 10, "iat": now}
        head = part({"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]})
        signed = f"{head}.{part(claims | {'jti': str(now), 'access': access})}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


class TokenRegistry(ImageRegistry):
    """A registry that only knows tokens."""

    def __init__(self, folder: Path, tokens: TokenServer) -> None:
        super().__init__(folder, tokens.auth)
        self.tokens = tokens

    def _credentials(self, path: str) -> dict[str, str]:
        repository = urlsplit(path).path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        return {"Authorization": f"Bearer {self.tokens.token(repository, 'pull,push,delete')}"}


@pytest.fixture(scope="session")
@shared
def registry() -> Iterator[ImageRegistry]:
    """A registry that everyone may pull from, which remembers the sizes of blobs as Debian configures it."""
    with scratch("registry") as folder, ImageRegistry(folder, cached=True) as server:
        yield server


@pytest.fixture
def private_registry() -> Iterator[ImageRegistry]:
    """A registry that asks for a password."""
    with scratch("registry") as folder:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$", 1)
        (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
        auth = f"auth: {{htpasswd: {{realm: images, path: {folder}/htpasswd}}}}"
        with ImageRegistry(folder, auth, login=(USER, PASSWORD)) as server:
            yield server


@pytest.fixture
def token_registry() -> Iterator[TokenRegistry]:
    """A registry that asks for a token of a server of ours."""
    with scratch("registry") as folder:
        tokens = TokenServer(folder)
        try:
            with TokenRegistry(folder, tokens) as server:
                yield server
        finally:
            tokens.close()
