"""A session's data: decoded from its record when they are first looked at, and encoded to tell whether they changed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NoReturn

from ..clock import LONGEST_MS
from ..codecs import Codec, dumps, loads
from ..errors import HeadersAlreadySent, SessionDecodeError, SessionDestroyed, SessionEncodeError
from ..ids import mask_id
from ..logs import log
from .record import Record, unpack
from .state import Found, Intent, Loaded, State

_DESTROY: Final = Intent.DESTROY

__all__ = ["ClosedData", "begin_anew", "decode", "encode", "is_same_text", "loaded_record"]


def decode(state: State) -> dict[str, Any]:
    """The data, decoded from the loaded record on first use. A record that cannot be read is logged, and a new session begins.

    Raises:
        SessionDestroyed: the session is destroyed.
    """
    if state.data is not None:
        return state.data
    if state.intent is _DESTROY:
        raise SessionDestroyed("the session was destroyed earlier in this request")
    data: dict[str, Any] = {}
    loaded = state.loaded
    if loaded is not None:
        codec = state.settings.codec
        try:
            record, tree = unpack(codec.unseal(loaded.stored.data, loaded.key))
            data = codec.revive(tree, record.body)
        except SessionDecodeError as error:
            log.error(
                "session %s has an unreadable record (%s): starting a fresh session", mask_id(state.id or ""), error
            )
            begin_anew(state)
        else:
            if not record.written_by_us:
                record.body = _as_we_write(codec, data, record.body)
                _take_lifetime(state, record)
            if record.created is None:
                record.created = state.now()
            state.loaded = Loaded(loaded.key, loaded.stored, record)
    state.data = data
    return data


def _as_we_write(codec: Codec, data: dict[str, Any], body: bytes) -> bytes:
    """Another writer's data in our own text, so that reading them is no change."""
    for write in (codec.encode, dumps):
        with suppress(SessionEncodeError, TypeError):  # it holds what we would refuse; saving it will say so
            return write(data)
    return body


def _take_lifetime(state: State, record: Record) -> None:
    """The lifetime in a record that Express wrote is the session's own."""
    lifetime = record.cookie.get("originalMaxAge")
    known = record.overrides.get("originalMaxAge", state.arrival.config.max_age_ms)
    if isinstance(lifetime, int | float) and 0 <= lifetime <= LONGEST_MS and lifetime != known:
        record.overrides = {**record.overrides, "originalMaxAge": int(lifetime)}


def begin_anew(state: State) -> None:
    """Be a new session, with another id and nothing of what was loaded."""
    state.found = Found.NOTHING
    state.loaded = state.came_as = state.id = None
    state.cookie = state.created = state.login = state.increments = None


def loaded_record(state: State) -> Record | None:
    """The loaded record, also where it was not looked at; None where there is none, or it cannot be read."""
    loaded = state.loaded
    if loaded is None or loaded.record is not None:
        return None if loaded is None else loaded.record
    try:
        return unpack(state.settings.codec.unseal(loaded.stored.data, loaded.key))[0]
    except SessionDecodeError:
        return None


def encode(state: State, data: dict[str, Any]) -> bytes:
    """The text of the data as they would be stored.

    Raises:
        SessionEncodeError: a value cannot be stored.
    """
    before = state.base_body()
    # The same text and, decoded, equal: surely the same data, and told quicker than by encoding them anew. Where that is not so
    # only encoding can tell: then the body has tags, or the data have what JSON does not.
    try:
        if dumps(data) == before and loads(before) == data:
            return before
    except (SessionEncodeError, TypeError, ValueError):
        pass
    return state.settings.codec.encode(data)


def is_same_text(data: dict[str, Any], body: bytes) -> bool:
    """Whether data have a body's text. It could only miss a value that was exchanged for one of another type with that text."""
    try:
        return dumps(data) == body
    except (SessionEncodeError, TypeError, ValueError):
        return False


class ClosedData(dict[str, Any]):
    """The data of a session that was ended after the headers had left: empty, and to stay so."""

    def refuse(self) -> NoReturn:
        raise HeadersAlreadySent(_CLOSED)

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        self.refuse()

    def setdefault(self, key: str, default: Any = None) -> NoReturn:
        self.refuse()


_CLOSED: Final = (
    "the session was ended after the response headers had left, so no cookie can carry a new one; "
    "to remove single values instead, write `del session[key]`"
)
