"""What an operator asks for, in steps: the rules, in either colour. No I/O, and never more than some hundred records at once in memory."""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from heapq import nlargest
from time import perf_counter
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ..clock import from_ms, to_ms
from ..codecs import loads
from ..cookie import Cookie
from ..core.data import unpack_stored
from ..core.devices import DESCRIBED, last_seen
from ..core.plan import Create, Replace, Touch
from ..core.record import Record
from ..core.session_cookie import read_lifetime
from ..core.settings import SessionSettings
from ..core.steps import Call, Delete, Lifetime, Load, Owned, Steps, end
from ..core.store import Facts, Page, Stored
from ..errors import SessionDecodeError, StoreError
from ..ids import hash_id, new_id
from .findings import Finding, findings
from .names import NotOneName, find_key, is_shown, name_of
from .values import Bucket, Listing, Ping, Selection, Session, Shown, Stats

__all__ = ["end_named", "got", "listing", "ping", "shown", "stats", "view"]

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_AGES: Final = (_HOUR, _DAY, 7 * _DAY, 30 * _DAY)
_SIZES: Final = (1024, 4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024)
_MOST: Final = 10
"""Of the largest sessions, and of the owners with the most."""
_AT_ONCE: Final = 200
"""Records that are asked for at once, where most of them may not be wanted."""
_PROBE: Final = b'{"cookie":{"originalMaxAge":null}}'
_PROBE_MS: Final = 10_000


def view(settings: SessionSettings, key: str, stored: Stored) -> Session:
    """A stored session, as an operator sees it."""
    now, size, left = settings.options.clock(), len(stored.data), stored.expires_in
    expires = None if left is None else now + left
    expires_at = None if expires is None else from_ms(expires)
    name = name_of(settings, key)
    try:
        record = unpack_stored(settings, key, stored)
        seen = None if expires is None else last_seen(settings, record, now, expires, _idle_ms(settings, record))
    except SessionDecodeError:
        return Session(name=name, size=size, expires_at=expires_at, is_readable=False)
    created_at, authenticated_at, last_seen_at = (
        None if at is None else from_ms(at) for at in (record.created, record.login.at, seen)
    )
    said = {} if record.login.device is None else record.login.device
    label, agent, address = map(said.get, DESCRIBED)
    return Session(
        name=name,
        owner=record.owner,
        size=size,
        created_at=created_at,
        authenticated_at=authenticated_at,
        last_seen_at=last_seen_at,
        expires_at=expires_at,
        label=label,
        user_agent=agent,
        address=address,
    )


def _idle_ms(settings: SessionSettings, record: Record) -> int:
    """The idle timeout; unless the options say it, as the record's cookie does."""
    overrides, cookie = record.overrides, settings.options.cookie
    if settings.options.idle_ms is None and "originalMaxAge" not in overrides:
        lifetime = read_lifetime(loads(record.cookie).get("originalMaxAge"))
        overrides = {**overrides, "originalMaxAge": lifetime}
    return settings.idle_ms(cookie if isinstance(cookie, Cookie) else Cookie(), overrides)


# -- some of them


def listing(settings: SessionSettings, wanted: Selection, limit: int, after: str | None, budget: int) -> Steps[Listing]:
    """The next sessions that meet the conditions; ``budget`` is how many records are read for it at most, or a page more.

    Raises:
        ValueError: ``after`` is not what an earlier listing returned.
    """
    at = _unpacked(after)
    last = at.last
    if wanted.owner is not None:
        return (yield from _owned(settings, wanted, limit, last))
    found: list[Session] = []
    looked_at, now = 0, settings.options.clock()
    # Always the same number in one listing: by another, Redis would have other pages.
    size = at.size or min(limit if wanted == Selection() else _AT_ONCE, _AT_ONCE)
    # Where keys are ids, a place in the store is the number of pages before it: its own cursor may have an id in it.
    hides, number = not settings.options.hash_ids, at.number
    inner: str | None = at.cursor
    skipped = number if inner else 0
    while inner is not None and skipped < number:
        before: Page = yield Call("page", (inner, size))
        inner, skipped = before.next, skipped + 1

    def place(last_key: str | None = None) -> str:
        return _packed(_Place("" if hides else str(inner), number, size, _mark(last_key)))

    while inner is not None:
        page: Page = yield Call("page", (inner, size))
        items = _following(page.items, last)
        looked_at += len(items)
        # The options may say otherwise than the store: the operator has left out --keep-ids.
        hides = hides or not all(is_shown(settings, key) for key, _ in page.items)
        for key, stored in items:
            session = view(settings, key, stored)
            if _meets(session, wanted, now):
                found.append(session)
                if len(found) == limit and key != page.items[-1][0]:
                    return Listing(sessions=found, next=place(key), looked_at=looked_at)
        inner, last, number = page.next, "", number + 1
        if inner is not None and (len(found) >= limit or looked_at >= budget):
            return Listing(sessions=found, next=place(), looked_at=looked_at)
    return Listing(sessions=found, next=None, looked_at=looked_at)


