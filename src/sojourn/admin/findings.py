"""What of a server's settings loses sessions, or keeps a site from working: the rules, on the facts that a store has told. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from ..core.store import Facts

__all__ = ["Finding", "findings"]

Level: TypeAlias = Literal["error", "warning", "note"]
_SKEW: Final = 2000
"""Milliseconds by which clocks may differ."""
_NEARLY: Final = 0.8
"""Share of the connections, or of the memory, from which on it is said."""


class Finding(Struct, frozen=True):
    """Something that is not as it should be."""

    level: Level
    """``error``: sessions are lost or cannot be written; ``warning``: they may be; ``note``: good to know."""
    problem: str
    remedy: str


def findings(facts: Facts, skew_ms: int | None, *, is_express: bool = False) -> list[Finding]:
    """What is to be said of a store, the worst first."""
    found = [*_redis(facts), *_postgres(facts, is_express=is_express), *_mongo(facts), *_others(facts)]
    if skew_ms is not None and abs(skew_ms) > _SKEW:
        found.append(
            Finding(
                "warning",
                f"the server's clock is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} this machine's",
                "have both set by NTP",
            )
        )
    return sorted(found, key=lambda finding: ("error", "warning", "note").index(finding.level))


def _redis(facts: Facts) -> Iterator[Finding]:
    policy, most, used = (facts.get(name) for name in ("maxmemory_policy", "maxmemory", "used_memory"))
    if isinstance(policy, str) and policy != "noeviction" and most:
        yield Finding(
            "error",
            f"the server drops sessions when its memory is full: maxmemory-policy is {policy}",
            "set maxmemory-policy to noeviction, or keep caches on another server",
        )
    if isinstance(most, int) and isinstance(used, int) and most and used > _NEARLY * most:
        yield Finding("warning", f"{used / most:.0%} of maxmemory is used", "raise maxmemory, or shorten idle_timeout")
    if facts.get("evicted_keys"):
        yield Finding(
            "warning", f"the server has dropped {facts['evicted_keys']} keys so far", "see maxmemory and its policy"
        )
    if "aof_enabled" in facts and not facts["aof_enabled"] and not facts.get("save", "unknown"):
        yield Finding(
            "warning",
            "nothing is written to disk: a restart logs everybody out",
            "set appendonly yes, or give it points in time to save at",
        )
    for name in ("rdb_last_bgsave_status", "aof_last_write_status"):
        if facts.get(name, "ok") != "ok":
            yield Finding("error", f"{name} is {facts[name]}", "see the server's log: its disk may be full")
    if facts.get("role") == "slave":
        yield Finding("error", "this is a replica, which takes no writes", "give the address of the master")
    yield from _connections(facts, "connected_clients", "maxclients")


def _postgres(facts: Facts, *, is_express: bool) -> Iterator[Finding]:
    if facts.get("is_replica"):
        yield Finding("error", "this is a standby, which takes no writes", "give the address of the primary")
    if facts.get("table_kind") == "u":
        yield Finding(
            "error",
            "the table is unlogged: after a crash it is empty",
            "ALTER TABLE ... SET LOGGED, if sessions should outlive a crash",
        )
    for name in ("fsync", "full_page_writes"):
        if facts.get(name) == "off":
            yield Finding("error", f"{name} is off: a crash may damage the whole database", f"set {name} to on")
    if facts.get("synchronous_commit") == "off":
        yield Finding(
            "note",
            "synchronous_commit is off: a crash of the server loses the last commits",
            "set it to on for sessions, if a logout must never come undone",
        )
    yield from _connections(facts, "connections", "max_connections")
    pool, most = facts.get("pool_size"), facts.get("max_connections")
    if isinstance(pool, int) and isinstance(most, str) and most.isdecimal() and pool > int(most):
        yield Finding(
            "error",
            f"each process may open {pool} connections, and the server allows {most}",
            "lower pool_size, or raise max_connections",
        )
    if facts.get("server") == "PostgreSQL":
        slow = {
            "sid": "each request reads the whole table",
            "expire": "removing what has expired reads the whole table",
        }
        if not is_express:
            slow["owner"] = "finding an owner's sessions reads the whole table"
        yield from _indexes(facts, slow, "let it be made: create_table=true in the URL, once")


def _mongo(facts: Facts) -> Iterator[Finding]:
    if facts.get("is_writable") is False:
        yield Finding("error", "this member takes no writes", "give the replica set's name in the URL: ?replicaSet=...")
    if facts.get("is_replicated") is False:
        yield Finding(
            "note", "a single server, no replica set: while it is down there are no sessions", "run a replica set"
        )
    if facts.get("journal") is False:
        yield Finding(
            "warning", "writes do not wait for the journal: a crash loses some", "leave journal out of the URL"
        )
    if facts.get("server") == "MongoDB":
        names = [name.removeprefix("index_on_") for name in facts if name.startswith("index_on_")]
        slow = dict.fromkeys(names, "searches read the whole collection, and what has expired may stay")
        yield from _indexes(
            facts, slow, "let it be made: leave create_index out of the URL, or remove the index that is in its way"
        )


def _others(facts: Facts) -> Iterator[Finding]:
    if facts.get("server") == "memory of this process":
        yield Finding(
            "warning",
            "sessions are in this process alone, and end with it",
            "for more than one process take another store",
        )
    if facts.get("synchronous") == "OFF":
        yield Finding(
            "error", "synchronous is OFF: a crash of the machine may damage the file", "set it to NORMAL or FULL"
        )
    journal = facts.get("journal_mode", "wal")
    if journal != "wal":
        yield Finding("warning", f"journal_mode is {journal}: readers wait for writers", "put the file on a local disk")


def _connections(facts: Facts, now: str, most: str) -> Iterator[Finding]:
    taken, limit = facts.get(now), facts.get(most)
    if isinstance(limit, str) and limit.isdecimal():
        limit = int(limit)
    if isinstance(taken, int) and isinstance(limit, int) and limit and taken > _NEARLY * limit:
        yield Finding(
            "warning",
            f"{taken} of the {limit} connections that the server allows are taken",
            f"raise {most}, or lower the pools of your processes",
        )


def _indexes(facts: Facts, slow: dict[str, str], remedy: str) -> Iterator[Finding]:
    for name, consequence in slow.items():
        if not facts.get(f"index_on_{name}", True):
            yield Finding("warning", f"there is no index on {name!r} as it should be: {consequence}", remedy)
