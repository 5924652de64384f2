"""What happens to sessions, told to whoever listens: the option ``on_event``. See "Events" in the documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from .errors import ConfigurationError

__all__ = ["KINDS", "Kind", "Listener", "Measuring", "Operation", "SessionEvent", "check_listeners", "is_async"]

Kind: TypeAlias = Literal[
    "created",
    "loaded",
    "changed",
    "regenerated",
    "destroyed",
    "expired",
    "revoked",
    "refused",
    "merged",
    "unreadable",
    "store_down",
    "store_back",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""All kinds of events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """What happened to a session, or to the store."""

    kind: Kind
    at: datetime
    """When, in UTC, by the option ``clock``."""
    session: str | None = None
    """The session, as the log shows it: the first digits of its id's SHA-256. Never the id. None where it is about none, or about many."""
    owner: str | None = field(default=None, repr=False)
    """Who is logged in there, where that is known. Personal data: it is not shown by ``repr()``, and no metric or span of ours has it."""
    former: str | None = None
    """Of ``regenerated``: what the session was called before."""
    reason: str | None = None
    """Of ``refused``, ``revoked``, ``unreadable`` and ``store_down``: why. One of a few words, or the name of an error's class."""
    operation: Literal["load", "write"] | None = None
    """Of ``store_down`` and ``store_back``: what fails, or works again."""
    count: int = 1
    """How many sessions it is about. Of ``store_back``: how many operations had failed."""


Listener: TypeAlias = Callable[[SessionEvent], Awaitable[object] | object]
"""What ``on_event`` takes. What it returns is of no matter, but that an awaitable is awaited."""

Operation: TypeAlias = Literal["load", "commit"]
"""What a `Measuring` measures: the look-up of a request's session; its commit with the response, or by ``save()``."""


@runtime_checkable
class Measuring(Protocol):
    """A listener that is also told how long the store takes, such as those of `sojourn.otel` and `sojourn.prometheus`."""

    def measure(self, operation: Operation) -> AbstractContextManager[object]:
        """What is entered before the store is asked, and left once it has answered, or with what it raised. It cannot suppress that.

        A commit may wait for another request's, and be merged and tried again.
        """


def check_listeners(given: object) -> tuple[Listener, ...]:
    """What the option ``on_event`` gives, as a tuple.

    Raises:
        ConfigurationError: it is no callable, and no sequence of such.
    """
    if given is None:
        return ()
    listed: tuple[Any, ...] = (given,) if callable(given) or not isinstance(given, Iterable) else tuple(given)
    for listener in listed:
        if not callable(listener):
            raise ConfigurationError(
                "on_event", repr(listener), "give a function of a SessionEvent, or a sequence of them"
            )
    return listed


def is_async(listener: object) -> bool:
    """Whether a listener is a coroutine function, or an object whose ``__call__`` is one."""
    return iscoroutinefunction(listener) or iscoroutinefunction(getattr(listener, "__call__", None))  # noqa: B004 - that one is asked for
