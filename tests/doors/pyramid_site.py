"""A Pyramid site for real servers: it streams, sends files, fails and logs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pyramid.config import Configurator
from pyramid.response import FileResponse, Response
from pyramid_retry import RetryableException

from sojourn import StoreError, StoreUnavailable
from sojourn.pyramid import LoginHelper
from tests.doors.pyramid_apps import add


def main(_global_config: Any = None, **settings: Any) -> Any:
    with Configurator(settings=settings) as config:
        config.include("sojourn.pyramid")
        config.include("pyramid_retry")
        config.add_exception_view(sorry, context=StoreError, renderer="string")
        add(config, stream, file, fail, crash, twice, enter, leave, unstorable)
        return config.make_wsgi_app()


def stream(request: Any) -> Any:
    session = request.session

    def body() -> Iterator[bytes]:
        for _ in range(3):
            yield f"{session.increment('n')} ".encode()

    return Response(app_iter=body())


def file(request: Any) -> Any:
    request.session.increment("n")
    return FileResponse(__file__, request, content_type="text/plain")


def fail(request: Any) -> Any:
    store = request.session._state.io.store

    def replace(*_args: object, **_kwargs: object) -> None:
        vars(store).pop("replace")  # once
        raise StoreUnavailable("down")

    request.session.increment("n")
    store.replace = replace


def sorry(_context: Any, request: Any) -> str:
    request.response.status_code = 503
    return "our shop is down"


def crash(request: Any) -> Any:
    request.session.increment("n")
    raise ZeroDivisionError


def twice(request: Any) -> Any:
    if request.environ["retry.attempt"] == 0:
        request.session.increment("n", 100)
        raise RetryableException
    return request.session.increment("n")


def enter(request: Any) -> Any:
    LoginHelper().remember(request, request.params["name"])
    return request.session.owner


def leave(request: Any) -> Any:
    LoginHelper().forget(request)


def unstorable(request: Any) -> Any:
    request.session["bad"] = object()


if "SESSION_STORE" in os.environ:  # under a server that reads no .ini file
    app = main(
        **{
            "sojourn.secret": "a secret that is long enough for everybody",
            "sojourn.store": os.environ["SESSION_STORE"],
            "sojourn.exclude": "/nothing",
        }
    )
