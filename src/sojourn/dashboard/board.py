"""The dashboard itself, framework-free: a request's values in, a response's out. What it asks of the store are steps, for either colour."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..admin import tasks
from ..admin.names import NotOneName
from ..admin.values import Selection, Stats
from ..clock import from_ms
from ..core.devices import end_owner
from ..core.settings import SessionSettings
from ..core.steps import Call, Load, Steps
from ..core.store import Stored
from ..errors import SessionDecodeError, StoreError
from ..ids import check_owner, mask_id
from ..logs import described
from . import charts
from .samples import Samples

__all__ = ["MOST_BODY", "NAP", "Board", "Ended", "Request", "Response", "refusal", "text_response"]

MOST_BODY: Final = 16 * 1024
"""Bytes of a form. No form of ours has as many."""
_SAMPLE: Final = 2000
"""Records that are looked at for the figures. Each sample of them is one piece of work for an event loop."""
_LIMIT: Final = 50
_BUDGET: Final = 5000
"""Records that one view reads at most, where a search has to look at each."""
_QUICK, _SLOW = 5, 60
"""Seconds between two samples: while somebody looks on, and else."""
NAP: Final = 2
"""Seconds between two looks at whether a sample is due."""
_SHARE: Final = 20
"""A sample that took long is followed by a pause as many times as long."""
_LONGEST_VALUE: Final = 4000
"""Characters of one value that are shown."""
_RANGES: Final = {"hour": (60, 1, "the last hour, by the minute"), "day": (24 * 60, 30, "the last day, by half hours")}
_IDLE: Final = {"hour": 3_600_000, "day": 86_400_000, "week": 7 * 86_400_000}
_IS_KEY: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_IS_MASK: Final = re.compile(r"([0-9a-f]{8,64})(?:…|\.\.\.)?").fullmatch
_ASSETS: Final = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "dashboard.svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = [
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),  # with no-referrer the forms' Origin would be null
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_actions: Final = logging.getLogger("sojourn.dashboard")


class Request(NamedTuple):
    """A request, as the dashboard sees it."""

    method: str
    base: str
    """The path that the dashboard is mounted at, as in URLs, without a slash at its end."""
    path: str
    """What follows."""
    query: str
    form: str
    operator: str
    """Who asks."""


class Ended(NamedTuple):
    """Sessions that an operator has ended, for the listeners of ``on_event``."""

    number: int
    session: str | None = None
    """Its name in the store, where it was one."""
    owner: str | None = None


class Response(NamedTuple):
    """A response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    ended: Ended | None = None


def text_response(status: int, text: str, *more: tuple[str, str]) -> Response:
    """A line of text, for those who are not let in."""
    body = f"{text}\n".encode()
    return _response(status, "text/plain; charset=utf-8", body, ("Cache-Control", "no-store"), *more)


def refusal() -> Response:
    """What whoever is no operator gets."""
    return text_response(403, "Forbidden: the dashboard is for operators.")


def _response(status: int, kind: str, body: bytes, *more: tuple[str, str], ended: Ended | None = None) -> Response:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *more, *_HEADERS]
    return Response(status, headers, body, ended)


