"""Flask applications for tests, and a store that fails when told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import flask
from flask import Flask
from flask.globals import request_ctx
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sojourn import StoreUnavailable
from sojourn.flask import FlaskSession, Sojourn
from sojourn.stores import MemoryStore

FLASK = tuple(int(part) for part in version("flask").split(".")[:3])
"""The version of Flask."""
SECRET = "a secret that is long enough for everybody"


class Store(MemoryStore):
    """Notes what is asked of it, and fails when told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[str] = []
        self.down: frozenset[str] = frozenset()

    def _note(self, name: str) -> None:
        self.asked.append(name)
        if name in self.down:
            raise StoreUnavailable("down")

    def load(self, *args: Any, **kwargs: Any) -> Any:
        self._note("load")
        return super().load(*args, **kwargs)

    def create(self, *args: Any, **kwargs: Any) -> Any:
        self._note("create")
        return super().create(*args, **kwargs)

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        self._note("replace")
        return super().replace(*args, **kwargs)

    def regenerate(self, *args: Any, **kwargs: Any) -> Any:
        self._note("regenerate")
        return super().regenerate(*args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        self._note("touch")
        return super().touch(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        self._note("delete")
        return super().delete(*args, **kwargs)


def make(store: Any = None, config: dict[str, Any] | None = None, **options: Any) -> Flask:
    """An application without views."""
    app = Flask("shop")
    app.secret_key = SECRET
    app.config.update(config or {})
    Sojourn(app, store=MemoryStore() if store is None else store, **options)
    return app


def store_of(app: Flask) -> Any:
    """The store of an application."""
    return app.extensions["sojourn"].store


def count_of(app: Flask) -> int:
    """How many sessions it has."""
    return int(store_of(app).count())


def set_cookie(response: TestResponse) -> str:
    """The session cookie that a response sends; empty if it sends none."""
    return response.headers.get("Set-Cookie", "")


@contextmanager
def saved_of(client: FlaskClient, **arguments: Any) -> Iterator[FlaskSession]:
    """A transaction on a client's session, with its type."""
    with client.session_transaction(**arguments) as saved:
        assert isinstance(saved, FlaskSession)
        yield saved


def reached() -> FlaskSession:
    """The session itself, reached through Flask's proxy."""
    found = flask.session._get_current_object()  # type: ignore[attr-defined]
    assert isinstance(found, FlaskSession)
    return found


def kept() -> Any:
    """The session of a request that is over, as far as reaching it through the proxy would change its flags."""
    return request_ctx._session if FLASK >= (3, 1, 3) else request_ctx.session
