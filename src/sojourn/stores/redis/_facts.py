"""What Redis says of itself, as far as it matters to sessions."""

from __future__ import annotations

from typing import Any, Final

from ...core.store import Facts

__all__ = ["facts_in"]

_TOLD: Final = frozenset(
    {
        "maxmemory",
        "maxmemory_policy",
        "used_memory",
        "evicted_keys",
        "aof_enabled",
        "rdb_last_bgsave_status",
        "aof_last_write_status",
        "role",
        "connected_clients",
        "maxclients",
        "cluster_enabled",
    }
)


def facts_in(told: Any, saves: Any) -> Facts:
    """The facts in what the script returns, and in the reply to ``CONFIG GET save``; None of what was refused."""
    facts: Facts = {"server": "Redis", "version": ""}
    if told is not None:
        info, (seconds, micros) = told
        lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
        found = {name: value for name, colon, value in lines if colon}
        facts["version"] = found.get("redis_version", "")
        if "valkey_version" in found:
            facts |= {"server": "Valkey", "version": found["valkey_version"]}
        facts |= {name: int(value) if value.isdecimal() else value for name, value in found.items() if name in _TOLD}
        facts["now"] = int(seconds) * 1000 + int(micros) // 1000
    if saves:
        (save,) = saves.values() if isinstance(saves, dict) else saves[1:]
        facts["save"] = save if isinstance(save, str) else save.decode()
    return facts