def _owned(settings: SessionSettings, wanted: Selection, limit: int, last: str) -> Steps[Listing]:
    assert wanted.owner is not None
    hashed = sorted((hash_id(key), key) for key in (yield Owned(wanted.owner)))
    now, found, looked_at = settings.options.clock(), [], 0
    for mark, key in hashed:
        if mark <= last:
            continue
        session = yield from got(settings, key)
        looked_at += 1
        if session is not None and _meets(session, wanted, now):
            found.append(session)
            if len(found) == limit and mark != hashed[-1][0]:
                return Listing(sessions=found, next=_packed(_Place(last=_mark(key))), looked_at=looked_at)
    return Listing(sessions=found, next=None, looked_at=looked_at)


def _meets(session: Session, wanted: Selection, now: int) -> bool:
    def longer_ago(at: Any, ms: int | None) -> bool:
        return ms is None or (at is not None and to_ms(at) <= now - ms)

    return (
        (wanted.owner is None or session.owner == wanted.owner)
        and (not wanted.is_anonymous or (session.owner is None and session.is_readable))
        and longer_ago(session.created_at, wanted.older_than)
        and longer_ago(session.last_seen_at, wanted.idle_for)
        and (wanted.larger_than is None or session.size > wanted.larger_than)
        and (wanted.prefix is None or session.name.startswith(wanted.prefix))
    )


def _following(items: list[tuple[str, Stored]], last: str) -> list[tuple[str, Stored]]:
    """What comes after the session that was shown last. All, where that has ended: rather one twice than one left out."""
    places = [number for number, (key, _) in enumerate(items) if last and hash_id(key) == last]
    return items[places[0] + 1 :] if places else items


class _Place(Struct, frozen=True, array_like=True):
    """Where a listing goes on."""

    cursor: str = ""
    """The store's; empty where it may hold an id."""
    number: Annotated[int, Meta(ge=0)] = 0
    """How many pages come before: what counts where there is no cursor."""
    size: Annotated[int, Meta(ge=0, le=_AT_ONCE)] = 0
    """Of a page; 0 at the beginning."""
    last: str = ""
    """The hash of the key that was shown last of the page."""


def _mark(key: str | None) -> str:
    return "" if key is None else hash_id(key)


