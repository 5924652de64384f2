"""Ids: hashed in the store or raw, masked in the log, in no error and no repr. The harness looks through every test's log besides."""

from __future__ import annotations

import hashlib
import logging
import traceback
from typing import Any

import pytest

from sojourn import SojournError, StoreUnavailable
from tests.behaviour.harness import SECRET, Ctx, Make, log_text, put, read


@pytest.mark.parametrize("hashed", [True, False, None])
def test_the_store_sees_the_hash_of_the_id_or_the_id_itself(make: Make, hashed: bool | None) -> None:
    world = make(**({} if hashed is None else {"hash_ids": hashed}))
    session_id = world.get(put(n=1)).id
    wanted = hashlib.sha256(session_id.encode()).hexdigest()
    raw = hashed is False or (hashed is None and world.profile == "express")
    assert list(world.stored()) == [session_id if raw else wanted]
    assert world.get(read).seen == {"n": 1}
    assert (session_id in str(world.stored())) is raw, "nor does the record hold it"


def test_every_level_of_the_log_is_free_of_ids_and_secrets(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(on_store_error="anonymous")
    client = world.session(user="hidden")
    session_id = next(iter(world.seen_ids))
    value = client.jar[world.name].value
    client.copy().get(read)
    world.store.fail("replace", error=StoreUnavailable("down"))
    client.copy().get(put(n=2))
    world.store.failing = {}

    async def lose(ctx: Ctx) -> None:
        ctx.session["n"] = 3
        await client.copy().ask(lambda inner: inner.session.destroy())

    old = client.copy()
    client.copy().get(lose)
    client.copy().get(read)
    old.get(read, cookies=f"{world.name}={value}x; {world.name}={value}")
    text = log_text(caplog.records)
    assert len(caplog.records) >= 5 and {record.levelno for record in caplog.records} >= {logging.DEBUG, logging.ERROR}
    for hidden in (session_id, value, value.rpartition(".")[2], SECRET, "hidden"):
        assert hidden not in text


@pytest.mark.parametrize("act", ["reload", "save", "destroyed", "encode", "reserved"])
def test_no_error_holds_an_id(make: Make, act: str) -> None:
    world = make()
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))

    async def handle(ctx: Ctx) -> str:
        try:
            if act == "destroyed":
                ctx.session.destroy()
                ctx.session["n"] = 2
            elif act in ("encode", "reserved"):
                ctx.session["cookie" if act == "reserved" else "n"] = object()
                await ctx.save()
            else:
                await client.copy().ask(lambda inner: inner.session.destroy())
                ctx.session["n"] = 2
                await getattr(ctx, act)()
        except SojournError as error:
            ctx.session = None
            return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        raise AssertionError("no error")

    text = client.get(handle, may_fail=True).seen
    assert text and session_id not in text and world.key(session_id) not in text


def test_the_middleware_shows_no_secret(make: Make) -> None:
    world = make(store_error_page="<p>sorry")
    middleware = world.middleware
    shown = [repr(middleware), repr(middleware.options), repr(middleware.settings), repr(middleware.reader)]
    assert SECRET not in "".join(shown)


def test_the_503_tells_nothing_of_the_failure(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    cause: Any = StoreUnavailable("redis://user:password@db failed")
    world.store.fail("load", error=cause)
    answer = client.get(read)
    assert b"password" not in answer.body and "password" not in str(answer.headers)
