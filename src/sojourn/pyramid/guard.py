"""Refuses what another site's page has the browser send, by a tween: ``config.include("sojourn.pyramid.guard")``.

Its settings are ``sojourn.guard.trusted_origins``, ``sojourn.guard.exclude``, ``sojourn.guard.strict`` and ``sojourn.guard.trust_proxy``.
It needs no session, and no token in forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Unpack

from pyramid.response import Response

from ..errors import ConfigurationError
from ..guard import CrossSiteRules, GuardOptions
from ..wsgi import refusal_in
from .settings import GUARD, guard_options_in

__all__ = ["includeme", "setup", "tween_factory"]

_NAME: Final = "sojourn.pyramid.guard"
"""Under which a registry has its rules."""


def includeme(config: Any) -> None:
    """What ``config.include("sojourn.pyramid.guard")`` calls: the guard as the settings ``sojourn.guard.*`` say."""
    setup(config)


def setup(config: Any, **options: Unpack[GuardOptions]) -> None:
    """Refuse what a page of another site has the browser send to an application, by a 403.

    Args:
        config: its `pyramid.config.Configurator`.
        options: see `sojourn.guard.CrossSiteRules`; they go before the settings ``sojourn.guard.*``.

    Raises:
        ConfigurationError: an option or a setting is wrong; it names which, what was given, and what would be right.
    """
    settings = guard_options_in(config)
    together: GuardOptions = {**settings, **options}
    try:
        config.registry[_NAME] = CrossSiteRules(**together)
    except ConfigurationError as error:
        if error.option in settings.keys() - options.keys():
            raise ConfigurationError(GUARD + error.option, error.given, error.remedy) from None
        raise
    config.add_tween(f"{__name__}.tween_factory")


def tween_factory(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
    """Pyramid's: what is around an application's handler."""
    rules: CrossSiteRules = registry[_NAME]

    def tween(request: Any) -> Any:
        refusal = refusal_in(request.environ, rules)
        return handler(request) if refusal is None else Response(refusal.body, 403, refusal.headers)

    return tween
