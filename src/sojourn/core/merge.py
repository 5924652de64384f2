"""The three-way merge: what this request changed, applied to what another has stored meanwhile.

A rule per kind of value, all of them in this file:

- **Objects** are merged key by key, also where the base had none (both requests began the same cart). What would come out
  in the form of a tag, and be taken for one, is a leaf after all.
- **Lists** that both sides only appended to keep all appended elements, theirs first. An append is an append: the same
  element appended by both is there twice. Where the base had none, both began the list and it keeps the elements of both,
  unless they are the very same list.
- **Messages** (`is_queue`) that mine has taken are taken from theirs, and those that it has added are added.
- **Everything else is a leaf**, tagged objects (one key, beginning with ``$``) included. Changed on one side, the change
  stands; a deletion is a change. Changed on both, the later commit wins, which is mine; for keys in
  ``increments``, where nothing else was done to the number, the sum.

What counts as a change is the JSON value with its type: 1, 1.0 and true differ. The order of an object's keys is no value.

The data's own values come as text. They are compared as that, and decoded only where both sides have other text than the base. What
cannot be decoded, such as ``1e400``, or is nested too deeply to be walked, is a leaf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isclose, isfinite
from operator import is_
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from msgspec import Raw

from ..codecs import Members, dumps, is_tagged, loads
from ..errors import SessionConflict, SessionDecodeError, SessionEncodeError
from .flashes import is_queue

__all__ = ["merge"]

_Object: TypeAlias = dict[str, Any]


class _Absent:
    """A key that is not there: unlike null, and equal to nothing but itself."""


_ABSENT: Final = _Absent()
_NUMBERS: Final = (int, float)
_ROUNDING: Final = 1e-9  # several floats give another sum in another order
_CONFLICT: Final = "another request changed the same value of a session this one was to have for itself"
_NO_INCREMENTS: Final[Mapping[str, float]] = MappingProxyType({})


def merge(
    base: Members,
    mine: Members,
    theirs: Members,
    *,
    increments: Mapping[str, float] = _NO_INCREMENTS,
    exclusive: bool = False,
) -> Members:
    """Merge the data of three sessions.

    Args:
        base: what this request loaded.
        mine: what it has made of it.
        theirs: what the store holds now.
        increments: by key, how much this request added (``session.increment()``).
        exclusive: the request was to be alone: a leaf that both changed, and differently, is an error.

    Returns:
        Theirs itself where nothing is to be added to it. Else keys in theirs' order, then mine's new ones; the texts are theirs' or mine's
        own wherever they are whole.

    Raises:
        SessionConflict: with ``exclusive``, both changed the same leaf.
    """
    merged: Members = {}
    for key in theirs | mine:
        was, my, their = base.get(key), mine.get(key), theirs.get(key)
        if my == was:
            text = their
        elif their == was:
            text = my
        else:
            text = _texts(was, my, their, increments.get(key), exclusive=exclusive, queue=is_queue(key))
        if text is not None:
            merged[key] = text
    return theirs if len(merged) == len(theirs) and all(map(is_, merged.values(), theirs.values())) else merged


def _texts(
    was: Raw | None, my: Raw | None, their: Raw | None, delta: float | None, *, exclusive: bool, queue: bool
) -> Raw | None:
    """Merge a value that both sides have other text for than the base."""
    try:
        base, mine, theirs = (_ABSENT if text is None else loads(bytes(text)) for text in (was, my, their))
        merged = _values(base, mine, theirs, delta, exclusive=exclusive, queue=queue)
        if _same(merged, theirs):
            return their
        if _same(merged, mine):
            return my
        return None if merged is _ABSENT else Raw(dumps(merged))
    except (SessionDecodeError, SessionEncodeError, RecursionError):  # a leaf, then
        if exclusive and my != their:
            raise SessionConflict(_CONFLICT) from None
        return my


def _objects(base: _Object, mine: _Object, theirs: _Object, *, exclusive: bool, queue: bool) -> _Object:
    merged: _Object = {}
    for key in theirs | mine:
        was, my, their = base.get(key, _ABSENT), mine.get(key, _ABSENT), theirs.get(key, _ABSENT)
        value = _values(was, my, their, None, exclusive=exclusive, queue=queue)
        if value is not _ABSENT:
            merged[key] = value
    return merged


def _values(base: Any, mine: Any, theirs: Any, delta: float | None, *, exclusive: bool, queue: bool) -> Any:
    if _same(mine, base):
        return theirs
    if _same(theirs, base):
        return mine
    if delta is not None and _is_incremented(base, mine, delta):
        total = _sum(theirs, delta)
        return mine if total is None else total
    if queue and all(value is _ABSENT or type(value) is list for value in (base, mine, theirs)):
        return _queue(base, mine, theirs)
    if queue and mine is _ABSENT and _is_object(base) and _is_object(theirs):  # it took all that it knew of
        return _objects(base, {}, theirs, exclusive=exclusive, queue=True) or _ABSENT
    gone = theirs is _ABSENT and _is_object(base)  # deleted whole: only what this request itself put in comes back
    if _is_object(mine) and (gone or _is_object(theirs)):
        merged = _objects(
            base if _is_object(base) else {}, mine, {} if gone else theirs, exclusive=exclusive, queue=queue
        )
        if not is_tagged(merged):
            return _ABSENT if gone and not merged else merged
    begun = base is _ABSENT and not _same(mine, theirs)  # both appended to nothing, as to the first flash messages
    before = [] if begun else base
    if type(before) is list and _extends(mine, before) and _extends(theirs, before):
        return theirs + mine[len(before) :]
    if exclusive and not _same(mine, theirs):
        raise SessionConflict(_CONFLICT)
    return mine


def _queue(base: Any, mine: Any, theirs: Any) -> Any:
    """Theirs, without what mine has taken, and with what it has added."""
    if base is _ABSENT and _same(mine, theirs):
        return mine
    was, my, their = ([] if value is _ABSENT else value for value in (base, mine, theirs))
    return _without(their, _without(was, my)) + _without(my, was) or _ABSENT


def _without(one: list[Any], other: list[Any]) -> list[Any]:
    """The elements of one list but for those of another, as often as they are there."""
    gone, left = Counter(map(dumps, other)), []
    for element in one:
        text = dumps(element)
        if gone[text]:
            gone[text] -= 1
        else:
            left.append(element)
    return left


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON, types included."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    # To Python 1, 1.0 and True are equal. Where texts are too, so are the types; where they are not, it may be the order of keys.
    if type(one) is dict:
        return dumps(one) == dumps(other) or all(_same(value, other[key]) for key, value in one.items())
    return type(one) is not list or dumps(one) == dumps(other) or all(map(_same, one, other))


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_tagged(value)


def _extends(value: Any, base: list[Any]) -> bool:
    return type(value) is list and _same(value[: len(base)], base)


def _is_incremented(base: Any, mine: Any, delta: float) -> bool:
    """Whether the delta is all that was done to a value: what was set before it was incremented is a leaf."""
    before = 0 if base is _ABSENT else base
    if type(before) is int and type(delta) is int:
        return bool(before + delta == mine)
    if type(before) not in _NUMBERS or type(mine) not in _NUMBERS:
        return False
    try:
        return isclose(before + delta, mine, abs_tol=_ROUNDING * abs(delta))
    except OverflowError:  # an integer past a float's range
        return False


def _sum(theirs: Any, delta: float) -> float | None:
    """Theirs plus the delta; None where that is no number that JSON has."""
    if theirs is _ABSENT:
        return delta
    if type(theirs) is not int and type(theirs) is not float:
        return None
    try:
        total = theirs + delta
    except OverflowError:  # an integer past a float's range
        return None
    return total if type(total) is int or isfinite(total) else None
