"""The dashboard: what sessions there are, whose, and ending them; for operators, behind the application's own guard.

It is an application of its own, to be mounted in the site: `ASGIDashboard` or `WSGIDashboard`. It needs ``pip install "sojourn[dashboard]"``.
"""

from __future__ import annotations

try:
    import jinja2 as _jinja2  # noqa: F401
except ImportError as _error:  # pragma: no cover - the tests have it
    raise ImportError('the dashboard needs jinja2: pip install "sojourn[dashboard]"', name=_error.name) from _error

from .asgi import ASGIDashboard
from .wsgi import WSGIDashboard

__all__ = ["ASGIDashboard", "WSGIDashboard"]
