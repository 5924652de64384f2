"""Who is logged in, by what Passport keeps of it in a session's data: ``passport: {"user": ...}``. With the option ``passport`` alone.

Theory of operation
-------------------
Passport on Node knows nothing of our reserved part, and can only say by the data that somebody has logged in there, or out. So the data say who
is logged in, and the reserved part no more than what is known of that login: where it names another owner, or one where the data
have none, the login that it is about is over, and nothing of it counts. The rule is `heed`, for whatever has both: a record that was loaded or is
about to be written, and a session whose data the application has changed itself.

A user is a string that could be an owner, or an integer, which is the owner of the same digits. What else ``serializeUser`` may have written,
an object say, is Node's: it stays as it is, and is nobody here. So are an empty string and null, as for Passport (`SessionStrategy`), and a
number that JavaScript does not hold exactly.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Raw

from ..codecs import loads
from ..errors import SessionDecodeError
from ..ids import check_owner, refusal_by
from .record import NOBODY, Login, Record

__all__ = ["PASSPORT", "check_user", "heed", "is_another_s", "owner_of", "with_user"]

PASSPORT: Final = "passport"
"""The key in the data."""
_USER: Final = "user"
_LARGEST: Final = 2**53 - 1  # what JavaScript's numbers hold exactly
_integer: Final = re.compile(r"0|-?[1-9][0-9]{0,15}").fullmatch


def owner_of(record: Record, *, passport: bool) -> str | None:
    """Who is logged in by a record as it lies in the store."""
    return heed(record.login, record.data.get(PASSPORT)).owner if passport else record.owner


def heed(login: Login, kept: Any) -> Login:
    """The login as Passport has it.

    Args:
        login: what we know.
        kept: what is under `PASSPORT` in the data, as text or decoded; None where there is nothing.
    """
    user = _owner(_user(kept))
    if user == login.owner:
        return login
    return NOBODY if user is None else Login(user)


def is_another_s(kept: Any, owner: str) -> bool:
    """Whether somebody else than this owner stands there, of whatever shape."""
    user = _user(kept)
    is_nobody = user is None or user is False or user == ""  # as JavaScript has it, but that for Passport 0 is somebody
    return not is_nobody and _owner(user) != owner


def _user(kept: Any) -> Any:
    if type(kept) is Raw:
        try:
            kept = loads(bytes(kept))
        except SessionDecodeError:
            return None
    return kept.get(_USER) if isinstance(kept, dict) else None


def _owner(user: Any) -> str | None:
    if isinstance(user, str):
        return None if refusal_by(check_owner, user) else user
    if isinstance(user, int | float) and not isinstance(user, bool) and abs(user) <= _LARGEST and user == int(user):
        return str(int(user))  # 1.0 is an integer in JavaScript
    return None


def check_user(owner: str, kind: object) -> None:
    """Refuse an owner that cannot be written as the option ``passport`` says.

    Raises:
        ValueError: it is no integer, or not in the form in which it would come back. The owner is not shown.
    """
    if kind is int and not (_integer(owner) and abs(int(owner)) <= _LARGEST):
        raise ValueError(
            'with passport=int an owner must be a decimal integer up to 2**53 - 1, such as "42"; passport=True writes any owner, as a string'
        )


def with_user(kept: Any, owner: str | None, kind: object) -> dict[str, Any]:
    """What is to be kept under `PASSPORT`, once this owner has logged in, or nobody is: all else in it stays."""
    rest = {name: value for name, value in kept.items() if name != _USER} if isinstance(kept, dict) else {}
    return rest if owner is None else {**rest, _USER: int(owner) if kind is int else owner}
