"""What Litestar's own parts ask a session's configuration for: ``SessionAuth``, ``FlashPlugin``, the test client and ``litestar sessions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.base import BaseBackendConfig
from litestar.middleware.session.server_side import ServerSideSessionBackend
from litestar.serialization import default_serializer
from litestar.utils.scope.state import ScopeState

from ..codecs import LenientCodec
from ..cookie import Cookie
from ..core.ended import end
from ..core.plan import Phase
from ..core.session import state_of
from ..driver import arrive
from ..errors import ConfigurationError, StoreUnavailable
from ..options import OptionsDict
from .door import Door, LitestarExchange, LitestarSession, SessionMiddleware, connect
from .values import plain

if TYPE_CHECKING:
    from litestar.config.app import AppConfig
    from litestar.types import Message

__all__ = ["SojournBackend", "SojournConfig"]

_SLOT: Final = "session"
_SAMESITE: Final[Mapping[object, Literal["lax", "strict", "none"]]] = {"strict": "strict", "none": "none"}


async def _no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    """What a door is around until Litestar builds the handlers' middleware."""


class _AllSessions:
    """All sessions of a store, for a command that ends some, and itself."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def delete(self, session_id: str) -> None:
        try:
            await self._door.sessions.destroy(session_id)
        finally:
            await self._door.store.close()

    async def delete_all(self) -> None:
        try:
            await self._door.sessions.clear()
        finally:
            await self._door.store.close()


class SojournBackend(ServerSideSessionBackend):
    """What Litestar's test client and its commands reach sessions by. Requests go through `SessionMiddleware`."""

    config: SojournConfig  # type: ignore[assignment]

    def __init__(self, config: SojournConfig) -> None:
        super().__init__(config)  # type: ignore[arg-type]

    def __deepcopy__(self, _memo: object) -> SojournBackend:
        """Litestar copies the handlers of routers and controllers with their middleware; all of them use this."""
        return self

    def get_session_id(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:  # type: ignore[override]
        """The session's id, as `SessionMiddleware` has told the connection."""
        return connection.get_session_id()

    async def load_from_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, Any]:
        """The data of the session that the cookies name."""
        session = await self._session(connection)
        data = dict(session)
        end(session)
        return data

    async def store_in_message(
        self,
        scope_session: Any,
        message: Message,
        connection: ASGIConnection[Any, Any, Any, Any],
    ) -> None:
        """Store data in the place of those of the session that the cookies name, and add the cookie to the message."""
        door = self.config.door
        session = await self._session(connection)
        scope: Any = connection.scope
        scope[_SLOT] = scope_session
        exchange = LitestarExchange(door, state_of(session), session, scope, _SLOT)
        plan = exchange.prepare(Phase.RESPONSE)
        if plan is not None and plan.needs_store:
            plan = await door.respond(exchange, plan, Phase.RESPONSE)
        end(session)
        if plan is None:
            raise exchange.failure or StoreUnavailable("the session could not be loaded")
        if plan.header is not None:
            name, value = plan.header
            headers: Any = message["headers"]  # type: ignore[typeddict-item]
            headers.append((name.lower().encode(), value.encode("latin-1")))

    async def _session(self, connection: ASGIConnection[Any, Any, Any, Any]) -> LitestarSession:
        """The session that the cookies name, loaded. There is no request: the scheme is told by the cookie's name.

        Raises:
            StoreError: the store failed.
            ImproperlyConfiguredException: no path has a session.
        """
        config, door, cookies = self.config, self.config.door, connection.cookies
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        https = config.secure or (config.secure_name.startswith("__") and config.secure_name in cookies)
        scope: Any = connection.scope
        arrived = arrive(
            door,
            [("cookie", header)],
            config.path,
            https=https,
            direct_tls=https,
            query="",
            body=b"",
            request=scope,
        )
        if arrived is None:
            raise ImproperlyConfiguredException(f"{config.path} has no session: see the option `exclude`")
        session = LitestarSession(arrived[0])
        connect(session, ScopeState.from_scope(scope))
        await session.load()
        return session


class SojournConfig(BaseBackendConfig["SojournBackend"]):
    """A configuration, in the form in which Litestar's own parts take one. `SojournPlugin` makes it, as its ``config``.

    Example::

        auth = SessionAuth(session_backend_config=plugin.config, retrieve_user_handler=...)
        client = TestClient(app, session_config=plugin.config)

    ``exclude`` is, as Litestar has it, a pattern or several; `Options.exclude`, which is given to the plugin, has paths.

    Args:
        exclude_opt_key: the name by which a route handler says that it has no session: ``@get("/", skip_session=True)``.
        options: see `sojourn.options.Options`; ``secret`` is required. A value that ``codec`` would refuse is written as Litestar would
            write it in a response.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    _backend_class = SojournBackend
    exclude: str | list[str] | None = None

    def __init__(self, *, exclude_opt_key: str = "skip_session", **options: Unpack[OptionsDict]) -> None:
        if not isinstance(exclude_opt_key, str):
            raise ConfigurationError("exclude_opt_key", repr(exclude_opt_key), 'give a name such as "skip_session"')
        options["codec"] = LenientCodec(options.get("codec"), default=self._plain)
        self.door: Door = Door(_no_app, **options)
        self.door.serializer = self._serialize
        self.exclude_opt_key: str = exclude_opt_key
        self.app: AppConfig | None = None
        """The application's own configuration, once it is known."""
        given = self.door.options.cookie
        cookie = given if isinstance(given, Cookie) else Cookie()
        self.key: str = self.door.settings.naming.name_of(cookie, secure=True)
        """What the OpenAPI document calls the cookie: its name over https, unless another is set before there is an application."""
        self.secure_name: Final[str] = self.key
        """The cookie's name over https."""
        self.max_age: int = self.door.settings.idle_ms(cookie, {}) // 1000
        self.path: str = cookie.path
        self.domain: str | None = cookie.domain
        self.secure: bool = cookie.secure is True
        self.httponly: bool = cookie.httponly
        self.samesite: Literal["lax", "strict", "none"] = _SAMESITE.get(cookie.samesite, "lax")

    @property
    def middleware(self) -> DefineMiddleware:
        """The middleware, for any layer of an application."""
        return DefineMiddleware(SessionMiddleware, backend=SojournBackend(self))

    def get_store_from_app(self, _app: object) -> _AllSessions:
        """What ``litestar sessions clear`` clears."""
        return _AllSessions(self.door)

    def _plain(self, value: Any) -> Any:
        return plain(value, self._serialize)

    def _serialize(self, value: Any) -> Any:
        return default_serializer(value, None if self.app is None else self.app.type_encoders)
