"""Sessions for Django: an engine for ``SESSION_ENGINE``, and a middleware in the place of Django's own.

Example::

    SESSION_ENGINE = "sojourn.django"
    SOJOURN = {"store": "redis://localhost"}
    MIDDLEWARE = [..., "sojourn.django.SessionMiddleware", ...]
"""

from __future__ import annotations

try:
    import django as _django  # noqa: F401 - only to say what is missing
except ImportError as _error:
    raise ImportError('sojourn.django needs Django: pip install "sojourn[django]"', name=_error.name) from _error

from .checks import check_settings
from .config import site_sessions
from .engine import SessionStore
from .guard import CrossSiteGuard
from .middleware import SessionMiddleware, session_of

__all__ = ["CrossSiteGuard", "SessionMiddleware", "SessionStore", "check_settings", "session_of", "site_sessions"]
