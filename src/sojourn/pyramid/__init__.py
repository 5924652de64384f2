"""Sessions for Pyramid: ``request.session`` is kept in a store, and nothing else changes.

Example::

    config = Configurator(settings={"sojourn.secret": os.environ["SESSION_SECRET"], "sojourn.store": "redis://localhost"})
    config.include("sojourn.pyramid")
"""

from __future__ import annotations

from typing import Any, Final, Unpack

try:
    import pyramid.config as _config
    from pyramid.events import NewRequest as _NewRequest
except ImportError as _error:
    raise ImportError('sojourn.pyramid needs Pyramid: pip install "sojourn[pyramid]"', name=_error.name) from _error

from ..errors import ConfigurationError
from ..options import OptionsDict
from .door import EXCHANGE, NAME, Door
from .fresh import add_option, next_page
from .logins import LoginHelper
from .session import PyramidSession
from .settings import CONFIRM_ROUTE, PREFIX, options_in

__all__ = ["LoginHelper", "PyramidSession", "includeme", "next_page", "setup"]

_AFTER_ALL_POLICIES: Final[int] = _config.PHASE3_CONFIG + 1
"""When what others say of the execution policy, such as pyramid_retry, has been carried out."""


def includeme(config: Any) -> None:
    """What ``config.include("sojourn.pyramid")`` calls: sessions as the settings ``sojourn.*`` say."""
    setup(config)


def setup(config: Any, *, confirm_route: str | None = None, **options: Unpack[OptionsDict]) -> None:
    """Give an application its sessions, and its views the option ``require_fresh``.

    Example::

        @view_config(route_name="delete_account", require_fresh=timedelta(minutes=15))
        def delete_account(request): ...

    Whoever gave the password before that, see `sojourn.Session.is_fresh`, is redirected to the route ``confirm_route``, with the page that was asked for
    as ``next`` (see `next_page`); without such a route `HTTPForbidden` is raised, as it is for whoever is not logged in.

    Args:
        config: its `pyramid.config.Configurator`.
        confirm_route: the name of the route that asks for the password again; or the setting ``sojourn.confirm_route``.
        options: see `sojourn.options.Options`; they go before the settings ``sojourn.*``.

    Raises:
        ConfigurationError: an option or a setting is wrong; it names which, what was given, and what would be right.
    """
    settings = options_in(config)
    try:
        door = Door({**settings, **options})
    except ConfigurationError as error:
        if error.option.partition(".")[0] in settings.keys() - options.keys():
            raise ConfigurationError(PREFIX + error.option, error.given, error.remedy) from None
        raise
    add_option(config, confirm_route or config.registry.settings.get(CONFIRM_ROUTE))
    config.set_session_factory(door.session_of)
    config.add_subscriber(_load, _NewRequest)
    config.action(NAME, door.install, args=(config.registry,), order=_AFTER_ALL_POLICIES)


def _load(event: Any) -> None:
    """Load the session of a request that begins: within Pyramid, where exception views are asked what to send if that fails."""
    exchange = event.request.environ.get(EXCHANGE)
    if exchange is not None:
        exchange.begin(event.request)
