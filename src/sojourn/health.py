"""Endpoints for probes: ``…/live``, whether this process serves requests, and ``…/ready``, whether its session store replies, too.

They are applications of their own, to be mounted beside the site's, and need no session::

    app.mount("/health", ASGIHealth("redis://127.0.0.1"))

A path's last part says which is meant. Both reply with a small JSON object, which no cache keeps; ``ready`` by status 200 or 503. A process
is ready once the store has replied, not ready after three failures in a row, and ready again after two replies.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, NamedTuple

from .clock import Duration
from .core.store import AsyncStore, Store
from .middleware.health import AsyncHealth, Health, Judge, Readiness
from .stores import resolve

__all__ = ["ASGIHealth", "WSGIHealth"]

_READS: Final = ("GET", "HEAD")
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class _Reply(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def _reply(method: str, status: int, told: dict[str, object]) -> _Reply:
    body = json.dumps(told).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *([("Allow", ", ".join(_READS))] if status == 405 else ()),
    ]
    return _Reply(status, headers, b"" if method == "HEAD" else body)


def _at_once(method: str, path: str) -> _Reply | None:
    """The reply that needs no store; None for that to ``ready``."""
    which = path.rstrip("/").rpartition("/")[2]
    if which not in ("live", "ready"):
        return _reply(method, 404, {"error": "the paths are live and ready"})
    if method not in _READS:
        return _reply(method, 405, {"error": "the methods are GET and HEAD"})
    return _reply(method, 200, {"status": "live"}) if which == "live" else None


def _of(readiness: Readiness, method: str) -> _Reply:
    told: dict[str, object] = {
        "status": "ready" if readiness.is_ready else "not ready",
        "failures_in_a_row": readiness.failures,
        "milliseconds": readiness.milliseconds,
    }
    return _reply(method, 200 if readiness.is_ready else 503, told)


class ASGIHealth:
    """``live`` and ``ready`` as an ASGI application.

    Args:
        store: an async store, or a URL, with which middlewares of this process share theirs.
        timeout: how long the store may take to reply, and so how long a probe waits.
        failures: how many commands in a row have to fail until it is not ready.
        successes: how many have to succeed until it is ready again.

    Raises:
        ConfigurationError: an argument is wrong; it names the argument, what was given, and what would be right.
    """

    def __init__(
        self, store: AsyncStore | str, *, timeout: Duration = 0.5, failures: int = 3, successes: int = 2
    ) -> None:
        judge = Judge(failures=failures, successes=successes)
        self._health = AsyncHealth(resolve(store, asynchronous=True, shared=True), judge, timeout=timeout)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        _receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise NotImplementedError(
                f"probes are requests, not {scope['type']}"
            )  # as servers ask for, of the lifespan
        method = scope["method"]
        reply = _at_once(method, scope["path"])
        if reply is None:
            reply = _of(await self._health.check(), method)
        headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})


class WSGIHealth:
    """``live`` and ``ready`` as a WSGI application, on a store in the sync colour; see `ASGIHealth`."""

    def __init__(self, store: Store | str, *, timeout: Duration = 0.5, failures: int = 3, successes: int = 2) -> None:
        judge = Judge(failures=failures, successes=successes)
        self._health = Health(resolve(store, asynchronous=False, shared=True), judge, timeout=timeout)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        reply = _at_once(method, environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        if reply is None:
            reply = _of(self._health.check(), method)
        start_response(f"{reply.status} {_REASONS[reply.status]}", reply.headers)
        return [reply.body]
