"""Images in a real registry: each state is proved by the registry itself first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.systems.registry.check import Known, Nodes, pulled
from collectors.systems.registry.client import RegistrySettings
from collectors.systems.registry.model import read_reference
from exporter.verdict import ProbeError, Reason, Result, Status, ok, worst
from tests.servers.certificates import authority
from tests.servers.nginx import nginx, server_block
from tests.servers.pages import Pages
from tests.servers.process import free_port
from tests.servers.registry import PASSWORD, USER, ImageRegistry, TokenRegistry

AMD64 = "linux/amd64"


async def seen(
    image: str,
    settings: Iterable[dict[str, Any]],
    *,
    digests: Iterable[str] = (),
    platforms: Iterable[str] = (AMD64,),
    known: Known | None = None,
) -> Result:
    """The verdict on one image. `digests` are those under which the nodes pulled its tag."""
    name = image.partition("@")[0]
    bare = f"{name.rpartition('/')[0]}/{name.rpartition('/')[2].partition(':')[0]}"
    nodes = Nodes(frozenset(platforms), [(image, *(f"{bare}@{digest}" for digest in digests))] if digests else [])
    registries = [RegistrySettings.model_validate_json(json.dumps(each)) for each in settings]
    problems = await pulled({"Deployment shop/web": [image]}, registries, nodes, known or Known(), timedelta(hours=1))
    result = worst(*problems) if problems else ok("It can be pulled.")
    assert result.summary.endswith("."), result.summary
    assert PASSWORD not in result.summary
    return result


async def told(status: Status, words: str, image: str, settings: Iterable[dict[str, Any]], **more: Any) -> Result:
    result = await seen(image, settings, **more)
    assert (result.status, words in result.summary) == (status, True), result.summary
    return result


async def test_an_image_that_is_all_there(registry: ImageRegistry) -> None:
    settings = [registry.settings]
    digest = registry.push("shop/whole", "1")
    image = f"{registry.host}/shop/whole"
    await told(Status.OK, "", f"{image}:1", settings, digests=[digest])
    await told(Status.OK, "", f"{image}@{digest}", settings)
    await told(Status.OK, "", f"{image}:1@{digest}", settings)
    await told(Status.WARNING, "is named by a tag, and no node remembers its digest", f"{image}:1", settings)


async def test_an_image_for_several_platforms(registry: ImageRegistry) -> None:
    settings = [registry.settings]
    digest = registry.push("shop/many", "1", platforms=(AMD64, "linux/arm64"))
    image = f"{registry.host}/shop/many@{digest}"
    await told(Status.OK, "", image, settings, platforms=(AMD64, "linux/arm64"))
    await told(Status.WARNING, "not for linux/s390x as nodes are", image, settings, platforms=(AMD64, "linux/s390x"))
    await told(Status.FAILED, "not for linux/s390x as nodes are", image, settings, platforms=("linux/s390x",))
    # A clean-up that looks at tags alone deletes the image for one platform, whose tag nobody uses.
    part = registry.ask("GET", "/v2/shop/many/manifests/1-0")["docker-content-digest"]
    registry.delete("shop/many", part)
    assert registry.ask("GET", f"/v2/shop/many/manifests/{digest}")["status"] == "200"
    await told(Status.FAILED, "has lost its manifest for linux/amd64", image, settings)
    await told(Status.OK, "", image, settings, platforms=("linux/arm64",))


async def test_an_index_that_tells_no_platform_is_unknown(registry: ImageRegistry) -> None:
    digest = registry.push("shop/odd", "1")
    kinds = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json")
    entry: dict[str, Any] = {"mediaType": kinds[0], "digest": digest, "size": 3}
    amd64 = {"platform": {"os": "linux", "architecture": "amd64"}}
    none: list[dict[str, Any]] = [{}, {"platform": {"os": "unknown", "architecture": "unknown"}}]
    for platform in none:
        index = registry.push_index("shop/odd", "bare", entry | platform)
        await told(Status.UNKNOWN, "its index names none", f"{registry.host}/shop/odd@{index}", [registry.settings])
    inner = registry.push_index("shop/odd", "inner", entry | amd64)
    outer = registry.push_index("shop/odd", "outer", {"mediaType": kinds[1], "digest": inner, "size": 3, **amd64})
    await told(Status.UNKNOWN, "is an index of indexes", f"{registry.host}/shop/odd@{outer}", [registry.settings])


async def test_an_image_for_another_platform(registry: ImageRegistry) -> None:
    digest = registry.push("shop/arm", "1", platforms=("linux/arm64",))
    image = f"{registry.host}/shop/arm@{digest}"
    await told(Status.FAILED, "is for linux/arm64, not for linux/amd64 as nodes are", image, [registry.settings])


async def test_a_deleted_image(registry: ImageRegistry) -> None:
    settings = [registry.settings]
    registry.push("shop/gone", "2")
    digest = registry.push("shop/gone", "1", content="older")
    image = f"{registry.host}/shop/gone"
    registry.delete("shop/gone", digest)
    assert registry.ask("GET", "/v2/shop/gone/manifests/1")["status"] == "404"
    for name in (f"{image}:1", f"{image}@{digest}"):
        assert (await told(Status.FAILED, "has no image", name, settings)).reason is Reason.MISSING
    # A repository that nobody ever saw answers the same, to whoever may pull.
    await told(Status.FAILED, "has no image", f"{registry.host}/shop/never:1", settings)


async def test_a_tag_that_was_moved(registry: ImageRegistry) -> None:
    settings = [registry.settings]
    first = registry.push("shop/moved", "1")
    registry.push("shop/moved", "1", content="another build")
    image = f"{registry.host}/shop/moved"
    result = await told(Status.FAILED, "was moved: it is sha256:", f"{image}:1", settings, digests=[first])
    assert (result.reason, first in result.summary) == (Reason.CONTRADICTED, True)
    await told(Status.OK, "", f"{image}@{first}", settings)


async def test_layers_that_were_lost(registry: ImageRegistry) -> None:
    settings = [registry.settings]
    known = Known()
    for number, damage in enumerate(("gone", "empty", "short", "configuration")):
        digest = registry.push(f"shop/lost-{number}", "1", content=damage)
        image = f"{registry.host}/shop/lost-{number}@{digest}"
        await told(Status.OK, "", image, settings)
        configuration, layer, _ = registry.layers(f"shop/lost-{number}", digest)
        file = registry.stored(configuration if damage == "configuration" else layer)
        if damage in ("gone", "configuration"):
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: 20 if damage == "short" else 0])
        result = await told(Status.FAILED, "", image, settings)
        assert file.parent.name[:8] in result.summary, result.summary
    # What was whole is asked again after a while; its manifest is asked every time.
    digest = registry.push("shop/lost-later", "1")
    image = f"{registry.host}/shop/lost-later@{digest}"
    await told(Status.OK, "", image, settings, known=known)
    registry.delete("shop/lost-later", digest)
    await told(Status.FAILED, "has no image", image, settings, known=known)


async def test_a_registry_that_asks_for_a_password(private_registry: ImageRegistry) -> None:
    digest = private_registry.push("shop/web", "1")
    image = f"{private_registry.host}/shop/web@{digest}"
    login = {"username": USER, "password": PASSWORD}
    await told(Status.OK, "", image, [private_registry.settings | login])
    for wrong in ({}, login | {"password": "wrong"}):
        result = await told(Status.UNKNOWN, "may not pull", image, [private_registry.settings | wrong])
        assert result.reason is Reason.DENIED


async def test_a_registry_that_asks_for_a_token(token_registry: TokenRegistry) -> None:
    tokens, login = token_registry.tokens, {"username": USER, "password": PASSWORD}
    digest = token_registry.push("shop/web", "1")
    image, settings = f"{token_registry.host}/shop/web@{digest}", [token_registry.settings | login]
    for seconds in (300, None, 1):
        tokens.expires_in = seconds
        await told(Status.OK, "", image, settings)
    await told(Status.FAILED, "has no image", image.replace(digest[-6:], "0" * 6), settings)
    await told(Status.UNKNOWN, "may not pull", image, [token_registry.settings])
    tokens.repositories = set()
    await told(Status.UNKNOWN, "may not pull", image, settings)
    for status, reason in ((403, Reason.DENIED), (429, Reason.REFUSED), (503, Reason.REFUSED)):
        tokens.status = status
        result = await told(Status.UNKNOWN, f"answered {status}", image, settings)
        assert result.reason is reason


async def test_a_registry_that_does_not_answer(registry: ImageRegistry, pages: Pages) -> None:
    image = f"{registry.host}/shop/web:1"
    result = await told(Status.UNKNOWN, "which `registries` does not name", image, [])
    assert result.reason is Reason.NOT_CONFIGURED
    nobody = {"url": f"http://127.0.0.1:{free_port()}", "host": registry.host}
    assert (await told(Status.UNKNOWN, "refused", image, [nobody])).reason is Reason.UNREACHABLE
    page = pages.add("/registry").removesuffix("/registry")
    await told(Status.UNKNOWN, "", image, [{"url": page, "host": registry.host}])


async def test_layers_that_are_kept_on_another_host(registry: ImageRegistry, tmp_path: Path) -> None:
    digest = registry.push("shop/elsewhere", "1")
    front, storage = free_port(), free_port()
    certificate = authority().issue("127.0.0.1").write(tmp_path, "storage")
    blocks = f"""
      server {{ listen 127.0.0.1:{front};
        location / {{ proxy_pass {registry.url}; }}
        location ~ /blobs/ {{ return 307 https://127.0.0.1:{storage}$request_uri?signature=a-secret-signature; }} }}
      {server_block(storage, certificate, extra=f"location /v2/ {{ proxy_pass {registry.url}; }}")}"""
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    settings = {"url": f"http://127.0.0.1:{front}", "tls": {"ca_file": str(tmp_path / "ca.pem")}}
    image = f"127.0.0.1:{front}/shop/elsewhere@{digest}"
    with nginx(blocks, port=front):
        result = await told(Status.UNKNOWN, "is on 127.0.0.1, which storage_hosts does not name", image, [settings])
        assert "a-secret-signature" not in result.summary
        settings["storage_hosts"] = ["127.0.0.1"]
        await told(Status.OK, "", image, [settings])
        registry.stored(registry.layers("shop/elsewhere", digest)[1]).unlink()
        await told(Status.FAILED, "breaks off", image, [settings])


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://tokens.example.com/token", "without TLS, which was not done"),
        ("file:///etc/passwd", "names no address for tokens"),
        ("", "names no address for tokens"),
    ],
)
async def test_credentials_go_nowhere_but_to_the_registry_in_the_clear(pages: Pages, realm: str, words: str) -> None:
    challenge = f'Bearer realm="{realm}",service="registry"'
    page = pages.add("/v2/shop/web/manifests/1", "{}", 401, WWW_Authenticate=challenge)
    url = page.removesuffix("/v2/shop/web/manifests/1")
    settings = {"url": url, "username": USER, "password": PASSWORD}
    await told(Status.UNKNOWN, words, f"{url.removeprefix('http://')}/shop/web:1", [settings])


async def test_a_repository_that_may_be_hidden(pages: Pages) -> None:
    page = pages.add("/v2/shop/web/manifests/1", '{"errors": [{"code": "NAME_UNKNOWN"}]}', 404)
    url = page.removesuffix("/v2/shop/web/manifests/1")
    settings, image = {"url": url}, f"{url.removeprefix('http://')}/shop/web:1"
    result = await told(Status.UNKNOWN, "it does not exist, or may not be seen", image, [settings])
    assert result.reason is Reason.DENIED
    pages.add("/v2/shop/web/tags/list?n=1", '{"tags": []}')
    await told(Status.FAILED, "has no image", image, [settings])


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("nginx", ("docker.io", "library/nginx", "latest", "")),
        ("bitnami/nginx:1", ("docker.io", "bitnami/nginx", "1", "")),
        ("index.docker.io/nginx:1", ("docker.io", "library/nginx", "1", "")),
        ("localhost/web", ("localhost", "web", "latest", "")),
        ("localhost:5000/web:1", ("localhost:5000", "web", "1", "")),
        (f"r.example.com/a/b:1@sha256:{'0' * 64}", ("r.example.com", "a/b", "1", f"sha256:{'0' * 64}")),
        (f"r.example.com/a@sha256:{'0' * 64}", ("r.example.com", "a", "", f"sha256:{'0' * 64}")),
    ],
)
def test_names_of_images(image: str, parts: tuple[str, ...]) -> None:
    read = read_reference(image)
    assert (read.host, read.repository, read.tag, read.digest) == parts


@pytest.mark.parametrize(
    "image", ["", "Web", "a/../b", "web:", "web@sha256:1", "r.example.com/a b", "web:1:2", "http://a/b"]
)
def test_what_is_no_name_of_an_image(image: str) -> None:
    with pytest.raises(ProbeError, match="is not the name of an image"):
        read_reference(image)
