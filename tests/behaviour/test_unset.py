"""Express contract, section 13: unset."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import pytest

from tests.behaviour.harness import Client, Ctx, Make, put, read

WAYS = pytest.mark.parametrize("way", ["none", "delete"])


def unset(ctx: Ctx, way: str) -> None:
    if way == "none":
        ctx.session = None
    else:
        del ctx.session


# contract 161, 164
@WAYS
@pytest.mark.parametrize("options", [{}, {"resave": True, "touch_after": 0}, {"rolling": True}])
def test_keep_leaves_the_record_and_drops_this_requests_changes(make: Make, way: str, options: dict[str, Any]) -> None:
    world = make(unset="keep", **options)
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        unset(ctx, way)

    answer = client.get(handle)
    assert answer.status == 200 and answer.ops == ["load"] and answer.cookie is None
    assert client.get(read).seen == {"n": 1}


# contract 162, 164, 166
@WAYS
@pytest.mark.parametrize("look", [True, False])
def test_destroy_deletes_the_record_of_a_loaded_session(make: Make, way: str, *, look: bool) -> None:
    world = make(unset="destroy")
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        if look:
            ctx.session["n"] = 2
        unset(ctx, way)

    answer = client.get(handle)
    assert answer.writes == ["delete"] and world.stored() == {} and answer.the_cookie.is_expired


# contract 163
@WAYS
@pytest.mark.parametrize("mode", ["keep", "destroy"])
@pytest.mark.parametrize("brought", [None, "dead"])
def test_unsetting_a_new_session_stores_nothing_and_ends_what_the_request_brought(
    make: Make, way: str, mode: Literal["keep", "destroy"], brought: str | None
) -> None:
    world = make(unset=mode, save_uninitialized=True, rolling=True)
    client = Client(world) if brought is None else Client(world).holding(brought)
    ends = mode == "destroy" and brought is not None

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        unset(ctx, way)

    answer = client.get(handle)
    assert answer.writes == (["delete"] if ends else []) and world.stored() == {}
    assert (answer.cookie is not None) is ends


# contract 165
def test_a_failing_delete_is_a_503(make: Make) -> None:
    world = make(unset="destroy")
    client = world.plant({"n": 1})
    world.store.fail("delete")
    answer = client.get(partial(unset, way="none"))
    assert answer.status == 503 and answer.cookie is None
    world.store.failing = {}
    assert client.get(read).seen == {"n": 1}


# contract 143, 162
@WAYS
def test_destroy_and_unset_delete_once(make: Make, way: str) -> None:
    world = make(unset="destroy")
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        unset(ctx, way)

    answer = client.get(handle)
    assert answer.writes == ["delete"] and answer.the_cookie.is_expired


# contract 161, 142
@WAYS
def test_a_destroy_is_not_taken_back_by_unsetting_with_keep(make: Make, way: str) -> None:
    world = make(unset="keep")
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        unset(ctx, way)

    answer = client.get(handle)
    assert answer.writes == ["delete"] and world.stored() == {} and answer.the_cookie.is_expired


# contract 162
@pytest.mark.parametrize("mode", ["keep", "destroy"])
def test_unsetting_after_the_headers(make: Make, mode: Literal["keep", "destroy"]) -> None:
    world = make(unset=mode)
    client = world.plant({"n": 1})

    async def late(ctx: Ctx) -> None:
        await ctx.write(b"x")
        ctx.session["n"] = 2
        unset(ctx, "none")

    answer = client.get(late)
    assert answer.writes[-1:] == (["delete"] if mode == "destroy" else answer.writes[-1:])
    assert world.stored() == {} if mode == "destroy" else world.data("planted") == {"n": 1}


# contract 161
@pytest.mark.parametrize("mode", ["keep", "destroy"])
def test_a_session_put_back_is_in_force_again(make: Make, mode: Literal["keep", "destroy"]) -> None:
    world = make(unset=mode)
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        held = ctx.session
        ctx.session = None
        ctx.session = held
        held["n"] = 2

    assert client.get(handle).writes == ["replace"]
    assert client.get(put(m=1)).writes == ["replace"]
    assert world.data("planted") == {"n": 2, "m": 1}


# contract 161, 162
@pytest.mark.parametrize("mode", ["keep", "destroy"])
def test_after_a_save_unset_means_the_saved_session(make: Make, mode: Literal["keep", "destroy"]) -> None:
    world = make(unset=mode)

    async def handle(ctx: Ctx) -> str:
        ctx.session["n"] = 1
        await ctx.save()
        session_id = str(ctx.session.id)
        ctx.session = None
        return session_id

    answer = world.get(handle)
    if mode == "destroy":
        assert answer.writes == ["create", "delete"] and world.stored() == {}
    else:
        assert answer.writes == ["create"] and answer.id == answer.seen, "the browser learns of what save() stored"
