"""What a scenario is: plain data, so that Node.js and Python play the same, and Hypothesis can shrink it.

A scenario is a dict:

- ``apps``: the options of each middleware, by Express's names, all on one store. ``secret`` defaults to a good one,
  a date of the cookie is ``{"date": epoch ms}``, ``cookie.function`` are the options that a function of the request answers, and
  ``genid`` is a list of ids to give out, the last one forever.
- ``clients``: how many browsers there are, each with a jar of its own.
- ``planted``: records in the store from the start, ``{"id", "record"}`` or ``{"id", "text"}``.
- ``requests``: one after the other, see `Request`.

An operation of a handler is a list, its name first. With ``path`` a list of keys into nested objects:

- on the session: ``read``; ``set path value``; ``special key kind``; ``delete path``; ``append path value``; ``increment key
  by``; ``cookie name value``; ``touch``; ``save``; ``reload [times]``; ``regenerate``; ``destroy``; ``replace mapping``;
  ``remaining``, the time its cookie has left; ``hold``, and ``same``: whether it is still the one held.
  Where there is no session, the handler notes that instead.
- on the request: ``unset [delete | undefined]``; ``held name ...``, an operation on the session that ``hold`` kept;
  ``write text``, which sends the headers; ``status code``; ``ownCookie text``; ``writeHead code cookies``; ``advance ms``;
  ``faults operation ...``, what of the store fails from here on; ``store``, what it holds; ``fetch [id]``, a session by its id;
  ``during request``, another whole request.

`seen` in the outcome is what the handler noted, in order.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypedDict

__all__ = ["DAY", "HOUR", "MINUTE", "OLD_SECRET", "SECOND", "SECRET", "START", "Json", "Op", "Request", "Scenario"]

Json: TypeAlias = dict[str, Any]
Op: TypeAlias = list[Any]

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
START: Final = 1_750_000_000_400
"""When every scenario begins, epoch ms. Not a whole second, so that rounding shows."""
SECRET: Final = "a secret that is long enough for everybody"
OLD_SECRET: Final = "an older secret that is long enough as well"


class Request(TypedDict, total=False):
    """One request. All but ``ops`` has a default."""

    ops: list[Op]
    client: int
    app: int
    also: list[int]
    """Further middlewares around the same handler."""
    path: str
    method: str
    connection: str
    """``http``, ``tls`` (ended by the server itself), or ``proxied``: https as a server says that trusts its proxy."""
    forwarded: str
    """X-Forwarded-Proto."""
    cookies: list[Any]
    """The Cookie header, instead of what the jar has; see `worlds.World.cookie_header`."""
    advance: int
    """Milliseconds that pass before it."""
    body: str | None
    declared: int
    """Content-Length."""
    faults: list[str]
    """What of the store fails: get, set, destroy, touch."""
    down: bool
    """The store has announced that it is disconnected."""
    mount: str
    """The app is mounted here, below which it sees the rest of the path."""
    bare: bool
    """The request's URL is empty."""
    host: str
    parsed: Json
    """What Express's cookie-parser would have put on the request: ``secret``, ``cookies``, ``signedCookies``."""
    session: Any
    """Something that is on the request as its session already."""


class Scenario(TypedDict, total=False):
    apps: list[Json]
    clients: int
    planted: list[Json]
    requests: list[Request]
    touchless: bool
    """Express's store has no touch."""
    version: int
    """Ours: of the profile."""
