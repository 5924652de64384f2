"""What kind of reply each command of ours has. One of another kind belongs to another command: the connection is out of step."""

from __future__ import annotations

from typing import Any, Final

import hiredis

from .._raising import raise_alone
from ._errors import ErrorReply, OutOfStepError, code_of

__all__ = ["KINDS", "accepted", "check_reply"]

_TEXT: Final = (bytes, type(None), hiredis.ReplyError)
_VALUE: Final = (bytes, int, list, hiredis.ReplyError)
_NUMBER: Final = (int, hiredis.ReplyError)
_LIST: Final = (list, hiredis.ReplyError)
KINDS: Final[dict[str, tuple[type, ...]]] = {
    "AUTH": _TEXT,
    "CLIENT": _TEXT,
    "CONFIG": (list, dict, hiredis.ReplyError),
    "EVAL": _VALUE,
    "EVALSHA": _VALUE,
    "EXISTS": _NUMBER,
    "GET": _TEXT,
    "HELLO": (dict, hiredis.ReplyError),
    "LRANGE": _LIST,
    "MGET": _LIST,
    "PTTL": _NUMBER,
    "SCAN": _LIST,
    "SELECT": _TEXT,
    "SET": _TEXT,
}
"""The types of what can be the reply to a command; an error, as hiredis has it, can be that to any."""


def check_reply(command: str, reply: Any) -> None:
    """Refuse what cannot be the reply to a command.

    Raises:
        OutOfStepError: it is another's.
    """
    if type(reply) not in KINDS[command]:
        raise OutOfStepError


def accepted(reply: Any) -> Any:
    """A reply of hiredis's that is no error.

    Raises:
        ErrorReply: it is one.
    """
    if type(reply) is hiredis.ReplyError:
        raise_alone(ErrorReply(code_of(str(reply)), driver_error=reply))
    return reply
