"""`SojournPlugin`: what gives an application its sessions."""

from __future__ import annotations

from copy import copy
from typing import Final, Unpack

from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from ..core.session import BaseSession
from ..errors import ConfigurationError, StoreError
from ..options import OptionsDict
from ..stores._sharing import begin_use, end_use
from .config import SojournConfig
from .connection import is_guard, provide_session
from .door import Door

__all__ = ["SojournPlugin"]

_SCHEME: Final = "session"
"""What the OpenAPI document calls it."""


class SojournPlugin(InitPlugin, ReceiveRoutePlugin):
    """Gives every request and WebSocket a session: ``request.session``, and the dependency ``session``.

    Example::

        app = Litestar([add], plugins=[SojournPlugin(secret=os.environ["SESSION_SECRET"], store="redis://localhost")])

    Where there is a ``FlashPlugin``, this one comes before it.

    Args:
        dependency: the name of the dependency, unless the application has one of that name; None for none.
        exclude_opt_key: the name by which a route handler says that it has no session: ``@get("/", skip_session=True)``.
        options: see `sojourn.options.Options`; ``secret`` is required. A value that ``codec`` would refuse is written as Litestar would
            write it in a response.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    def __init__(
        self,
        *,
        dependency: str | None = "session",
        exclude_opt_key: str = "skip_session",
        **options: Unpack[OptionsDict],
    ) -> None:
        name: object = dependency
        if not (name is None or (isinstance(name, str) and name.isidentifier())):
            raise ConfigurationError("dependency", repr(dependency), 'give a name such as "session", or None for none')
        self.config: SojournConfig = SojournConfig(exclude_opt_key=exclude_opt_key, **options)
        """For ``SessionAuth(session_backend_config=...)`` and ``TestClient(session_config=...)``."""
        self._dependency = dependency

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Litestar's: add what the application needs."""
        self.config.app = app_config
        app_config.middleware.insert(0, self.config.middleware)
        use = _Use(self.config.door)
        app_config.on_startup.append(use.begin)  # after the application's own, which may open what the store was given
        app_config.on_shutdown.insert(0, use.end)  # and before they close that
        if self._dependency is not None:
            app_config.dependencies.setdefault(self._dependency, Provide(provide_session))
        app_config.type_encoders = {BaseSession: dict, **(app_config.type_encoders or {})}
        if app_config.openapi_config is not None:
            app_config.openapi_config = copy(app_config.openapi_config)  # it may be everybody's
            given = app_config.openapi_config.components
            scheme = SecurityScheme(type="apiKey", name=self.config.key, security_scheme_in="cookie")
            listed = given if isinstance(given, list) else [given]
            app_config.openapi_config.components = [*listed, Components(security_schemes={_SCHEME: scheme})]
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Litestar's: note in the OpenAPI document which routes are for whoever is logged in."""
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if any(map(is_guard, handler.resolve_guards())):
                handler.security = [*(handler.security or ()), {_SCHEME: []}]


class _Use:
    """An application's use of the store, from its start to its end."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def begin(self) -> None:
        store = self._door.store
        begin_use(store, self)
        try:
            await store.open()
        except StoreError as error:  # it may come up after us; requests open it too
            self._door.loads.failure(error, "starting all the same")

    async def end(self) -> None:
        store = self._door.store
        if end_use(store, self):
            await store.close()
