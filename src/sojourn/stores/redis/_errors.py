"""Errors of redis-py as the contract's own: what certainly wrote nothing, and what may have."""

from __future__ import annotations

import socket
from typing import Final

from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from ...errors import StoreError, StoreTimeout, StoreUnavailable

__all__ = ["DRIVER_ERRORS", "ErrorReply", "translate", "unknown", "unreachable"]

DRIVER_ERRORS: Final = (RedisError, RedisClusterException, OSError, RuntimeError, ValueError)
"""What redis-py lets through: its own, a socket's, and that of an event loop that is another or closed."""

_UNSENT: Final = (ConnectionRefusedError, FileNotFoundError, socket.gaierror, ReadOnlyError)
_UNKNOWN: Final = (RedisConnectionError, RedisTimeoutError, InvalidResponse, RedisClusterException)


class ErrorReply(StoreUnavailable):
    """The server refused a command, and did nothing.

    Attributes:
        code: the first word of its reply, such as ``"OOM"``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"Redis refused the operation: {code}")
        self.code = code


def translate(error: Exception, *, sent: bool) -> StoreError:
    """The contract's error for the driver's. ``sent``: a write may have reached the server."""
    if isinstance(error, NoScriptError):
        return ErrorReply("NOSCRIPT")
    if isinstance(error, ResponseError):
        return ErrorReply(str(error).partition(" ")[0] if type(error) is ResponseError else type(error).__name__)
    if sent and not _certainly_unsent(error):
        return unknown(error)
    return unreachable(error)


def unknown(error: Exception) -> StoreTimeout:
    """A write may have happened."""
    return StoreTimeout(f"Redis did not answer a write, which may have happened: {type(error).__name__}")


def unreachable(error: Exception) -> StoreUnavailable:
    """Nothing was written."""
    return StoreUnavailable(f"Redis cannot be reached: {type(error).__name__}")


def _certainly_unsent(error: Exception) -> bool:
    if isinstance(error, RedisClusterException) and isinstance(error.__context__, RedisError):
        error = error.__context__  # raised while the cluster's layout was read anew after the command had failed
    if isinstance(error, RedisError) and type(error) not in _UNKNOWN:
        return True  # a reply, such as LOADING or NOAUTH, or no connection left in the pool
    return isinstance(error.__context__, _UNSENT)
