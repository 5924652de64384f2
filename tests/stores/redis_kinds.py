"""The Redis stores in each way there is to reach a server, and a proxy that loses what passes through it."""

from __future__ import annotations

import selectors
import socket
import socketserver
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, cast

import hiredis
import redis
import redis.asyncio

from sojourn.core.store import Deleted, Replaced
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.stores.redis._url import parse_url
from sojourn.testing import FullStore, as_async

__all__ = ["KINDS", "Proxy", "answering", "commands", "everything", "opened", "proxied"]

KINDS: Final = ("sync", "sync client", "async", "async client")
"""Our own connections or those of the app's client, which tries again as redis-py does by default."""


async def everything(store: FullStore) -> None:
    """Every operation there is."""
    version = await store.create("k", b"1", 60_000, owner="ann")
    version = await store.replace("k", b"2", 60_000, version=version, owner="bob")
    assert await store.regenerate("k", "l", b"3", 60_000, version=version, tombstone=30_000, owner="bob") == b"3"
    assert await store.load("k") == Replaced("l")
    assert await store.touch("l", 60_000) is True
    assert await store.by_owner("bob") == ["l"]
    token = await store.lock("l", 60_000)
    assert token is not None and await store.unlock("l", token) is True
    assert [(key, stored.data) async for key, stored in store.scan()] == [("l", b"3")]
    assert await store.count() == 1
    assert await store.delete("k", "l") == Deleted(1, ("l",))
    assert await store.clear() == 0
    assert await store.delete_expired() == 0


@asynccontextmanager
async def opened(kind: str, url: str, *, timeout: float = 5, **options: Any) -> AsyncIterator[FullStore]:  # noqa: ASYNC109
    """A store while the block runs, in the async colour, with the given timeout in seconds."""
    if "client" not in kind:
        query = "&".join(f"{name}={value}" for name, value in {"timeout": timeout, **options}.items())
        url = f"{url}{'&' if '?' in url else '?'}{query}"
        store = (
            as_async(RedisStore.from_url(url)) if kind == "sync" else cast("FullStore", AsyncRedisStore.from_url(url))
        )
        try:
            yield store
        finally:
            await store.close()
        return
    # from_url would make clients that do not try again
    server = parse_url(url)[0]
    (host, port), *_ = server.hosts
    address: Any = {"host": host, "port": port, "username": server.username, "password": server.password}
    make: Any = redis.Redis
    make_async: Any = redis.asyncio.Redis
    if server.kind == "cluster":
        make, make_async = redis.RedisCluster, redis.asyncio.RedisCluster
    else:
        address["db"] = server.db
    if kind == "sync client":
        with make(**address, socket_timeout=timeout) as client:
            yield as_async(RedisStore(client, **options))
    else:
        async with make_async(**address, socket_timeout=timeout) as async_client:
            yield cast("FullStore", AsyncRedisStore(async_client, **options))


def commands(client: Any) -> dict[str, int]:
    """How often each command was called so far."""
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}


class Proxy:
    """Passes bytes between clients and a server, until told to lose the next reply.

    ``losing`` is None, ``"reply"`` (it is thrown away) or ``"connection"`` (closed instead of passing the reply).
    """

    def __init__(self, address: Any, context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.losing: str | None = None
        self._sockets: list[socket.socket] = [self._listener]
        self._forgotten: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def forget(self) -> None:
        """Let what is sent on the connections that there are go nowhere, and tell nobody."""
        self._forgotten.update(self._sockets)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(1)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._sockets.append(client)
        server = socket.create_connection(self._address)
        self._sockets.append(server)
        try:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            self._pass(client, server)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source = cast("socket.socket", key.fileobj)
                    data = source.recv(1 << 20)
                    if not data:
                        return
                    if client in self._forgotten:
                        continue
                    if source is client or self.losing is None:
                        key.data.sendall(data)
                        continue
                    losing, self.losing = self.losing, None
                    if losing == "connection":
                        return


@contextmanager
def proxied(address: Any, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy while the block runs."""
    proxy = Proxy(address, context)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def answering(answer: Callable[[list[bytes]], bytes]) -> Iterator[str]:
    """A server that sends this for each command, in one go for those that come in one. Its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            reader = hiredis.Reader()
            with suppress(OSError):
                while data := self.request.recv(1 << 20):
                    reader.feed(data)
                    self.request.sendall(b"".join(map(answer, iter(reader.gets, False))))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
