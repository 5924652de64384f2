"""What PyMongo's errors mean to a caller of the store: nothing was written, or perhaps something was.

A write is held to be certainly not done only where the driver or the server says so. In doubt it may have happened, which is
never wrong: the caller finds out by reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, TypeAlias

from bson.errors import BSONError
from pymongo.errors import (
    ConnectionFailure,
    InvalidOperation,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from ...errors import StoreError, StoreTimeout, StoreUnavailable
from .._raising import raise_alone

__all__ = ["Guard", "reading", "writing"]

Guard: TypeAlias = Callable[..., AbstractContextManager[None]]
"""Takes ``several``: whether the write is of several documents, so that a part of it may have been done."""

# The server's codes, from its src/mongo/base/error_codes.yml.
_REFUSED_AS_SECONDARY: Final = frozenset({10107, 13435, 13436, 10058})  # before anything was done
# Interrupted, timed out, or lost behind a router: perhaps not before the write was done.
_CUT_SHORT: Final = frozenset({6, 7, 24, 50, 64, 89, 91, 134, 189, 202, 262, 279, 9001, 11600, 11601, 11602})


@contextmanager
def reading() -> Iterator[None]:
    """Turn the driver's errors of a read into ours.

    Raises:
        StoreUnavailable: whatever it was, nothing was written.
    """
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise_alone(StoreUnavailable(f"MongoDB: {_describe(error)}", driver_error=error))


@contextmanager
def _writing(*, resends: bool, several: bool = False) -> Iterator[None]:
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise_alone(_failed_write(error, resends=resends, several=several))


def writing(*, resends: bool) -> Guard:
    """Turn the driver's errors of a write into ours; ``resends``: whether the client has ``retryWrites`` on.

    Raises:
        StoreUnavailable: nothing was written.
        StoreTimeout: perhaps something was.
    """
    return partial(_writing, resends=resends)


def _failed_write(error: Exception, *, resends: bool, several: bool) -> StoreError:
    if _is_certain(error, resends=resends, several=several):
        return StoreUnavailable(f"MongoDB: {_describe(error)}; nothing was written", driver_error=error)
    return StoreTimeout(f"MongoDB: {_describe(error)}; the write may have happened", driver_error=error)


def _is_certain(error: Exception, *, resends: bool, several: bool) -> bool:
    """Whether a write has certainly not been done."""
    if isinstance(error, ServerSelectionTimeoutError | InvalidOperation | BSONError):
        return True
    if resends:
        return False  # this may be the error of the second attempt, after a first one whose reply was lost
    if several and isinstance(error, NotPrimaryError | OperationFailure):
        return False  # one shard may have refused what another has done
    if isinstance(error, NotPrimaryError):
        return _code(error) in _REFUSED_AS_SECONDARY
    if isinstance(error, ConnectionFailure):
        return isinstance(error, WaitQueueTimeoutError) or isinstance(error.__cause__, ConnectionRefusedError)
    if isinstance(error, OperationFailure):
        return not isinstance(error, WriteConcernError) and error.code not in _CUT_SHORT
    return False


def _code(error: Exception) -> int | None:
    if isinstance(error, OperationFailure):
        return error.code
    details = error.details if isinstance(error, NotPrimaryError) else None
    return details.get("code") if isinstance(details, dict) else None


def _describe(error: Exception) -> str:
    """The kind of error alone: the driver's text may quote the server's, and that a document."""
    code = _code(error)
    return type(error).__name__ if code is None else f"{type(error).__name__} (code {code})"
