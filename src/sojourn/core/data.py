"""A session's data, paid for as they are used: a value is decoded when it is asked for, and encoded if it may have changed.

Theory of operation
-------------------
The loaded record gives the data as text, value by value (`Record.data`, the *base*). `State.data` begins as a copy of that, and its
values are exchanged for decoded ones as they are asked for, so that one dict keeps their order. `State.dirty` names the keys whose
value may differ from the base: those that were set or deleted, and those whose value was handed out and can be changed in place. A value
that cannot (`_FIXED`) stays clean for having been read.

What is stored is the base itself where nothing changed, which is all that it takes to know that. Otherwise it is the texts of the base
with those of the dirty values in their places. A value whose text differs from the base's is still no change where that is what the
base's text reads as: another program wrote it, with other spacing or escapes. It is carried over as it was, as is all that nobody
looked at: text that we would write otherwise, or refuse.

**Models.** What the application has as an object of its own (`State.parts`) is compared with what it was, field by field, whenever the data are
encoded, and the fields that changed are put into the data first.

**A value that cannot be decoded** when it is asked for, such as ``1e400``: the session begins anew at that point, with another id. What
was set before is dropped, and an error is logged. A handler never goes on with half a session.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, Final, NoReturn

from msgspec import UNSET, Raw

from ..codecs import Codec, Members, key_text, path_of
from ..codecs.base import type_name
from ..codecs.text import write_json
from ..errors import HeadersAlreadySent, SessionDecodeError, SessionDestroyed, SessionEncodeError
from ..ids import mask_id
from ..logs import log
from .noting import note
from .passport import PASSPORT, heed
from .record import NO_DATA, Record, unpack
from .session_cookie import read_lifetime
from .settings import SessionSettings
from .state import Found, Intent, Loaded, Part, State
from .store import Stored

_DESTROY: Final = Intent.DESTROY
_FIXED: Final = frozenset({str, int, float, bool, NoneType})
"""The types whose values cannot be changed in place."""
_ONE_FORM: Final = frozenset({int, bool, NoneType})
"""The types whose values every program writes alike."""
_CONTAINERS: Final = frozenset({dict, list, tuple})

__all__ = [
    "ClosedData",
    "attach",
    "detach_part",
    "encode",
    "find_part",
    "is_changed",
    "loaded_record",
    "look_at",
    "read",
    "read_all",
    "refill",
    "settle",
    "settle_parts",
    "take_lifetime",
    "unpack_stored",
]


def look_at(state: State) -> dict[str, Any]:
    """The data: each value as text, or decoded if it was asked for. A record that cannot be read is logged, and a new session begins.

    Raises:
        SessionDestroyed: the session is destroyed.
    """
    if state.data is not None:
        return state.data
    if state.intent is _DESTROY:
        raise SessionDestroyed("the session was destroyed earlier in this request")
    loaded = state.loaded
    if loaded is None:
        data: dict[str, Any] = {}
    else:
        stored, settings = loaded.stored, state.settings
        try:
            is_text = not settings.seals and not settings.dropped  # as nearly always
            record = unpack(stored.data) if is_text else unpack_stored(settings, loaded.key, stored)
            lifetime = state.arrival.config.max_age_ms
            prefix = settings.calm_prefix
            # The configured lifetime, as we wrote it: seen at the first bytes of nearly every record.
            if not (record.lifetime == lifetime and prefix and stored.data.startswith(prefix)):
                take_lifetime(state, record)
        except SessionDecodeError as error:
            log.error(
                "session %s has an unreadable record (%s): starting a fresh session", mask_id(state.id or ""), error
            )
            note(state, "unreadable", loaded.key, reason="record")
            _begin_anew(state)
            data = {}
        else:
            if record.created is None:
                record.created = state.now()
            state.loaded = Loaded(loaded.key, stored, record)
            data = record.data.copy()
    state.data = data
    return data


def unpack_stored(settings: SessionSettings, key: str, stored: Stored) -> Record:
    """A stored record taken apart, without what the codec drops (contract 51), and whose it is by Passport, where that counts.

    Raises:
        SessionDecodeError: it cannot be read.
    """
    record = unpack(settings.codec.unseal(stored.data, key) if settings.seals else stored.data)
    for name in settings.dropped.intersection(record.data) if settings.dropped else ():
        del record.data[name]
    if settings.options.passport:
        record.login = heed(record.login, record.data.get(PASSPORT))
    return record


def take_lifetime(state: State, record: Record) -> None:
    """The lifetime in a record that Express wrote is the session's own.

    Raises:
        SessionDecodeError: the record's cookie part cannot be decoded.
    """
    lifetime = read_lifetime(record.foreign_lifetime())
    if lifetime is UNSET:
        return
    known = record.overrides.get("originalMaxAge", state.arrival.config.max_age_ms)
    if lifetime != known:
        record.overrides = {**record.overrides, "originalMaxAge": lifetime}


def _begin_anew(state: State) -> None:
    """Be a new session, with another id and nothing of what was loaded."""
    state.found = Found.NOTHING
    state.loaded = state.came_as = state.id = state.data = None
    state.dirty, state.removed = {}, False
    state.cookie = state.created = state.login = state.increments = None
    settle_parts(state)


def read(state: State, key: str, text: Raw) -> Any:
    """Decode a value, which stays decoded. Where that fails, the session begins anew, and has no such key.

    Raises:
        KeyError: the value could not be decoded.
    """
    data, dirty = state.data, state.dirty
    assert data is not None
    if key in dirty:  # no text of a record, but what the application put in
        return text
    try:
        value = state.settings.codec.decode(bytes(text))
    except SessionDecodeError as error:
        log.error(
            "session %s has a value that cannot be read (%s): starting a fresh session", mask_id(state.id or ""), error
        )
        note(state, "unreadable", None if state.loaded is None else state.loaded.key, reason="value")
        _begin_anew(state)
        state.data = {}
        raise KeyError(key) from None
    data[key] = value
    if type(value) not in _FIXED:
        dirty[key] = None
    return value


def read_all(state: State) -> dict[str, Any]:
    """The data with all values decoded."""
    data = look_at(state)
    try:
        for key, value in data.items():
            if type(value) is Raw:
                read(state, key, value)
    except KeyError:
        return look_at(state)  # begun anew
    return data


def encode(state: State) -> Members:
    """The data as they would be stored: the very object that changes are counted from where nothing changed.

    Raises:
        SessionEncodeError: a value cannot be stored.
    """
    loaded, data, dirty = state.loaded, state.data, state.dirty
    # `State.base_data`, without the call.
    base = NO_DATA if loaded is None or state.renewed or loaded.record is None else loaded.record.data
    if state.parts and data is not None:
        _write_parts(state, data)
    if not dirty or data is None:
        return base
    if state.settings.names_keys:
        data, dirty = _name_keys(state, data)
    texts: Members = {}
    for key in dirty:
        if key in data:
            before = base.get(key)
            text = _text(state.settings, key, data[key], before)
            if text is not before:
                texts[key] = text
    if not state.removed:
        return {**base, **texts} if texts else base
    if not texts and list(data) == list(base):
        return base
    return {key: texts[key] if key in texts else base[key] for key in data}


def _name_keys(state: State, data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, None]]:
    """Put what is under a key that is no str under its text, as it is stored. Returns the data, and which of them are dirty."""
    if any(type(key) is not str for key in state.dirty):
        data = state.data = {key_text(key): value for key, value in data.items()}
        state.dirty = dict.fromkeys(map(key_text, state.dirty))
        state.increments = {key_text(key): by for key, by in (state.increments or {}).items()}
    return data, state.dirty


def find_part(state: State, key: str, kind: Any) -> Part | None:
    """The model of this kind that the application has of a value already."""
    return next((part for part in state.parts if part.key == key and part.kind is kind), None)


def attach(state: State, part: Part) -> Part:
    """From now on, write what is changed in a model into the data.

    Raises:
        SessionEncodeError: a field cannot be stored.
    """
    part.texts = _texts_of(state, part, part.dump(part.model))
    state.parts.append(part)
    return part


def detach_part(state: State, part: Part) -> None:
    """What was changed in a model since the data were last encoded is lost."""
    state.parts = [other for other in state.parts if other is not part]


def settle_parts(state: State) -> None:
    """The data begin anew: what is in the models by now is none of them, and what is changed in them later is.

    Raises:
        SessionEncodeError: a field cannot be stored.
    """
    for part in state.parts:
        part.texts = _texts_of(state, part, part.dump(part.model))


def _texts_of(state: State, part: Part, fields: Mapping[str, Any]) -> dict[str, bytes]:
    texts = {}
    for name, value in fields.items():
        try:
            texts[name] = state.settings.encode(value)
        except SessionEncodeError as error:
            raise SessionEncodeError(path_of(part.key, path_of(name, error.path)), error.reason) from None
    return texts


def _write_parts(state: State, data: dict[str, Any]) -> None:
    """Put the fields that changed into the data. What is stored beside them is left: another version may know more fields."""
    for part in state.parts:
        fields = part.dump(part.model)
        before, now = part.texts, _texts_of(state, part, fields)
        if now == before:
            continue
        value = data.get(part.key)
        if type(value) is Raw:
            value = read(state, part.key, value)
        written = {**value} if type(value) is dict else {}
        written.update({name: fields[name] for name, text in now.items() if text != before.get(name)})
        for name in before.keys() - now.keys():
            written.pop(name, None)
        data[part.key], state.dirty[part.key], part.texts = written, None, now


def _text(settings: SessionSettings, key: str, value: Any, before: Raw | None) -> Raw:
    """A value's text: the one before where the value is what that reads as."""
    if before is None:
        _check_name(key, settings.reserved)
    try:
        text = Raw(settings.encode(value))
    except SessionEncodeError as error:
        if before is not None and _is_untouched(settings.codec, value, before):
            return before
        raise SessionEncodeError(path_of(key, error.path), error.reason) from None
    if before is None:
        return text
    if text == before:
        return before
    if type(value) in _ONE_FORM and value != 0 and settings.writes_plain_json:  # there is -0, too
        return text
    return before if _is_no_change(settings.codec, value, text, before) else text


