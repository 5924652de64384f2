"""`CrossSiteGuard`: a middleware that refuses what another site's page has the browser send. It needs no session, and no token in forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseForbidden

from ..errors import ConfigurationError
from ..guard import CrossSiteRules, GuardOptions, is_handshake
from ..wire.paths import encoded

__all__ = ["CrossSiteGuard"]

_SETTING: Final = "SOJOURN_GUARD"
_TRUSTED: Final = "CSRF_TRUSTED_ORIGINS"


class CrossSiteGuard:
    """Django middleware that refuses what a page of another site has the browser send, by a 403; in both colours.

    The setting ``SOJOURN_GUARD`` is a dict of the options of `sojourn.guard.CrossSiteRules`, if there are any. Trusted origins are those of
    ``CSRF_TRUSTED_ORIGINS`` unless it gives others. The site's own origin is what ``request.is_secure()`` and ``request.get_host()`` say.
    Views that are `django.views.decorators.csrf.csrf_exempt` take requests from anywhere.

    Raises:
        ConfigurationError: a setting is wrong; it names the setting, what was given, and what would be right.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.rules: CrossSiteRules = CrossSiteRules(**_options())
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            vars(self)["process_view"] = self._process_view_async  # else Django would call the other one in a thread

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, _args: Any, _kwargs: Any) -> HttpResponseForbidden | None:
        """Django's: look at a request whose view is known."""
        if getattr(view, "csrf_exempt", False):
            return None

        def header(name: str) -> Sequence[str]:
            if name == "Host":
                return _host(request)
            value = request.headers.get(name)
            return () if value is None else (value,)

        refusal = self.rules.refusal(
            cast("str", request.method),
            lambda: encoded(request.path.encode("utf-8", "surrogatepass")),
            header,
            https=request.is_secure(),
            websocket=is_handshake(header("Upgrade")),
        )
        return None if refusal is None else HttpResponseForbidden(refusal.body, headers=dict(refusal.headers))

    async def _process_view_async(self, *args: Any) -> HttpResponseForbidden | None:
        return CrossSiteGuard.process_view(self, *args)


def _host(request: HttpRequest) -> Sequence[str]:
    try:
        return (request.get_host(),)
    except DisallowedHost:  # nobody's: it cannot be the site's own
        return ()


def _options() -> GuardOptions:
    """The options that the settings give.

    Raises:
        ConfigurationError: a setting is no dict, or has what Django has a setting of its own for.
    """
    given = getattr(settings, _SETTING, {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(_SETTING, type(given).__name__, "give a dict of options")
    if "trust_proxy" in given:
        raise ConfigurationError(
            f"{_SETTING}['trust_proxy']",
            "an option that Django has its own for",
            "set SECURE_PROXY_SSL_HEADER and USE_X_FORWARDED_HOST",
        )
    options = cast("GuardOptions", {"trusted_origins": getattr(settings, _TRUSTED), **given})
    try:
        CrossSiteRules(**options)
    except ConfigurationError as error:
        is_djangos = error.option == "trusted_origins" and error.option not in given
        name = _TRUSTED if is_djangos else f"{_SETTING}[{error.option!r}]"
        remedy = f"{error.remedy}; or give {_SETTING}['trusted_origins']" if is_djangos else error.remedy
        raise ConfigurationError(name, error.given, remedy) from None
    return options
