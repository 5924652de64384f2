"""`sojourn.testing` as a store of another project meets it: what it asks for, and what it lets a store do without."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import sojourn.testing
from sojourn.core.store import Deleted, Replaced, Store, Stored
from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract, as_async, store_state_machine

CASES = [name for name in dir(StoreContract) if name.startswith("test_")]


class PlainStore:
    """As little as a store can be: it cannot walk, lock or leave tombstones, keeps JSON, and knows tenths of a second."""

    unit = 100

    def __init__(self, clock: ManualClock) -> None:
        self.inner = MemoryStore(clock=lambda: clock() // self.unit * self.unit)

    def rounded(self, ttl: int) -> int:
        return -(-ttl // self.unit) * self.unit

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def load(self, key: str) -> Any:
        found = self.inner.load(key)
        assert not isinstance(found, Replaced)
        return found and found._replace(expires_in=None)

    def create(self, key: str, data: bytes, ttl: int, *, owner: str | None = None) -> Any:
        json.loads(data)
        return self.inner.create(key, data, self.rounded(ttl))

    def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
        json.loads(data)
        return self.inner.replace(key, data, self.rounded(ttl), version=version)

    def regenerate(
        self, old: str, new: str, data: bytes, ttl: int, *, version: Any, tombstone: int, owner: str | None = None
    ) -> Any:
        assert tombstone == 0, "a store without tombstones is asked for one"
        return self.inner.regenerate(old, new, data, self.rounded(ttl), version=version, tombstone=0)

    def touch(self, key: str, ttl: int) -> bool:
        return self.inner.touch(key, self.rounded(ttl))

    def delete(self, *keys: str) -> Deleted:
        return self.inner.delete(*keys)


class ExactStore(PlainStore):
    unit = 1


class PlainContract(StoreContract):
    tick, short = 100, 400
    tombstones = reports_expiry = any_bytes = False

    def make_store(self, clock: ManualClock) -> Store:
        return PlainStore(clock)


class ServerContract(AsyncStoreContract):
    """A store with a clock of its own, on which each operation takes a while, and the suite can only wait."""

    tick, short = 100, 400

    def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
        self.server = ManualClock(5)
        return AsyncMemoryStore(clock=self.server_time)

    def server_time(self) -> int:
        self.server.advance(1)
        return self.server()

    async def advance(self, ms: int) -> None:
        self.server.advance(ms)


def skipped(suite: StoreContract | AsyncStoreContract) -> dict[str, str]:
    """Run all cases; those that were skipped, and why."""
    reasons: dict[str, str] = {}
    for name in CASES:
        try:
            getattr(suite, name)()
        except pytest.skip.Exception as skip:
            reasons[name] = str(skip)
    return reasons


def test_importing_the_module_needs_no_test_tool() -> None:
    probe = "import sys, sojourn.testing; print({'pytest', 'hypothesis', 'anyio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("StoreContract", "pytest"),
        ("AsyncStoreContract", "anyio"),
        ("store_state_machine", "hypothesis"),
    ],
)
def test_a_tool_that_is_not_installed_is_named_with_the_remedy(name: str, tool: str) -> None:
    probe = f"import sys; sys.modules[{tool!r}] = None\nimport sojourn.testing\nsojourn.testing.{name}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: sojourn.testing.{name} needs {tool}: pip install 'sojourn[testing]'"
    )


def test_the_module_has_the_names_it_lists_and_no_others() -> None:
    for name in sojourn.testing.__all__:
        assert getattr(sojourn.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Contract'"):
        sojourn.testing.Contract  # noqa: B018


def test_the_usage_in_the_docstring_runs() -> None:
    doc = inspect.getdoc(sojourn.testing) or ""
    _, _, after = doc.partition("::\n")
    lines = list(_indented(after))
    assert 10 <= len(lines) <= 20
    names: dict[str, Any] = {
        "MyStore": MemoryStore,
        "MyServerStore": lambda prefix: AsyncMemoryStore(clock=lambda: round(anyio.current_time() * 1000)),
        "uuid4": lambda: "unique",
        "anyio": anyio,
    }
    exec("\n".join(lines), names)
    names["TestMyStore"]().test_a_tombstone_of_zero_leaves_none()
    names["TestMyServerStore"]().test_a_record_is_live_until_its_time_is_up_and_missing_from_then_on()
    assert names["TestMyStoreAgainstAModel"].__name__.endswith("TestCase")


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line and not line.startswith("    "):
            return
        if line:
            yield line[4:]


def test_a_store_may_do_without_all_that_is_optional_and_each_skip_says_why() -> None:
    reasons = set(skipped(PlainContract()).values())
    assert reasons == {
        "the store has no scan()",
        "the store has no clear()",
        "the store has no delete_expired()",
        "the store has no by_owner()",
        "the store has no set_owner()",
        "the store has no lock()",
        "the store has no look()",
        "the store has no page()",
        "the store has no facts()",
        "the store has no has_expired()",
        "the store leaves no tombstones: tombstones is False",
        "the store keeps JSON objects only: any_bytes is False",
        "make_peer() makes no second store over the same data",
    }


def test_what_a_store_does_without_leaves_most_cases() -> None:
    assert len(CASES) - len(skipped(PlainContract())) > len(CASES) / 2


def test_a_store_whose_clock_cannot_be_moved_is_waited_for() -> None:
    assert set(skipped(ServerContract()).values()) == {
        "make_peer() makes no second store over the same data",
        "the store has no pulse()",
    }


def test_a_store_that_does_not_tell_the_expiry_has_to_say_so() -> None:
    class Silent(PlainContract):
        reports_expiry = True

    with pytest.raises(AssertionError, match="reports_expiry = False"):
        Silent().test_a_created_record_is_loaded_with_its_data_and_expiry()


def test_a_store_as_good_as_its_resolution_is_held_to_it() -> None:
    class Exact(PlainContract):
        tick = 1

    with pytest.raises(AssertionError):
        Exact().test_a_ttl_may_be_a_single_millisecond()


def test_a_case_that_hangs_is_given_up() -> None:
    class Stubborn(MemoryStore):
        def lock(self, key: str, ttl: int) -> str | None:
            return None

    class Impatient(StoreContract):
        timeout = 0.05

        def make_store(self, clock: ManualClock) -> Store:
            return Stubborn(clock=clock)

    with pytest.raises(TimeoutError):
        Impatient().test_what_a_lock_guards_is_done_by_one_at_a_time()


def test_a_store_is_closed_and_its_surroundings_are_tidied_whatever_happens() -> None:
    events: list[str] = []

    class Recording(AsyncMemoryStore):
        async def close(self) -> None:
            events.append("close")

        async def load(self, key: str) -> Any:
            raise OSError("broken")

    class Suite(AsyncStoreContract):
        async def before(self) -> None:
            events.append("before")

        async def after(self) -> None:
            events.append("after")

        def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
            events.append("make")
            return Recording(clock=clock)

    with pytest.raises(OSError, match="broken"):
        Suite().test_loading_changes_nothing()
    assert events == ["before", "make", "close", "after"]


def test_the_state_machine_does_without_what_a_store_lacks() -> None:
    machine = store_state_machine(ExactStore, tombstones=False, reports_expiry=False)
    run_state_machine_as_test(machine, settings=settings(max_examples=20, deadline=None))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("threads", [False, True])
async def test_a_sync_store_has_the_same_methods_in_the_async_colour(threads: bool, anyio_backend: str) -> None:
    sync_store = MemoryStore()
    store = as_async(sync_store, threads=threads)
    assert await store.create("a", b"data", 1000, owner="ann")
    assert isinstance(await store.load("a"), Stored)
    assert [key async for key, _ in store.scan()] == ["a"]
    assert await store.by_owner("ann") == ["a"]
    assert repr(store) == repr(sync_store)
    assert store.max_size == sync_store.max_size  # type: ignore[attr-defined]
    assert not hasattr(as_async(PlainStore(ManualClock())), "scan")


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5)
    assert [clock(), clock()] == [5, 5]
    clock.advance(3)
    assert clock() == 8
    assert repr(clock) == "ManualClock(8)"
