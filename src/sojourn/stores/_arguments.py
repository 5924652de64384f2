"""The checks at the door of every store: what names a record or its owner is text that every store can hold."""

from __future__ import annotations

from ..ids import check_key, check_owner

__all__ = ["as_key", "check_key", "check_keys", "check_optional_owner", "check_owner", "check_token"]


def as_key(given: object) -> str | None:
    """What lies in the place of a tombstone's successor; None where it is no key, and so leads nowhere."""
    try:
        check_key(given)
    except (TypeError, ValueError):
        return None
    assert isinstance(given, str)
    return given


def check_keys(keys: tuple[object, ...]) -> None:
    """`check_key` for each of them."""
    for key in keys:
        check_key(key)


def check_optional_owner(owner: object) -> None:
    """`check_owner`, where None stands for no owner."""
    if owner is not None:
        check_owner(owner)


def check_token(token: object) -> None:
    """Refuse what cannot be a lock's token.

    Raises:
        TypeError: it is no str.
    """
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str, not {type(token).__qualname__}")
