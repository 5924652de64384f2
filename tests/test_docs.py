"""What the documentation says is so.

Every Python block runs, offline: one that begins with an import as a program, whose ``app`` is then visited, and any other
within a request, with its ``session`` and the names of `given`. Tables that state behaviour are read and held to the code.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import json
import logging
import logging.config
import re
import secrets
import sys
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import sojourn
from scripts.floors import sources
from sojourn import ids
from sojourn.asgi import SessionMiddleware
from sojourn.codecs import JSONCodec, join, split
from sojourn.codecs.base import MAX_DEPTH
from sojourn.core import commit
from sojourn.core.merge import merge
from sojourn.core.store import DEFAULT_MAX_SIZE, LOCK_MS
from sojourn.guard import CrossSiteRules
from sojourn.options import NATIVE, Options, OptionsDict
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.stores.postgres._sync import pool as postgres_pool
from sojourn.stores.redis import _idle as redis_idle
from sojourn.wire import request

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts] + list(ROOT.glob("*.md")),
)
SECRET = "a secret for tests of more than 32 bytes"
TYPES = {"Decimal": Decimal, "UUID": UUID, "date": date, "datetime": datetime, "time": time, "timedelta": timedelta}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param("\n" * line + found[1], name(page), id=f"{name(page)}:{line}")


def rows(page: str, heading: str) -> list[list[str]]:
    """The table below a heading, cell by cell, each without its code marks."""
    _, _, section = (ROOT / page).read_text(encoding="utf-8").partition(f"# {heading}\n")
    assert section, f"{page} has no heading {heading!r}"
    lines = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    table = [[cell.strip().strip("`") for cell in line[1:-1].split(" | ")] for line in lines if line.startswith("| ")]
    assert len(table) > 2, f"{page} has no table below {heading!r}"
    return table[1:]


class Money:
    """A type of the application's own, for blocks about such types."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __str__(self) -> str:
        return str(self.cents)

    @classmethod
    def parse(cls, text: str) -> Money:
        return cls(int(text))


def given() -> dict[str, Any]:
    """What blocks may take for granted: the package's names, and a few that speak for themselves."""
    return {
        **{one: getattr(sojourn, one) for one in sojourn.__all__},
        **TYPES,
        "__name__": "example",
        "Money": Money,
        "SessionMiddleware": SessionMiddleware,
        "app": _empty,
        "new_key": secrets.token_bytes(32),
        "old_key": secrets.token_bytes(32),
        "secret": SECRET,
        "new_secret": SECRET + " (new)",
        "old_secret": SECRET,
        "some_id": "an id",
    }


