"""How a session ends, on every store and in both colours: by whatever id it is ended, nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.worker import AsyncVisitor, Visitor

pytestmark = pytest.mark.server

Ask = Callable[[str | None, Callable[[Any], object]], tuple[int, str | None]]


def live(ask: Ask, cookie: str) -> dict[str, Any] | None:
    """What the session of a cookie holds; None where there is none."""
    seen: list[dict[str, Any] | None] = []
    ask(cookie, lambda session: seen.append(None if session.is_new else dict(session)))
    return seen[0]


def begun(ask: Ask, **data: Any) -> str:
    _status, cookie = ask(None, lambda session: session.update(data))
    assert cookie is not None
    return cookie


def logout_with_the_old_id_after_a_login(ask: Ask) -> None:
    old = begun(ask, cart=1)
    _status, new = ask(old, lambda session: session.login("ann", keep_data=True))
    assert new is not None and live(ask, new) == {"cart": 1} and live(ask, old) is None
    assert ask(old, lambda session: session.logout()) == (200, "sid=")
    assert live(ask, new) is None and live(ask, old) is None


def logout_with_the_first_of_a_chain_of_ids(ask: Ask) -> None:
    cookies = [begun(ask, n=0)]
    for _ in range(3):
        _status, cookie = ask(cookies[-1], lambda session: session.regenerate(keep_data=True))
        assert cookie is not None
        cookies.append(cookie)
    assert live(ask, cookies[-1]) == {"n": 0}
    ask(cookies[0], lambda session: session.logout())
    assert [live(ask, cookie) for cookie in cookies] == [None] * 4


def logout_with_several_ids(ask: Ask) -> None:
    planted, own, third = begun(ask, evil=1), begun(ask, user="ann"), begun(ask, n=3)
    assert ask(f"{planted}; {own}; {third}", lambda session: session.logout()) == (200, "sid=")
    assert [live(ask, cookie) for cookie in (planted, own, third)] == [None] * 3


def clear_and_go_on(ask: Ask) -> None:
    planted, own = begun(ask, evil=1), begun(ask, user="ann")

    def begin_anew(session: Any) -> None:
        session.clear()
        session["user"] = "bob"

    _status, new = ask(f"{own}; {planted}", begin_anew)
    assert new is not None and new != own and live(ask, new) == {"user": "bob"}
    assert live(ask, own) is None and live(ask, planted) is None


def clear_and_nothing_else(ask: Ask) -> None:
    own = begun(ask, user="ann")
    assert ask(own, lambda session: session.clear()) == (200, "sid=")
    assert live(ask, own) is None


SCENES = [
    logout_with_the_old_id_after_a_login,
    logout_with_the_first_of_a_chain_of_ids,
    logout_with_several_ids,
    clear_and_go_on,
    clear_and_nothing_else,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_an_ending_ends_all_that_it_names_sync(store_url: str, scene: Callable[[Ask], None]) -> None:
    visitor = Visitor(store_url)
    scene(visitor.request)
    visitor.close()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_an_ending_ends_all_that_it_names_async(store_url: str, scene: Callable[[Ask], None]) -> None:
    with asyncio.Runner() as runner:
        visitor = AsyncVisitor(store_url)
        scene(lambda cookie, do: runner.run(visitor.request(cookie, do)))
        runner.run(visitor.close())
