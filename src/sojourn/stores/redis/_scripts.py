"""What runs inside the Redis server: the contract's writes, each an atomic script, for Redis 6.2+ and Valkey 7.2+.

A record is a string. A tombstone is a list of two items, the word "replaced" and the key of its successor: so nothing
that a caller stores can look like a tombstone, and ``SCAN ... TYPE string`` finds records alone. The owner of a
record is under a *pointer* key in the record's own slot: the name of the owner's *index*, a sorted set of names by
deadline. In a cluster the index is in another slot, so there the scripts leave it alone: the store enters a name beforehand
by `INDEX`, and takes it out afterwards by `LEAVE`.

An entry without a record that points back is ignored. In a cluster it may be of a record that is about to be written; so the fraction
of its score says when it was entered, and `HEAL` removes it only once that is long ago. Any entry goes soon after its deadline, as each
new one clears some of those away, and the whole index at the last deadline of all. So no index outlives the sessions in it.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from ...clock import DAY_MS
from ...core.store import CONFLICT, EXISTS, MISSING, Outcome

__all__ = [
    "BATCH",
    "CLUSTERED",
    "ENDLESS",
    "ENTRIES",
    "HEAL",
    "INDEX",
    "INFO",
    "LEAVE",
    "LIFETIMES",
    "LOCK",
    "LOOK",
    "OUTCOMES",
    "OWNED",
    "REPLACED",
    "STANDALONE",
    "UNLOCK",
    "Script",
    "Writes",
    "digest",
    "travelling",
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
    set_owner: Script


BATCH: Final = 1000
"""Entries of an index that one command reads, or clears away."""
ENDLESS: Final = 400 * DAY_MS
"""How long the owner of a record without an expiry is known: as long as a browser keeps a cookie."""

OUTCOMES: Final[dict[int, Outcome]] = {0: MISSING, -1: CONFLICT, -2: EXISTS}
"""What the scripts return when they change nothing."""

# A script is refused for want of memory at its first write alone, so the write that may be refused comes first.
# Likewise a script reads before it writes: a user without the right to read is refused before anything is done.
# What is of another type under a name of ours that is no record's, such as an index, is in the way, and is replaced.
# The fraction of a score is the time of the entry, in 256ths: of ten minutes each, after 256 of which it begins anew. A double has
# them exactly until the year 3084. An entry counts as fresh for ten minutes at least, also after a clock was set back by as much.
_ENTRIES: Final = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function stamp(now) return math.floor(now / 600000) % 256 end
local function is_fresh(score, now) return (stamp(now) - score % 1 * 256 + 2) % 256 < 4 end
local function prune(index, now, most)
  local due = math.min(redis.call('ZCOUNT', index, '-inf', now), most)
  if due > 0 then redis.call('ZREMRANGEBYRANK', index, 0, due - 1) end
  return due
end
"""

_INDEX: Final = (
    _ENTRIES
    + """
local function enter(index, name, ttl, later)
  local kind = redis.call('TYPE', index).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', index) end
  local now = clock()
  local deadline = now + ttl
  if later then deadline = math.max(deadline, math.floor(redis.call('ZSCORE', index, name) or 0)) end
  local added = redis.call('ZADD', index, deadline + stamp(now) / 256, name)
  prune(index, now, 100)
  if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, ttl) end
  return added
end
"""
)

_LIVE: Final = """
local function live(name) return redis.call('TYPE', name).ok == 'string' end
"""

_POINT: Final = """
local function owner(pointer)
  return live(pointer) and string.match(redis.call('GET', pointer), '^{.*owner:%x+}$')
end
local function own(name, pointer, index, ttl)
  local former, added = owner(pointer), 0
  if index ~= '' then
    added = enter(index, name, ttl)
    redis.call('SET', pointer, index, 'PX', ttl)
  elseif former then
    redis.call('DEL', pointer)
  end
  if former and former ~= index then leave(former, name) end
  return added
end
"""

_LEAVE: Final = """
local function leave(index, name)
  if redis.call('TYPE', index).ok == 'zset' then redis.call('ZREM', index, name) end
end
"""

# `done` is what a write returns: 1, or in a cluster the index that its record has left.
_STANDALONE: Final = _LIVE + _INDEX + _LEAVE + "local function done() return 1 end" + _POINT
_CLUSTERED: Final = (
    _LIVE
    + """
local left
local function enter() return 0 end
local function leave(index) left = index end
local function done()
  local index = left
  left = nil
  return index or 1
end
"""
    + _POINT
)

_SHORT: Final = 1024
"""Bytes that are sent sooner than hashed, here and there."""
_DIGITS: Final = 40
"""Of a digest. Nothing else of that length is sent."""


def digest(version: bytes) -> str:
    """What a script knows a record's data by."""
    return hashlib.sha1(version, usedforsecurity=False).hexdigest()


