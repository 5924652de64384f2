"""What both faces share: their arguments, the guards, and where in a request's path the dashboard's own begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from ..errors import ConfigurationError
from ..guard import CrossSiteRules
from ..logs import log
from ..middleware.base import Middleware
from .board import Board, Response, refusal, text_response

__all__ = ["Face"]

_TOO_LARGE: Final = 413


class Face:
    """A dashboard in one protocol."""

    def __init__(
        self,
        middleware: Middleware,
        operator: Callable[[Any], Any],
        options: Mapping[str, Any],
        *,
        reveals: bool,
        trusted_origins: Sequence[str],
    ) -> None:
        if not callable(operator):
            raise ConfigurationError(
                "operator",
                repr(operator),
                "give a function of the request that returns who the operator is, or None: without one the dashboard is open to anybody",
            )
        self.middleware: Any = middleware
        self.operator = operator
        self.rules = CrossSiteRules(
            strict=True, trust_proxy=options.get("trust_proxy"), trusted_origins=trusted_origins
        )
        self.board = Board(middleware.settings, middleware.store, reveals=reveals)

    def on_event(self, event: Any) -> None:
        """What the middlewares of the site are given as ``on_event``, so that the charts have what happens in this process."""
        self.board.samples.note_event(event)

    def named(self, who: object) -> str | Response:
        """The operator's name; or the 403, for what is none."""
        if isinstance(who, str) and who:
            return who
        if who is not None:
            log.error("operator returned %s instead of a name or None: nobody is let in", type(who).__name__)
        return refusal()


def place(base: str, path: str) -> tuple[str, str]:
    """Where the dashboard is mounted, as it is written in URLs, and what follows. Some frameworks have the first in the second, too."""
    base = base.rstrip("/")
    if base and (path == base or path.startswith(f"{base}/")):
        path = path[len(base) :]
    return quote(base), path


def too_large() -> Response:
    return text_response(_TOO_LARGE, "Content Too Large")
