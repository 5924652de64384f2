"""Express contract, section 6: id generation."""

from __future__ import annotations

import re
from itertools import chain, repeat
from typing import Any
from urllib.parse import unquote

import pytest

from tests.behaviour.harness import Client, Make, put, read, sign


# contract 61
def test_an_id_is_256_random_bits_in_url_safe_characters(make: Make) -> None:
    world = make()
    ids = {Client(world).get(put(n=1)).id for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", session_id) for session_id in ids)
    for position in range(42):
        assert len({session_id[position] for session_id in ids}) > 10, "every character is random"


# contract 62
@pytest.mark.parametrize(
    "drawn", ["plain", "with space", 'quo"ted', "semi;colon", "a.b.c", "ünï☕", "%41", "a/b+c=d", "s:x"]
)
def test_a_custom_id_is_used_verbatim_and_encoded_in_the_cookie(make: Make, drawn: str) -> None:
    world = make(generate_id=lambda _request: drawn)
    answer = world.get(put(n=1))
    assert answer.id == drawn and answer.the_cookie.value == sign(drawn, world.profile)
    assert unquote(answer.the_cookie.value).startswith("s:" * (world.profile == "express") + drawn)
    assert world.data(drawn) == {"n": 1}
    assert world.get(read).seen == {"n": 1}


# contract 62
def test_the_generator_is_given_the_request(make: Make) -> None:
    given: list[Any] = []

    def draw(request: Any) -> str:
        given.append(request)
        return "drawn"

    world = make(generate_id=draw)
    world.get(put(n=1), "/somewhere")
    (request,) = given
    assert request["path" if world.adapter == "asgi" else "PATH_INFO"] == "/somewhere"


# contract 61
def test_no_id_is_drawn_that_nobody_needs(make: Make) -> None:
    def draw(_request: Any) -> str:
        raise AssertionError("drawn in vain")

    world = make(generate_id=draw)
    assert world.get(read).status == 200


# contract 63
def test_an_id_that_is_taken_is_drawn_again(make: Make) -> None:
    ids = chain(["taken", "taken"], repeat("free"))
    world = make(generate_id=lambda _request: next(ids))
    world.plant({"user": "ann"}, session_id="taken")
    answer = Client(world).get(put(user="bob"))
    assert answer.writes == ["create"] * 3 and answer.id == "free"
    assert world.data("taken") == {"user": "ann"} and world.data("free") == {"user": "bob"}


# contract 63
def test_regenerate_to_an_id_that_is_taken_draws_again(make: Make) -> None:
    ids = chain(["first", "taken"], repeat("free"))
    world = make(generate_id=lambda _request: next(ids))
    world.plant({"user": "bob"}, session_id="taken")
    client = Client(world)
    client.get(put(user="ann"))
    answer = client.get(lambda ctx: ctx.session.regenerate(keep_data=True))
    assert answer.id == "free" and world.data("free") == {"user": "ann"}
    assert world.data("taken") == {"user": "bob"} and world.record("first") is None


# contract 63
def test_a_generator_that_only_gives_taken_ids_is_a_503_and_overwrites_nothing(make: Make) -> None:
    world = make(generate_id=lambda _request: "taken")
    world.plant({"user": "ann"}, session_id="taken")
    answer = Client(world).get(put(user="bob"))
    assert answer.status == 503 and answer.cookie is None
    assert world.data("taken") == {"user": "ann"}
