"""What of a server's settings is worth a word: the rules, as a table."""

from __future__ import annotations

import pytest

from sojourn.admin.findings import findings
from sojourn.core.store import Facts

REDIS: Facts = {
    "server": "Redis",
    "maxmemory": 1000,
    "maxmemory_policy": "noeviction",
    "used_memory": 10,
    "aof_enabled": 1,
}
POSTGRES: Facts = {
    "server": "PostgreSQL",
    "table_kind": "p",
    "fsync": "on",
    "max_connections": "100",
    "connections": 5,
    "pool_size": 10,
    "index_on_sid": True,
    "index_on_expire": True,
    "index_on_owner": True,
}
MONGO: Facts = {
    "server": "MongoDB",
    "is_writable": True,
    "is_replicated": True,
    "journal": True,
    "index_on_expires": True,
}
SQLITE: Facts = {"server": "SQLite", "journal_mode": "wal", "synchronous": "NORMAL"}

RULES: list[tuple[Facts, Facts, str, str]] = [
    (REDIS, {"maxmemory_policy": "allkeys-lru"}, "error", "drops sessions when its memory is full"),
    (REDIS, {"used_memory": 900}, "warning", "90% of maxmemory is used"),
    (REDIS, {"evicted_keys": 3}, "warning", "has dropped 3 keys"),
    (REDIS, {"aof_enabled": 0, "save": ""}, "warning", "a restart logs everybody out"),
    (REDIS, {"rdb_last_bgsave_status": "err"}, "error", "rdb_last_bgsave_status is err"),
    (REDIS, {"role": "slave"}, "error", "this is a replica"),
    (REDIS, {"connected_clients": 95, "maxclients": 100}, "warning", "95 of the 100 connections"),
    (POSTGRES, {"is_replica": True}, "error", "this is a standby"),
    (POSTGRES, {"table_kind": "u"}, "error", "the table is unlogged"),
    (POSTGRES, {"fsync": "off"}, "error", "fsync is off"),
    (POSTGRES, {"synchronous_commit": "off"}, "note", "synchronous_commit is off"),
    (POSTGRES, {"connections": 90}, "warning", "90 of the 100 connections"),
    (POSTGRES, {"pool_size": 200}, "error", "each process may open 200 connections"),
    (POSTGRES, {"index_on_sid": False}, "warning", "no index on 'sid'"),
    (POSTGRES, {"index_on_expire": False}, "warning", "no index on 'expire'"),
    (POSTGRES, {"index_on_owner": False}, "warning", "no index on 'owner'"),
    (MONGO, {"is_writable": False}, "error", "takes no writes"),
    (MONGO, {"is_replicated": False}, "note", "a single server"),
    (MONGO, {"journal": False}, "warning", "do not wait for the journal"),
    (MONGO, {"index_on_expires": False}, "warning", "no index on 'expires'"),
    (SQLITE, {"synchronous": "OFF"}, "error", "may damage the file"),
    (SQLITE, {"journal_mode": "delete"}, "warning", "readers wait for writers"),
]


@pytest.mark.parametrize(("good", "change", "level", "problem"), RULES, ids=[rule[3] for rule in RULES])
def test_a_setting_that_loses_sessions_is_said(good, change, level, problem) -> None:
    assert findings(good, None) == []
    (found,) = findings({**good, **change}, None)
    assert found.level == level and problem in found.problem and found.remedy


def test_express_has_no_index_on_owners_and_needs_none() -> None:
    assert findings({**POSTGRES, "index_on_owner": False}, None, is_express=True) == []


@pytest.mark.parametrize(("skew", "said"), [(0, ""), (1900, ""), (5000, "5.0 s ahead of"), (-5000, "5.0 s behind")])
def test_clocks_that_differ_are_said(skew, said) -> None:
    found = findings(REDIS, skew)
    assert [finding.level for finding in found] == (["warning"] if said else [])
    assert all(said in finding.problem for finding in found)


def test_the_worst_is_said_first() -> None:
    found = findings({**POSTGRES, "synchronous_commit": "off", "index_on_sid": False, "fsync": "off"}, None)
    assert [finding.level for finding in found] == ["error", "warning", "note"]


def test_a_server_that_tells_nothing_is_not_suspected() -> None:
    assert findings({"server": "Redis", "version": ""}, None) == []
