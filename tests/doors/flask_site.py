"""A Flask site for real servers: it streams, and its store fails when told to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import flask
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from sojourn import StoreUnavailable
from sojourn.flask import Sojourn, session
from sojourn.stores import SQLiteStore

app = Flask(__name__)
app.secret_key = "a secret that is long enough for everybody"
store = SQLiteStore(os.environ["SESSION_FILE"])
Sojourn(app, store=store)
app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/count")
def count() -> str:
    return str(session.increment("n"))


@app.get("/stream")
def stream() -> flask.Response:
    def body() -> Iterator[str]:
        for _ in range(3):
            yield f"{session.increment('n')} "

    return flask.Response(flask.stream_with_context(body()))


@app.get("/file")
def file() -> flask.Response:
    session.increment("n")
    return flask.send_file(__file__, mimetype="text/plain")


@app.get("/fail")
def fail() -> str:
    def replace(*_args: object, **_kwargs: object) -> None:
        vars(store).pop("replace")  # once
        raise StoreUnavailable("down")

    session.increment("n")
    store.replace = replace  # type: ignore[method-assign]
    return ""