def travelling(version: bytes) -> bytes | str:
    """What is sent of a version, which is the record's data: these where they are short, else their digest, which its length tells."""
    return version if len(version) <= _SHORT and len(version) != _DIGITS else digest(version)


_CHECK: Final = f"""
local function check(name, version)
  local data = redis.pcall('GET', name)
  if type(data) ~= 'string' then return 0 end
  if (#version == {_DIGITS} and redis.sha1hex(data) or data) ~= version then return -1 end
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
        # KEYS name, pointer; ARGV data, ttl, index, version
        replace=Script.of(
            prelude,
            _CHECK,
            """
            local result = check(KEYS[1], ARGV[4])
            if result ~= 1 then return result end
            own(KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[2]))
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return done()
            """,
        ),
        # KEYS new name, new pointer, old name, old pointer; ARGV data, ttl, index, version, tombstone, new key
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
        # KEYS name, pointer; ARGV version, tombstone, new key
        retire=Script.of(
            prelude,
            _CHECK,
            _RETIRE,
            """
            local result = check(KEYS[1], ARGV[1])
            if result ~= 1 then return result end
            retire(KEYS[1], KEYS[2], tonumber(ARGV[2]), ARGV[3])
            return done()
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
        # KEYS name, pointer, for each. Returns for each: what `done` does for a record, the items of a tombstone, 0 for neither
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
                found[i] = done()
              end
            end
            return found
            """,
        ),
        # KEYS name, pointer; ARGV index, version. Returns 2 where nothing had to be changed
        set_owner=Script.of(
            prelude,
            _CHECK,
            f"""
            local result = check(KEYS[1], ARGV[2])
            if result ~= 1 then return result end
            local former, ttl = owner(KEYS[2]) or '', redis.call('PTTL', KEYS[1])
            local added = own(KEYS[1], KEYS[2], ARGV[1], ttl < 0 and {ENDLESS} or ttl)
            return former == ARGV[1] and added == 0 and 2 or done()
            """,
        ),
    )


STANDALONE: Final = _writes(_STANDALONE)
CLUSTERED: Final = _writes(_CLUSTERED)

INDEX: Final = Script.of(_INDEX, "return enter(KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3])")
"""KEYS index; ARGV name, ttl, and where a later deadline is to stay, anything. Returns how many entries are new."""

LEAVE: Final = Script.of(_LEAVE, "for _, name in ipairs(ARGV) do leave(KEYS[1], name) end return 1")
"""KEYS index; ARGV names."""

ENTRIES: Final = Script.of(f"""
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {{'0', {{}}}} end
local found, names = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', {BATCH}), {{}}
for i = 1, #found[2], 2 do names[#names + 1] = found[2][i] end
return {{found[1], names}}
""")
"""KEYS index; ARGV cursor. The next cursor, and names entered there, some of which may have ended or changed hands."""

HEAL: Final = Script.of(
    _ENTRIES,
    f"""
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return 0 end
local now = clock()
for _, name in ipairs(ARGV) do
  local score = redis.call('ZSCORE', KEYS[1], name)
  if score and not is_fresh(score, now) then redis.call('ZREM', KEYS[1], name) end
end
return prune(KEYS[1], now, {BATCH})
""",
)
"""KEYS index; ARGV names without a record that points back. Removes those, unless they are fresh, and a batch of what is past its deadline;
returns how many of these there were."""

OWNED: Final = Script.of(
    _LIVE,
    """
local owned = {}
for i = 1, #KEYS, 2 do
  owned[#owned + 1] = live(KEYS[i]) and live(KEYS[i + 1]) and redis.call('GET', KEYS[i + 1]) == ARGV[1] and 1 or 0
end
return owned
""",
)
"""KEYS name, pointer, for each; ARGV index. Whether each record is live and its owner's."""

LIFETIMES: Final = Script.of("""
local left = {}
for i, name in ipairs(KEYS) do left[i] = redis.call('PTTL', name) end
return left
""")
"""KEYS names. Milliseconds that each has left; below zero where it never ends, or has ended."""

LOOK: Final = Script.of("""
local seen = {}
for i, name in ipairs(KEYS) do
  local kind = redis.call('TYPE', name).ok
  if kind == 'none' then seen[i] = {}
  elseif kind == 'list' then seen[i] = redis.call('LRANGE', name, 0, 1)
  else seen[i] = {redis.sha1hex(kind == 'string' and redis.call('GET', name) or ''), redis.call('PTTL', name)} end
end
return seen
""")
"""KEYS names. Of each the hash of the data and the milliseconds left, the two items of a tombstone, or nothing."""

INFO: Final = Script.of("""
return {redis.call('INFO'), redis.call('TIME')}
""")
"""KEYS any. What the server says of itself, and its time. By a script, as clients take these replies apart, each in its way."""

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
