"""Records of other session libraries, read as records of ours. No I/O.

Flask-Session, starsessions, aiohttp-session, Litestar and Django keep a dict under a session's id. Most do not say in what form: as msgpack, as JSON, and in
older versions, in Django's cache, or by a serializer of the application's own, as a pickle. The first byte tells which it is. What Django keeps in a
database is signed besides: see `django_records`.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from ..clock import LONGEST_MS
from ..codecs import LenientCodec, Members, join, key_text, path_of
from ..core.record import COOKIE_KEY, OWN_KEY, Login, Record, pack
from ..errors import SessionDecodeError, SessionEncodeError

__all__ = ["LIBRARIES", "PICKLE", "Library", "LibraryCodec", "moment"]

PICKLE: Final = "pickle"
"""The name by which pickles are asked for."""


class Library(NamedTuple):
    """What a library's records are like."""

    name: str
    """As in a URL's ``layout``."""
    prefix: str
    """What its keys begin with unless it was told otherwise."""
    metadata: str | None = None
    """The name of a value that is the library's own."""
    beside: str | None = None
    """What its other keys have after the prefix, which are no sessions."""
    data: str | None = None
    """The name under which the data is, where it is a part of the record, beside what is the library's own."""
    ended: bytes | None = None
    """What is left of a session that was ended, or is there for visitors without one."""


LIBRARIES: Final = {
    library.name: library
    for library in (
        Library("flask-session", "session:"),
        Library("starsessions", "starsessions.", "__metadata__"),
        Library("aiohttp-session", "AIOHTTP_SESSION_", data="session", ended=b"{}"),
        Library("django", ":1:django.contrib.sessions.cache", beside="d_db"),  # copies of what is in the database
        Library("litestar", "LITESTAR:", ended=b"{}"),
    )
}
"""By name."""

_COOKIE: Final = b'{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}'
"""The session changed nothing of its cookie: from now on it is as the new middleware has it."""
_WRITE_BYTES: Final = 6  # as many as `policy` generates

_NAMES: Final = frozenset(
    (module, name)
    for module, names in {
        "builtins": "bool dict float frozenset int list set str tuple",
        "collections": "OrderedDict defaultdict",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "markupsafe": "Markup",
        "uuid": "UUID",
    }.items()
    for name in names.split()
)
"""What a pickle may name: what a session of ours could hold, and nothing that does anything."""


class LibraryCodec(LenientCodec):
    """What a library wrote, as ours.

    Args:
        library: which it is.
        pickles: whether pickles are read too.
    """

    def __init__(self, library: Library, *, pickles: bool = False) -> None:
        super().__init__()
        self.name: str = library.name
        self._library = library
        self._pickles = pickles

    def unseal(self, stored: bytes, key: str, /) -> bytes:
        """A record of ours, the same each time, with what this one holds.

        Raises:
            SessionDecodeError: it cannot be read.
            SessionEncodeError: it holds what no session of ours can hold.
        """
        content, created = self._open(stored)
        tree = self._read(content)
        if not isinstance(tree, dict):
            raise SessionDecodeError("the record is no dict")
        if self._library.metadata is not None:
            created = _created(tree.pop(self._library.metadata, None))
        if self._library.data is not None:
            created, tree = _created(tree), tree.get(self._library.data)
            if not isinstance(tree, dict):
                raise SessionDecodeError(f"the record has no {self._library.data!r}")
        data: Members = {}
        for given, value in tree.items():
            name = key_text(given)
            if name in (COOKIE_KEY, OWN_KEY):
                raise SessionEncodeError(name, "this name is reserved at the target")
            if not isinstance(name, str):
                raise SessionEncodeError("", f"a value's name is of type {type(name).__name__}")
            try:
                data[name] = Raw(self.encode(value))
            except SessionEncodeError as error:
                raise SessionEncodeError(path_of(name, error.path), error.reason) from None
        if created is None:  # it begins when it is first loaded, as one that Express wrote
            return join({COOKIE_KEY: Raw(_COOKIE), **data})
        write = int.from_bytes(hashlib.sha256(stored).digest()[:_WRITE_BYTES])
        return pack(Record(data, _COOKIE, created, Login(self._owner(tree)), write=write, lifetime=None))

    def _open(self, stored: bytes) -> tuple[bytes, int | None]:
        """The dict as it was written, and since when the session exists, epoch ms, where that is known without it."""
        return stored, None

    def _owner(self, tree: dict[Any, Any]) -> str | None:
        """Whose session it is, where its library says that."""
        return None

    def _read(self, stored: bytes) -> Any:
        try:
            if stored.lstrip().startswith(b"{"):
                return json.loads(stored)
            if not _is_pickle(stored):
                return msgspec.msgpack.decode(stored)
            if self._pickles:
                return _Unpickler(io.BytesIO(stored)).load()
        except SessionDecodeError:
            raise
        except RecursionError:
            raise SessionDecodeError("the record is nested too deep") from None
        except Exception as error:  # noqa: BLE001 - an unpickler raises anything
            raise SessionDecodeError(f"the record cannot be read ({type(error).__name__})") from None
        raise SessionDecodeError("the record is a pickle; these are read only where they are asked for by name")


def _is_pickle(stored: bytes) -> bool:
    """Whether it begins as pickles do, of all protocols that Python 3 writes by default. In msgpack that is an empty dict, and then more."""
    return stored[:1] == b"\x80" and len(stored) > 1


class _Unpickler(pickle.Unpickler):
    """One that calls nothing but what `_NAMES` has. A plain one would run whatever the pickle says."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _NAMES:
            raise SessionDecodeError("the record is a pickle with objects of other classes than are taken from one")
        return super().find_class(module, name)


def _created(metadata: Any) -> int | None:
    """When the session began, epoch ms, where its library noted that."""
    return moment(metadata.get("created")) if isinstance(metadata, dict) else None


def moment(seconds: Any) -> int | None:
    """Epoch ms of a time that a library noted; None if it is none."""
    if not isinstance(seconds, int | float) or not 0 < seconds * 1000 <= LONGEST_MS:
        return None
    return int(seconds * 1000)
