"""A session's data by the plainest means: all decoded when they are loaded, all encoded when they are stored.

`Eager` is what the session is held against: a model that says what its data are after every operation, and what lies in the store
after every commit. It knows the rules of ``docs/concurrency.md`` for two requests at once, and shares nothing with the package but
what a codec makes of a single value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any, Final, NoReturn

from sojourn.codecs import Codec
from sojourn.errors import SessionDecodeError, SessionEncodeError, SessionNotFound

__all__ = ["Eager", "Shelf", "Texts", "member", "visible"]

Texts = dict[str, bytes]
"""Values as JSON text, by name."""


class _Mark:
    """A value like no other."""


_ABSENT: Final = _Mark()
_UNREADABLE: Final = _Mark()
"""In the place of a value that the codec cannot decode."""


@dataclass(eq=False)
class Shelf:
    """A place in the store."""

    texts: Texts
    """The values of the record that lies there."""
    raw: bytes | None = None
    """The whole record, where another program wrote it."""
    writes: int = 0
    ended: bool = False

    def write(self, texts: Texts, raw: bytes | None = None) -> None:
        self.texts, self.raw = texts, raw
        self.writes += 1


def member(name: str, text: bytes) -> bytes:
    """A member of a record as Sojourn writes it."""
    return json.dumps(name, ensure_ascii=False).encode(errors="backslashreplace") + b":" + text


def visible(codec: Codec, texts: Texts) -> Texts:
    """What a session has of a record's values."""
    dropped = getattr(codec, "reserved", ())
    return {name: text for name, text in texts.items() if name not in dropped}


class Eager(MutableMapping[str, Any]):
    """The model of a request's session."""

    def __init__(self, codec: Codec, shelf: Shelf, *, clear_ends: bool) -> None:
        self.codec = codec
        self.clear_ends = clear_ends
        self.brought: Final = shelf
        self.shelf: Shelf | None = shelf
        self.begun_anew = 0
        self.intent = ""
        self._load(shelf)

    def _load(self, shelf: Shelf) -> None:
        self.version = shelf.writes
        self.base = visible(self.codec, shelf.texts)
        self.data: dict[str, Any] = {name: self._decode(text) for name, text in self.base.items()}
        self.renewed = False
        self.owner: str | None = None
        self.increments: dict[str, float] = {}

    def _decode(self, text: bytes) -> Any:
        try:
            return self.codec.decode(text)
        except SessionDecodeError:
            return _UNREADABLE

    # -- the mapping --------------------------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        self.begun_anew += 1
        self.shelf, self.base, self.data, self.owner, self.increments = None, {}, {}, None, {}

    def _all(self) -> dict[str, Any]:
        if any(value is _UNREADABLE for value in self.data.values()):
            self._begin_anew()
        return self.data

    def __getitem__(self, key: str) -> Any:
        value = self.data[key]
        if value is _UNREADABLE:
            self._begin_anew()
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.data[key] = value
        self.increments.pop(key, None)

    def __delitem__(self, key: str) -> None:
        del self.data[key]
        self.increments.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self.data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def popitem(self) -> tuple[str, Any]:
        keys = list(self)
        if not keys:
            raise KeyError
        return keys[-1], self.pop(keys[-1])

    # -- what a session can besides -----------------------------------------------------------------------------------

    def increment(self, key: str, by: float = 1) -> Any:
        before = self.get(key, 0)
        if type(before) is not int and type(before) is not float:
            raise TypeError
        added = self.increments.get(key, 0) + by
        self[key] = before + by
        self.increments[key] = added
        return before + by

    def flash(self, message: str, category: str = "info") -> None:
        if "_flashes" not in self:
            self["_flashes"] = []
        try:
            kept = self["_flashes"]
        except KeyError:  # begun anew
            kept = self["_flashes"] = []
        kept.append([category, message])

    def flashes(self, category: str | None = None) -> list[tuple[str, str]]:
        kept = self.get("_flashes") or []
        taken = [(name, message) for name, message in kept if category in (None, name)]
        left = [entry for entry in kept if category not in (None, entry[0])]
        if left:
            self["_flashes"] = left
        elif kept:
            del self["_flashes"]
        return taken

    def regenerate(self, *, keep_data: bool = False) -> None:
        self.intent = self.intent or "regenerate"
        if not keep_data:
            self._renew()

    def login(self, owner: str, *, keep_data: bool = False) -> None:
        self.regenerate(keep_data=keep_data)
        self.owner = owner

    def clear(self) -> None:
        if self.clear_ends:
            self.intent = "clear"
            self._renew()
        else:
            self.data.clear()
            self.increments = {}

    def _renew(self) -> None:
        self.renewed = True
        self.base, self.data, self.owner, self.increments = {}, {}, None, {}

    def reload(self) -> None:
        if self.intent or self.shelf is None or self.shelf.ended:
            raise SessionNotFound
        self._load(self.shelf)

    # -- the commit ---------------------------------------------------------------------------------------------------

    def texts(self) -> Texts:
        """All of the data encoded. What another program wrote otherwise than we would, and nobody changed, as it was.

        Raises:
            SessionEncodeError: its path is the names of all values that cannot be stored.
        """
        texts: Texts = {}
        refused = []
        for key, value in self.data.items():
            before = self.base.get(key)
            if value is _UNREADABLE:
                assert before is not None
                texts[key] = before
                continue
            try:
                text = self._encode(key, value)
            except SessionEncodeError:
                if before is None or repr(value) != repr(self._decode(before)):
                    refused.append(str(key))
                    continue
                text = before
            if before is not None and text != before and text == self._rewritten(before):
                text = before
            texts[key] = text
        if refused:
            raise SessionEncodeError("\n".join(refused), "cannot be stored")
        return texts

    def _encode(self, key: str, value: Any) -> bytes:
        reserved = {"cookie", "__sojourn__", *getattr(self.codec, "reserved", ())}
        if key not in self.base and (type(key) is not str or key in reserved):
            raise SessionEncodeError(str(key), "no name for a value")
        return self.codec.encode(value)

    def _rewritten(self, before: bytes) -> bytes | None:
        try:
            return self.codec.encode(self.codec.decode(before))
        except (SessionDecodeError, SessionEncodeError):
            return None

    def commit(self) -> None:
        """Store what is to be stored.

        Raises:
            SessionEncodeError: a value cannot be stored, or a sum.
        """
        while True:
            texts, shelf = self.texts(), self.shelf
            is_changed = list(texts.items()) != list(self.base.items())
            if self.intent:
                is_stored = is_changed or self.owner is not None or (shelf is not None and not self.renewed)
            else:
                is_stored = is_changed
                if not is_stored:
                    return
            if shelf is None:
                if is_stored:
                    self.shelf = Shelf(texts)
            elif is_stored and shelf.writes != self.version:
                self._merge(texts, shelf)
                continue
            elif not self.intent:
                shelf.write(texts)
            else:
                shelf.ended = True
                self.shelf = Shelf(texts) if is_stored else None
            break
        if self.intent == "clear":
            self.brought.ended = True
        self.base = texts if self.shelf is not None else {}
        self.version = 0 if self.shelf is None else self.shelf.writes
        self.renewed, self.intent = False, ""
        if is_stored:
            self.increments = {}

    def _merge(self, mine: Texts, shelf: Shelf) -> None:
        """Apply this request's changes to what another has stored."""
        if self.renewed:
            self.version = shelf.writes
            return
        theirs = visible(self.codec, shelf.texts)
        merged = _merged(self.base, mine, theirs, self.increments)
        for key in self.increments:
            if key in merged and merged[key] != theirs.get(key):
                try:
                    self.codec.encode(_tree(merged[key]))
                except SessionEncodeError as error:
                    raise SessionEncodeError(key, error.reason) from None
        self.data = {
            key: self.data[key] if text == mine.get(key) else self._decode(text) for key, text in merged.items()
        }
        self.base, self.version = theirs, shelf.writes


