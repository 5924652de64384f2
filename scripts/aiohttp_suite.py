"""Run aiohttp-session's own tests on ours: ``python -m scripts.aiohttp_suite``.

They come from the source distribution of the version that is installed, into a temporary folder. This module stands in the place of the
package that they import: a storage is a set of our options, and its session is ours. Exchanged in them is how a test plants a session in its
client, or looks one up: through ours, as the cookie and the record have another form here. A test that does not pass has its reason here, and one
that passes has none.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestClient

from sojourn import Cookie
from sojourn.aiohttp import SESSION as SESSION_KEY
from sojourn.aiohttp import AiohttpSession, SessionMiddleware, get_session, new_session
from sojourn.core.data import is_changed
from sojourn.core.plan import Create
from sojourn.core.policy import decide
from sojourn.core.state import Arrival, Intent, State
from sojourn.core.store import Stored
from sojourn.core.transitions import note_loaded
from sojourn.options import OptionsDict
from sojourn.stores import AsyncMemoryStore, AsyncRedisStore
from sojourn.testing.aiohttp import read_session, write_session
from sojourn.wire.signing import Verified

__all__ = [
    "REASONS",
    "SESSION_KEY",
    "STORAGE_KEY",
    "AbstractStorage",
    "RedisStorage",
    "Session",
    "SessionData",
    "SimpleCookieStorage",
    "get_session",
    "identity_in",
    "load_cookie",
    "main",
    "make_cookie",
    "make_redis_cookie",
    "new_session",
    "session_middleware",
    "setup",
]

_IDS: Final = "ids are generated, and a new session has none yet that anybody knows"
_HIDES: Final = "the text of a session shows nothing that is in it, as it ends up in logs"
_ONE_OBJECT: Final = (
    "a request has one session: new_session empties it, and gives it a new id, for whoever holds it already"
)
_ONCE: Final = "the browser has the cookie already, which lasts as long as the browser's session: it is not sent again"
_OPTIONS: Final = "there are no storages: wrong options are our ConfigurationError, a missing driver our ImportError"
REASONS: Final[Mapping[str, str]] = {
    # sessions made by hand
    "test_session_dict.test_create": _IDS,
    "test_session_dict.test_create3": _IDS,
    "test_session_dict.test_set_new_identity_ok": _IDS,
    "test_session_dict.test__repr__": _HIDES,
    "test_session_dict.test__repr__2": _HIDES,
    "test_session_dict.test_change": "a change within a dict is seen; the test wants it not to be",
    # how they are got
    "test_get_session.test_get_new_session": _ONE_OBJECT,
    "test_get_session.test_get_new_session_no_storage": _ONE_OBJECT,
    "test_session_middleware.test_session_middleware_bad_storage": _OPTIONS,
    # responses
    "test_response_types.test_stream_response": "what a stream's handler changes is saved, and its response has the cookie; the"
    " test wants it lost",
    "test_response_types.test_prepared_response_type": "it is saved when the handler prepares the response; the test wants a"
    " RuntimeError",
    # storages
    "test_abstract_storage.test_max_age_also_returns_expires": "the date is spelt as in RFC 6265, 01 Jan 1970; the test wants"
    " 01-Jan-1970",
    "test_cookie_storage.test_change_session": _ONCE,
    "test_cookie_storage.test_clear_cookie_on_session_invalidation": "the cookie is expired; the test wants one with {} in it",
    "test_redis_storage.test_change_session": _ONCE,
    "test_redis_storage.test_create_storage_with_custom_key_factory": "the cookie's id is followed by its signature",
    "test_redis_storage.test_load_bad_session": "a record that cannot be read is no session, and its id is not taken up again; the"
    " test wants it kept",
    "test_redis_storage.test_not_redis_provided_to_storage": _OPTIONS,
    "test_redis_storage.test_no_aioredis_installed": _OPTIONS,
    "test_redis_storage.test_old_aioredis_version": _OPTIONS,
}
"""Why a test does not pass, by its module and name."""
_NOT_RUN: Final[Mapping[str, str]] = {
    "test_encrypted_cookie_storage": "there is no such storage: data is kept in a store, where EncryptedCodec can encrypt it",
    "test_nacl_storage": "there is no such storage, likewise",
    "test_memcached_storage": "there is no such store: Memcached has no compare-and-set over a deletion, and forgets when it likes",
}
"""Why a module's tests are not run."""