class Board:
    """What the dashboard knows of one store, and its pages.

    Args:
        settings: those of the middleware whose sessions the store has.
        store: what shows the store's kind; it is not asked here.
        reveals: whether operators may see sessions' values.
        clock: seconds, of which only differences count.
    """

    def __init__(
        self,
        settings: SessionSettings,
        store: Any,
        *,
        reveals: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings: SessionSettings = settings
        self.samples: Samples = Samples()
        self._reveals = reveals
        self._clock = clock
        self._store_itself = store
        self._kind = type(store).__name__.removeprefix("Async").removesuffix("Store")
        self._stats: Stats | None = None
        self._problem: str | None = None
        self._sampled_at: int | None = None
        self._sample_ended = float("-inf")
        self._took = 0.0
        self._seen_at = float("-inf")
        self._assets = {name: _asset(name) for name in _ASSETS}
        self._environment = environment = Environment(
            loader=PackageLoader("sojourn.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(
            away=self._away,
            sentence=_sentence,
            whole=_whole,
            size=_size,
            number=lambda number: f"{number:,}",
        )
        environment.globals.update(kind=self._kind, width=charts.WIDTH, height=charts.HEIGHT)

    # -- figures -------------------------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether it is time for another sample: sooner while somebody looks on, and never soon after one that took long."""
        now = self._clock()
        pause = _QUICK if now - self._seen_at < _SLOW else _SLOW
        return now >= self._sample_ended + max(pause, _SHARE * self._took)

    def sample(self) -> Steps[None]:
        """Look at the store: how many sessions are live, and what some of them are like."""
        began = self._clock()
        try:
            self._stats = yield from tasks.stats(self.settings, _SAMPLE)
            self._problem = None
        except Exception as error:  # noqa: BLE001 - a store of somebody's own may raise anything, and the next sample may go well
            self._problem = _told(error)
        else:
            self.samples.note_live(self._now, self._stats.live)
            self._sampled_at = self._now
        self._sample_ended = self._clock()
        self._took = self._sample_ended - began

    @property
    def _now(self) -> int:
        return self.settings.options.clock()

    # -- requests ------------------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Steps[Response]:
        """The response to a request of an operator's. Nothing is raised that a request or a store may cause."""
        self._seen_at = self._clock()
        path = request.path.rstrip("/") or "/"
        if path.removeprefix("/") in self._assets:
            return self._sent(path.removeprefix("/"))
        method = "GET" if request.method == "HEAD" else request.method
        page = _PAGES.get((method, path))
        if page is None:
            allowed = [known for known, place in _PAGES if place == path]
            if not allowed:
                return self._message(request, 404, "There is no such page.")
            return text_response(405, "Method Not Allowed", ("Allow", ", ".join(allowed)))
        given = dict(parse_qsl(request.form if method == "POST" else request.query))
        try:
            made = page(self, request, given)
            return made if isinstance(made, Response) else (yield from made)
        except NotOneName as error:
            return self._message(request, 404, f"{_sentence(str(error))}.")
        except SessionDecodeError:
            return self._message(
                request,
                422,
                "This session's record cannot be read with the codec and the keys that the dashboard was given.",
            )
        except StoreError as error:
            return self._message(request, 503, f"The store failed: {_told(error)}.")
        except (ValueError, TypeError):
            return self._message(request, 400, "The page was asked for something that cannot be.")

    def _sent(self, name: str) -> Response:
        body, mark = self._assets[name]
        return _response(200, _ASSETS[name], body, ("Cache-Control", "private, no-cache"), ("ETag", mark))

    def _message(self, request: Request, status: int, text: str) -> Response:
        return self._page(request, "message.html", status, text=text, title=text)

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        text = self._environment.get_template(template).render(
            base=request.base,
            operator=request.operator,
            link=lambda path, **query: _link(request, path, **query),
            here=request.path.rstrip("/") or "/",
            is_live=request.method != "POST" and status == 200,
            now=_whole(from_ms(self._now)),
            **{"find": "", **values},
        )
        body = text.encode(errors="backslashreplace")  # visitors' data may have surrogates, which are no characters
        return _response(status, "text/html; charset=utf-8", body, ("Cache-Control", "no-store"))

    def _act(
        self, request: Request, what: str, *args: object, owner: str | None = None, session: str | None = None
    ) -> None:
        """Log an action, and who did it. The owner is personal data: it is an attribute of the log's record, and masked in its text."""
        extra = {"operator": request.operator, "owner": owner, "session": session}
        _actions.warning(f"%s {what}", _printable(request.operator), *args, extra=extra)

    def _away(self, at: datetime | None) -> str:
        """A time as it is told from now."""
        if at is None:
            return "unknown"
        seconds = at.timestamp() - self._now / 1000
        return f"in {_span(seconds)}" if seconds > 0 else f"{_span(-seconds)} ago"

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _overview(self, request: Request, given: Mapping[str, str]) -> Response:
        name = given.get("range", "hour")
        minutes, step, words = _RANGES.get(name, _RANGES["hour"])
        points = self.samples.points(self._now, minutes, step)
        counts = self.samples.counts(self._now, minutes)
        return self._page(
            request,
            "overview.html",
            stats=self._stats,
            problem=self._problem,
            sampled_at=None if self._sampled_at is None else from_ms(self._sampled_at),
            range=name if name in _RANGES else "hour",
            words=words,
            points=points,
            clock=lambda at: f"{from_ms(at):%H:%M}",
            live=charts.line([point.live for point in points]),
            traffic=charts.columns([point.begun for point in points], [point.ended for point in points]),
            counts=sorted(counts.items()),
            heard=self.samples.heard,
        )

    def _sessions(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        owner = given.get("owner") or None
        if owner is not None:
            check_owner(owner)
        prefix = given.get("prefix") or None
        idle = given.get("idle", "")
        wanted = Selection(owner=owner, is_anonymous="anonymous" in given, idle_for=_IDLE.get(idle), prefix=prefix)
        listing = yield from tasks.listing(self.settings, wanted, _LIMIT, given.get("after") or None, _BUDGET)
        following = {name: value for name, value in given.items() if name in ("owner", "prefix", "idle", "anonymous")}
        return self._page(
            request,
            "sessions.html",
            listing=listing,
            wanted=wanted,
            idle=idle,
            is_searched=wanted != Selection() and owner is None,
            next=None if listing.next is None else {**following, "after": listing.next},
            ended=_number(given.get("ended")),
            find=owner or prefix or "",
        )

    def _found(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        """What the field at the top leads to: an owner's sessions, or one session."""
        text = given.get("q", "").strip()
        if not text:
            return self._to(request, "/sessions")
        if _IS_KEY(text) and self.settings.options.hash_ids and isinstance((yield Load(text)), Stored):
            return self._to(request, "/session", name=text)
        with suppress(TypeError, ValueError):
            owned = yield from tasks.listing(self.settings, Selection(owner=text), 1, None, _BUDGET)
            if owned.sessions:
                return self._to(request, "/sessions", owner=text)
        if (mask := _IS_MASK(text)) is not None:
            return self._to(request, "/sessions", prefix=mask[1])
        return self._page(request, "nothing.html", 404, find=text)

    def _session(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        return (yield from self._shown(request, given, reveal=False))

    def _reveal(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        if not self._reveals:
            return text_response(403, "Forbidden: this dashboard reveals no values.")
        response = yield from self._shown(request, given, reveal=True)
        self._act(request, "revealed the values of session %s", given["name"][:8], session=given["name"])
        return response

    def _shown(self, request: Request, given: Mapping[str, str], *, reveal: bool) -> Steps[Response]:
        name, owner = given.get("name", ""), given.get("owner") or None
        shown = yield from tasks.shown(self.settings, name, owner, reveal=reveal, budget=_BUDGET)
        values = sorted((each, _value(value, reveal=reveal)) for each, value in shown.data.items())
        return self._page(
            request, "session.html", session=shown.session, values=values, is_masked=not reveal, reveals=self._reveals
        )

    def _end(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        name, owner = given.get("name", ""), given.get("owner") or None
        count = yield from tasks.end_named(self.settings, (name,), owner, budget=_BUDGET)
        self._act(request, "ended session %s", name[:8], owner=owner, session=name)
        ended = Ended(count, session=f"{name[:8]}…", owner=owner)
        return self._to(request, "/sessions", ended=ended, **({} if owner is None else {"owner": owner}))

    def _asked_owner(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        owner = given.get("owner", "")
        check_owner(owner)
        listing = yield from tasks.listing(self.settings, Selection(owner=owner), _BUDGET, None, _BUDGET)
        return self._page(request, "end_owner.html", owner=owner, count=len(listing.sessions))

    def _end_owner(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        owner = given.get("owner", "")
        check_owner(owner)
        count = yield from end_owner(self.settings, owner)
        self._act(request, "ended all sessions of an owner (%s): %d", mask_id(owner), count, owner=owner)
        return self._to(request, "/sessions", owner=owner, ended=Ended(count, owner=owner))

    def _asked_all(self, request: Request, _given: Mapping[str, str]) -> Response:
        return self._page(request, "end_all.html", stats=self._stats, is_wrong=False)

    def _end_all(self, request: Request, given: Mapping[str, str]) -> Steps[Response]:
        if given.get("sure") != "end all":
            return self._page(request, "end_all.html", 400, stats=self._stats, is_wrong=True)
        count: int = yield Call("clear")
        self._act(request, "ended all sessions: %d", count)
        return self._to(request, "/sessions", ended=Ended(count))

    def _store(self, request: Request, _given: Mapping[str, str]) -> Steps[Response]:
        ping = yield from tasks.ping(self.settings, self._store_itself, write=False)
        return self._page(request, "store.html", ping=ping, facts=sorted(ping.facts.items()))

    def _to(self, request: Request, path: str, *, ended: Ended | None = None, **query: str) -> Response:
        if ended is not None:
            query["ended"] = str(ended.number)
        more = ("Location", _link(request, path, **query)), ("Cache-Control", "no-store")
        return _response(303, "text/plain; charset=utf-8", b"", *more, ended=ended)


_PAGES: Final[dict[tuple[str, str], Any]] = {
    ("GET", "/"): Board._overview,  # noqa: SLF001 - the table of its own
    ("GET", "/sessions"): Board._sessions,  # noqa: SLF001
    ("GET", "/find"): Board._found,  # noqa: SLF001
    ("GET", "/session"): Board._session,  # noqa: SLF001
    ("POST", "/session"): Board._reveal,  # noqa: SLF001
    ("POST", "/session/end"): Board._end,  # noqa: SLF001
    ("GET", "/owner/end"): Board._asked_owner,  # noqa: SLF001
    ("POST", "/owner/end"): Board._end_owner,  # noqa: SLF001
    ("GET", "/all/end"): Board._asked_all,  # noqa: SLF001
    ("POST", "/all/end"): Board._end_all,  # noqa: SLF001
    ("GET", "/store"): Board._store,  # noqa: SLF001
}


def _asset(name: str) -> tuple[bytes, str]:
    body = files("sojourn.dashboard").joinpath("static", name).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def _link(request: Request, path: str, **query: str) -> str:
    return f"{request.base}{quote(path)}" + (f"?{urlencode(query)}" if query else "")


def _told(error: Exception) -> str:
    """A store's error, in its own words; a driver's are left out."""
    shown = described(error)
    return f"{type(error).__name__}: {shown.args[0]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("[0-9]{1,9}", text) else None


def _value(value: Any, *, reveal: bool) -> str:
    text = value if not reveal else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text):,} characters in all)"


def _whole(at: datetime | None) -> str:
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def _size(size: int) -> str:
    return f"{size:,} B" if size < 10_000 else f"{size / 1024:,.0f} KiB"
