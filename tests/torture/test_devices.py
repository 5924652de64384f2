"""Devices on every store and in both colours: what is listed, and that an ended device never comes back, whatever it does meanwhile.

`make test` runs some rounds per store, `make torture` ten thousand.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.torture.worker import AsyncVisitor, Visitor

pytestmark = pytest.mark.server

LONGEST = 0.004  # seconds that a handler thinks
AT_ONCE = 10  # rounds side by side
ROUNDS = [pytest.param(60, id="60"), pytest.param(10_000, id="10000", marks=pytest.mark.torture)]
DOES = ("writes", "regenerates", "logs in", "reads")


def log_in(session: Any) -> None:
    session["started"] = 1
    session.login("ann", keep_data=True)


def check_page(devices: list[Any]) -> None:
    now = datetime.now(UTC)
    assert [device.is_current for device in devices] == [True, False, False]
    assert len({device.handle for device in devices}) == 3
    for device in devices:
        assert abs(device.last_seen_at - now) < timedelta(minutes=2)
        assert timedelta(hours=23) < device.expires_at - now < timedelta(hours=25)


def test_an_owners_devices_are_listed_and_ended_sync(store_url: str) -> None:
    visitor = Visitor(store_url)
    cookies = [visitor.request(None, log_in)[1] for _ in range(3)]
    pages: list[Any] = []
    visitor.request(cookies[0], lambda session: pages.append(session.devices()))
    check_page(pages[0])
    said: list[object] = []
    visitor.request(cookies[0], lambda session: said.append(session.end(pages[0][1].handle)))
    visitor.request(cookies[0], lambda session: said.append(session.end(pages[0][1].handle)))
    visitor.request(cookies[0], lambda session: said.append(session.end_others()))
    for cookie in cookies:
        visitor.request(cookie, lambda session: said.append(session.is_new))
    assert said == [True, False, 1, False, True, True]
    visitor.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_owners_devices_are_listed_and_ended_async(store_url: str) -> None:
    visitor = AsyncVisitor(store_url)
    cookies = [(await visitor.request(None, log_in))[1] for _ in range(3)]
    said: list[object] = []

    async def end_two(session: Any) -> None:
        devices = await session.devices()
        check_page(devices)
        said.append(await session.end(devices[1].handle))
        said.append(await session.end(devices[1].handle))
        said.append(await session.end_others())

    await visitor.request(cookies[0], end_two)
    for cookie in cookies:
        await visitor.request(cookie, lambda session: said.append(session.is_new))
    assert said == [True, False, 1, False, True, True]
    await visitor.close()


async def one_round(visitor: AsyncVisitor, chance: random.Random) -> bool:
    """A device is ended by another one, by its handle or with all others, while it is used. False: it had another handle by then."""
    owner = f"ann-{chance.getrandbits(64)}"
    does, by_handle = chance.choice(DOES), chance.random() < 0.5

    def begin(session: Any) -> None:
        session["started"] = 1
        session.login(owner, keep_data=True)

    _status, ours = await visitor.request(None, begin)
    _status, ended = await visitor.request(None, begin)
    assert ours is not None and ended is not None
    handle = ""

    async def list_them(session: Any) -> None:
        nonlocal handle
        (handle,) = [device.handle for device in await session.devices() if not device.is_current]

    await visitor.request(ours, list_them)
    was_ended = False
    naps = [chance.uniform(0, LONGEST) for _ in range(6)]

    async def use(session: Any) -> None:
        await asyncio.sleep(naps[0])
        match does:
            case "writes":
                session["written"] = True
            case "regenerates":
                session.regenerate(keep_data=True)
            case "logs in":
                session.login(owner, keep_data=True)
            case _:
                session.touch()
        await asyncio.sleep(naps[1])

    async def end_it(session: Any) -> None:
        nonlocal was_ended
        await asyncio.sleep(naps[2])
        was_ended = await session.end(handle) if by_handle else await session.end_others() > 0

    async def used() -> tuple[int, str | None]:
        await asyncio.sleep(naps[3])
        return await visitor.request(ended, use)

    results = await asyncio.gather(used(), visitor.request(ours, end_it), used(), used())
    if not was_ended:
        assert by_handle and does in ("regenerates", "logs in")
        return False
    seen: list[tuple[bool, str | None, dict[str, Any]]] = []

    def look(session: Any) -> None:
        seen.append((session.is_new, session.owner, dict(session)))

    assert all(status in (200, 409) for status, _cookie in results), results
    await visitor.request(ours, look)
    assert seen.pop()[:2] == (False, owner)
    await visitor.request(ended, look)
    assert seen.pop() == (True, None, {})
    for number in (0, 2, 3):
        cookie = results[number][1]
        if cookie is not None and not cookie.endswith("="):
            await visitor.request(cookie, look)
            is_new, who, data = seen.pop()
            # Who has logged in after the end has another session, and nothing of the one that ended.
            assert is_new or ("started" not in data and (who is None or does == "logs in")), (does, who, data)
    return True


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_an_ended_device_never_comes_back(store_url: str, rounds: int) -> None:
    visitor, chance = AsyncVisitor(store_url), random.Random(17)
    ended = 0
    for _ in range(0, rounds, AT_ONCE):
        ended += sum(
            await asyncio.gather(*(one_round(visitor, random.Random(chance.random())) for _ in range(AT_ONCE)))
        )
    await visitor.close()
    assert ended > rounds / 2
    print(
        f"{ended} of {rounds} devices were ended while they were used, and none came back; the others had another handle by then"
    )
