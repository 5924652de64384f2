"""Redis Cluster: one slot per command, two steps where there are two slots, and nothing sent twice."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import ReadOnlyError, RedisClusterException

from sojourn.core.store import CONFLICT, EXISTS, MISSING, Deleted, Stored
from sojourn.errors import StoreError, StoreTimeout, StoreUnavailable
from sojourn.stores.redis._async.clients import AsyncGiven
from sojourn.stores.redis._async.driver import AsyncCluster
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._errors import translate
from sojourn.stores.redis._names import Names
from sojourn.stores.redis._scripts import LEAVE
from sojourn.stores.redis._sync.clients import Given
from sojourn.stores.redis._sync.driver import Cluster
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.testing import FullStore, as_async
from tests.stores.redis_kinds import KINDS, Proxy, commands, everything, proxied

pytestmark = [pytest.mark.server, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cluster(valkey_cluster: str) -> Iterator[Any]:
    client: Any = redis.RedisCluster.from_url(valkey_cluster.replace("redis+cluster", "redis"))
    yield client
    client.flushall(target_nodes=client.PRIMARIES)
    client.close()


@pytest.fixture
def proxies(cluster: Any) -> Iterator[dict[int, Proxy]]:
    """A proxy before each node, by the node's port."""
    with ExitStack() as stack:
        ports = [node.port for node in cluster.get_primaries()]
        yield {port: stack.enter_context(proxied(("127.0.0.1", port))) for port in ports}


@asynccontextmanager
async def opened(kind: str, url: str, proxies: dict[int, Proxy] | None = None) -> AsyncIterator[FullStore]:
    """A store over the cluster, by its URL or through the app's client and the proxies."""
    if "client" not in kind:
        store: Any = as_async(RedisStore.from_url(url)) if kind == "sync" else AsyncRedisStore.from_url(url)
        try:
            yield store
        finally:
            await store.close()
        return
    passing = proxies or {}

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        port = int(address[1])
        return "127.0.0.1", passing[port].port if port in passing else port

    port = remap(("", int(url.rpartition(":")[2])))[1]
    options: Any = {"address_remap": remap, "socket_timeout": 0.3, "decode_responses": True}
    if kind == "sync client":
        client: Any = redis.RedisCluster("127.0.0.1", port, **options)
        try:
            yield as_async(RedisStore(client))
        finally:
            client.close()
    else:
        async with redis.asyncio.RedisCluster("127.0.0.1", port, **options) as async_client:
            yield AsyncRedisStore(async_client)


