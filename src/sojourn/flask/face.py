"""``flask.session``: our session with the attributes that Flask's have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import current_app, has_request_context
from flask.sessions import SessionMixin

from ..core.data import is_changed
from ..core.session import Session
from ..core.state import Intent
from ..errors import StoreError
from ..wsgi import EnvironExchange

__all__ = ["BROWSER", "FRESH", "PERMANENT", "USER", "FlaskSession"]

PERMANENT: Final = "_permanent"
"""The key under which Flask keeps whether a session outlives the browser's."""
USER: Final = "_user_id"
FRESH: Final = "_fresh"
BROWSER: Final = "_id"
"""The keys under which Flask-Login keeps who is logged in, whether the password was given for that, and what their browser looks like."""
_SETTABLE: Final = frozenset({"accessed", "modified", "permanent"})
_UNMOVED: Final = (Intent.NONE, Intent.TOUCH)


class FlaskSession(Session, SessionMixin):
    """``flask.session``. Made by `Sojourn`, never by hand.

    Other code looks at the session after every view, so ``destroy()`` and ``logout()`` leave an empty one, as ``invalidate()`` does.
    """

    exchange: EnvironExchange[Any] | None = None
    """What commits it; None where another layer does."""
    is_forced: bool = False
    """The application said that it was modified."""
    is_committed: bool = False
    """It was committed once."""
    _by_default: bool = False
    _accessed: bool = False
    _modified: bool = False

    # -- what Flask's sessions have -------------------------------------------------------------------------------

    @property
    def permanent(self) -> bool:
        """Whether it outlives the browser's session, for ``PERMANENT_SESSION_LIFETIME``."""
        return bool(self.get(PERMANENT, self._by_default))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if self.get(PERMANENT) is not bool(value):  # many say it at each request
            self[PERMANENT] = bool(value)

    @property
    def accessed(self) -> bool:
        """Whether this request has looked at it; then the response varies with the cookie."""
        return self._accessed or (not self.is_committed and self._state.data is not None)

    @accessed.setter
    def accessed(self, value: bool) -> None:
        vars(self)["_accessed"] = value

    @property
    def modified(self) -> bool:
        """Whether this request has changed it. Nested changes are seen, and need not be told.

        True makes it be saved, or at least its life begin anew, though nothing changed.
        """
        if self._modified or self.is_committed:
            return self._modified
        state = self._state
        return state.intent not in _UNMOVED or (state.data is not None and is_changed(state))

    @modified.setter
    def modified(self, value: bool) -> None:
        vars(self).update(_modified=value, is_forced=value)

    @property
    def new(self) -> bool:  # type: ignore[override]  # what is a constant there
        """True unless the request brought it."""
        return self.is_new

    @property
    def sid(self) -> str:
        """The id, as Flask-Session calls it."""
        return self.id

    def __bool__(self) -> bool:
        """Whether anything is in it, apart from that it is permanent."""
        return any(key != PERMANENT for key in self._data())

    def note_exchange(self, exchange: EnvironExchange[Any], *, permanent: bool) -> None:
        """Note what commits it, and whether it is permanent where that is not said."""
        vars(self).update(exchange=exchange, _by_default=permanent)

    def note_committed(self) -> None:
        """Keep the flags as they are: they tell of the request."""
        vars(self).update(_accessed=self.accessed, _modified=self.modified, is_committed=True)

    # -- ours, as Flask needs it ----------------------------------------------------------------------------------

    def destroy(self) -> None:
        """End the session; what is left is an empty one, as by ``invalidate()``."""
        self.invalidate()

    def confirm(self) -> None:
        """Note that the owner has just given the password once more, for Flask-Login too; see `sojourn.Session.confirm`."""
        super().confirm()
        if USER in self:
            self[FRESH] = True
            manager = getattr(current_app, "login_manager", None) if has_request_context() else None
            if manager is not None:  # in another browser than this they are not fresh
                self[BROWSER] = manager._session_identifier_generator()  # noqa: SLF001 - as its confirm_login() does

    def __setitem__(self, key: str, value: Any) -> None:
        Session.__setitem__(self, key, value)
        vars(self)["_modified"] = True

    def __delitem__(self, key: str) -> None:
        Session.__delitem__(self, key)
        vars(self)["_modified"] = True

    def _load_now(self) -> None:
        try:
            super()._load_now()
        except StoreError as error:
            if self.exchange is not None:
                self.exchange.failure = error
            raise

    if not TYPE_CHECKING:  # a type checker knows by itself which attributes there are

        def __setattr__(self, name: str, value: Any) -> None:
            if name in _SETTABLE:
                object.__setattr__(self, name, value)
            else:
                super().__setattr__(name, value)
