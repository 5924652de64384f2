"""Liveness and readiness beside sessions, in WSGI. Run it:  gunicorn health_wsgi:app --workers 2 --threads 4"""

import os
from collections.abc import Iterable
from typing import Any

import flask

from sojourn.flask import Sojourn
from sojourn.health import WSGIHealth

STORE = os.environ.get("SESSION_STORE", "sqlite:///sessions.db")

site = flask.Flask(__name__)
site.secret_key = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")
Sojourn(site, store=STORE)
health = WSGIHealth(STORE)  # the same URL: the site's own store


@site.get("/counter")
def counter() -> dict[str, int]:
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return {"visits": flask.session["visits"]}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """In front of the site, so that nothing of it stands in a prober's way."""
    return (health if environ["PATH_INFO"].startswith("/health/") else site)(environ, start_response)
