"""Sessions for Flask: ``flask.session`` is kept in a store, and nothing else changes.

Example::

    app = Flask(__name__)
    app.secret_key = os.environ["SECRET_KEY"]
    Sojourn(app, store="redis://localhost")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from flask import session as _session
except ImportError as _error:
    raise ImportError('sojourn.flask needs Flask: pip install "sojourn[flask]"', name=_error.name) from _error

from .codec import flask_codec
from .extension import Sojourn
from .face import FlaskSession
from .fresh import fresh_required, next_page
from .guard import CrossSiteGuard
from .interface import SessionInterface

__all__ = [
    "CrossSiteGuard",
    "FlaskSession",
    "SessionInterface",
    "Sojourn",
    "flask_codec",
    "fresh_required",
    "next_page",
    "session",
]

if TYPE_CHECKING:
    session: FlaskSession
else:
    session = _session
    """``flask.session``, the very same, with the type that it has."""
