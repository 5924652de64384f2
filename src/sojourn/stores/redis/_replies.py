"""What kind of reply each command of ours has. One of another kind belongs to another command: the connection is out of step."""

from __future__ import annotations

from typing import Any, Final

from ._errors import OutOfStepError

__all__ = ["check_reply", "is_reply"]

_TEXT: Final = (bytes, type(None))
_VALUE: Final = (bytes, int, list)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "AUTH": _TEXT,
    "CLIENT": _TEXT,
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
    """Whether this can be the reply to a command, where it is no error."""
    return type(reply) in _KINDS[command]


def check_reply(command: str, reply: Any) -> None:
    """Refuse what cannot be the reply to a command.

    Raises:
        OutOfStepError: it is another's.
    """
    if not is_reply(command, reply):
        raise OutOfStepError
