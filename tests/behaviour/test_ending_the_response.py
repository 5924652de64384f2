"""Express contract, section 14: ending the response."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import StoreTimeout, StoreUnavailable
from tests.behaviour.harness import Ctx, Make, put, read

CHUNKS: list[list[bytes]] = [
    [],
    [b""],
    [b"hello"],
    [b"hel", b"lo"],
    [b"", b"hello", b""],
    [b"", b"", b"h", b"", b"ello"],
]


# contract 167, 170, 172, 177
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("existing", [True, False])
def test_the_save_lands_before_any_byte_leaves_and_the_response_arrives_whole(
    make: Make, chunks: list[bytes], *, declared: bool, existing: bool
) -> None:
    world = make()
    client = world.session(n=1) if existing else world.client

    async def handle(ctx: Ctx) -> None:
        ctx.body = b""
        ctx.session["n"] = 2
        if declared:
            ctx.headers.append(("Content-Length", str(sum(map(len, chunks)))))
        for chunk in chunks:
            await ctx.write(chunk)

    answer = client.get(handle)
    assert answer.status == 200 and answer.body == b"".join(chunks)
    assert answer.header("content-length") == ([str(len(answer.body))] if declared else [])
    wanted = [*(["load"] if existing else []), "replace" if existing else "create", "start"]
    assert answer.timeline == wanted + ["body"] * sum(map(bool, chunks))


# contract 170
@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_never_outruns_its_save(make: Make, status: int) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.status, ctx.body = status, b""
        ctx.headers.append(("Location", "/next"))
        ctx.session.login("ann")

    answer = world.get(handle)
    assert answer.timeline == ["create", "start"] and answer.header("location") == ["/next"]
    assert world.get(lambda ctx: ctx.session.owner).seen == "ann"


# contract 175, 176
@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreTimeout("slow")])
@pytest.mark.parametrize(
    ("operation", "existing", "act"),
    [
        ("create", False, put(n=2)),
        ("replace", True, put(n=2)),
        ("touch", True, lambda ctx: ctx.session.touch()),
        ("delete", True, lambda ctx: ctx.session.destroy()),
        ("regenerate", True, lambda ctx: ctx.session.regenerate(keep_data=True)),
    ],
)
def test_a_write_that_fails_is_a_503_before_any_byte_leaves(
    make: Make, error: Exception, operation: str, act: Any, *, existing: bool
) -> None:
    world = make()
    client = world.session(n=1) if existing else world.client
    world.store.fail(operation, error=error)

    async def handle(ctx: Ctx) -> str:
        act(ctx)
        ctx.headers += [("X-Of-The-App", "1"), ("Set-Cookie", "a=b; Path=/")]
        await ctx.write(b"said by the app")
        await ctx.write(b"and more")
        return "finished"

    answer = client.get(handle)
    assert answer.status == 503 and b"app" not in answer.body and b"unavailable" in answer.body
    assert answer.set_cookies == [] and answer.header("x-of-the-app") == []
    assert answer.header("content-length") == [str(len(answer.body))]
    assert answer.header("cache-control") == ["no-store"]
    assert operation in answer.timeline[: answer.timeline.index("start")]
    world.store.failing = {}
    if existing:
        assert client.get(read).seen == {"n": 1}
    else:
        assert world.stored() == {}


# contract 175
def test_an_app_whose_response_became_a_503_runs_on_and_nothing_it_does_is_saved(make: Make) -> None:
    world = make()
    client = world.session(n=1)
    world.store.fail("replace")
    ran: list[str] = []

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await ctx.write(b"one")
        ran.append("after the first chunk")
        world.store.failing = {}
        ctx.session["n"] = 3
        await ctx.write(b"two")

    answer = client.get(handle)
    assert answer.status == 503 and client.get(read).seen == {"n": 1}
    assert ran == (["after the first chunk"] if world.adapter == "asgi" else [])


# contract 175
def test_an_outage_at_commit_is_one_line_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    client = world.session(n=1)
    world.store.fail("replace")
    for _ in range(3):
        client.get(put(n=2))
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and "503" in errors[0].getMessage() and errors[0].exc_info


# contract 175
def test_a_write_whose_reply_was_lost_is_found_out_and_a_delete_repeated(make: Make) -> None:
    for operation, act in [("create", put(n=2)), ("replace", put(n=2)), ("delete", lambda ctx: ctx.session.destroy())]:
        world = make()
        client = world.client if operation == "create" else world.session(n=1)

        def lose(world: Any = world) -> None:
            raise StoreTimeout("the reply is lost")

        world.store.after[operation] = lose
        answer = client.get(act)
        assert answer.status == 200 and answer.ops[-2:] == [operation, "delete" if operation == "delete" else "load"]
        assert (answer.cookie is None) is (operation == "replace")
        assert [record["n"] for record in world.stored().values()] == ([] if operation == "delete" else [2])


# contract 175
@pytest.mark.parametrize("operation", ["create", "replace", "regenerate", "delete", "touch"])
def test_a_write_that_timed_out_without_happening_is_tried_once_more(make: Make, operation: str) -> None:
    world = make()
    client = world.client if operation == "create" else world.session(n=1)
    acts: dict[str, Any] = {
        "create": put(n=2),
        "replace": put(n=2),
        "regenerate": lambda ctx: ctx.session.regenerate(keep_data=True),
        "delete": lambda ctx: ctx.session.destroy(),
        "touch": lambda ctx: ctx.session.touch(),
    }

    def lose() -> None:
        raise StoreTimeout("nothing has happened")

    world.store.before[operation] = lose
    answer = client.get(acts[operation])
    assert answer.status == 200 and answer.ops.count(operation) == 2


# contract 175
def test_an_increment_whose_reply_was_lost_counts_once(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    def lose() -> None:
        raise StoreTimeout("the reply is lost")

    world.store.after["replace"] = lose
    client.get(lambda ctx: ctx.session.increment("n"))
    assert client.get(read).seen == {"n": 2}


# contract 177
@pytest.mark.parametrize("act", [put(n=2), lambda ctx: ctx.session.destroy(), lambda ctx: ctx.session.regenerate()])
def test_what_is_done_before_the_first_of_several_writes_is_in_the_headers(make: Make, act: Any) -> None:
    world = make(rolling=True, save_uninitialized=True)
    client = world.session(n=1)

    async def handle(ctx: Ctx) -> None:
        act(ctx)
        await ctx.write(b"a")
        await ctx.write(b"b")

    answer = client.get(handle)
    assert answer.body == b"ab" and answer.cookie is not None
