"""``request.session``: our session with what Pyramid's have."""

from __future__ import annotations

import secrets
from typing import Any, Final

from pyramid.interfaces import ISession
from zope.interface import implementer

from ..core.session import Flash, Session

__all__ = ["PyramidSession"]

# Pyramid's own keys.
_QUEUE: Final = "_f_"
_CSRF: Final = "_csrft_"
_CSRF_BYTES: Final = 20


@implementer(ISession)
class PyramidSession(Session):
    """``request.session``. Made by Pyramid when it is first asked for, never by hand.

    Renderers and subscribers look at the session after the view, so ``destroy()`` and ``logout()`` leave an empty one, as ``invalidate()``
    does.
    """

    __slots__ = ()

    @property
    def created(self) -> int:
        """When it began, in seconds since the epoch."""
        return int(self.created_at.timestamp())

    @property
    def new(self) -> bool:
        """True unless the request brought it."""
        return self.is_new

    def changed(self) -> None:
        """Start the idle timeout anew with this response. What is changed within a value is seen, and need not be told."""
        self.touch()

    def destroy(self) -> None:
        """End the session; what is left is an empty one, as by ``invalidate()``."""
        self.invalidate()

    # -- messages ---------------------------------------------------------------------------------------------------

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Put a message at the end of a queue; without ``allow_duplicate`` only if it is not in there."""
        kept = self.peek_flash(queue)
        if allow_duplicate or msg not in kept:
            self[_QUEUE + queue] = [*kept, msg]

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Take a queue's messages, oldest first."""
        kept = self.peek_flash(queue)
        self.pop(_QUEUE + queue, None)
        return kept

    def peek_flash(self, queue: str = "") -> list[Any]:
        """A queue's messages, which stay."""
        kept = self.get(_QUEUE + queue)
        return kept if isinstance(kept, list) else []

    def flashes(self, category: str | None = None) -> list[Flash]:
        """Take the messages of a queue, or of all of them, each with the name of its queue."""
        keys = [key for key in self if key.startswith(_QUEUE)] if category is None else [_QUEUE + category]
        queues = [key.removeprefix(_QUEUE) for key in keys]
        return [Flash(queue, message) for queue in queues for message in self.pop_flash(queue)]

    # -- CSRF tokens, for Pyramid's LegacySessionCSRFStoragePolicy --------------------------------------------------

    def new_csrf_token(self) -> str:
        """A new token, in place of the one before."""
        token = secrets.token_hex(_CSRF_BYTES)
        self[_CSRF] = token
        return token

    def get_csrf_token(self) -> str:
        """The token, a new one if there is none."""
        token = self.get(_CSRF)
        return token if isinstance(token, str) else self.new_csrf_token()
