"""An owner's sessions as devices: listed, ended one by one, ended all but this one; in both colours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sojourn.clock import from_ms
from sojourn.core.devices import Devices
from sojourn.core.session import Session
from sojourn.core.state import Intent
from sojourn.core.store import Stored
from sojourn.errors import StoreError
from tests.core.making import DAY, HOUR, ID, OLD_SECRET, SECRET
from tests.middleware.sites import IDS, Site, settle

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sync", "async"])
def site(request) -> Site:
    return Site(request.param)


async def test_the_current_device_comes_first_and_then_what_was_used_last(site: Site):
    for number, left in enumerate((DAY, DAY - HOUR, DAY - 2 * HOUR)):
        site.keep(IDS[number], ttl=left)
    site.keep(IDS[3], owner="bob")
    session = await site.request(IDS[1])
    devices = await settle(session.devices())
    assert [device.is_current for device in devices] == [True, False, False]
    assert [(from_ms(site.clock.now) - device.last_seen_at) for device in devices] == [
        timedelta(hours=hours) for hours in (1, 0, 2)
    ]
    assert devices[1].expires_at - devices[2].expires_at == timedelta(hours=2)
    assert devices[0].authenticated_at == devices[0].created_at
    assert devices.next is None


async def test_nobodys_session_has_no_devices_and_ends_none(site: Site):
    site.keep(IDS[0])
    session = await site.request(None)
    assert await settle(session.devices()) == Devices()
    assert await settle(session.end("whatever")) is False
    assert await settle(session.end_others()) == 0


async def test_they_come_page_by_page_also_where_some_end_meanwhile(site: Site):
    for session_id in IDS:
        site.keep(session_id)
    session = await site.request(IDS[0])
    handles: list[str] = []
    after = None
    while True:
        page = await settle(session.devices(limit=2, after=after))
        handles += [device.handle for device in page]
        if page.next is None:
            break
        assert len(page) == 2
        after = page.next
    assert len(handles) == len(set(handles)) == 5
    first = await settle(session.devices(limit=2))
    ended = next(device for device in first if not device.is_current)
    assert await settle(session.end(ended.handle)) is True
    rest = await settle(session.devices(limit=9, after=first.next))
    assert {device.handle for device in rest} == set(handles) - {device.handle for device in first}


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2"])
async def test_a_limit_is_a_number(limit: object, site: Site):
    with pytest.raises(ValueError, match="limit"):
        await settle((await site.request(None)).devices(limit=limit))


async def test_a_handle_is_neither_id_nor_key_and_fits_into_a_url(site: Site):
    key = site.keep(ID)
    session = await site.request(ID)
    (device,) = await settle(session.devices())
    assert len(device.handle) == 43 and device.handle.replace("-", "").replace("_", "").isalnum()
    assert ID not in device.handle and key[:8] not in device.handle
    assert site.settings.signer.verify(f"{ID}.{device.handle}".encode()) is None
    assert site.settings.signer.verify(f"{key}.{device.handle}".encode()) is None


async def test_what_was_last_seen_is_not_known_where_the_absolute_timeout_counts():
    site = Site("sync", absolute_timeout=timedelta(hours=30))
    site.keep(IDS[0], ttl=DAY)
    site.clock.advance(10 * HOUR)
    site.store.touch(site.settings.key_of(IDS[0]), 20 * HOUR)
    session = await site.request(IDS[0])
    (device,) = session.devices()
    assert device.last_seen_at is None
    assert device.expires_at is not None and device.created_at is not None
    assert device.expires_at - device.created_at == timedelta(hours=30)


async def test_what_the_store_cannot_tell_is_not_known(site: Site, monkeypatch):
    site.keep(IDS[0])
    load: Any = site.store.load
    monkeypatch.setattr(site.store, "load", lambda key: load(key)._replace(expires_in=None))
    session = await site.request(IDS[0])
    (device,) = await settle(session.devices())
    assert (device.last_seen_at, device.expires_at) == (None, None)
    monkeypatch.setattr(type(site.store), "lifetime", lambda self, key: 3 * HOUR, raising=False)
    if site.kind is Session:
        (device,) = await settle(session.devices())
        assert device.expires_at is not None and device.expires_at - from_ms(site.clock.now) == timedelta(hours=3)


async def test_one_device_is_ended_by_its_handle(site: Site):
    for session_id in IDS:
        site.keep(session_id)
    session = await site.request(IDS[0])
    handle = site.settings.signer.marks(b"device", site.settings.key_of(IDS[2]))[0]
    assert await settle(session.end(handle)) is True
    assert site.live() == [IDS[0], IDS[1], IDS[3], IDS[4]]
    assert await settle(session.end(handle)) is False


async def test_only_the_owners_own_are_ended(site: Site):
    site.keep(IDS[0])
    others = site.keep(IDS[1], owner="bob")
    in_the_wrong_index = site.keep(IDS[2], owner="bob", index="ann")
    session = await site.request(IDS[0])
    for key in (others, in_the_wrong_index):
        assert await settle(session.end(site.settings.signer.marks(b"device", key)[0])) is False
    assert await settle(session.end_others()) == 0
    assert site.live() == IDS[:3]
    assert [device.is_current for device in await settle(session.devices())] == [True]


@pytest.mark.parametrize("handle", ["", "x", "\ud800", "ü" * 43, "a" * 100_000])
async def test_a_hostile_handle_ends_none(handle: str, site: Site):
    site.keep(IDS[0])
    assert await settle((await site.request(IDS[0])).end(handle)) is False


async def test_a_handle_of_an_older_secret_is_accepted():
    before = Site("sync", secret=OLD_SECRET)
    key = before.keep(IDS[1])
    handle = before.settings.signer.marks(b"device", key)[0]
    site = Site("sync", secret=[SECRET, OLD_SECRET])
    site.keep(IDS[0])
    site.keep(IDS[1])
    session = await site.request(IDS[0])
    assert handle not in [device.handle for device in session.devices()]
    assert session.end(handle) is True
    assert site.live() == [IDS[0]]


async def test_the_current_device_is_logged_out(site: Site):
    key = site.keep(IDS[0])
    session = await site.request(IDS[0])
    assert await settle(session.end(site.settings.signer.marks(b"device", key)[0])) is True
    assert session._state.intent is Intent.DESTROY
    await settle(session.save())
    assert site.live() == []


async def test_all_others_are_ended_and_not_this_one_whatever_becomes_of_it(site: Site):
    for session_id in IDS:
        site.keep(session_id)
    session = await site.request(IDS[0])
    session.login("ann", keep_data=True)
    assert await settle(session.end_others()) == 4
    assert site.live() == [IDS[0]]  # until the login is stored
    await settle(session.save())
    assert site.live() == []
    assert await settle(session.end_others()) == 0
    assert [device.is_current for device in await settle(session.devices())] == [True]


@pytest.mark.parametrize(("owner", "ends"), [("ann", True), ("bob", False)])
async def test_what_a_device_was_regenerated_to_is_ended_too_unless_somebody_else_logged_in(
    owner: str, ends: bool, site: Site
):
    site.keep(IDS[0])
    old = site.keep(IDS[1])
    moved = site.store.load(site.keep(IDS[2], owner))
    await settle(site.middleware.sessions.destroy(IDS[2]))
    session = await site.request(IDS[0])
    found = site.store.load(old)
    assert isinstance(found, Stored) and isinstance(moved, Stored)
    new = site.settings.key_of("moved")

    def move_meanwhile(key: str) -> Any:
        if key == old and site.store.load(new) is None:
            site.store.regenerate(old, new, moved.data, DAY, version=found.version, tombstone=DAY, owner=owner)
        return load(key)

    load, site.store.load = site.store.load, move_meanwhile  # type: ignore[method-assign]
    assert await settle(session.end_others()) == ends
    assert (load(new) is None) is ends


async def test_an_administrator_ends_all_of_an_owner_but_some(site: Site):
    keys = [site.keep(session_id) for session_id in IDS]
    view = (await site.request(None)).sessions
    kept = await settle(view.get(IDS[1]))
    assert await settle(view.end_owner("ann", except_=[IDS[0], kept])) == 3
    assert site.live() == IDS[:2]
    assert await settle(view.end_owner("ann", except_=IDS[0])) == 1
    assert await settle(view.end_owner("ann")) == 1
    assert await settle(view.end_owner("ann")) == 0
    assert len(keys) == 5


async def test_an_unreadable_session_is_no_device_and_is_told(site: Site, caplog):
    site.keep(IDS[0])
    key = site.settings.key_of(IDS[1])
    site.store.create(key, b"{}", DAY, owner="ann")
    session = await site.request(IDS[0])
    assert len(await settle(session.devices())) == 1
    assert key not in caplog.text and "is unreadable" in caplog.text
    assert site.store.load(key), "it is nobody's"


async def test_a_session_that_has_ended_since_the_list_was_read_is_no_device(site: Site, monkeypatch):
    site.keep(IDS[0])
    gone = site.keep(IDS[1])
    session = await site.request(IDS[0])
    site.store.delete(gone)
    monkeypatch.setattr(type(site.store), "by_owner", lambda self, owner: [gone, site.settings.key_of(IDS[0])])
    assert [device.is_current for device in await settle(session.devices())] == [True]
    assert await settle(session.end_others()) == 0


async def test_a_store_that_cannot_list_owners_says_so(site: Site, monkeypatch):
    site.keep(IDS[0])
    session = await site.request(IDS[0])
    monkeypatch.delattr(type(site.store), "by_owner")
    for call in (session.devices, session.end_others, lambda: session.end("x")):
        with pytest.raises(StoreError, match="by_owner"):
            await settle(call())


# What is kept of a device


async def test_nothing_of_the_device_is_kept_unless_the_application_says_so(site: Site):
    session = await site.request(None)
    session.login("ann")
    await settle(session.save())
    (device,) = await settle(session.devices())
    assert (device.label, device.user_agent, device.address) == (None, None, None)


async def test_what_describe_says_at_the_login_is_kept_until_the_next():
    said: list[dict[str, str | None] | None] = [
        {"label": "Ann's phone", "user_agent": "x" * 600, "address": None},
        {"address": "192.0.2.1\ud800"},
        {},
        None,
    ]
    site = Site("sync", describe=lambda request: said[0])
    session = await site.request(None)
    session.login("ann")
    session.save()
    (device,) = session.devices()
    assert (device.label, device.user_agent, device.address) == ("Ann's phone", "x" * 512, None)
    session["n"] = 1
    session.save()
    session.regenerate(keep_data=True)
    session.save()
    assert session.devices()[0].label == "Ann's phone"
    for expected in ("192.0.2.1?", None, None):
        said.pop(0)
        session.login("ann")
        session.save()
        assert (session.devices()[0].label, session.devices()[0].address) == (None, expected)


@pytest.mark.parametrize("said", [{"name": "x"}, {"label": 1}, "phone", ["label"]])
async def test_what_describe_returns_is_checked_before_anything_is_changed(said: object):
    answers: list[object] = [None]
    site = Site("sync", describe=lambda request: answers[0])
    site.keep(IDS[0], owner="bob")
    session = await site.request(IDS[0])
    answers[0] = said
    with pytest.raises(TypeError, match="describe"):
        session.login("ann")
    assert session.owner == "bob"
