"""What both faces share: their arguments, the guards, and where in a request's path the dashboard's own begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from ..errors import ConfigurationError
from ..events import SessionEvent
from ..guard import CrossSiteRules
from ..logs import log
from ..options import OptionsDict
from .board import Board, Ended, Response, refusal, text_response

__all__ = ["Face", "cut_short", "place", "too_large"]

_TOO_LARGE: Final = 413


class Face:
    """A dashboard in one protocol."""

    def __init__(
        self,
        make: Callable[[OptionsDict], Any],
        operator: Callable[[Any], Any],
        sessions: Any,
        options: OptionsDict,
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
        if sessions is not None and options:
            raise ConfigurationError(
                "sessions", f"it and {', '.join(sorted(options))}", "give a middleware, or its options"
            )
        self.sessions: Any = make(options) if sessions is None else sessions
        self.operator: Callable[[Any], Any] = operator
        self._own: SessionEvent | None = None
        self.rules: CrossSiteRules = CrossSiteRules(
            strict=True, trust_proxy=self.sessions.settings.options.trust_proxy, trusted_origins=trusted_origins
        )
        self.board: Board = Board(self.sessions.settings, self.sessions.store, reveals=reveals)

    def on_event(self, event: SessionEvent) -> None:
        """What the middlewares of the site are given as ``on_event``, so that the charts have what happens in this process."""
        if event is not self._own:  # which is noted
            self.board.samples.note_event(event)

    def events(self, ended: Ended) -> list[SessionEvent]:
        """What the listeners of the sessions are told of sessions that an operator has ended."""
        revoked = self.board.settings.event("revoked", owner=ended.owner, reason="operator")
        self._own = event = replace(revoked, session=ended.session, count=ended.number)
        self.board.samples.note_event(event)
        return [event]

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
    """What a form gets that is larger than any of ours."""
    return text_response(_TOO_LARGE, "Content Too Large")


def cut_short() -> Response:
    """What a form gets whose browser has gone before its end: half of a name may be another's."""
    return text_response(400, "Bad Request: the form is not complete.")
