"""A handler of ours, from a scenario's operations."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sojourn import ConfigurationError, SessionDestroyed, SessionNotFound, SojournError, StoreError
from sojourn.clock import from_ms, to_ms
from sojourn.core.session import BaseSession
from tests.behaviour.harness import Ctx
from tests.differential.scenario import Json, Request
from tests.differential.worlds import clone, look_of

if TYPE_CHECKING:
    from tests.differential.ours import Ours

__all__ = ["ATTRIBUTES", "Handler", "value_of"]

ATTRIBUTES: Final = {
    "path": "path",
    "httpOnly": "httponly",
    "secure": "secure",
    "sameSite": "samesite",
    "maxAge": "max_age",
    "domain": "domain",
    "partitioned": "partitioned",
    "priority": "priority",
    "expires": "expires",
}
_SPECIAL: Final[dict[str, Any]] = {
    "bigint": 2**80,
    "date": datetime(2026, 11, 21, tzinfo=UTC),
    "bytes": b"x",
    "undefined": object(),
    "function": lambda: None,
}


def value_of(name: str, value: Any) -> Any:
    """Milliseconds are seconds here, and a date is one."""
    if isinstance(value, dict):
        return from_ms(value["date"]) if "date" in value else "no date"
    return value / 1000 if name == "maxAge" and type(value) is int else value


class Handler:
    """A handler, from its operations."""

    def __init__(self, world: Ours, request: Request) -> None:
        self._world = world
        self._request = request
        self._held: Any = None
        self._gone = False  # destroyed, or replaced by a mapping
        self.seen: list[Any] = []

    async def __call__(self, ctx: Ctx) -> None:
        ctx.body = (self._request.get("body", "ok") or "").encode()
        if "declared" in self._request:
            ctx.headers.append(("Content-Length", str(self._request["declared"])))
        for name, *given in self._request["ops"]:
            act = _SESSION.get(name)
            if act is None:
                seen = await _REQUEST[name](self, ctx, *given)
            elif ctx.session is None or self._gone:
                seen = "no session"
            else:
                seen = await act(self, ctx, ctx.session, *given)
            if seen is not None:
                self.seen.append(seen)
        if ctx._wrote:
            await ctx.write(ctx.body)

    # -- on the session -----------------------------------------------------------------------------------------------

    async def read(self, ctx: Ctx, session: Any) -> Json:
        cookie = session.cookie
        look = {name: getattr(cookie, ours) for name, ours in ATTRIBUTES.items() if name not in ("maxAge", "expires")}
        # Here "auto" stays what it is, and each response resolves it; Express's cookie has what it became at its creation.
        look["secure"] = cookie.sent_secure(session._state.arrival.secure)
        look["sameSite"] = cookie.sent_samesite(session._state.arrival.secure)
        look["originalMaxAge"] = cookie.original_max_age_ms
        return look_of(session.id, list(session), clone(dict(session)), look)

    async def set(self, ctx: Ctx, session: Any, path: list[str], value: Any) -> None:
        if (place := _holder(session, path)) is not None:
            place[path[-1]] = clone(value)

    async def special(self, ctx: Ctx, session: Any, key: str, kind: str) -> None:
        session[key] = _SPECIAL[kind]

    async def delete(self, ctx: Ctx, session: Any, path: list[str]) -> None:
        if (place := _holder(session, path)) is not None:
            place.pop(path[-1], None)

    async def append(self, ctx: Ctx, session: Any, path: list[str], value: Any) -> None:
        if (place := _holder(session, path)) is not None:
            items = place.setdefault(path[-1], [])
            if isinstance(items, list):
                items.append(clone(value))

    async def increment(self, ctx: Ctx, session: Any, key: str, by: int) -> None:
        with suppress(TypeError):
            session.increment(key, by)

    async def cookie(self, ctx: Ctx, session: Any, name: str, value: Any) -> str | None:
        try:
            setattr(session.cookie, ATTRIBUTES[name], value_of(name, value))
        except ConfigurationError:
            return "refused"
        return None

    async def assign_id(self, ctx: Ctx, session: Any) -> str:
        try:
            session.id = "mine"
        except AttributeError:
            return "refused"
        return "set"

    async def keys(self, ctx: Ctx, session: Any) -> Json:
        return {"keys": sorted(session.keys()), "through": sorted(session)}

    async def touch(self, ctx: Ctx, session: Any) -> None:
        session.touch()

    async def save(self, ctx: Ctx, session: Any) -> str:
        try:
            await ctx.save() if session is ctx.session else session.save()
        except SojournError:
            return "error"
        return "ok"

    async def save_and_go_on(self, ctx: Ctx, session: Any) -> None:
        await ctx.save()

    async def reload(self, ctx: Ctx, session: Any, times: int = 1) -> str:
        seen = "not tried"
        for _ in range(times):
            try:
                await ctx.reload()
            except (SessionNotFound, StoreError):
                seen = "missing"
            else:
                seen = "ok"
        return seen

    async def regenerate(self, ctx: Ctx, session: Any) -> None:
        session.regenerate()

    async def destroy(self, ctx: Ctx, session: Any) -> None:
        session.destroy()
        self._gone = True

    async def replace(self, ctx: Ctx, session: Any, data: Json) -> None:
        ctx.session = clone(data)
        self._gone = True

    async def hold(self, ctx: Ctx, session: Any) -> None:
        self._held = session

    async def same(self, ctx: Ctx, session: Any) -> bool:
        return session is self._held

    async def remaining(self, ctx: Ctx, session: Any) -> Json:
        cookie = session.cookie
        return {
            "maxAge": None if cookie.max_age is None else round(cookie.max_age * 1000),
            "expires": None if cookie.expires is None else to_ms(cookie.expires),
        }

    # -- on the request -----------------------------------------------------------------------------------------------

    async def unset(self, ctx: Ctx, how: str = "null") -> None:
        if how == "delete":
            ctx.slots.pop(ctx.slot, None)
        else:
            ctx.session = None

    async def held(self, ctx: Ctx, name: str, *given: Any) -> Any:
        try:
            return await _SESSION[name](self, ctx, self._held, *given)
        except SessionDestroyed:
            return "destroyed"

    async def write(self, ctx: Ctx, text: str) -> None:
        await ctx.write(text.encode())

    async def status(self, ctx: Ctx, status: int) -> None:
        if not ctx.started:
            ctx.status = status

    async def own_cookie(self, ctx: Ctx, text: str) -> None:
        if not ctx.started:
            ctx.headers.append(("Set-Cookie", text))

    async def write_head(self, ctx: Ctx, status: int, cookies: list[str]) -> None:
        ctx.status = status
        ctx.headers += [("Set-Cookie", text) for text in cookies]
        await ctx.start()

    async def advance(self, ctx: Ctx, ms: int) -> None:
        self._world.clock.advance(ms)

    async def faults(self, ctx: Ctx, *names: str) -> None:
        self._world.fail(*names)

    async def store(self, ctx: Ctx) -> list[Json]:
        return self._world.stored()

    async def fetch(self, ctx: Ctx, session_id: str | None = None) -> Any:
        view = await ctx.sessions("get", session_id or ctx.session.id)
        return "missing" if view is None else {"data": clone(dict(view))}

    async def during(self, ctx: Ctx, request: Request) -> None:
        await self._world.ask(request)


def _holder(root: Any, path: list[str]) -> MutableMapping[str, Any] | None:
    for key in path[:-1]:
        if not isinstance(root, dict | BaseSession) or key not in root:
            return None
        root = root[key]
    return root if isinstance(root, dict | BaseSession) else None


_SESSION: Final[dict[str, Any]] = {
    name: getattr(Handler, name)
    for name in (
        "read",
        "set",
        "special",
        "delete",
        "append",
        "increment",
        "cookie",
        "touch",
        "save",
        "reload",
        "regenerate",
        "destroy",
        "replace",
        "hold",
        "same",
        "remaining",
        "keys",
    )
} | {"saveAndGoOn": Handler.save_and_go_on, "assignId": Handler.assign_id}
_REQUEST: Final[dict[str, Any]] = {
    name: getattr(Handler, name)
    for name in ("unset", "held", "write", "status", "advance", "faults", "store", "fetch", "during")
} | {"ownCookie": Handler.own_cookie, "writeHead": Handler.write_head}