def commands_of_all(cluster: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for node in cluster.get_primaries():
        for name, calls in commands(cluster.get_redis_connection(node)).items():
            total[name] = total.get(name, 0) + calls
    return total


WRITES: dict[str, Callable[[FullStore], Any]] = {
    "create": lambda store: store.create("new", b"1", 60_000),
    "replace": lambda store: store.replace("k", b"1", 60_000, version=b"0"),
    "touch": lambda store: store.touch("k", 60_000),
    "delete": lambda store: store.delete("k"),
    "lock": lambda store: store.lock("k", 60_000),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_operation_is_one_command(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        for number in range(20):
            await store.create(f"k{number}", b"0", 60_000)
            await store.replace(f"k{number}", b"0", 60_000, version=b"0")
        before = commands_of_all(cluster)
        for number in range(20):
            assert isinstance(await store.load(f"k{number}"), Stored)
        loaded = commands_of_all(cluster)
        assert loaded["get"] - before["get"] == 20
        assert loaded["evalsha"] == before["evalsha"]
        for number in range(20):
            assert await store.replace(f"k{number}", b"1", 60_000, version=b"0")
        replaced = commands_of_all(cluster)
        assert replaced["evalsha"] - loaded["evalsha"] == 20


@pytest.mark.parametrize("losing", ["reply", "connection"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["sync client", "async client"])
async def test_a_write_whose_reply_is_lost_has_happened_once_and_is_never_sent_again(
    kind: str, write: str, losing: str, valkey_cluster: str, cluster: Any, proxies: dict[int, Proxy]
):
    async with opened(kind, valkey_cluster, proxies) as store:
        for key in ("new", "k"):
            version = await store.create(key, b"0", 60_000)
            await store.touch(key, 60_000)
            await store.replace(key, b"0", 60_000, version=version)
            await store.lock(key, 60_000)
            await store.unlock(key, "token")
            await store.delete(key)
        cluster.flushall(target_nodes=cluster.PRIMARIES)
        await store.create("k", b"0", 60_000)
        before = commands_of_all(cluster)
        proxy = proxies[cluster.get_node_from_key("sojourn:new" if write == "create" else "sojourn:k").port]
        proxy.losing = losing
        with pytest.raises(StoreTimeout, match="may have happened"):
            await WRITES[write](store)
        assert proxy.losing is None, "nothing was lost"
        after = commands_of_all(cluster)
        ours = {name: after.get(name, 0) - before.get(name, 0) for name in ("evalsha", "eval", "set")}
        if write == "lock":
            assert ours == {"evalsha": 2, "eval": 0, "set": 1}, "a lock, which may be taken, is given back"
        else:
            assert (ours["evalsha"], ours["eval"]) == (1, 0)
        found = await store.load("k")
        if write == "replace":
            assert isinstance(found, Stored) and found.data == b"1"


@pytest.mark.parametrize("kind", KINDS)
async def test_regenerate_leaves_nothing_new_when_the_old_record_cannot_be_retired(
    kind: str, valkey_cluster: str, cluster: Any
):
    async with opened(kind, valkey_cluster) as store:
        version = await store.create("old", b"0", 60_000, owner="ann")
        await store.create("taken", b"0", 60_000)
        for old, known, new, result in (
            ("old", b"another", "new", CONFLICT),
            ("gone", version, "new", MISSING),
            ("old", b"another", "taken", CONFLICT),
            ("gone", version, "taken", MISSING),
            ("old", version, "taken", EXISTS),
        ):
            refused = store.regenerate(old, new, b"1", 60_000, version=known, tombstone=30_000, owner="ann")
            assert await refused is result
        assert await store.load("new") is None
        assert await store.by_owner("ann") == ["old"]
        assert await store.count() == 2
        assert await store.regenerate("old", "new", b"1", 60_000, version=version, tombstone=30_000, owner="ann")
        assert await store.by_owner("ann") == ["new"]


@pytest.mark.parametrize("make", [RedisStore, AsyncRedisStore])
async def test_regenerate_takes_the_new_record_back_when_retiring_fails(make: Any, valkey_cluster: str, cluster: Any):
    made = make.from_url(valkey_cluster)
    store = as_async(made) if make is RedisStore else made
    version = await store.create("old", b"0", 60_000)
    retire, call = made._scripts.retire.sha, made._driver.call

    def fails(name: bytes, *command: Any, writes: bool) -> Any:
        if command[1] == retire:
            raise StoreTimeout("lost")
        return call(name, *command, writes=writes)

    made._call = fails
    with pytest.raises(StoreTimeout, match="lost"):
        await store.regenerate("old", "new", b"1", 60_000, version=version, tombstone=0)
    assert await store.load("new") is None
    assert isinstance(await store.load("old"), Stored)
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_delete_is_one_command_for_each_slot(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        keys = [f"{{{tag}}}{number}" for number in range(5) for tag in "abc"]
        version = b"{}"
        for key in keys:
            await store.create(key, version, 60_000, owner="ann")
        for old, new in (("{c}0", "{a}new"), ("{a}0", "{b}new"), ("{c}1", "other")):
            assert await store.regenerate(old, new, b"{}", 60_000, version=version, tombstone=30_000)
        await store.delete("{a}none", "{b}none", "{c}none")
        before = commands_of_all(cluster)
        assert await store.delete("none", *keys, "{a}1") == Deleted(12, ("{b}new", "{a}new", "other"))
        after = commands_of_all(cluster)
        assert after["evalsha"] - before["evalsha"] == 5, "and one for the index of their owner"
        assert await store.by_owner("ann") == []
        assert await store.count() == 3


@pytest.mark.parametrize("deletes", [True, False])
@pytest.mark.parametrize("make", [RedisStore, AsyncRedisStore])
async def test_a_delete_that_is_refused_half_way_says_whether_anything_was_deleted(
    make: Any, deletes: bool, valkey_cluster: str, cluster: Any
):
    made = make.from_url(valkey_cluster)
    store = as_async(made) if make is RedisStore else made
    if deletes:
        await store.create("a", b"0", 60_000)
    await store.create("b", b"0", 60_000)
    call = made._driver.call

    def refuses(name: bytes, *command: Any, writes: bool) -> Any:
        if name.endswith(b"b"):
            raise StoreUnavailable("down", driver_error=ConnectionRefusedError())
        return call(name, *command, writes=writes)

    made._call = refuses
    with pytest.raises(StoreError) as failed:
        await store.delete("a", "b")
    assert type(failed.value) is (StoreTimeout if deletes else StoreUnavailable)
    assert isinstance(failed.value.driver_error, ConnectionRefusedError) and failed.value.__cause__ is None
    made._call = call
    assert await store.delete("a", "b") == Deleted(1, ())
    await store.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_keys_with_braces_stay_in_one_slot(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        for key in ("{a}b", "a}b", "{", "}{", "{}x", "a{b"):
            version = await store.create(key, b"0", 60_000, owner="ann")
            assert await store.touch(key, 60_000) is True
            token = await store.lock(key, 60_000)
            assert token is not None and await store.unlock(key, token) is True
            new = f"{key}{uuid.uuid4().hex}"
            assert await store.regenerate(key, new, b"1", 60_000, version=version, tombstone=1000, owner="ann")
            assert await store.by_owner("ann") == [new]
            assert await store.delete(new) == Deleted(1, ())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slot_that_moved_is_followed(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        await store.open()
        key = "moving"
        slot = key_slot(b"sojourn:moving")
        source = cluster.get_node_from_key("sojourn:moving")
        target = next(node for node in cluster.get_primaries() if node.name != source.name)

        def move(to: Any) -> None:
            identity = cluster.cluster_myid(to)
            cluster.execute_command("CLUSTER BUMPEPOCH", target_nodes=to)  # so that its claim counts most
            for node in (to, *cluster.get_primaries()):
                cluster.execute_command("CLUSTER SETSLOT", slot, "NODE", identity, target_nodes=node)

        try:
            move(target)
            assert await store.create(key, b"0", 60_000) == b"0"
            assert isinstance(await store.load(key), Stored)
            assert await store.delete(key) == Deleted(1, ())
        finally:
            move(source)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_rights_that_the_documentation_lists_are_enough_also_while_a_slot_moves(
    kind: str, valkey_cluster: str, cluster: Any
):
    page = (Path(__file__).parents[2] / "docs" / "stores" / "redis.md").read_text("utf-8")
    (rule,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    (besides,) = re.findall(r"A cluster needs `(.*?)` besides", page)
    source = cluster.get_node_from_key("sojourn:k1")
    target = next(node for node in cluster.get_primaries() if node.name != source.name)
    slot = key_slot(b"sojourn:k1")
    for node in cluster.get_primaries():
        cluster.execute_command(*f"{rule} {besides}".split(), target_nodes=node)
    try:
        async with opened(kind, valkey_cluster.replace("://", "://sojourn:a-long-password@")) as store:
            await store.open()
            await everything(store)
            for node, how, other in ((target, "IMPORTING", source), (source, "MIGRATING", target)):
                cluster.execute_command("CLUSTER", "SETSLOT", slot, how, cluster.cluster_myid(other), target_nodes=node)
            assert await store.load("k1") is None
    finally:
        for node in (source, target):
            cluster.execute_command("CLUSTER", "SETSLOT", slot, "STABLE", target_nodes=node)


@pytest.mark.parametrize("kind", KINDS)
async def test_scan_count_and_clear_reach_every_node(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        data = bytes(range(256))
        for number in range(300):
            await store.create(f"k{number}", data, 60_000, owner="ann")
        found = {key: stored.data async for key, stored in store.scan()}
        assert found == {f"k{number}": data for number in range(300)}
        assert await store.count() == 300
        assert len(await store.by_owner("ann")) == 300
        assert await store.clear() == 300
        assert sum(cluster.dbsize(target_nodes=node) for node in cluster.get_primaries()) == 0, "nor is an index left"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_ends_leaves_its_owners_index(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        index = Names("sojourn:").index("ann")
        version = await store.create("a", b"1", 60_000, owner="ann")
        for _ in range(3):  # an owner who logs in and out, and is never asked for
            assert await store.regenerate("a", "b", b"1", 60_000, version=version, tombstone=1000, owner="ann")
            assert cluster.zcard(index) == 1
            await store.delete("b")
            assert cluster.zcard(index) == 0
            cluster.delete("sojourn:a")
            version = await store.create("a", b"1", 60_000, owner="ann")
        assert await store.replace("a", b"2", 60_000, version=version, owner="bob") == b"2"
        assert cluster.zcard(index) == 0
        assert await store.set_owner("a", "ann", version=b"2") is True
        assert cluster.zcard(Names("sojourn:").index("bob")) == 0
        assert await store.by_owner("ann") == ["a"]
        assert await store.clear() == 1
        assert cluster.zcard(index) == 0


@pytest.mark.parametrize("write", ["create", "replace"])
@pytest.mark.parametrize("make", [RedisStore, AsyncRedisStore])
async def test_reading_never_removes_an_entry_whose_record_is_about_to_be_written(
    make: Any, write: str, valkey_cluster: str, cluster: Any
):
    made = make.from_url(valkey_cluster)
    store = as_async(made) if make is RedisStore else made
    reader = as_async(RedisStore.from_url(valkey_cluster))
    index, read = Names("sojourn:").index("ann"), list[list[str]]()
    # It is an old entry too, of a record that was there once.
    cluster.zadd(index, {"sojourn:k": 10**13})
    if write == "replace":
        await store.create("k", b"0", 60_000)
    ran, own = made._driver.call, {getattr(made._scripts, write).sha}

    async def read_before(name: bytes, *command: Any, writes: bool) -> Any:
        if command[1] in own:
            read.append(await reader.by_owner("ann"))
        return await ran(name, *command, writes=writes)

    def read_before_sync(name: bytes, *command: Any, writes: bool) -> Any:
        if command[1] in own:
            read.append(sync_reader.by_owner("ann"))
        return ran(name, *command, writes=writes)

    sync_reader = RedisStore.from_url(valkey_cluster)
    made._call = read_before_sync if make is RedisStore else read_before
    if write == "create":
        await store.create("k", b"1", 60_000, owner="ann")
    else:
        await store.replace("k", b"1", 60_000, version=b"0", owner="ann")
    assert read[0] == []
    assert await store.by_owner("ann") == ["k"]
    await store.close()
    await reader.close()
    sync_reader.close()


@pytest.mark.parametrize("make", [RedisStore, AsyncRedisStore])
async def test_a_session_that_cannot_leave_its_owners_index_has_ended_all_the_same(
    make: Any, valkey_cluster: str, cluster: Any
):
    made = make.from_url(valkey_cluster)
    store = as_async(made) if make is RedisStore else made
    await store.create("k", b"0", 60_000, owner="ann")
    call = made._driver.call

    def fails(name: bytes, *command: Any, writes: bool) -> Any:
        if command[1] == LEAVE.sha:
            raise StoreTimeout("lost")
        return call(name, *command, writes=writes)

    made._call = fails
    assert await store.delete("k") == Deleted(1, ())
    assert cluster.zcard(Names("sojourn:").index("ann")) == 1
    assert await store.by_owner("ann") == []
    await store.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_setting_an_owner_never_brings_an_entrys_end_nearer(kind: str, valkey_cluster: str, cluster: Any):
    async with opened(kind, valkey_cluster) as store:
        index = Names("sojourn:").index("ann")
        await store.create("k", b"0", 60_000, owner="ann")
        later = int(cluster.zscore(index, "sojourn:k")) + 60_000
        cluster.zadd(index, {"sojourn:k": later})  # as if a touch came between
        assert await store.set_owner("k", "ann", version=b"0") is False
        assert int(cluster.zscore(index, "sojourn:k")) == later
        cluster.zrem(index, "sojourn:k")
        assert await store.set_owner("k", "ann", version=b"0") is True
        assert await store.by_owner("ann") == ["k"]


class Replying:
    """A cluster's client whose pipelines have the given result."""

    connection_pool = None

    def __init__(self, result: list[object] | Exception) -> None:
        self.result = result

    def get_primaries(self) -> list[object]:
        return [] if isinstance(self.result, list) else self.execute(raise_on_error=True)

    def pipeline(self) -> Any:
        return self

    def execute_command(self, *command: Any, **options: Any) -> None:
        pass

    def execute(self, *, raise_on_error: bool) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class ReplyingAsync(Replying):
    async def initialize(self) -> None:
        pass

    def get_primaries(self) -> list[object]:
        return Replying(self.result).get_primaries()

    async def execute(self, *, raise_on_error: bool) -> Any:
        return super().execute(raise_on_error=raise_on_error)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_scan_passes_over_what_became_a_tombstone_but_not_over_what_it_could_not_read(colour: str):
    async def values(result: list[object] | Exception) -> list[bytes | None]:
        client: Any = Replying(result) if colour == "sync" else ReplyingAsync(result)
        names = [b"a", b"b", b"c"]
        if colour == "sync":
            return Cluster(Given(client)).values(names)
        return await AsyncCluster(AsyncGiven(client)).values(names)

    assert await values([b"1", None, redis.ResponseError("WRONGTYPE")]) == [b"1", None, None]
    lost: tuple[list[object] | Exception, ...] = ([b"1", None, redis.ConnectionError()], redis.ConnectionError())
    for result in lost:
        with pytest.raises(StoreUnavailable):
            await values(result)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_scan_of_a_cluster_that_is_lost_on_the_way_is_unavailable(colour: str):
    client: Any = (Replying if colour == "sync" else ReplyingAsync)(redis.ConnectionError("secret"))

    async def names() -> list[list[bytes]]:
        if colour == "sync":
            return list(Cluster(Given(client)).names(b"*"))
        return [batch async for batch in AsyncCluster(AsyncGiven(client)).names(b"*")]

    with pytest.raises(StoreUnavailable, match="cannot be reached: ConnectionError") as failed:
        await names()
    assert failed.value.driver_error is client.result and failed.value.__context__ is None


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_cluster_that_is_not_there_is_unavailable(kind: str):
    with proxied(None) as closed:
        port = closed.port
    async with opened(kind, f"redis+cluster://127.0.0.1:{port}?connect_timeout=0.5") as store:
        for operation in (store.load("k"), store.create("k", b"{}", 60_000), store.count(), store.clear()):
            with pytest.raises(StoreUnavailable):
                await operation
        with pytest.raises(StoreUnavailable):
            _ = [key async for key, _ in store.scan()]


@pytest.mark.parametrize(
    ("error", "context", "expected"),
    [
        (redis.ConnectionError("Error 111"), ConnectionRefusedError(), StoreUnavailable),
        (redis.ConnectionError("closed"), ConnectionResetError(), StoreTimeout),
        (redis.ConnectionError("closed"), None, StoreTimeout),
        (redis.ConnectionError("now a slave"), ReadOnlyError(), StoreUnavailable),
        (redis.TimeoutError("reading"), None, StoreTimeout),
        (redis.exceptions.MaxConnectionsError(), None, StoreUnavailable),
        (redis.BusyLoadingError(), None, StoreUnavailable),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN"), None, StoreUnavailable),
        (redis.ResponseError("ERR what"), None, StoreUnavailable),
        (RedisClusterException("no layout"), redis.ConnectionError("closed"), StoreTimeout),
        (RedisClusterException("no layout"), redis.exceptions.MaxConnectionsError(), StoreUnavailable),
        (RedisClusterException("no layout"), None, StoreTimeout),
        (RuntimeError("Event loop is closed"), None, StoreTimeout),
        (BrokenPipeError(), None, StoreTimeout),
    ],
)
async def test_an_error_after_a_write_is_a_timeout_unless_it_proves_that_nothing_was_sent(
    error: Exception, context: Exception | None, expected: type[Exception]
):
    error.__context__ = context
    assert type(translate(error, sent=True)) in {expected, *expected.__subclasses__()}
    assert isinstance(translate(error, sent=False), StoreUnavailable)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("cluster")  # which is empty again afterwards
async def test_a_read_on_a_connection_that_was_lost_is_sent_once_more_and_a_write_is_not(
    kind: str, valkey_cluster: str
):
    async with opened(kind, valkey_cluster) as store:
        await store.create("k", b"0", 60_000)
        inner: Any = getattr(store, "sync_store", store)
        found = inner._driver._clients.here()
        client = await found if inspect.isawaitable(found) else found
        execute: Any = client.execute_command
        lost: list[str] = []

        def losing(*command: Any, **options: Any) -> Any:
            if not lost:
                lost.append(command[0])
                raise redis.exceptions.ConnectionError("forgotten")
            return execute(*command, **options)

        client.execute_command = losing
        assert isinstance(await store.load("k"), Stored) and lost == ["GET"]
        lost.clear()
        with pytest.raises(StoreTimeout):
            await store.touch("k", 60_000)
        assert lost == ["EVALSHA"]
        del client.execute_command
