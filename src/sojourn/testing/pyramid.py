"""The session of a WebTest client of a Pyramid application, in a line each; and a session for unit tests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from ..clock import Duration
from ..core.logins import Stamp
from ..core.state import Found, State
from ..pyramid import PyramidSession
from ..pyramid.door import NAME, Door
from ..wsgi import ENVIRON_KEY, Environ, StartResponse

__all__ = ["log_in", "new_session", "read_session", "write_session"]

T = TypeVar("T")

_SECRET: Final = "a secret that signs no cookie: tests of views"  # noqa: S105 - it is none
_INNER: Final = ("app", "application", "wsgi_app")


def read_session(client: Any) -> dict[str, Any]:
    """The data of the client's session.

    Args:
        client: a `webtest.TestApp` of an application with sessions of ours.

    Raises:
        LookupError: the application has none.
    """
    return _visit(client, dict)


def write_session(client: Any, data: Mapping[str, Any]) -> None:
    """Put these data into the client's session, which begins if there is none; see `read_session`."""
    _visit(client, lambda session: session.update(data))


def log_in(client: Any, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None) -> None:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too; see `read_session`.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    _visit(client, lambda session: session.login(owner, keep_data=True, remember=remember, stamp=stamp))


def new_session(data: Mapping[str, Any] | None = None, *, owner: str | None = None) -> PyramidSession:
    """A session for the unit test of a view: ``DummyRequest(session=new_session({"cart": []}, owner="ann"))``.

    Args:
        data: what is in it.
        owner: who is logged in; None for nobody.
    """
    door = Door({"secret": _SECRET, "store": "memory://"})
    arrival = door.arrive({})
    assert arrival is not None
    session = PyramidSession(State(door.settings, arrival, door, Found.NOTHING))
    if owner is not None:
        session.login(owner)
    session.update(data or {})
    return session


def _door_of(client: Any) -> Door:
    """The door of the application that a client is of, which may be in other middleware."""
    app = client.app
    while app is not None and not hasattr(app, "registry"):
        app = next((inner for name in _INNER if (inner := getattr(app, name, None)) is not None), None)
    door: Door | None = None if app is None else app.registry.get(NAME)
    if door is None:
        raise LookupError('the client\'s application has no sessions of ours: config.include("sojourn.pyramid")')
    return door


def _visit(client: Any, use: Callable[[PyramidSession], T]) -> T:
    """Make a request of the client to the door alone, with this in the application's place."""
    used: list[T] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        used.append(use(environ[ENVIRON_KEY]))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    door = copy.copy(_door_of(client))
    door.app = app
    same = copy.copy(client)  # with the same cookies
    same.app = door
    same.get(getattr(door.options.cookie, "path", "/"))  # where there is a session
    return used[0]
