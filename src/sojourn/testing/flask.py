"""A Flask test client's session, in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask.testing import FlaskClient

from ..clock import Duration
from ..core.logins import Stamp
from ..core.session import Session

__all__ = ["log_in", "read_session", "write_session"]


def read_session(client: FlaskClient, **request: Any) -> dict[str, Any]:
    """The data of the client's session.

    Args:
        client: the client.
        request: as `flask.Flask.test_request_context` takes it, such as ``base_url="https://localhost"``.
    """
    with client.session_transaction(**request) as session:
        return dict(session)


def write_session(client: FlaskClient, data: Mapping[str, Any], **request: Any) -> None:
    """Put these data into the client's session, which begins if there is none; see `read_session`."""
    with client.session_transaction(**request) as session:
        session.update(data)


def log_in(
    client: FlaskClient, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None, **request: Any
) -> None:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too, and in Flask-Login where the application has it; see `read_session`.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    app = client.application
    manager = getattr(app, "login_manager", None)
    with client.session_transaction(**request) as session:
        assert isinstance(session, Session)
        session.login(owner, keep_data=True, remember=remember, stamp=stamp)
        if manager is not None:
            with app.test_request_context(environ_base=client.environ_base):
                browser = manager._session_identifier_generator()  # noqa: SLF001 - or the login would not be fresh
            session.update(_user_id=owner, _fresh=remember is None, _id=browser)