_IMPORTED: Final = "scripts.aiohttp_suite"
_EXCHANGED: Final = (
    ("from aiohttp_session.redis_storage import", f"from {_IMPORTED} import"),
    ("from aiohttp_session import", f"from {_IMPORTED} import"),
    ("from pytest_mock import MockFixture", "MockFixture = object"),
    # how a test plants a session, and looks one up
    ("def make_cookie(", "def _their_make_cookie("),
    ("def load_cookie(", "def _their_load_cookie("),
    ('json.loads(c.value)["session"].keys()', '(await load_cookie(client))["session"].keys()'),
    ("cookie_data = json.loads(morsel.value)", "cookie_data = await load_cookie(client)"),
    ("assert {} == cookie_data", "assert {} == await load_cookie(client)"),
    ('key = resp.cookies["AIOHTTP_SESSION"].value', "key = identity_in(resp)"),
    ('"AIOHTTP_SESSION_" + morsel.value', '"AIOHTTP_SESSION_" + identity_in(resp)'),
)
_OURS: Final = {
    "test_redis_storage": "identity_in, load_cookie, make_redis_cookie as make_cookie",
    "test_abstract_storage": "load_cookie, make_cookie",
    "test_cookie_storage": "load_cookie, make_cookie",
    "test_path_domain": "load_cookie, make_cookie",
}
"""What a module imports of this one, beside what it imports of aiohttp-session."""
_CONFTEST: Final = """
import pytest
from redis import asyncio as aioredis

from tests.servers import redis_url


@pytest.fixture
async def redis(redis_url):
    async with aioredis.from_url(redis_url) as client:
        yield client
"""

# -- in the place of aiohttp-session -----------------------------------------------------------------------------------------

STORAGE_KEY: Final = "aiohttp_session_storage"
SessionData = dict[str, Any]


class Session(AiohttpSession):
    """Ours, with the two attributes of theirs that the tests look at; and made as theirs is."""

    def __init__(
        self, identity: Any, *, data: Mapping[str, Any] | None = None, new: bool = True, max_age: int | None = None
    ) -> None:
        state = identity if isinstance(identity, State) else _state(identity, data or {}, new=new, max_age=max_age)
        super().__init__(state)

    @property
    def _changed(self) -> bool:
        state = self._state
        return state.intent is not Intent.NONE or is_changed(state)

    @property
    def _mapping(self) -> dict[str, Any]:
        return dict(self)


def _state(identity: Any, data: Mapping[str, Any], *, new: bool, max_age: int | None) -> State:
    """What a request knows of such a session."""
    middleware = _Middleware(secret="s" * 32, store=AsyncMemoryStore(), cookie=Cookie(max_age=max_age))
    arrival = Arrival(Cookie(max_age=max_age), secure=False)
    state = State(middleware.settings, arrival, middleware)
    if new:
        return state
    first = State(middleware.settings, arrival, middleware, created=data.get("created", 0) * 1000 or None)
    session = AiohttpSession(first)
    session.update(data.get("session") or {"": None})
    write = decide(first).write
    assert isinstance(write, Create)
    found = Stored(write.data, write.data, write.ttl)
    note_loaded(state, Verified(str(identity), needs_resigning=False), write.key, found)
    if not data.get("session"):
        del AiohttpSession(state)[""]
    return state


def _now() -> int:
    """By the clock that tests put in the place of Python's."""
    return int(time.time() * 1000)


class AbstractStorage:
    """A storage: our options, as docs/frameworks/from-aiohttp-session.md has them."""

    def __init__(
        self,
        *,
        cookie_name: str = "AIOHTTP_SESSION",
        max_age: int | None = None,
        encoder: object = None,
        decoder: object = None,
        **cookie: Any,
    ) -> None:
        self.options: OptionsDict = {
            "secret": "s" * 32,
            "name": cookie_name,
            "cookie": Cookie(max_age=max_age, **{name: value for name, value in cookie.items() if value is not None}),
            "store": AsyncMemoryStore(clock=_now),
            "clock": _now,
        }


class SimpleCookieStorage(AbstractStorage):
    """It keeps the data in memory."""


class RedisStorage(AbstractStorage):
    """It keeps the data in Redis, under the names that aiohttp-session gives records."""

    def __init__(self, redis: Any, *, key_factory: Callable[[], str] | None = None, **given: Any) -> None:
        super().__init__(**given)
        prefix = f"{self.options['name']}_"
        self.options["store"] = AsyncRedisStore(redis, layout="connect-redis", prefix=prefix)
        self.options["hash_ids"] = False
        if key_factory is not None:
            self.options["generate_id"] = lambda _request: key_factory()


class _Middleware(SessionMiddleware):
    session_class = Session


def session_middleware(storage: Any) -> SessionMiddleware:
    """The middleware, which an application that is made with it installs."""
    return _Middleware(**storage.options)


def setup(app: web.Application, storage: Any) -> None:
    session_middleware(storage).install(app)


