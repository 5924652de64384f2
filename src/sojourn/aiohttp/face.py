"""``request["session"]``: our session with the names that aiohttp-session's has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..clock import Duration
from ..core.session import AsyncSession

__all__ = ["AiohttpSession"]


class AiohttpSession(AsyncSession):
    """A session with the names of aiohttp-session's. Made by `setup`, never by hand.

    Middlewares look at it after the handler, so ``destroy()`` and ``logout()`` leave an empty one, as ``invalidate()`` does.
    """

    __slots__ = ()

    @property
    def identity(self) -> str | None:
        """The id; None for a new session, whose id the browser does not have yet."""
        return None if self.is_new else self.id

    @property
    def new(self) -> bool:
        """The same as ``is_new``."""
        return self.is_new

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return not self

    @property
    def created(self) -> int:
        """``created_at`` in seconds since the epoch. It does not move."""
        return int(self.created_at.timestamp())

    @property
    def max_age(self) -> int | None:
        """How many seconds it lasts without a request, and its cookie in the browser; None for a cookie of the browser's session.

        Set it for this session alone, as ``session.cookie.max_age``.
        """
        lifetime = self.cookie.original_max_age
        return None if lifetime is None else int(lifetime)

    @max_age.setter
    def max_age(self, value: Duration | None) -> None:
        self.cookie.max_age = value

    def changed(self) -> None:
        """The same as ``touch()``: start the idle timeout anew. Changes are saved without it, within a list too."""
        self.touch()

    def set_new_identity(self, _identity: object) -> NoReturn:
        """Not offered.

        Raises:
            RuntimeError: always; it says what there is instead.
        """
        raise RuntimeError(
            "a session's id is generated: give the option generate_id to have others, and call regenerate() or login() for a new one"
        )

    def destroy(self) -> None:
        """End the session; what is left is an empty one, as by ``invalidate()``."""
        self.invalidate()

    if not TYPE_CHECKING:  # a type checker knows by itself which attributes there are

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "max_age":
                object.__setattr__(self, name, value)
            else:
                super().__setattr__(name, value)
