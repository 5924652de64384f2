"""The two ends of a migration: a store each, the codec of its records, and how a key of one becomes a key of the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ..clock import DAY_MS
from ..codecs import Codec, JSONCodec, check_codec
from ..core.store import DEFAULT_MAX_SIZE, EXISTS, Exists, Replaced, Stored, Version, check_size
from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..ids import hash_id
from ..logs import described
from ..profiles import express
from ..stores import resolve
from ..stores._raising import raise_alone
from .django_records import DjangoCodec
from .library_records import PICKLE, Library, LibraryCodec
from .library_stores import is_signed, library_in, library_store

__all__ = ["CODECS", "Endpoint", "Rehearsal", "Secrets", "key_rule", "naming", "source_endpoint", "target_endpoint"]

CODECS: Final[dict[str, Codec]] = {"json": JSONCodec(), "plain": express()["codec"]}
"""By the names that the command knows: the codec of our own profile, and that of Express's."""

Secrets: TypeAlias = str | bytes | Sequence[str | bytes]
"""What signed the source's records: one secret, or several."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LAYOUT: Final = re.compile(r"layout='[^']*'")
_QUIET: Final = {
    "postgresql": "create_table",
    "postgres": "create_table",
    "mongodb": "create_index",
    "mongodb+srv": "create_index",
}
"""The options by which opening a store makes something there, by the URL's scheme."""


class Endpoint(NamedTuple):
    """One end."""

    store: Any
    codec: Codec
    is_express: bool
    """Whether Express reads and writes there too: its keys are ids, and it knows no tags and no encryption."""
    place: str = ""
    """Where a store given by its URL keeps its sessions, without any secret; in whatever layout."""
    is_library: bool = False
    """Whether another session library writes there: its keys are ids, which its cookie carries."""
    target_codec: str | None = None
    """The codec of what is usually moved to from there; None to go by the target's layout."""

    def __str__(self) -> str:
        return f"{self.place} {self.store!r}"

    @property
    def default_ttl(self) -> int:
        """How long a session without a lifetime lasts, in milliseconds."""
        return int(getattr(self.store, "default_ttl", DAY_MS))


def source_endpoint(given: Any, codec: Codec | str | None, secret: Secrets | None = None) -> Endpoint:
    """The end that is read. Nothing is made there.

    Raises:
        ConfigurationError: no store, one of the other colour, one that cannot be walked over, no codec, or a secret too many or too few.
    """
    library = library_in(given)
    secrets = _secrets(secret, is_needed=library is not None and is_signed(library, given))
    if library is None:
        endpoint = _endpoint("source", _quiet(given)[0], codec)
    else:
        endpoint = _library(library, given, codec, secrets)
    if not callable(getattr(endpoint.store, "scan", None)):
        raise ConfigurationError("source", type(endpoint.store).__name__, "give a store that has scan()")
    if not _is_there(endpoint.store):
        raise ConfigurationError("source", "a SQLite file that does not exist", "give the path of the sessions' file")
    return endpoint


def target_endpoint(given: Any, codec: Codec | str | None, *, dry_run: bool) -> Endpoint:
    """The end that is written; in a dry run only looked at.

    Raises:
        ConfigurationError: no store, one of the other colour, or a codec that is none or that Express does not know.
    """
    quiet, makes_table = _quiet(given)
    endpoint = _endpoint("target", quiet if dry_run else given, codec)
    if endpoint.is_express and endpoint.codec.name == "encrypted":
        raise ConfigurationError(
            "target_codec", "encryption", "Express cannot read encrypted sessions: give the target another layout"
        )
    return endpoint._replace(store=Rehearsal(endpoint.store, makes_table=makes_table)) if dry_run else endpoint


def key_rule(source: Endpoint, target: Endpoint, hash_ids: bool | None) -> Callable[[str], str]:
    """How a key at the source becomes the key at the target.

    Express's keys are session ids. Ours are their SHA-256, unless the middleware was told otherwise: no store can tell. An id
    becomes its hash, but never the other way round. The ids of other libraries become hashes unless something else is said: there is no
    other program yet that looks for them.

    Raises:
        ConfigurationError: it has to be said; or a key, when the rule meets it, is not what was said.
    """
    if hash_ids is not None and not isinstance(hash_ids, bool):
        raise ConfigurationError("hash_ids", repr(hash_ids), "give True, False or None")
    if target.is_express and hash_ids:
        raise ConfigurationError("hash_ids", "a target in Express's layout", "Express looks for ids, not for hashes")
    if hash_ids is False or (source.is_express and target.is_express):
        return str
    if source.is_library and not target.is_express:
        return hash_id
    if source.is_express:
        if hash_ids is None:
            raise ConfigurationError(
                "hash_ids",
                "a source in Express's layout, whose keys are ids, and a target in another",
                "say True (--hash-ids) if the target's middleware has hash_ids=True, its default; "
                "False (--keep-ids) if not, as in the Express profile",
            )
        return hash_id
    if hash_ids:
        return _hash_id_unless_hashed
    if target.is_express:
        raise ConfigurationError(
            "hash_ids",
            "a target in Express's layout, whose keys are ids, and a source in another",
            "ids cannot be made of their hashes; only if the source's middleware has hash_ids=False, say False (--keep-ids)",
        )
    return _same_if_hashed


def _hash_id_unless_hashed(key: str) -> str:
    if _HASH.fullmatch(key):
        raise ConfigurationError("hash_ids", "True, and keys that are hashes already", "leave it out (no --hash-ids)")
    return hash_id(key)


