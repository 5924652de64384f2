"""How a request of Litestar's gets its session: our ASGI middleware, in the form in which Litestar takes one.

Theory of operation
-------------------
Litestar builds a middleware for each route handler. All of ours share one `Door`: its store, its settings, its caches.

What Litestar's users put into the session's place is theirs to put there: ``set_session()`` gives other data, ``clear_session()`` ends the
session. Its own ``SessionAuth`` does the latter, too, whenever it refuses a request: that alone is no logout, and our session stays. It is
told by the time: between our middleware and the one that ``SessionAuth`` puts around the route handlers, nobody but ``SessionAuth`` runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from litestar.middleware.session import SessionMiddleware as LitestarsMiddleware
from litestar.security.session_auth.middleware import SessionAuthMiddleware
from litestar.types import Empty
from litestar.utils.scope.state import ScopeState

from .. import asgi
from ..asgi import OWN_PLACE, ASGIApp, ASGIExchange, Message, Receive, Scope, Send
from ..core.data import is_changed
from ..core.plan import Phase
from ..core.session import AsyncSession, state_of
from ..core.state import Found, Intent
from ..errors import (
    HeadersAlreadySent,
    SessionDestroyed,
    SessionNotLoaded,
    SojournError,
    StoreError,
)
from ..logs import log
from .values import fields_of

__all__ = ["Door", "LitestarExchange", "LitestarSession", "SessionMiddleware", "connect"]

_SLOT: Final = "session"
_REFUSING: Final = "sojourn.litestar.refusing"
"""In the scope while ``SessionAuth`` has not let the request in."""
_NEW_ID: Final = (Intent.REGENERATE, Intent.INVALIDATE)


class LitestarSession(AsyncSession):
    """``request.session``, whose id is what ``request.get_session_id()`` returns."""

    __slots__ = ("_connection",)

    if TYPE_CHECKING:
        _connection: ScopeState

    def regenerate(self, *, keep_data: bool = False) -> None:
        super().regenerate(keep_data=keep_data)
        self.note_id()

    def invalidate(self) -> None:
        super().invalidate()
        self.note_id()

    def login(self, owner: str, **how: Any) -> None:
        super().login(owner, **how)
        self.note_id()

    def begin_login(self, owner: str, **how: Any) -> None:
        super().begin_login(owner, **how)
        self.note_id()

    def complete_login(self, **how: Any) -> None:
        super().complete_login(**how)
        self.note_id()

    def confirm(self) -> None:
        super().confirm()
        self.note_id()

    def check(self, stamp: str | bytes) -> bool:
        is_right = super().check(stamp)
        self.note_id()
        return is_right

    async def try_login(self, owner: str, **how: Any) -> bool:
        is_in = await super().try_login(owner, **how)
        self.note_id()
        return is_in

    def destroy(self) -> None:
        super().destroy()
        self._connection.session_id = Empty

    async def load(self) -> None:
        await super().load()
        self.note_id()

    def note_id(self) -> None:
        """Tell the connection the id, which Litestar's users may ask for before anything is stored. This counts as no look at the session."""
        state = self._state
        if state.intent is not Intent.DESTROY:  # `Empty` is what clear_session() leaves there
            self._connection.session_id = None if state.found is Found.PENDING else state.ensure_id()


connect: Final[Callable[[LitestarSession, ScopeState], None]] = LitestarSession.__dict__["_connection"].__set__
"""Give a session its connection, past its ``__setattr__``."""


class Door(asgi.SessionMiddleware):
    """One configuration."""

    session_class: type[AsyncSession] = LitestarSession
    serializer: Callable[[Any], Any]
    """What the application makes of values that are no JSON."""

    def around(self, app: ASGIApp) -> Door:
        """The same around another application."""
        door = copy.copy(self)
        door.app = app
        return door


