"""A session after its request: nothing saves it any more but its own ``save()``, and what is changed then is told.

A task that outlives its request, and a handler of errors that runs outside of the middleware, still hold the session. Its first change
is a line in the log. A value that is changed in place, and what is changed after a ``save()`` or ``reload()`` and never saved, are told
once the session is gone. A session exchanges its class for a variant of it, so that one whose request goes on pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from ..logs import log
from .policy import needs_late_commit
from .session import BaseSession, state_of

__all__ = ["become", "end", "ended"]

become: Final[Callable[[BaseSession, type[BaseSession]], None]] = object.__dict__["__class__"].__set__
"""Exchanges a session's class: past its ``__setattr__``, and the quickest way for the doors."""


def end(session: BaseSession) -> None:
    """The request is over."""
    state_of(session).over = True
    if type(session) not in _KINDS:
        become(session, ended(type(session)))


def ended(kind: type[BaseSession]) -> type[BaseSession]:
    """What `end` makes of a session of this class, a framework's own perhaps."""
    return _variant("ended", kind)


@cache
def _variant(name: str, kind: type[BaseSession]) -> type[BaseSession]:
    """A class that is this one to all the world, with other methods."""
    same = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made = type(kind.__name__, (kind,), {**same, **_METHODS[name]})
    _KINDS[made] = kind
    return made


_KINDS: Final[dict[type[BaseSession], type[BaseSession]]] = {}
"""Of which class each variant is one."""


def _kind_of(session: BaseSession) -> type[BaseSession]:
    """Its class, whatever it has been exchanged for; by another thread in this moment, perhaps."""
    return _KINDS.get(type(session), type(session))


def _tell() -> None:
    log.warning(
        "a session was changed after its request had ended, when only its save() stores that: call it, or change the session earlier"
    )


def _changing(name: str) -> Any:
    """A method that changes the session: the first is told, and then it is a session like any other."""

    def change(session: BaseSession, *args: Any, **kwargs: Any) -> Any:
        kind = _kind_of(session)
        if type(session) is not kind:
            become(session, kind)
            _tell()
        return getattr(kind, name)(session, *args, **kwargs)

    return change


def _handing_out(name: str) -> Any:
    """A method that hands out values, which may be changed in place."""

    def hand_out(session: BaseSession, *args: Any) -> Any:
        kind = _kind_of(session)
        # After an error what was changed before is not saved, and no later change would be told from it.
        if not needs_late_commit(state_of(session)):
            become(session, _variant("watched", kind))
        return getattr(kind, name)(session, *args)

    return hand_out


def _going_on(name: str) -> Any:
    """A method of whoever knows that the request is over."""

    def go_on(session: BaseSession) -> Any:
        kind = _kind_of(session)
        become(session, _variant("kept", kind))
        return getattr(kind, name)(session)

    return go_on


def _tell_if_changed(session: BaseSession) -> None:
    if needs_late_commit(state_of(session)):
        _tell()


_CHANGING: Final = (
    *("__setitem__", "__delitem__", "clear", "flash"),
    *("regenerate", "login", "begin_login", "complete_login", "confirm", "check", "destroy", "invalidate", "touch"),
)
_ENDED: Final[dict[str, Any]] = {
    **{name: _handing_out(name) for name in ("_data", "__getitem__")},
    **{name: _changing(name) for name in _CHANGING},
    **{name: _going_on(name) for name in ("save", "reload")},
}
_KEPT: Final[dict[str, Any]] = {"__del__": _tell_if_changed}
_METHODS: Final[dict[str, dict[str, Any]]] = {"ended": _ENDED, "kept": _KEPT, "watched": {**_ENDED, **_KEPT}}
"""Of a session whose request is over; of one that somebody goes on with, and saves; and of one whose values were handed out since."""