def _packed(place: _Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def _unpacked(after: str | None) -> _Place:
    if after is None:
        return _Place()
    try:
        return msgspec.json.decode(urlsafe_b64decode(after.encode() + b"=" * (-len(after) % 4)), type=_Place)
    except (ValueError, msgspec.MsgspecError):
        raise ValueError("after is not what a listing has returned as next") from None


# -- in numbers


def stats(settings: SessionSettings, sample: int) -> Steps[Stats]:
    """What the sessions are like, by so many of them at most."""
    live: int = yield Call("count")
    now = settings.options.clock()
    ages, sizes = Counter[int](), Counter[int]()
    owners: Counter[str] = Counter()
    largest: list[Session] = []
    looked_at = expiring = unreadable = size = 0
    cursor: str | None = ""
    while cursor is not None and looked_at < sample:
        page: Page = yield Call("page", (cursor, min(_AT_ONCE, sample - looked_at)))
        sessions = [view(settings, key, stored) for key, stored in page.items]
        for session in sessions:
            looked_at += 1
            size += session.size
            unreadable += not session.is_readable
            sizes[bisect_right(_SIZES, session.size)] += 1
            if session.created_at is not None:
                ages[bisect_right(_AGES, now - to_ms(session.created_at))] += 1
            if session.owner is not None:
                owners[session.owner] += 1
            expiring += session.expires_at is not None and to_ms(session.expires_at) <= now + _HOUR
        largest = nlargest(_MOST, [*largest, *sessions], key=lambda session: session.size)
        cursor = page.next
    return Stats(
        live=live,
        looked_at=looked_at,
        is_sampled=cursor is not None,
        owned=owners.total(),
        owners=len(owners),
        expiring_soon=expiring,
        unreadable=unreadable,
        size=size,
        by_age=_buckets(_AGES, ages),
        by_size=_buckets(_SIZES, sizes),
        largest=largest,
        most_sessions=owners.most_common(_MOST),
    )


def _buckets(bounds: Iterable[int], counts: Counter[int]) -> list[Bucket]:
    return [Bucket(bound, counts[number]) for number, bound in enumerate([*bounds, None])]


# -- one of them


def got(settings: SessionSettings, key: str) -> Steps[Session | None]:
    """The session under a key."""
    stored = yield from _load(key)
    return None if stored is None else view(settings, key, stored)


def _load(key: str) -> Steps[Stored | None]:
    """A live record, with the lifetime that it has left."""
    stored = yield Load(key)
    if not isinstance(stored, Stored):
        return None
    if stored.expires_in is None:
        with suppress(AttributeError):  # not every store can tell
            return stored._replace(expires_in=(yield Lifetime(key)))
    return stored


def shown(
    settings: SessionSettings, name: str, owner: str | None, *, reveal: bool, budget: float = math.inf
) -> Steps[Shown]:
    """A session with its data.

    Raises:
        NotOneName: there is not exactly one of this name.
        SessionDecodeError: it cannot be read.
    """
    key = yield from find_key(settings, name, owner, budget)
    stored = yield from _load(key)
    if stored is None:
        raise NotOneName("the session has just ended")
    record = unpack_stored(settings, key, stored)
    data = {}
    for each, text in record.data.items():
        value = settings.codec.decode(bytes(text))
        data[each] = value if reveal else _masked(value)
    return Shown(session=view(settings, key, stored), data=data, is_masked=not reveal)


def _masked(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, str | bytes):
        return f"{kind} of {len(value)}"
    return f"{kind} with {len(value)} items" if isinstance(value, list | dict | tuple | set | frozenset) else kind


def end_named(
    settings: SessionSettings, names: Iterable[str], owner: str | None, *, budget: float = math.inf
) -> Steps[int]:
    """End sessions, or what they were regenerated to meanwhile; returns how many. None ends unless each name is that of one session.

    Raises:
        NotOneName: one is not.
    """
    keys = []
    for name in names:
        keys.append((yield from find_key(settings, name, owner, budget)))  # noqa: PERF401 - a comprehension cannot yield
    return (yield from end(tuple(dict.fromkeys(keys))))


# -- how the store is


def ping(settings: SessionSettings, store: object, *, write: bool) -> Steps[Ping]:
    """Whether a store answers, how soon, and what of its settings would lose sessions.

    Raises:
        StoreError: it does not answer.
    """
    clock, key = settings.options.clock, hash_id(f"sojourn ping {new_id()}")
    reads = []
    for _ in range(3):
        began = perf_counter()
        yield Load(key)
        reads.append((perf_counter() - began) * 1000)
    facts: Facts = {}
    skew = write_ms = None
    if hasattr(store, "facts"):
        yield Call("facts")  # once to open what has to be opened
        before = clock()
        facts = yield Call("facts")
        if isinstance(server := facts.pop("now", None), int):
            skew = server - (before + clock()) // 2
    found = findings(facts, skew, is_express=getattr(store, "layout", "native") != "native")
    if write:
        began = perf_counter()
        try:
            version = yield Create(key, _PROBE, _PROBE_MS, None)
            yield Replace(key, _PROBE, _PROBE_MS, version, None)
            yield Touch(key, _PROBE_MS)
            yield Delete((key,))
            write_ms = (perf_counter() - began) * 1000
        except StoreError as error:
            remedy = "see the rights of the URL's user, and whether the server takes writes"
            found.insert(0, Finding("error", f"a session cannot be written: {error}", remedy))
    return Ping(store=repr(store), read_ms=min(reads), write_ms=write_ms, skew_ms=skew, facts=facts, findings=found)