# -- the merge: docs/concurrency.md ---------------------------------------------------------------------------------------


def _merged(base: Texts, mine: Texts, theirs: Texts, increments: Mapping[str, float]) -> Texts:
    merged = {}
    for key in [*theirs, *(key for key in mine if key not in theirs)]:
        was, my, their = base.get(key), mine.get(key), theirs.get(key)
        text = their if my == was else my if their == was else _one_text(was, my, their, increments.get(key))
        if text is not None:
            merged[key] = text
    return merged


def _one_text(was: bytes | None, my: bytes | None, their: bytes | None, delta: float | None) -> bytes | None:
    try:
        base, mine, theirs = _tree(was), _tree(my), _tree(their)
    except ValueError:  # no JSON that Python holds: one value, which the later commit sets
        return my
    tree = _one_value(base, mine, theirs, delta)
    if _same(tree, theirs):
        return their
    if _same(tree, mine):
        return my
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def _one_value(base: Any, mine: Any, theirs: Any, delta: float | None = None) -> Any:
    if _same(mine, base):
        return theirs
    if _same(theirs, base):
        return mine
    if delta is not None and _is_number(mine) and (base is _ABSENT or _is_number(base)):
        before = 0 if base is _ABSENT else base
        expected = before + delta
        if expected == mine or (type(expected) is float and isclose(expected, mine)):
            total = delta if theirs is _ABSENT else theirs + delta if _is_number(theirs) else None
            return mine if total is None or not isfinite(total) else total
    if _is_object(mine) and theirs is _ABSENT and _is_object(base):
        # The other deleted it: what this request itself put in comes back, and that alone.
        tree = _one_object(base, mine, {})
        if not _is_tag(tree):
            return tree or _ABSENT
    if _is_object(mine) and _is_object(theirs):
        tree = _one_object(base if _is_object(base) else {}, mine, theirs)
        if not _is_tag(tree):
            return tree
    if type(mine) is list and type(theirs) is list and not (base is _ABSENT and _same(mine, theirs)):
        before = [] if base is _ABSENT else base
        if type(before) is list and all(_same(side[: len(before)], before) for side in (mine, theirs)):
            return theirs + mine[len(before) :]
    return mine


def _one_object(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    names = [*theirs, *(name for name in mine if name not in theirs)]
    tree = {
        name: _one_value(base.get(name, _ABSENT), mine.get(name, _ABSENT), theirs.get(name, _ABSENT)) for name in names
    }
    return {name: value for name, value in tree.items() if value is not _ABSENT}


def _tree(text: bytes | None) -> Any:
    if text is None:
        return _ABSENT
    return json.loads(text, parse_float=_finite, parse_constant=_refuse)


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError


def _canonical(tree: Any) -> Any:
    """Equal for equal JSON: types count, the order of names does not, nor a zero's sign."""
    if type(tree) is dict:
        return [(name, _canonical(tree[name])) for name in sorted(tree)], {}
    if type(tree) is list:
        return [_canonical(item) for item in tree]
    return 0.0 if type(tree) is float and tree == 0 else tree


def _same(one: Any, other: Any) -> bool:
    return repr(_canonical(one)) == repr(_canonical(other))


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _is_tag(tree: dict[str, Any]) -> bool:
    return len(tree) == 1 and next(iter(tree)).startswith("$")


def _is_object(value: Any) -> bool:
    return type(value) is dict and not _is_tag(value)
