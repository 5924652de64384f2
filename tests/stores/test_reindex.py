"""`reindex` on every store and in both colours: whose a record is, is set right by what the record says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from sojourn import ConfigurationError, EncryptedCodec
from sojourn.stores import MemoryStore, Reindexed, reindex, reindex_async, resolve
from sojourn.testing import as_async
from tests.torture.conftest import STORES, store_of

pytestmark = [pytest.mark.server, pytest.mark.anyio]

LONG = 3_600_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A store in either colour, and `reindex` for it."""

    def __init__(self, url: str, *, asynchronous: bool) -> None:
        self.made = resolve(url, asynchronous=asynchronous)
        self.store: Any = self.made if asynchronous else as_async(self.made)
        self.asynchronous = asynchronous

    async def reindex(self, **options: Any) -> Reindexed:
        return await reindex_async(self.made, **options) if self.asynchronous else reindex(self.made, **options)

    async def owners(self, *names: str) -> dict[str, list[str]]:
        return {name: sorted(await self.store.by_owner(name)) for name in names}


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=("memory", *STORES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from store_of(request, tmp_path)


@pytest.fixture
async def world(url: str, colour: str) -> Any:
    made = World(url, asynchronous=colour == "async")
    yield made
    await made.store.close()


def ours(owner: str | None, number: int = 0) -> bytes:
    """A record as Sojourn writes it."""
    own: dict[str, Any] = {"v": 1, "created": 1_700_000_000_000}
    if owner is not None:
        own |= {"owner": owner, "auth": 1_700_000_000_000}
    return json.dumps({"cookie": {"originalMaxAge": None}, "__sojourn__": own, "n": number}).encode()


def nodes(user: str) -> bytes:
    """A record as Express and Passport write it."""
    return json.dumps({"cookie": {"originalMaxAge": None}, "passport": {"user": user}}).encode()


async def test_whose_a_record_is_is_what_the_record_says(world: World) -> None:
    store = world.store
    await store.create("right", ours("ann"), LONG, owner="ann")
    await store.create("nobody", ours(None), LONG)
    await store.create("node", nodes("ann"), LONG)
    await store.create("lost", ours("ann"), LONG)
    await store.create("another", ours("bob"), LONG, owner="ann")
    await store.create("out", ours(None), LONG, owner="bob")
    before = {key: stored async for key, stored in store.scan()}
    told: list[Reindexed] = []
    assert await world.reindex(progress=told.append) == Reindexed(6, 3, 0) == told[-1]
    assert await world.owners("ann", "bob") == {"ann": ["lost", "right"], "bob": ["another"]}
    assert await world.reindex(passport=True) == Reindexed(6, 4, 0)
    assert await world.owners("ann", "bob") == {"ann": ["node"], "bob": []}
    assert await world.reindex(passport=True) == Reindexed(6, 0, 0)
    async for key, stored in store.scan():
        assert stored[:2] == before[key][:2]
        assert LONG - 60_000 < stored.expires_in <= before[key].expires_in
    assert await store.delete("lost", "node")
    assert await world.reindex() == Reindexed(4, 2, 0)
    assert await world.owners("ann", "bob") == {"ann": ["right"], "bob": ["another"]}


async def test_what_is_encrypted_is_read_by_the_codec_and_what_cannot_be_read_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    codec, store = EncryptedCodec(b"k" * 32), world.store
    sealed = {key: codec.seal(ours("ann"), key) for key in ("a", "b")}
    await store.create("a", sealed["a"], LONG)
    await store.create("elsewhere", sealed["b"], LONG, owner="bob")
    assert await world.reindex(codec=codec) == Reindexed(2, 1, 1)
    assert await world.owners("ann", "bob") == {"ann": ["a"], "bob": ["elsewhere"]}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "is unreadable" in caplog.text and "elsewhere" not in caplog.text
    assert await world.reindex() == Reindexed(2, 0, 2), "without the codec nothing can be read"
    assert await world.owners("ann", "bob") == {"ann": ["a"], "bob": ["elsewhere"]}


async def test_a_record_that_is_written_meanwhile_is_read_again_and_one_that_ends_is_left(world: World) -> None:
    store = world.store
    await store.create("changes", ours("ann"), LONG)
    await store.create("ends", ours("ann"), LONG)
    meanwhile = list[str]()
    ran: Any = world.made.set_owner

    async def write_first(key: str) -> None:
        if key in meanwhile:
            return
        meanwhile.append(key)
        if key == "ends":
            await store.delete(key)
        else:  # as another program does, which says nothing of owners
            await store.replace(key, ours("bob"), LONG, version=(await store.load(key)).version)

    async def set_owner(key: str, owner: str | None, *, version: Any) -> Any:
        await write_first(key)
        return await ran(key, owner, version=version)

    def set_owner_sync(key: str, owner: str | None, *, version: Any) -> Any:
        step = write_first(key)  # a sync store in the async colour never waits
        with pytest.raises(StopIteration):
            step.send(None)
        return ran(key, owner, version=version)

    world.made.set_owner = set_owner if world.asynchronous else set_owner_sync
    assert await world.reindex() == Reindexed(2, 1, 0)
    assert sorted(meanwhile) == ["changes", "ends"]
    assert await world.owners("ann", "bob") == {"ann": [], "bob": ["changes"]}


@pytest.mark.parametrize("name", ["", "k" * 5000, "\0"])
def test_what_no_store_would_take_is_left_and_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    store.create("a", ours(None), LONG)

    class Foreign(MemoryStore):
        def scan(self) -> Iterator[tuple[str, Any]]:
            yield name, self.load("a")

    foreign = Foreign()
    foreign.create("a", ours("ann"), LONG)
    assert reindex(foreign) == Reindexed(1, 0, 1)
    assert "is unreadable: a key" in caplog.text


def test_the_progress_is_told_now_and_then() -> None:
    store = MemoryStore()
    for number in range(2001):
        store.create(f"{number}", ours("ann"), LONG)
    told: list[Reindexed] = []
    reindex(store, progress=told.append)
    assert told == [Reindexed(count, count, 0) for count in (1000, 2000, 2001)]


def test_a_store_that_cannot_do_it_is_refused_in_words() -> None:
    class Plain:
        def load(self) -> None: ...
        def scan(self) -> None: ...

    for given, said in (
        (None, r"NoneType, which has no scan\(\).*give a store that has scan\(\) and set_owner\(\)"),
        ("memory://", r"str, which has no scan\(\)"),
        (Plain(), r"Plain, which has no set_owner\(\)"),
        (resolve("memory://", asynchronous=True), "AsyncMemoryStore, an async store.*use reindex_async"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            reindex(given)
    with pytest.raises(ConfigurationError, match=r"MemoryStore, a sync store.*use reindex"):
        anyio.run(reindex_async, MemoryStore())
    with pytest.raises(ConfigurationError, match="codec"):
        reindex(MemoryStore(), codec=json)  # type: ignore[arg-type]
