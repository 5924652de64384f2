"""More requests than connections: they wait no longer than they may, and then are told so."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
import redis.asyncio

from sojourn.core.session import BaseSession
from sojourn.stores.redis._async.store import AsyncRedisStore
from tests.faults.kinds import TIMEOUT, Kind
from tests.faults.site import site
from tests.proxy import BlackHole, Delay, Proxy

pytestmark = pytest.mark.server

CONNECTIONS: Final = 2
REQUESTS: Final = 14
SLACK: Final = 1.0


def hit(session: BaseSession) -> Any:
    return session.increment("hits")


@pytest.fixture
def store(kind_name: str, kind: Kind, colour: str, proxy: Proxy) -> Any:
    """A store with few connections."""
    if (kind_name, colour) == ("redis", "async"):
        # Of its own this one has a single connection, which all share; with the app's client it has a pool.
        pool = redis.asyncio.BlockingConnectionPool(
            host="127.0.0.1", port=proxy.port, max_connections=CONNECTIONS, timeout=TIMEOUT, socket_timeout=TIMEOUT
        )
        client = redis.asyncio.Redis.from_pool(pool)

        class Store(AsyncRedisStore):
            async def close(self) -> None:
                await client.aclose()

        return lambda: Store(client)
    return kind.url(proxy.port, CONNECTIONS)


@pytest.mark.parametrize("server_is", ["slow", "silent"])
def test_a_request_that_finds_no_connection_in_time_is_a_503(
    server_is: str, kind: Kind, colour: str, store: Any, proxy: Proxy
):
    with site(colour, store) as app:
        cookies = [app.request(hit).cookie for _ in range(REQUESTS)]
        fault = Delay(TIMEOUT * 0.4) if server_is == "slow" else BlackHole()
        with proxy.failing(fault, when=lambda message: kind.is_read(message) or kind.is_write(message)):
            responses = app.together([(hit, cookie) for cookie in cookies])
        counts = Counter(response.status for response in responses)
        longest = max(response.seconds for response in responses)
        print(f"{server_is}: {dict(counts)}, longest {longest:.2f} s")
        assert counts.keys() <= {200, 503}
        assert all(response.is_unavailable for response in responses if response.status == 503)
        # At each of its operations a request may wait for a connection, and then for the reply.
        assert longest < 4 * (TIMEOUT + kind.patience) + SLACK
        assert counts[503] >= (1 if server_is == "slow" else REQUESTS)
        after = app.together([(hit, cookie) for cookie in cookies[:CONNECTIONS]])
        after += [app.request(hit, cookie) for cookie in cookies[CONNECTIONS:]]
        assert [response.status for response in after] == [200] * REQUESTS
        for response, later in zip(responses, after, strict=True):
            assert later.body in ({"3"} if response.status == 200 else {"2", "3"})
