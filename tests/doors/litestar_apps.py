"""Applications of Litestar's, and a browser, for the tests of its door."""

from __future__ import annotations

from inspect import signature
from typing import Any, Final

from litestar import Litestar
from litestar.testing import TestClient

from sojourn.litestar import SojournPlugin
from tests.doors.starlette_clients import SECRET, Store

__all__ = ["QUIET", "SECRET", "Store", "app_of", "client_of", "cookies_of", "plugin_of"]


QUIET: Final[dict[str, Any]] = {"logging_config": None} if "logging_config" in signature(Litestar).parameters else {}
"""No logging of Litestar's own, which has a thread that is never stopped."""


def plugin_of(store: Any, **options: Any) -> SojournPlugin:
    return SojournPlugin(secret=SECRET, store=store, **options)


def app_of(plugin: SojournPlugin, *handlers: Any, **options: Any) -> Litestar:
    plugins = [plugin, *options.pop("plugins", ())]
    return Litestar([*handlers], plugins=plugins, **QUIET, **options)


def client_of(app: Any, **options: Any) -> TestClient[Any]:
    """A browser of this application's, which sees an error page where there is one."""
    return TestClient(app, **{"raise_server_exceptions": False, **options})


def cookies_of(response: Any) -> list[str]:
    """What it sets, without our cookie's value."""
    found: list[str] = response.headers.get_list("set-cookie")
    return [one.partition("=")[0] for one in found]
