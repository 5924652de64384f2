"""Django in process: a view, Django's own sessions around it, and requests without a server.

A request is made and a response's headers are written out as Django does it under WSGI, with sessions and without.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Work
from benchmarks.workload import SECRET, Action
from benchmarks.wsgi import environ

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def _configure() -> None:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY=SECRET,
            CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}},
            INSTALLED_APPS=["django.contrib.sessions"],
        )
        django.setup()


def _middleware(engine: str) -> Callable[[Any], Any]:
    _configure()
    from django.conf import settings
    from django.contrib.sessions.middleware import SessionMiddleware

    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    return SessionMiddleware


def handler(action: Action | None) -> Any:
    _configure()
    from django.http import HttpResponse

    def view(request: HttpRequest) -> HttpResponse:
        if action is not None:
            action(request.session)
        return HttpResponse(b"ok", content_type="text/plain", headers={"Content-Length": "2"})

    return view


def _call(app: Any, environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of the response to one request."""
    from django.core.handlers.wsgi import WSGIRequest

    response = app(WSGIRequest(environ))
    return [*response.items(), *(("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values())]


async def cookie_of(app: Any) -> str:
    """What the app sets when its session is filled."""
    headers = _call(app, environ(None) | {"wsgi.input": io.BytesIO()})
    return next(value for name, value in headers if name == "Set-Cookie").split(";")[0]


def calls_of(app: Any, cookie: str | None) -> Work:
    base = environ(cookie) | {"wsgi.input": io.BytesIO()}

    async def work(calls: int) -> None:
        for _ in range(calls):
            _call(app, dict(base))

    return work


def cache_sessions() -> Callable[[Any], Any]:
    """In the local-memory cache."""
    return _middleware("cache")


@contextmanager
def database_sessions(file: Path) -> Iterator[Callable[[Any], Any]]:
    """In a SQLite file."""
    _configure()
    from django.core.management import call_command
    from django.db import connection

    connection.settings_dict["NAME"] = str(file)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # what is measured is called on an event loop
    call_command("migrate", verbosity=0)
    yield _middleware("db")
    connection.close()