def _same_if_hashed(key: str) -> str:
    if not _HASH.fullmatch(key):
        raise ConfigurationError(
            "hash_ids",
            "a source whose keys are not hashes of ids",
            "if Express wrote there, say so in its URL (?layout=...); else say True (--hash-ids) or False (--keep-ids)",
        )
    return key


def _endpoint(option: str, given: Any, codec: Codec | str | None) -> Endpoint:
    try:
        parts = urlsplit(given if isinstance(given, str) else "")
    except ValueError:
        raise ConfigurationError(option, "a malformed URL", "give the URL of a store") from None
    if given is None or parts.scheme == "memory":
        remedy = "give a store, or the URL of one that other processes see"
        raise ConfigurationError(option, "None" if given is None else "memory://", remedy)
    try:
        store = resolve(given, asynchronous=False)
    except ConfigurationError as error:
        name = option if error.option == "store" else f"{option}: {error.option}"
        raise ConfigurationError(name, error.given, error.remedy) from None
    is_express = getattr(store, "layout", "native") != "native"
    place = ""
    if isinstance(given, str):
        path = "" if parts.scheme == "sqlite" else parts.path  # it may be relative; the store knows it in full
        place = f"{parts.netloc.rpartition('@')[2]}{path} {_LAYOUT.sub('', repr(store))}"
    return Endpoint(store, _codec(f"{option}_codec", codec, is_express=is_express), is_express, place)


def _secrets(given: Secrets | None, *, is_needed: bool) -> tuple[bytes, ...]:
    if given is None and is_needed:
        remedy = "give the application's SECRET_KEY (--source-key-env or --source-key-file)"
        raise ConfigurationError("source_secret", "none, for rows that Django has signed", remedy)
    if given is not None and not is_needed:
        remedy = "leave it out: only what Django keeps in a database is signed"
        raise ConfigurationError("source_secret", "a secret, for records that are not signed", remedy)
    listed: Any = (given,) if isinstance(given, str | bytes) else () if given is None else given
    if not isinstance(listed, tuple | list) or not all(isinstance(one, str | bytes) and one for one in listed):
        raise ConfigurationError(
            "source_secret", "something else", "give SECRET_KEY, or a list of it and its fallbacks"
        )
    if is_needed and not listed:
        raise ConfigurationError("source_secret", "an empty list", "give SECRET_KEY, or a list of it and its fallbacks")
    return tuple(one.encode() if isinstance(one, str) else one for one in listed)


def _library(library: Library, url: str, codec: Codec | str | None, secrets: tuple[bytes, ...]) -> Endpoint:
    if codec not in (None, PICKLE):
        remedy = f"leave it out: its records are msgpack or JSON; {PICKLE!r} reads pickles too"
        raise ConfigurationError("source_codec", f"a codec for {library.name}", remedy)
    store, parts = library_store(library, url), urlsplit(url)
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path} {store!r}"
    reads = codec == PICKLE
    if library.name == "django":
        django = DjangoCodec(secrets, pickles=reads)
        return Endpoint(store, django, is_express=False, place=place, is_library=True, target_codec="plain")
    return Endpoint(store, LibraryCodec(library, pickles=reads), is_express=False, place=place, is_library=True)


def _codec(option: str, given: Codec | str | None, *, is_express: bool) -> Codec:
    if given is None:
        return CODECS["plain" if is_express else "json"]
    codec = CODECS.get(given) if isinstance(given, str) else given
    if codec is None:
        raise ConfigurationError(option, repr(given), f"give a codec, or one of {', '.join(map(repr, CODECS))}")
    check_codec(option, codec)
    return codec


def _quiet(given: Any) -> tuple[Any, bool]:
    """A URL by which opening the store makes nothing there, and whether it would have made a table."""
    name = _QUIET.get(given.partition("://")[0]) if isinstance(given, str) else None
    if name is None:
        return given, False
    base, _, query = given.partition("?")
    options = query.split("&") if query else []
    rest = [option for option in options if option.partition("=")[0] != name]
    return f"{base}?{'&'.join([*rest, f'{name}=false'])}", "create_table=true" in options


def _is_there(store: Any) -> bool:
    """Whether a SQLite file exists already; True of every other store."""
    path = getattr(store, "path", None)
    return not isinstance(path, str) or Path(path).exists()


@contextmanager
def naming(role: str) -> Iterator[None]:
    """Say whose an error of a store is."""
    try:
        yield
    except StoreError as error:
        (said,) = described(error).args
        raise_alone(StoreUnavailable(f"the {role} fails: {said}", driver_error=error.driver_error or error.__cause__))


class Rehearsal:
    """A target that returns what it would, and writes nothing."""

    def __init__(self, store: Any, *, makes_table: bool) -> None:
        self._store = store
        self._makes_table = makes_table
        self._is_there = False

    def __repr__(self) -> str:
        return repr(self._store)

    def open(self) -> None:
        """Look whether it is there. What a run would make does not have to be."""
        if not _is_there(self._store):
            return
        try:
            self._store.open()
        except StoreUnavailable as error:
            if self._makes_table and error.driver_error is None:  # no driver's error: it is the table that is missing
                return
            raise
        self._is_there = True

    def close(self) -> None:
        self._store.close()

    def load(self, key: str) -> Stored | Replaced | None:
        found: Stored | Replaced | None = self._store.load(key) if self._is_there else None
        return found

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Version | Exists:
        check_size(data, getattr(self._store, "max_size", DEFAULT_MAX_SIZE))
        return data if self.load(key) is None else EXISTS

    def replace(self, key: str, data: bytes, ttl: int, *, version: Version, owner: str | None = None) -> Version:
        check_size(data, getattr(self._store, "max_size", DEFAULT_MAX_SIZE))
        return version

    def touch(self, key: str, ttl: int) -> bool:
        return True
