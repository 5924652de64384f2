"""Every error Sojourn raises: one root, specific leaves, attributes a handler can use.

No message or attribute here ever holds a secret or a raw session id.
"""

from __future__ import annotations

from .logs import log_driver_error

__all__ = [
    "ConfigurationError",
    "HeadersAlreadySent",
    "NoPendingLogin",
    "NotLoggedIn",
    "SessionConflict",
    "SessionDecodeError",
    "SessionDestroyed",
    "SessionEncodeError",
    "SessionLate",
    "SessionNotFound",
    "SessionNotLoaded",
    "SessionTooLarge",
    "SojournError",
    "SojournWarning",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
]


class SojournError(Exception):
    """The root of all errors raised by Sojourn."""


class SojournWarning(UserWarning):
    """Something works but is not what you would want in production, such as a short secret."""


class ConfigurationError(SojournError, ValueError):
    """An option was refused at construction.

    Attributes:
        option: the option's name, such as ``"idle_timeout"``.
        given: what was given, described without ever showing a secret.
        remedy: what would be right.
    """

    def __init__(self, option: str, given: str, remedy: str) -> None:
        super().__init__(f"{option}: got {given}; {remedy}")
        self.option = option
        self.given = given
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[str, str, str]]:
        return type(self), (self.option, self.given, self.remedy)


class SessionDestroyed(SojournError):
    """The session was destroyed earlier in this request; only ``save()`` may still be called."""


class SessionNotLoaded(SojournError):
    """With ``lazy=True`` under ASGI, the session was used before ``await session.load()``."""


class SessionNotFound(SojournError):
    """``reload()`` found no live record (contract 150), or ``save()`` that the session has ended elsewhere.

    The session in memory stays as it was.
    """


class HeadersAlreadySent(SojournError):
    """The session needs a cookie that can no longer be set: the response headers have left."""


class NotLoggedIn(SojournError):
    """``confirm()`` was called, and nobody is logged in."""


class NoPendingLogin(SojournError):
    """``complete_login()`` was called, and no login was begun in this session, or that was too long ago."""


SessionLate = HeadersAlreadySent
"""The old name of `HeadersAlreadySent`."""


class SessionEncodeError(SojournError, TypeError):
    """A value in the session cannot be stored (contract 71, 72).

    Attributes:
        path: where it is, such as ``"cart.items[2].price"``.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"session value at {path or 'the top level'}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[SessionEncodeError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class SessionDecodeError(SojournError, ValueError):
    """A stored record cannot be read. Middleware logs it and starts a fresh session (contract 50)."""


class SessionTooLarge(SojournError, ValueError):
    """A record is larger than the store accepts; nothing was sent to the server.

    Attributes:
        size: the record's size in bytes.
        limit: the store's ``max_size`` in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"session record of {size} bytes exceeds the store's max_size of {limit} bytes")
        self.size = size
        self.limit = limit

    def __reduce__(self) -> tuple[type[SessionTooLarge], tuple[int, int]]:
        return type(self), (self.size, self.limit)


class StoreError(SojournError):
    """The store failed.

    Attributes:
        driver_error: the driver's own error, where there is one. What it says may show ids, keys, passwords and the data of
            visitors. So it is neither the ``__cause__``, which tracebacks show, nor a part of the text, and it is left out
            when this error is pickled. See the logger ``sojourn.driver`` in the documentation.
    """

    driver_error: BaseException | None = None

    def __init__(self, *args: object, driver_error: BaseException | None = None) -> None:
        super().__init__(*args)
        if driver_error is not None:
            self.driver_error = driver_error
            log_driver_error(driver_error)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {name: value for name, value in vars(self).items() if name != "driver_error"}


class StoreUnavailable(StoreError):
    """The store could not be reached or refused the operation; nothing was written."""


class StoreTimeout(StoreError):
    """The store did not answer in time: a write may or may not have happened."""


class SessionConflict(StoreError):
    """Other requests of the session were first for too long, or an exclusive request is no longer alone.

    Nothing of the request is saved, and it gets a 503, whatever ``on_store_error`` says.
    """
