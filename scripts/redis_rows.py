"""The rows of the matrix for Redis and Valkey: `ROWS`, which `scripts.matrix` runs.

Redis is Debian's; Valkey is that of the tests' wheel, whose build has no TLS. What goes wrong is done by plain commands, as an operator would.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis
from redis.crc import key_slot

from scripts.scenes import KILLED, Row, Scene, again, clock, our_clock
from tests.certificates import certificate
from tests.servers import ValkeyServer, free_port, redis_program, valkey, valkey_program

__all__ = ["ROWS"]

_ALWAYS: Final = ("--appendonly", "yes", "--appendfsync", "always")
_EVERYSEC: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
_LONG: Final = 3.0
"""Seconds for which a server stands still, is full or is a replica."""
_PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "stores" / "redis.md"


def _started(kind: str, stack: ExitStack, *options: object, **rest: Any) -> ValkeyServer:
    program = redis_program() if kind == "Redis" else valkey_program()
    return stack.enter_context(valkey(*options, program=program, **rest))


def _client(server: ValkeyServer) -> Any:
    return redis.Redis.from_url(server.url, protocol=2)


def _version(server: ValkeyServer) -> str:
    info = _client(server).info("server")
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def _wait(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"it did not happen: {what}")
        time.sleep(0.02)


# One server.


def _killed(options: tuple[str, ...], kind: str, stack: ExitStack) -> Scene:
    server = _started(kind, stack, *options)
    return Scene(server.url, _version(server), partial(again, server))


def _unix(kind: str, stack: ExitStack) -> Scene:
    server = _started(kind, stack, *_ALWAYS)
    return Scene(f"redis+unix://{server.socket}", _version(server), partial(again, server))


def _tls(kind: str, stack: ExitStack) -> Scene:
    path = certificate(_folder(stack))
    key, port = path.with_name("key.pem"), free_port()
    options = ("--tls-port", port, "--tls-cert-file", path, "--tls-key-file", key, "--tls-ca-cert-file", path)
    server = _started(kind, stack, *_ALWAYS, *options, "--tls-auth-clients", "no")
    return Scene(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={path}", _version(server), partial(again, server))


def _few_rights(kind: str, stack: ExitStack) -> Scene:
    """A user with the rights that the documentation lists, whom the configuration has too once it is started again."""
    (rule,) = [line for line in _PAGE.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER")]
    server = _started(kind, stack, *_ALWAYS, "--user", *rule.removeprefix("ACL SETUSER ").split())
    url = server.url.replace("redis://", "redis://sojourn:a-long-password@")
    return Scene(url, _version(server), partial(again, server))


def _rewritten(kind: str, stack: ExitStack) -> Scene:
    """With so much else in it that the rewrite takes a while."""
    server = _started(kind, stack, *_EVERYSEC, "--enable-debug-command", "yes", "--auto-aof-rewrite-percentage", 0)
    client = _client(server)
    client.execute_command("DEBUG", "POPULATE", 50_000, "filler", 1000)
    _rewrite(client)

    def strike() -> None:
        _rewrite(client)
        again(server)

    return Scene(server.url, _version(server), strike)


def _rewrite(client: Any) -> None:
    done = client.info("stats")["total_forks"]
    client.bgrewriteaof()
    _wait(lambda: client.info("stats")["total_forks"] > done, "a rewrite")
    _wait(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "a rewrite's end")


def _flushed(kind: str, stack: ExitStack) -> Scene:
    server = _started(kind, stack)
    return Scene(server.url, _version(server), lambda: _client(server).flushall())


def _full(policy: str, kind: str, stack: ExitStack) -> Scene:
    """Without room for anything new for a while; with eviction, for half of what is there."""
    server = _started(kind, stack, "--maxmemory-policy", policy)
    client = _client(server)

    def strike() -> None:
        memory = client.info("memory")
        spare = 0 if policy == "noeviction" else memory["used_memory_dataset"] // 2
        client.config_set("maxmemory", memory["used_memory"] - spare)
        time.sleep(_LONG)
        client.config_set("maxmemory", 0)

    return Scene(server.url, _version(server), strike)


# Two servers.


def _in_step(replica: Any) -> bool:
    info: dict[str, Any] = replica.info("replication")
    return bool(info["role"] == "slave" and info["master_link_status"] == "up")


def _turned(kind: str, stack: ExitStack) -> Scene:
    """What the URL names is a replica for a while, as after a failover that nobody told the application of."""
    server = _started(kind, stack)
    other = _started(kind, stack, "--replicaof", f"127.0.0.1 {server.port}")
    first, second = _client(server), _client(other)
    _wait(lambda: _in_step(second), "replication")

    def strike() -> None:
        first.execute_command("FAILOVER", "TO", "127.0.0.1", other.port)
        _wait(lambda: _in_step(first), "a failover")
        time.sleep(_LONG)
        second.execute_command("FAILOVER", "TO", "127.0.0.1", server.port)
        _wait(lambda: _in_step(second), "a failover")

    return Scene(server.url, _version(server), strike)


# Sentinel.


def _sentinels(what: str, settings: tuple[object, ...], kind: str, stack: ExitStack) -> Scene:
    """A master, two replicas and three sentinels."""
    master = _started(kind, stack, *settings)
    replicas = [_started(kind, stack, *settings, "--replicaof", f"127.0.0.1 {master.port}") for _ in range(2)]
    for replica in replicas:
        client = _client(replica)
        _wait(partial(_in_step, client), "replication")
    sentinels = [_started(kind, stack, "--sentinel") for _ in range(3)]
    for sentinel in sentinels:
        sentinel.ask(f"SENTINEL MONITOR main 127.0.0.1 {master.port} 2")
        sentinel.ask("SENTINEL SET main down-after-milliseconds 1000 failover-timeout 5000")

    def known(sentinel: ValkeyServer) -> bool:
        state = _client(sentinel).sentinel_master("main")
        return bool(state["num-slaves"] == 2 and state["num-other-sentinels"] == 2)

    for sentinel in sentinels:
        _wait(partial(known, sentinel), "that the sentinels know each other")
    one = _client(sentinels[0])

    def has_failed_over() -> bool:
        return bool(one.sentinel_get_master_addr_by_name("main")[1] != master.port)

    def strike() -> None:
        if what == "planned":
            one.execute_command("SENTINEL", "FAILOVER", "main")
        elif what == "killed":
            master.kill()
        else:
            master.signal(19)  # SIGSTOP
        _wait(has_failed_over, "a failover")
        if what == "stopped":
            time.sleep(1)
            master.signal(18)  # SIGCONT
        elif what == "killed":
            time.sleep(1)
            master.start()

    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    return Scene(f"redis+sentinel://{hosts}/main/0", _version(master), strike)


# A cluster.


class _Cluster:
    """Three masters, each with a replica, where ``replicas`` says so."""

    def __init__(self, kind: str, stack: ExitStack, *, replicas: bool) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", 2000)
        buses = [free_port() for _ in range(6 if replicas else 3)]
        self.nodes = [_started(kind, stack, *options, "--cluster-port", bus) for bus in buses]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
        for number, node in enumerate(self.masters):
            node.ask(f"CLUSTER ADDSLOTSRANGE {number * 16384 // 3} {(number + 1) * 16384 // 3 - 1}")
        for node, bus in zip(self.nodes, buses, strict=True):
            self.nodes[0].ask(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}")
        known = f"cluster_known_nodes:{len(self.nodes)}"
        _wait(lambda: all(known in node.ask("CLUSTER INFO") for node in self.nodes), "that the nodes know each other")
        for master, replica in zip(self.masters, self.replicas, strict=False):
            identity = self.identity(master)
            _wait(partial(self._replicates, replica, identity), "replication")
        _wait(lambda: all("cluster_state:ok" in node.ask("CLUSTER INFO") for node in self.nodes), "a cluster")
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.masters)}"

    @staticmethod
    def identity(node: ValkeyServer) -> str:
        return str(_client(node).execute_command("CLUSTER MYID").decode())

    @staticmethod
    def _replicates(replica: ValkeyServer, identity: str) -> bool:
        if "role:master" in replica.ask("INFO replication"):
            replica.ask(f"CLUSTER REPLICATE {identity}")  # refused until it has heard of the master
        return _in_step(_client(replica))


def _migrated(how: str, kind: str, stack: ExitStack) -> Scene:
    cluster = _Cluster(kind, stack, replicas=False)
    source, target = _client(cluster.masters[0]), _client(cluster.masters[1])
    port, target_id, source_id = (
        cluster.masters[1].port,
        cluster.identity(cluster.masters[1]),
        cluster.identity(cluster.masters[0]),
    )

    def move(slot: int) -> None:
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while names := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *names)
        for node in (target, source):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def strike() -> None:
        """First those slots that have sessions, then others for as long as it would take to notice."""
        if how == "atomic":
            source.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 4000, "NODE", target_id)
            _wait(lambda: source.execute_command("CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 0) == [], "a migration")
            return
        slots = dict.fromkeys(key_slot(name) for name in source.keys("*"))
        until = time.monotonic() + _LONG
        for slot in [*slots, *(number for number in range(5000) if number not in slots)]:
            move(slot)
            if time.monotonic() > until:
                return

    return Scene(cluster.url, _version(cluster.masters[0]), strike)


def _failed_over(what: str, kind: str, stack: ExitStack) -> Scene:
    cluster = _Cluster(kind, stack, replicas=True)
    master, replica = cluster.masters[0], cluster.replicas[0]

    def strike() -> None:
        if what == "planned":
            replica.ask("CLUSTER FAILOVER")
        else:
            master.kill()
        _wait(lambda: "role:master" in replica.ask("INFO replication"), "a failover")
        if what != "planned":
            time.sleep(1)
            master.start()

    return Scene(cluster.url, _version(master), strike)


# Clocks.


def _server_clock(before: str, after: str, kind: str, stack: ExitStack) -> Scene:
    variables, set_to = clock(_folder(stack), "clock", before)
    server = _started(kind, stack, environment=variables)
    return Scene(server.url, _version(server), lambda: set_to(after))


def _our_clock(before: str, after: str, kind: str, stack: ExitStack) -> Scene:
    """That of half of the processes."""
    variables, set_to = our_clock(_folder(stack), before)
    server = _started(kind, stack)
    return Scene(server.url, _version(server), lambda: set_to(after), environments=({}, variables))


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-")))


_WITHOUT: Final = "all, as nothing is kept"
_EVICTED: Final = "what is evicted"
_ASYNCHRONOUS: Final = "what was not replicated yet"
_POLICIES: Final = (
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)


_SHIFTS: Final = {
    "an hour ahead, then set back": ("+3600", "+0"),
    "an hour behind, then two": ("-3600", "-7200"),
}


def _rows(kind: str, package: str) -> list[Row]:
    rows = [
        Row("AOF always", KILLED, partial(_killed, _ALWAYS, kind)),
        Row("AOF everysec", KILLED, partial(_killed, _EVERYSEC, kind)),
        Row("AOF everysec", "an AOF rewrite, and the server is killed after it", partial(_rewritten, kind)),
        Row("no persistence", KILLED, partial(_killed, (), kind), loses=_WITHOUT),
        Row("TLS", KILLED, partial(_tls, kind)),
        Row("a Unix socket", KILLED, partial(_unix, kind)),
        Row("a user with few rights", KILLED, partial(_few_rights, kind)),
        Row("no persistence", "somebody else's `FLUSHALL`", partial(_flushed, kind), loses="all"),
        Row("noeviction", f"the memory is full for {_LONG:g} s", partial(_full, "noeviction", kind)),
        *(
            Row(policy, f"the memory is full for {_LONG:g} s", partial(_full, policy, kind), loses=_EVICTED)
            for policy in _POLICIES
        ),
        Row("one of two", f"it is a replica for {_LONG:g} s", partial(_turned, kind)),
        Row("Sentinel", "a planned failover", partial(_sentinels, "planned", (), kind), loses=_ASYNCHRONOUS),
        Row(
            "Sentinel",
            "the master is killed, and started again",
            partial(_sentinels, "killed", (), kind),
            loses=_ASYNCHRONOUS,
        ),
        Row(
            "Sentinel",
            "the master stands still, is replaced, and goes on",
            partial(_sentinels, "stopped", (), kind),
            loses=_ASYNCHRONOUS,
        ),
        Row("cluster", "slots are migrated, key by key", partial(_migrated, "keys", kind)),
        Row("cluster", "a planned failover", partial(_failed_over, "planned", kind)),
        Row(
            "cluster",
            "a master is killed, and started again",
            partial(_failed_over, "killed", kind),
            loses=_ASYNCHRONOUS,
        ),
        *(
            Row("clocks", f"the server's is {what}", partial(_server_clock, *shifts, kind), package="faketime")
            for what, shifts in _SHIFTS.items()
        ),
        *(
            Row("clocks", f"half of ours are {what}", partial(_our_clock, *shifts, kind))
            for what, shifts in _SHIFTS.items()
        ),
    ]
    if kind == "Redis":
        # Debian's does not start under libfaketime: its allocator asks for the time before that is ready.
        rows = [row for row in rows if row.package != "faketime"]
    else:
        rows = [row for row in rows if row.name not in {"TLS", *_POLICIES[1:]} and "of ours" not in row.what]
        rows.append(Row("cluster", "slots are migrated at once", partial(_migrated, "atomic", kind)))
    return [
        row._replace(name=f"{kind}, {row.name}", package=f"{package} {row.package}".strip(), family="redis")
        for row in rows
    ]


ROWS: Final = [*_rows("Redis", "redis-server"), *_rows("Valkey", "")]