async def _empty(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def visit(app: Any, times: int = 1) -> None:
    """Be a visitor of an application, of either protocol or of aiohttp."""

    async def visit_asgi() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as visitor:
            return [(await visitor.get("/")).status_code for _ in range(times)]

    def visit_wsgi() -> list[int]:
        with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop.test") as visitor:
            return [visitor.get("/").status_code for _ in range(times)]

    async def visit_aiohttp() -> list[int]:
        async with TestClient(TestServer(app)) as visitor:
            return [(await visitor.get("/")).status for _ in range(times)]

    if isinstance(app, web.Application):
        assert asyncio.run(visit_aiohttp()) == [200] * times
        return
    is_asgi = inspect.iscoroutinefunction(type(app).__call__)
    assert (asyncio.run(visit_asgi()) if is_asgi else visit_wsgi()) == [200] * times


# Newer ones of Starlette would rather have httpx2, which has no part in these tests.
@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
@pytest.mark.parametrize(("source", "page"), list(blocks("python")))
def test_every_python_block_runs(source: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setattr(logging.getLogger("sojourn"), "disabled", True)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _config: None)  # Litestar's would outlive the block
    module = ModuleType("example")  # by which Litestar looks up what the annotations in it mean, and Pyramid the module
    names = vars(module)
    names.update(given())
    monkeypatch.setitem(sys.modules, names["__name__"], module)
    if source.lstrip().startswith(("import ", "from ")):
        exec(compile(source, page, "exec", dont_inherit=True), names)
        if names["app"] is not _empty:
            visit(names["app"], times=2)
    else:
        for part in parts(source):
            visit(SessionMiddleware(handler(part, page, names), secret=SECRET, store=AsyncMemoryStore()))


def parts(source: str) -> list[ast.Module]:
    """A block as the bodies of handlers: what follows the end of a session is another request."""
    bodies: list[list[ast.stmt]] = [[]]
    for statement in ast.parse(source).body:
        bodies[-1].append(statement)
        if ast.unparse(statement) in ("session.logout()", "session.destroy()"):
            bodies.append([])
    return [ast.Module(body, []) for body in bodies if body]


def handler(part: ast.Module, page: str, names: dict[str, Any]) -> Any:
    code = compile(part, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        names["session"] = scope["session"]
        done = eval(code, names)
        if done is not None:
            await done
        await _empty(scope, receive, send)

    return handle


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_of_merges_is_what_the_merge_does() -> None:
    for base, mine, theirs, stored, _ in rows("docs/concurrency.md", "Merge rules"):
        merged = join(merge(split(base.encode()), split(mine.encode()), split(theirs.encode())))
        as_text = json.dumps(json.loads(merged), sort_keys=True)  # types count
        assert as_text == json.dumps(json.loads(stored), sort_keys=True), (base, mine, theirs)


def test_the_table_of_types_is_what_the_codec_writes_and_reads() -> None:
    codec = JSONCodec()
    for _kind, value, written, _ in rows("docs/codecs.md", "What is written"):
        held = eval(value, dict(TYPES, UTC=UTC))
        assert codec.encode(held).decode() == written
        back = codec.decode(written.encode())
        assert (type(back), back) == (type(held), held)


def test_the_table_of_options_has_each_with_its_default() -> None:
    told = {row[0]: row[1] for row in rows("docs/options.md", "All options")}
    assert set(told) == set(OptionsDict.__annotations__) - {"profile", "clock"}
    options = Options(secret=SECRET)
    for option, default in told.items():
        if default.startswith(("'", '"', "(", "True", "False", "None")):
            assert getattr(options, option) == ast.literal_eval(default), option
    assert options.absolute_ms == 30 * 86_400_000


def test_the_cookies_attributes_are_told_with_their_defaults() -> None:
    told = {row[0]: ast.literal_eval(row[1]) for row in rows("docs/cookies.md", "Attributes")}
    cookie = sojourn.Cookie()
    assert told == {one: getattr(cookie, one) for one in typing.get_type_hints(sojourn.Cookie) if one != "max_age_ms"}


GUARDED = {
    "not sent": (),
    "trusted": "https://trusted.example",
    "the site's own": "https://site.example",
    "another": "https://evil.example",
    "not trusted": "https://evil.example",
    "anything else": "same-origin, same-origin",
}
"""What the words in the guard's table stand for; others stand for themselves."""


@pytest.mark.parametrize("strict", [False, True])
def test_the_table_of_the_guard_is_what_it_decides(strict: bool) -> None:
    rules = CrossSiteRules(trusted_origins=["https://trusted.example"], strict=strict)
    told = rows("SECURITY.md", "Requests from other sites")
    for asked, fetch_site, origin, decision in told:
        methods = (
            asked.split(", ") if asked.startswith("GET") else ["GET"] if "WebSocket" in asked else ["POST", "DELETE"]
        )
        for method, site, from_ in itertools.product(
            methods, _meant(fetch_site, site=True), _meant(origin, site=False)
        ):
            headers = {"Sec-Fetch-Site": site, "Origin": from_, "Host": "site.example"}

            def header(name: str, headers: dict[str, str | tuple[()]] = headers) -> list[str]:
                return [value] if isinstance(value := headers.get(name, ()), str) else []

            refusal = rules.refusal(method, lambda: "/", header, https=True, websocket="WebSocket" in asked)
            passes = decision == "passes" or (decision == "passes, unless strict" and not strict)
            assert (refusal is None) is passes, (asked, fetch_site, origin)


def _meant(cell: str, *, site: bool) -> list[str | tuple[()]]:
    if cell != "any":
        return [GUARDED.get(cell, cell)]  # type: ignore[list-item]
    return [(), "none", "cross-site"] if site else [(), "null", *map(str, GUARDED.values())]


def log_lines() -> Iterator[str]:
    """Everything that the package says to its logger, as it is written in the source."""
    for path in sources().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = ast.unparse(node.func)
            if function in ("log.debug", "log.info", "log.warning", "log.error", "warn_once"):
                line = node.args[function == "warn_once"]
                if isinstance(line, ast.Constant):
                    yield re.sub(r"%[srd]", "…", str(line.value))


NUMBERS = [
    ("docs/concurrency.md", "After five seconds it is given up", commit.PATIENCE, 5),
    ("docs/concurrency.md", "A lock lasts 30 seconds", LOCK_MS, 30_000),
    ("docs/concurrency.md", "a tombstone under the old id for 30 seconds", NATIVE.tombstone_ms, 30_000),
    ("docs/cookies.md", "16 different values are verified", request._MOST_CANDIDATES, 16),
    ("docs/cookies.md", "and 8 ids are looked up", request.MOST_LOOKUPS, 8),
    ("docs/session.md", "at most 2,048 bytes of UTF-8", ids.LONGEST_OWNER, 2048),
    ("docs/operations.md", "or more than 4,096 bytes", ids.LONGEST_KEY, 4096),
    ("docs/operations.md", "`max_size` of the store, 1 MiB by default", DEFAULT_MAX_SIZE, 1 << 20),
    ("docs/operations.md", "100,000 by default", MemoryStore().max_sessions, 100_000),
    ("docs/operations.md", "and `max_bytes`, 256 MiB", MemoryStore().max_bytes, 256 << 20),
    ("docs/stores/postgresql.md", "closes those idle for 200 seconds", postgres_pool._LONGEST_IDLE, 200),
    ("docs/stores/redis.md", "not used for 200 seconds", redis_idle.LONGEST_IDLE, 200),
    ("SECURITY.md", "a depth of 200", MAX_DEPTH, 200),
]


@pytest.mark.parametrize(("page", "sentence", "number", "said"), NUMBERS)
def test_a_number_is_what_the_code_has(page: str, sentence: str, number: object, said: int) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert sentence in text and number == said


def test_every_line_of_the_log_is_explained() -> None:
    lines = sorted(set(log_lines()))
    assert len(lines) > 10
    told = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert [line for line in lines if f"`{line}`" not in told] == []


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    missing = [
        (file, test)
        for file, test in named
        if not (ROOT / file).exists() or f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


@pytest.mark.parametrize(("heading", "least"), [("Threat model", 20), ("Known limits", 3)])
def test_every_attack_and_every_limit_is_explained_and_has_a_test(heading: str, least: int) -> None:
    table = rows("SECURITY.md", heading)
    assert len(table) > least
    for attack, explained, tests in table:
        assert attack and explained and ("tests/" in tests or tests.startswith("None")), attack


STANDARDS = {
    "OWASP ASVS 5.0, chapter V7": 19,
    "OWASP Session Management Cheat Sheet": 20,
    "NIST SP 800-63B-4, sections 5.1 and 5.2": 15,
}


@pytest.mark.parametrize(("heading", "least"), STANDARDS.items())
def test_every_requirement_of_a_standard_has_a_test_or_is_the_applications(heading: str, least: int) -> None:
    table = rows("SECURITY.md", heading)
    assert len(table) >= least
    for number, in_short, here, tests in table:
        assert number and in_short and here
        assert "tests/" in tests or (tests == "None: yours" and here.startswith("yours")), number


def test_no_requirement_of_asvs_v7_is_left_out() -> None:
    asked = [
        f"7.{section}.{number}" for section, last in enumerate((3, 4, 2, 5, 3, 2), 1) for number in range(1, last + 1)
    ]
    assert [row[0] for row in rows("SECURITY.md", "OWASP ASVS 5.0, chapter V7")] == asked
