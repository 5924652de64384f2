from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pymongo.common
import pytest

from tests.faults.kinds import KINDS, Kind
from tests.faults.site import site
from tests.proxy import Proxy, proxy_to

_CONNECTIONS: Final = 8


@pytest.fixture(scope="module", autouse=True)
def quick_recovery() -> Iterator[None]:
    """PyMongo looks for a server that it lost every half a second at most; a tenth of that is enough to be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pymongo.common, "MIN_HEARTBEAT_INTERVAL", 0.05)
        yield


@pytest.fixture(scope="session", params=KINDS)
def kind_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def kind(kind_name: str) -> Kind:
    return KINDS[kind_name]


@pytest.fixture(scope="session")
def server(kind: Kind) -> Iterator[Any]:
    with kind.running() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def proxy(server: Any) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
def url(kind: Kind, proxy: Proxy) -> str:
    """Of a store that reaches its server through the proxy."""
    return kind.url(proxy.port, _CONNECTIONS)


@pytest.fixture
def app(colour: str, url: str) -> Iterator[Any]:
    with site(colour, url) as app:
        yield app
