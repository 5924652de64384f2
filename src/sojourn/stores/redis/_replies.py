"""What kind of reply each command of ours has. One of another kind belongs to another command: the connection is out of step."""

from __future__ import annotations

from typing import Any, Final

import hiredis

from .._raising import raise_alone
from ._errors import ErrorReply, OutOfStepError, code_of

__all__ = ["accepted", "check_reply", "is_reply"]

_TEXT: Final = (bytes, type(None))
_VALUE: Final = (bytes, int, list)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "AUTH": _TEXT,
    "CLIENT": _TEXT,
    "CONFIG": (list, dict),
    "EVAL": _VALUE,
    "EVALSHA": _VALUE,
    "EXISTS": (int,),
    "GET": _TEXT,
    "HELLO": (dict,),
    "LRANGE": (list,),
    "MGET": (list,),
    "PTTL": (int,),
    "SCAN": (list,),
    "SELECT": _TEXT,
    "SET": _TEXT,
}


def is_reply(command: str, reply: Any) -> bool:
    """Whether this can be the reply to a command; an error, as hiredis has it, can be that to any."""
    return type(reply) in _KINDS[command] or type(reply) is hiredis.ReplyError


def check_reply(command: str, reply: Any) -> None:
    """Refuse what cannot be the reply to a command.

    Raises:
        OutOfStepError: it is another's.
    """
    if not is_reply(command, reply):
        raise OutOfStepError


def accepted(reply: Any) -> Any:
    """A reply of hiredis's that is no error.

    Raises:
        ErrorReply: it is one.
    """
    if type(reply) is hiredis.ReplyError:
        raise_alone(ErrorReply(code_of(str(reply)), driver_error=reply))
    return reply
