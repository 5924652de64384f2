"""What runs inside the Redis server: the contract's writes, each an atomic script, for Redis 6.2+ and Valkey 7.2+.

A record is a string. A tombstone is a list of two items, the word "replaced" and the key of its successor: so nothing
that a caller stores can look like a tombstone, and ``SCAN ... TYPE string`` finds records alone. The owner of a
record is under a *pointer* key in the record's own slot: the name of the owner's *index*, a sorted set of names by
deadline. In a cluster the index is in another slot, so there the scripts leave it alone and the store writes it
beforehand by `INDEX`. An entry without a record that points back is ignored, and expires at its deadline.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from ...core.store import CONFLICT, EXISTS, MISSING, Outcome

__all__ = [
    "CLUSTERED",
    "INDEX",
    "LIFETIMES",
    "LOCK",
    "OUTCOMES",
    "OWNED",
    "OWNERS",
    "REPLACED",
    "STANDALONE",
    "UNLOCK",
    "Script",
    "Writes",
]


class Script(NamedTuple):
    """A script and the name that the server knows it by."""

    text: bytes
    sha: bytes

    @classmethod
    def of(cls, *parts: str) -> Script:
        text = "\n".join(parts).encode()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())


class Writes(NamedTuple):
    """The scripts that write records."""

    create: Script
    replace: Script
    regenerate: Script
    retire: Script
    touch: Script
    delete: Script


OUTCOMES: Final[dict[int, Outcome]] = {0: MISSING, -1: CONFLICT, -2: EXISTS}
"""What the scripts return when they change nothing."""

# A script is refused for want of memory at its first write alone, so the write that may be refused comes first.
# Likewise a script reads before it writes: a user without the right to read is refused before anything is done.
# What is of another type under a name of ours that is no record's, such as an index, is in the way, and is replaced.
_INDEX: Final = """
local function enter(index, name, ttl)
  local kind = redis.call('TYPE', index).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', index) end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', index, now + ttl, name)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, ttl) end
end
"""

_LIVE: Final = """
local function live(name) return redis.call('TYPE', name).ok == 'string' end
"""

_POINT: Final = """
local function owner(pointer)
  return live(pointer) and string.match(redis.call('GET', pointer), '^{.*owner:%x+}$')
end
local function own(name, pointer, index, ttl)
  local former = owner(pointer)
  if index ~= '' then
    enter(index, name, ttl)
    redis.call('SET', pointer, index, 'PX', ttl)
  elseif former then
    redis.call('DEL', pointer)
  end
  if former and former ~= index then leave(former, name) end
end
"""

_LEAVE: Final = """
local function leave(index, name)
  if redis.call('TYPE', index).ok == 'zset' then redis.call('ZREM', index, name) end
end
"""

_STANDALONE: Final = _LIVE + _INDEX + _LEAVE + _POINT
_CLUSTERED: Final = _LIVE + "local function enter() end local function leave() end" + _POINT

# The version is the data itself; its hash is what travels.
_CHECK: Final = """
local function check(name, hash)
  local data = redis.pcall('GET', name)
  if type(data) ~= 'string' then return 0 end
  if redis.sha1hex(data) ~= hash then return -1 end
  return 1
end
"""

REPLACED: Final = b"replaced"
"""The first item of a tombstone. The second is the key of its successor, which older versions left out."""

_RETIRE: Final = """
local function retire(name, pointer, ttl, successor)
  own(name, pointer, '', 0)
  redis.call('DEL', name)
  if ttl > 0 then
    redis.call('RPUSH', name, 'replaced', successor)
    redis.call('PEXPIRE', name, ttl)
  end
end
"""


def _writes(prelude: str) -> Writes:
    return Writes(
        # KEYS name, pointer; ARGV data, ttl, index
        create=Script.of(
            prelude,
            """
            if redis.call('EXISTS', KEYS[1]) == 1 then return -2 end
            own(KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[2]))
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return 1
            """,
        ),
        # KEYS name, pointer; ARGV data, ttl, index, hash
        replace=Script.of(
            prelude,
            _CHECK,
            """
            local result = check(KEYS[1], ARGV[4])
            if result ~= 1 then return result end
            own(KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[2]))
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return 1
            """,
        ),
        # KEYS new name, new pointer, old name, old pointer; ARGV data, ttl, index, hash, tombstone, new key
        regenerate=Script.of(
            prelude,
            _CHECK,
            _RETIRE,
            """
            local result = check(KEYS[3], ARGV[4])
            if result ~= 1 then return result end
            if redis.call('EXISTS', KEYS[1]) == 1 then return -2 end
            own(KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[2]))
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            retire(KEYS[3], KEYS[4], tonumber(ARGV[5]), ARGV[6])
            return 1
            """,
        ),
        # KEYS name, pointer; ARGV hash, tombstone, new key
        retire=Script.of(
            prelude,
            _CHECK,
            _RETIRE,
            """
            local result = check(KEYS[1], ARGV[1])
            if result == 1 then retire(KEYS[1], KEYS[2], tonumber(ARGV[2]), ARGV[3]) end
            return result
            """,
        ),
        # KEYS name, pointer; ARGV ttl. Returns the owner's index if there is one
        touch=Script.of(
            prelude,
            """
            if not live(KEYS[1]) then return 0 end
            redis.call('PEXPIRE', KEYS[1], ARGV[1])
            local index = owner(KEYS[2])
            if not index then return 1 end
            own(KEYS[1], KEYS[2], index, tonumber(ARGV[1]))
            return index
            """,
        ),
        # KEYS name, pointer, for each. Returns for each: 1 for a record, the items of a tombstone, 0 for neither
        delete=Script.of(
            prelude,
            """
            local found = {}
            for i = 1, #KEYS, 2 do
              local type = redis.call('TYPE', KEYS[i]).ok
              found[#found + 1] = type == 'string' and 1 or type == 'list' and redis.call('LRANGE', KEYS[i], 0, 1) or 0
            end
            for i, what in ipairs(found) do
              if what == 1 then
                own(KEYS[2 * i - 1], KEYS[2 * i], '', 0)
                redis.call('DEL', KEYS[2 * i - 1])
              end
            end
            return found
            """,
        ),
    )


STANDALONE: Final = _writes(_STANDALONE)
CLUSTERED: Final = _writes(_CLUSTERED)

INDEX: Final = Script.of(_INDEX, "enter(KEYS[1], ARGV[1], tonumber(ARGV[2])) return 1")
"""KEYS index; ARGV name, ttl."""

OWNERS: Final = Script.of("""
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {} end
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], 0, -1)
""")
"""KEYS index. The names entered there, some of which may have ended or changed hands."""

OWNED: Final = Script.of(
    _LIVE, "return live(KEYS[1]) and live(KEYS[2]) and redis.call('GET', KEYS[2]) == ARGV[1] and 1 or 0"
)
"""KEYS name, pointer; ARGV index. Whether the record is live and its owner's."""

LIFETIMES: Final = Script.of("""
local left = {}
for i, name in ipairs(KEYS) do left[i] = redis.call('PTTL', name) end
return left
""")
"""KEYS names. Milliseconds that each has left; below zero where it never ends, or has ended."""

LOCK: Final = Script.of(
    """
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left <= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)
"""KEYS lock; ARGV token, ttl, the longest that a lock may have left: 1 if it was free."""
UNLOCK: Final = Script.of("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0")
"""KEYS lock; ARGV token."""