def is_as_before(state: State) -> bool:
    """Whether nothing has changed, told quicker. False: `is_changed` has to tell.

    It could only miss a value that was exchanged for one of another type with the same text.
    """
    base, data, dirty = state.base_data(), state.data, state.dirty
    if state.parts:
        return False
    if not dirty or data is None:
        return True
    if not state.settings.writes_plain_json:
        return False
    try:
        for key in dirty:
            if write_json(data[key]) != bytes(base[key]):
                return False
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
    return not state.removed or list(data) == list(base)


def settle(state: State) -> None:
    """Note that nothing differs from what was stored a moment ago. Where a value can be changed in place, `encode` has to tell."""
    data, dirty = state.data, state.dirty
    if data is not None:
        for key in dirty:
            if type(data.get(key)) not in _FIXED:
                return
        dirty.clear()
        state.removed = False


def _check_name(name: object, reserved: frozenset[str]) -> None:
    if type(name) is not str:
        raise SessionEncodeError("", f"a key of type {type_name(type(name))}; JSON's keys are strings, use str(key)")
    if name in reserved:
        raise SessionEncodeError(name, "this name is reserved at the top level; use another")


def _is_no_change(codec: Codec, value: Any, text: Raw, before: Raw) -> bool:
    """Whether a text is how we write what another program, or an older codec, wrote otherwise."""
    try:
        again = codec.decode(bytes(before))
        if type(value) in _FIXED:
            return type(again) is type(value) and repr(again) == repr(value)  # as 0.0 and -0.0 are equal
        return codec.encode(again) == bytes(text)
    except (SessionDecodeError, SessionEncodeError):
        return False