class LitestarExchange(ASGIExchange[Door]):
    """One request and its response, or a WebSocket."""

    def __post_init__(self) -> None:
        assert isinstance(self.session, LitestarSession)
        connect(self.session, self.connection)

    @property
    def scope(self) -> Any:
        """The scope, in which Litestar's users find the session."""
        return self.slot

    @property
    def connection(self) -> ScopeState:
        """What Litestar knows of the connection beside the scope."""
        return ScopeState.from_scope(self.scope)

    async def send(self, message: Message) -> None:
        """Send a message, and commit before the first."""
        try:
            await ASGIExchange.send(self, message)
        except SojournError:
            # Litestar has noted that the response has begun, and would not let its handlers of exceptions send another.
            self.connection.response_started = False
            raise

    def substitute(self, phase: Phase) -> None:
        """Apply what ``set_session()``, ``clear_session()`` or ``SessionAuth`` has put in the session's place."""
        value = self.slot.get(self.name)
        is_ended = self.connection.session_id is Empty  # by clear_session(), before anything else was set
        if isinstance(value, Enum) and _REFUSING in self.slot and not is_ended:
            self.scope[self.name] = self.session
            return
        is_mount = getattr(self.slot.get("route_handler"), "is_mount", False)
        # A mounted application has sessions of its own.
        fields = None if is_mount else fields_of(value, self.middleware.serializer)
        if fields is None:
            super().substitute(phase)
            return
        try:
            self._replace(fields, is_late=phase is not Phase.RESPONSE, is_ended=is_ended)
        except (HeadersAlreadySent, SessionDestroyed, SessionNotLoaded) as error:
            log.error("what set_session() was given is not stored: %s", error)
        self.scope[self.name] = self.session  # what is changed from now on counts, too

    def _replace(self, fields: dict[str, Any], *, is_late: bool, is_ended: bool) -> None:
        """Be a session with these data, under a new id if they are others: this is how Litestar's users log in.

        Late, when no cookie can be set any more, the id stays. In the Express profile it always does, as at ``clear()``.

        Raises:
            SessionDestroyed: there is none any more.
            HeadersAlreadySent: it has ended, and it is too late for a new one.
            SessionNotLoaded: it is late, and with ``lazy=True`` it was not loaded.
        """
        session, state = self.session, self.state
        is_unseen = state.found is Found.PENDING and state.data is None  # lazy, and not loaded
        if is_ended or (is_unseen and not is_late):
            if state.intent is not Intent.INVALIDATE:
                session.invalidate()
        elif not is_late and state.settings.options.profile.clear_ends and not self._keeps_id(fields):
            session.regenerate()
        self._fill(fields)

    def _keeps_id(self, fields: dict[str, Any]) -> bool:
        """Whether the session's id can stay: it is a new one anyway, or nothing changes."""
        state = self.state
        if state.found is Found.NOTHING or state.intent in _NEW_ID:
            return True
        self._fill(fields)
        return not is_changed(state)

    def _fill(self, fields: dict[str, Any]) -> None:
        session = self.session
        for key in [key for key in session if key not in fields]:
            del session[key]
        session.update(fields)


Door.exchange_class = LitestarExchange


class SessionMiddleware(LitestarsMiddleware[Any]):
    """What Litestar builds for each route handler, and ``SessionAuth`` for itself. Use `SojournPlugin`, which adds it.

    Args:
        app: what it is around.
        backend: that of a `SojournConfig`.
    """

    def __init__(self, app: Any, backend: Any) -> None:
        super().__init__(app=app, backend=backend)
        self._door: Final[Door] = backend.config.door.around(self._enter)
        guard: Any = getattr(app, "app", None)
        self._is_guarded = isinstance(guard, SessionAuthMiddleware)
        if self._is_guarded:
            guard.app = _admitted(guard.app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        there = scope.get(OWN_PLACE)
        if isinstance(there, LitestarSession) and state_of(there).settings is self._door.settings:
            await self._enter(scope, receive, send)  # that of SessionAuth, where the plugin's has been already
        else:
            await self._door(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get(OWN_PLACE)
        if isinstance(session, LitestarSession):
            session.note_id()
            if self._is_guarded:
                scope[_REFUSING] = True
                with suppress(StoreError):  # whatever is sent then becomes a 503
                    await session.load()
        app: Any = self.app
        await app(scope, receive, send)


def _admitted(app: Any) -> ASGIApp:
    async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
        scope.pop(_REFUSING, None)
        await app(scope, receive, send)

    return admitted
