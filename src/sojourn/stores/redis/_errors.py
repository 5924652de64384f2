"""Errors of redis-py as the contract's own: what certainly wrote nothing, and what may have.

What a server says in an error may quote a command, and with it a key, a record or a password. So our errors name the class and the
code alone, and keep the driver's error as ``driver_error``.
"""

from __future__ import annotations

import socket
from typing import Final

from redis.exceptions import (
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from ...errors import StoreError, StoreTimeout, StoreUnavailable

__all__ = ["DRIVER_ERRORS", "ErrorReply", "OutOfStepError", "code_of", "translate", "unknown", "unreachable"]

DRIVER_ERRORS: Final = (RedisError, RedisClusterException, OSError, RuntimeError, ValueError)
"""What redis-py lets through: its own, a socket's, and that of an event loop that is another or closed."""


class OutOfStepError(InvalidResponse):
    """Something came on a connection that is no reply to what was asked: no reply on it can be believed any more."""


_UNSENT: Final = (ConnectionRefusedError, FileNotFoundError, socket.gaierror, ReadOnlyError)
_UNKNOWN: Final = (RedisConnectionError, RedisTimeoutError, InvalidResponse, OutOfStepError, RedisClusterException)
_CODES: Final = frozenset(
    {
        *(
            "ASK",
            "BUSY",
            "CLUSTERDOWN",
            "CROSSSLOT",
            "DENIED",
            "ERR",
            "EXECABORT",
            "INPROG",
            "LOADING",
            "MASTERDOWN",
            "MISCONF",
        ),
        *(
            "MOVED",
            "NOAUTH",
            "NOPERM",
            "NOREPLICAS",
            "NOSCRIPT",
            "OOM",
            "READONLY",
            "TRYAGAIN",
            "WRONGPASS",
            "WRONGTYPE",
        ),
    }
)
"""The first words of Redis's error replies. Any other word may be a quotation, and is not told."""

_TYPED: Final[dict[type[Exception], str]] = {
    ClusterDownError: "CLUSTERDOWN",
    NoPermissionError: "NOPERM",
    NoScriptError: "NOSCRIPT",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    TryAgainError: "TRYAGAIN",
}
"""redis-py's errors whose text is without their code."""


class ErrorReply(StoreUnavailable):
    """The server refused a command, and did nothing.

    Attributes:
        code: which kind of error it replied, such as ``"OOM"``.
    """

    def __init__(self, code: str, *, driver_error: BaseException | None = None) -> None:
        super().__init__(f"Redis refused the operation: {code}", driver_error=driver_error)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code,)


def code_of(text: str) -> str:
    """The code that an error reply begins with; redis-py leaves ``ERR`` out."""
    code = text.partition(" ")[0]
    return code if code in _CODES else "ERR"


def translate(error: Exception, *, sent: bool) -> StoreError:
    """The contract's error for the driver's. ``sent``: a write may have reached the server."""
    if isinstance(error, ResponseError):
        return ErrorReply(_TYPED.get(type(error)) or code_of(str(error)), driver_error=error)
    if sent and not _certainly_unsent(error):
        return unknown(error)
    return unreachable(error)


def unknown(error: Exception) -> StoreTimeout:
    """A write may have happened."""
    kind = type(error).__name__
    return StoreTimeout(f"Redis did not answer a write, which may have happened: {kind}", driver_error=error)


def unreachable(error: Exception) -> StoreUnavailable:
    """Nothing was written."""
    return StoreUnavailable(f"Redis cannot be reached: {type(error).__name__}", driver_error=error)


def _certainly_unsent(error: Exception) -> bool:
    if isinstance(error, RedisClusterException) and isinstance(error.__context__, RedisError):
        error = error.__context__  # raised while the cluster's layout was read anew after the command had failed
    if isinstance(error, RedisError) and type(error) not in _UNKNOWN:
        return True  # a reply, such as LOADING or NOAUTH, or no connection left in the pool
    return isinstance(error.__context__, _UNSENT)
