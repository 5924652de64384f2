"""The sync stores are what the generator makes of the async ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.unasync import STORES, sources, twin_of, unasync

ANY = STORES / "any" / "_async" / "any.py"


@pytest.mark.parametrize("source", sources(), ids=lambda source: str(source.relative_to(STORES)))
def test_generating_a_sync_store_anew_changes_nothing(source: Path):
    assert twin_of(source).read_text("utf-8") == unasync(source.read_text("utf-8"), source)


def test_every_sync_store_has_an_async_source():
    assert set(STORES.glob("*/_sync/*.py")) == set(map(twin_of, sources()))


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("async def load() -> None:\n    await go()\n", "def load() -> None:\n    go()\n"),
        ("async with a() as b:\n    x = [c async for c in b]\n", "with a() as b:\n    x = [c for c in b]\n"),
        ("class AsyncRedisStore:\n    pass\n", "class RedisStore:\n    pass\n"),
        ("x = anext(aiter(y))\n", "x = next(iter(y))\n"),
        ("x = 1\ny = 2  # async only\n", "x = 1\n"),
        ("x = 1\n# sync only: y = 2\n", "x = 1\ny = 2\n"),
        ("import asyncio\n\nawait asyncio.sleep(1)\n", "import time\n\ntime.sleep(1)\n"),
        ("from ._async import x\n\nx()\n", "from ._sync import x\n\nx()\n"),
        ("x = (\n    await a,\n    await b,\n)\n", "x = (\n    a,\n    b,\n)\n"),
    ],
)
def test_code_loses_its_colour(source: str, twin: str):
    assert unasync(source, ANY).split("\n", 1)[1].lstrip("\n") == twin


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ('"""In the async colour we await."""\n', '"""In the async colour we await."""\n'),
        ('"""See `AsyncStore`."""\n', '"""See `Store`."""\n'),
        ("x = 1  # await what comes\n", "x = 1  # await what comes\n"),
        ('x = f"await {y} of AsyncStore"\n', 'x = f"await {y} of Store"\n'),
    ],
)
def test_prose_keeps_its_words_but_not_the_names_of_classes(source: str, twin: str):
    assert unasync(source, ANY).split("\n", 1)[1].lstrip("\n") == twin


def test_a_driver_has_rules_of_its_own():
    assert unasync("import redis.asyncio\n\nredis.asyncio.x()\n", STORES / "redis" / "_async" / "any.py").endswith(
        "import redis\n\nredis.x()\n"
    )
