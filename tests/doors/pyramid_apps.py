"""Pyramid applications for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyramid.config import Configurator
from webtest import TestApp

from tests.doors.flask_apps import Store

SECRET = "a secret that is long enough for everybody"
Includes = Callable[[Any], object]


def make(*views: Any, store: Any = None, include: Includes | None = None, **settings: Any) -> TestApp:
    """A client of an application, each of whose views is at its name."""
    given = {f"sojourn.{name}": value for name, value in settings.items()}
    with Configurator(
        settings={"sojourn.secret": SECRET, "sojourn.store": Store() if store is None else store, **given}
    ) as config:
        config.include("sojourn.pyramid")
        add(config, *views)
        if include is not None:
            include(config)
    return TestApp(config.make_wsgi_app())


def add(config: Any, *views: Any) -> None:
    """Add views at their names, whose values are sent as JSON."""
    for view in (count, show, nothing, *views):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__, renderer="json")


def count(request: Any) -> Any:
    return request.session.increment("n")


def show(request: Any) -> Any:
    return dict(request.session)


def nothing(_request: Any) -> Any:
    return None


def cookie(response: Any) -> str:
    """The session cookie that a response sends; empty if it sends none."""
    return str(response.headers.get("Set-Cookie", ""))
