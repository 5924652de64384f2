"""What ``import sojourn`` costs everybody who only wants its names."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

# Nothing of these is needed before a middleware or a store is made.
HEAVY = {
    "aiohttp",
    "anyio",
    "asyncio",
    "cryptography",
    "django",
    "fastapi",
    "flask",
    "http.client",
    "litestar",
    "multiprocessing",
    "psycopg",
    "pymongo",
    "redis",
    "sqlite3",
    "ssl",
    "starlette",
    "trio",
    "uvicorn",
}
_PROGRAM = """
import json, sys, time
before, began = set(sys.modules), time.process_time()
{statement}
spent = time.process_time() - began
print(json.dumps([spent, sorted(set(sys.modules) - before)]))
"""


def measure(statement: str) -> tuple[float, set[str]]:
    """CPU seconds, and the modules that were loaded, in an interpreter of its own that nobody else measures."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    result: Any = json.loads(ran.stdout)
    return result[0], set(result[1])


def tops(modules: set[str]) -> set[str]:
    return {part for name in modules for part in (name, name.partition(".")[0])}


def test_the_package_itself_costs_less_than_50_ms_of_cpu():
    runs = [measure("import sojourn") for _ in range(5)]
    assert statistics.median(spent for spent, _ in runs) < 0.05


@pytest.mark.parametrize(
    "statement",
    [
        "import sojourn",
        "from sojourn import Cookie, Session, SojournError, express",
        "from sojourn.options import Options",
        "from sojourn import JSONCodec, PlainCodec, EncryptedCodec",
    ],
)
def test_names_load_no_driver_no_framework_and_no_event_loop(statement):
    _, modules = measure(statement)
    assert not tops(modules) & HEAVY
    assert len(modules) < 150


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("from sojourn.wsgi import SessionMiddleware", set()),
        ("from sojourn.stores import MemoryStore", set()),
        ("import sojourn.wsgi; sojourn.wsgi.SessionMiddleware(print, secret='s' * 32, store='memory://')", set()),
        ("from sojourn.stores import SQLiteStore", {"sqlite3", "asyncio", "ssl", "multiprocessing"}),  # both colours
        ("from sojourn.asgi import SessionMiddleware", set()),
        ("import sojourn.asgi; sojourn.asgi.SessionMiddleware(print, secret='s' * 32, store='memory://')", set()),
    ],
)
def test_an_adapter_or_store_loads_what_it_needs_and_no_more(statement, allowed):
    _, modules = measure(statement)
    assert tops(modules) & HEAVY <= allowed