def identity_in(response: Any) -> str:
    """The id in the cookie that a response sends: there before the signature."""
    value: str = response.cookies["AIOHTTP_SESSION"].value
    return value.partition(".")[0]


def make_cookie(
    client: TestClient[Any, Any], data: Mapping[str, Any], path: str | None = None, domain: str | None = None
) -> None:
    """Put a session into the client, with a cookie of this path and domain; in memory, where nothing waits."""
    with suppress(StopIteration):
        write_session(client, data).send(None)
    if path is not None:
        jar = client.session.cookie_jar
        cookie: SimpleCookie = SimpleCookie()
        (made,) = [each for each in jar if each.key == "AIOHTTP_SESSION"]
        cookie[made.key] = made.value
        cookie[made.key].update({"path": path, "domain": domain or ""})
        jar.clear()
        jar.update_cookies(cookie)


async def make_redis_cookie(client: TestClient[Any, Any], _redis: Any, data: Mapping[str, Any]) -> None:
    """Put a session into the client."""
    await write_session(client, data)


async def load_cookie(client: TestClient[Any, Any], _redis: Any = None) -> dict[str, Any]:
    """The client's session, as a record of theirs."""
    data = await read_session(client)
    return {"created": 0, "session": data} if data else {}


# -- running them ------------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    """Let an application that is made with our middleware install it."""
    begin = web.Application.__init__

    def init(app: web.Application, *args: Any, middlewares: Any = (), **kwargs: Any) -> None:
        begin(app, *args, middlewares=[each for each in middlewares if not isinstance(each, _Middleware)], **kwargs)
        for each in middlewares:
            if isinstance(each, _Middleware):
                each.install(app)

    web.Application.__init__ = init  # type: ignore[assignment, method-assign]


def _fetch(folder: Path) -> Path:
    """The tests of the version that is installed."""
    version = importlib.metadata.version("aiohttp-session")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    only = ["--no-binary", "aiohttp-session", "--no-build-isolation", "--dest", str(folder)]
    subprocess.run([*pip, *only, f"aiohttp-session=={version}"], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz") / "tests"


def _adapt(source: Path, suite: Path) -> None:
    text = source.read_text(encoding="utf-8")
    for theirs, ours in _EXCHANGED:
        text = text.replace(theirs, ours)
    if source.stem in _OURS:
        text += f"\n\nfrom {_IMPORTED} import {_OURS[source.stem]}\n"
    (suite / source.name).write_text(text, encoding="utf-8")


def _names(source: Path) -> list[str]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [each.name for each in tree.body if isinstance(each, kinds) and each.name.startswith("test")]


def _run(folder: Path, tests: Path) -> dict[str, set[str]]:
    """What became of each test, by its module and name."""
    suite = folder / "suite"
    suite.mkdir()
    (suite / "__init__.py").touch()
    (suite / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    _adapt(tests / "typedefs.py", suite)
    for source in tests.glob("test_*.py"):
        if source.stem not in _NOT_RUN:
            _adapt(source, suite)
    report = folder / "report.xml"
    root = Path(__file__).resolve().parent.parent
    plugins = ("-p", "aiohttp.pytest_plugin", "-p", "scripts.aiohttp_suite", "-p", "no:anyio", "-p", "no:cacheprovider")
    shown = ("-q", "-W", "ignore", "--no-header", "--tb=short", f"--junitxml={report}")
    subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *shown, "suite"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))},
        check=False,
    )
    results: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written a moment ago
        name = f"{case.attrib['classname'].rpartition('.')[2]}.{case.attrib['name'].partition('[')[0]}"
        results.setdefault(name, set()).add("passes" if len(case) == 0 else "fails")
    return results


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        tests = _fetch(Path(folder))
        results = _run(Path(folder), tests)
        left_out = {name: _names(tests / f"{name}.py") for name in _NOT_RUN}
    for name, outcomes in sorted(results.items()):
        reason = REASONS.get(name, "")
        is_right = ("fails" in outcomes) is bool(reason)
        wrong += not is_right
        print(f"{'' if is_right else '!! '}{name}: {' and '.join(sorted(outcomes))}{reason and f'; {reason}'}")
    for name, listed in left_out.items():
        print(f"{name}: {len(listed)} tests are not run; {_NOT_RUN[name]}")
    passed = sum(outcomes == {"passes"} for outcomes in results.values())
    total = len(results) + sum(map(len, left_out.values()))
    print(f"aiohttp-session's tests: {passed} of {len(results)} pass on ours, of {total} in all")
    return int(wrong > 0 or not results or not set(REASONS) <= set(results))


if __name__ == "__main__":
    sys.exit(main())
