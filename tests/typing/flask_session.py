"""``flask.session`` with its type: read by the type checker, never run."""

from __future__ import annotations

from typing import assert_type

import flask

from sojourn import express
from sojourn.flask import FlaskSession, SessionInterface, Sojourn, session


def make(app: flask.Flask) -> None:
    Sojourn(app, store="memory://", lazy=True)
    Sojourn(**express(secret="keyboard cat")).init_app(app)
    Sojourn(stroe="memory://")  # type: ignore[call-arg]
    assert_type(Sojourn.interface_class, type[SessionInterface])


def view() -> None:
    assert_type(session, FlaskSession)
    assert_type(session.permanent, bool)
    assert_type(session.modified, bool)
    assert_type(session.accessed, bool)
    assert_type(session.new, bool)
    assert_type(session.sid, str)
    assert_type(session.owner, str | None)
    session.permanent = session.modified = session.accessed = True
    session.user = "ann"  # type: ignore[attr-defined]
    session.login("ann", keep_data=True)
    session.save()
