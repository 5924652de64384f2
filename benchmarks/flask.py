"""Flask in process: a view, Flask-Session around it, and requests without a server; over Flask with no sessions at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.measure import Work
from benchmarks.workload import SECRET, Action
from benchmarks.wsgi import call, environ


def handler(action: Action | None) -> Any:
    from flask import Flask, Response, session
    from flask.sessions import SessionInterface

    class NoSessions(SessionInterface):
        def open_session(self, _app: Any, _request: Any) -> Any:
            return self.make_null_session(_app)

        def save_session(self, _app: Any, _session: Any, _response: Any) -> None:
            """Nothing is saved."""

    app = Flask("benchmarks")
    app.secret_key = SECRET
    app.session_interface = NoSessions()

    @app.route("/")
    def view() -> Response:
        if action is not None:
            action(session)
        return Response(b"ok", content_type="text/plain")

    return app


def _environ(cookie: str | None) -> dict[str, Any]:
    return environ(cookie) | {"SERVER_NAME": "localhost", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1"}


async def cookie_of(app: Any) -> str:
    """What the app sets when its session is filled."""
    headers: list[tuple[str, str]] = []

    def start_response(_status: str, given: list[tuple[str, str]], _exc_info: Any = None) -> None:
        headers.extend(given)

    call(app, _environ(None), start_response)
    return next(value for name, value in headers if name == "Set-Cookie").split(";")[0]


def calls_of(app: Any, cookie: str | None) -> Work:
    base = _environ(cookie)

    def start_response(_status: str, _headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
        pass

    async def work(calls: int) -> None:
        for _ in range(calls):
            call(app, dict(base), start_response)

    return work


def redis_sessions(url: str) -> Callable[[Any], Any]:
    """Flask-Session on Redis, as it is set up by default."""
    from flask_session import Session
    from redis import Redis

    client = Redis.from_url(url)

    def wrap(app: Any) -> Any:
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
        Session(app)
        return app

    return wrap
