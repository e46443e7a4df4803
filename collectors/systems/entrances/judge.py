"""Whether what leads from outside to Services leads to data stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from collectors.systems.entrances.model.controllers import Controller, TcpMap, mapped, ports_for
from collectors.systems.entrances.model.entrances import Entrance, followed
from collectors.systems.exposure.model import Exposed, is_internal
from collectors.systems.kubernetes.model.objects import Service
from exporter.verdict import ProbeError, Reason, Result, failed, unobserved, warning
from exporter.words import listed

__all__ = ["entrance_problems", "mapped_ports", "mapped_problems", "with_other_names"]

Stores = Mapping[str, tuple[Service, Sequence[Exposed]]]
"""The Services of data stores by `namespace/name`, with the ports that lead to one."""


def with_other_names(stores: Stores, services: Iterable[Service]) -> Stores:
    """The same, with the Services of type ExternalName that are only other names of theirs."""
    return {**stores, **{path: stores[end] for path, end in followed(services).items() if end in stores}}


def _store(stores: Stores, path: str, port: int | str | None) -> Exposed | None:
    _, ports = stores.get(path, (None, ()))
    return next((one for one in ports if port is None or port in (one.port.port, one.port.name)), None)


def entrance_problems(
    entrances: Iterable[Entrance], stores: Stores, names: Mapping[str, Sequence[str] | ProbeError]
) -> Iterator[Result]:
    """Ingresses and routes to data stores; `names` has the addresses of names."""
    seen = set()
    for entrance in entrances:
        store = _store(stores, entrance.service, entrance.port)
        if store is None or (key := (entrance.what, entrance.service, store.port.port)) in seen:
            continue
        seen.add(key)
        yield from _entrance(entrance, store, names)


def _entrance(entrance: Entrance, store: Exposed, names: Mapping[str, Sequence[str] | ProbeError]) -> Iterator[Result]:
    addresses: list[str] = []
    for one in entrance.addresses:
        found = names.get(one, (one,))
        if isinstance(found, ProbeError):
            yield unobserved(found)
        else:
            addresses += found
    public = [address for address in addresses if not is_internal(address)]
    if not public and (entrance.addresses or entrance.internal):
        return
    where = f"from {listed(dict.fromkeys(public))}" if public else "from outside of the cluster"
    what = f"{entrance.what} leads {where} to port {store.port.port} of Service {entrance.service} ({store.store})"
    if entrance.login:
        yield warning(f"{what}, behind a login.")
    else:
        yield failed(f"{what}.", reason=Reason.MISCONFIGURED)


def mapped_ports(
    controllers: Iterable[Controller], maps: Mapping[str, TcpMap], services: Sequence[Service], stores: Stores
) -> dict[str, tuple[Service, list[Exposed]]]:
    """The Services of ingress controllers, with the ports of theirs that lead to data stores."""
    found: dict[str, tuple[Service, list[Exposed]]] = {}
    for controller, path, listens, service in _mapped_stores(controllers, maps, stores):
        for own, port in ports_for(controller, services, listens):
            _, ports = found.setdefault(own.path, (own, []))
            if all(one.port != port for one in ports):
                ports.append(Exposed(port, f"{service} by ConfigMap {path}"))
    return found


def mapped_problems(
    controllers: Iterable[Controller], maps: Mapping[str, TcpMap], services: Sequence[Service], stores: Stores
) -> Iterator[Result]:
    """Maps that open ports of nodes, and those of which no Service shows how they are reached."""
    seen = set()
    for controller, path, listens, service in _mapped_stores(controllers, maps, stores):
        if (path, listens) in seen:
            continue
        seen.add((path, listens))
        what = (
            f"ConfigMap {path} leads port {listens} of ingress controller {controller.path} to the data store {service}"
        )
        if controller.opens(listens):
            yield failed(f"{what}, and the controller takes that port of its node.", reason=Reason.MISCONFIGURED)
        elif not any(ports_for(controller, services, listens)):
            yield warning(f"{what}; no Service has that port.")


def _mapped_stores(
    controllers: Iterable[Controller], maps: Mapping[str, TcpMap], stores: Stores
) -> Iterator[tuple[Controller, str, int, str]]:
    for controller in controllers:
        for path in controller.maps:
            for one in mapped(maps[path]) if path in maps else ():
                if _store(stores, one.service, one.port) is not None:
                    yield controller, path, one.listens, one.service
