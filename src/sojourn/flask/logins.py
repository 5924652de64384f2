"""Flask-Login: a login changes the session's id and names its owner, a logout ends the session."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask, session

from ..core.logins import doubt
from ..core.session import state_of
from .face import BROWSER, FRESH, USER, FlaskSession

__all__ = ["OF_A_LOGIN", "connect", "current_session"]

OF_A_LOGIN: Final = (USER, FRESH, BROWSER, "_remember", "_remember_seconds")
"""What Flask-Login puts into the session when somebody logs in."""
_AFTER_A_LOGOUT: Final = ("_remember", "_flashes")
"""What is still to be told the browser: to forget the remember cookie, and goodbye."""


def connect(app: Flask) -> None:
    """Follow the logins of an application, where Flask-Login is installed."""
    try:
        from flask_login import signals  # noqa: PLC0415 - who does not have it needs nothing of this
    except ImportError:
        return
    for signal in (signals.user_logged_in, signals.user_loaded_from_cookie):
        signal.connect(_log_in, app)
    signals.user_login_confirmed.connect(_confirm, app)
    signals.user_logged_out.connect(_log_out, app)
    signals.session_protected.connect(_protect, app)


def current_session() -> FlaskSession | None:
    """The request's session, unless it is another interface's."""
    found: object = session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug documents it
    return found if isinstance(found, FlaskSession) else None


def _log_in(_app: Flask, **_of_signal: Any) -> None:
    """Somebody has proved who they are."""
    current = current_session()
    user = None if current is None else current.get(USER)
    if current is None or user is None:  # not by a session
        return
    kept = _some(current, OF_A_LOGIN)
    current.login(
        str(user), keep_data=True
    )  # what the visitor gathered before, as Flask-Login does; nothing of somebody else's
    current.update(kept)
    if current.get(FRESH) is False:  # by the remember cookie, or by login_user(user, fresh=False)
        doubt(state_of(current))


def _confirm(app: Flask, **_of_signal: Any) -> None:
    current = current_session()
    if current is not None and current.owner is not None and current.owner == str(current.get(USER)):
        current.confirm()
    else:
        _log_in(app)


def _log_out(_app: Flask, **_of_signal: Any) -> None:
    current = current_session()
    if current is not None:
        kept = _some(current, _AFTER_A_LOGOUT)
        current.invalidate()
        current.update(kept)


def _protect(app: Flask, **_of_signal: Any) -> None:
    """The browser is another one than the session's: with strong protection Flask-Login has just logged its user out, else they are not fresh."""
    current = current_session()
    if current is None or current.owner is None:
        return
    if USER not in current:
        _log_out(app)
    else:
        doubt(state_of(current))


def _some(current: FlaskSession, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: current[key] for key in keys if key in current}