def _is_untouched(codec: Codec, value: Any, before: Raw) -> bool:
    """Whether a value that we would not write, as it is nested too deeply, is what another program wrote and nobody changed."""
    try:
        pairs = [(value, codec.decode(bytes(before)))]
        for one, other in pairs:  # grows while it is walked, since these are too deep for recursion
            kind = type(one)
            if kind is not type(other):
                return False
            if kind in _FIXED:
                if one != other or (kind is float and repr(one) != repr(other)):  # 0.0 and -0.0
                    return False
            elif kind in _CONTAINERS:
                if len(one) != len(other):
                    return False
                pairs += zip(one, other, strict=True)
                if kind is dict:
                    pairs += zip(one.values(), other.values(), strict=True)
            elif codec.encode(one) != codec.encode(other):
                return False
    except (SessionDecodeError, SessionEncodeError):
        return False
    return True


def is_changed(state: State) -> bool:
    """Whether the data differ from what was loaded, or cannot be stored."""
    try:
        return encode(state) is not state.base_data()
    except SessionEncodeError:
        return True


def refill(state: State, merged: Members, mine: Members) -> None:
    """Make a merge's texts the data. Where they are this request's own, ``mine``, its values stay the objects that they are.

    Raises:
        SessionDecodeError: a merged value cannot be decoded.
    """
    before, base = look_at(state), state.base_data()
    data: dict[str, Any] = {}
    dirty = dict.fromkeys(base.keys() - merged.keys())
    for key, text in merged.items():
        if key in state.dirty and text == mine.get(key):
            data[key], dirty[key] = before[key], None
        elif text is base.get(key):
            data[key] = text
        else:
            data[key], dirty[key] = state.settings.codec.decode(bytes(text)), None
    state.data, state.dirty, state.removed = data, dirty, len(dirty) > 0


def loaded_record(state: State) -> Record | None:
    """The loaded record, also where it was not looked at; None where there is none, or it cannot be read."""
    loaded = state.loaded
    if loaded is None or loaded.record is not None:
        return None if loaded is None else loaded.record
    try:
        return unpack_stored(state.settings, loaded.key, loaded.stored)
    except SessionDecodeError:
        return None


class ClosedData(dict[str, Any]):
    """The data of a session that was ended after the headers had left: empty, and to stay so."""

    def refuse(self) -> NoReturn:
        raise HeadersAlreadySent(_CLOSED)

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        self.refuse()


_CLOSED: Final = (
    "the session was ended after the response headers had left, so no cookie can carry a new one; "
    "to remove single values instead, write `del session[key]`"
)
