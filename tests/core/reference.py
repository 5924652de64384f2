"""What one request does to its session: the specification as a small program that plays it through.

It imports nothing of sojourn and was written without looking at it. A dict plays the store. What a handler calls
changes the session in memory; `commit` and `end` change the store. `expected()` tells what is left.

The ids brought are "first" and "second". RECORD, PENDING, UNAVAILABLE: both are live. TOMBSTONE: "first" is replaced
by "successor", which lives; "second" names nothing. NOTHING: none lives. PENDING is the sync colour.

    RESPONSE  expected(found, brought, ops)              the ops, then the headers
    LATE      expected(found, brought, (), ops)          the headers, then the ops, then the end
    FAILED    expected(found, brought, ops, failed=True) the ops, then the handler raises: no headers of ours

Where the specification is silent, this is chosen:

 1. The cookie is expired by an ending only if there was something to end: an id brought, or a record stored.
 2. What has to be stored after `invalidate()` is what has to be stored after `regenerate()`: data, an owner, or,
    with save_uninitialized, an empty session.
 3. "Kept" means that `regenerate(keep_data=True)` met a record of this session that nothing had dropped before:
    it moves, even emptied.
 4. A changed cookie is a change (contract 70), also of a new session, which it alone makes worth storing.
 5. After `invalidate()`, `regenerate()` and `login()` leave it invalidated: all brought ids still end.
 6. `regenerate()` or `login()` under a tombstone makes the session storable for the rest of the request.
    After `invalidate()` a session is an ordinary one, whatever was found.
 7. A pending session is loaded by all uses but destroy, invalidate (so clear), save and the slot; also by touch and
    cookie. Not loaded, it is neither resaved nor sent by rolling: nobody knows whether it lives.
 8. Rolling is decided when the headers leave and by `save()`, and only for a session that is stored then and whose slot is full.
 9. Late, a touch and a changed cookie of a stored session are carried out at the end; so is `save()` of the latter,
    as no new id has to be told.
10. After a late `invalidate()`, `login()` is a write and raises; `regenerate()`, `touch()` and the cookie do nothing.
    Where `invalidate()` came before the headers, a late write is that of any new session.
11. A late `save()` raises for what the late commit would refuse, and only then: never for a session with nothing to
    store and nothing to replace. A late `regenerate()` of a stored session is refused even if nothing is to be stored.
    What was changed along with a refused `regenerate()` is lost with it.
12. What is not going to be stored is not encoded: no SessionEncodeError under a tombstone, unavailable, destroyed,
    unset, refused or failed. `regenerate()` on UNAVAILABLE is a StoreUnavailable before it is a SessionEncodeError.
13. `save()` is a commit: resave and save_uninitialized count (not late). A `save()` that raises SessionEncodeError changes
    nothing and may be tried again; at the headers and at the end the endings are carried out all the same.
14. A commit that raises tells the browser nothing, and ends the request: what comes `after` is not run. A handler that
    raises tells nothing either, not even what an earlier `save()` owed.
15. At the end a SessionEncodeError is reported like one at the headers; whether it is raised or logged is not said.
16. A `save()` with the slot empty does nothing, except that it carries out a destroy.
17. The slot's None or enum member is an ending wherever it is decided: also late, and when the handler raises. So
    `regenerate()` and then None under "keep" ends all brought ids even late or failed. Afterwards the session is
    destroyed. None under "keep" otherwise drops also the touch, resave and rolling. Of two values the last one counts.
18. What a `save()` owes is overridden by what comes later. Where the record goes by a `regenerate()` with nothing to
    store, a "send" that was owed is dropped.
19. `clear_keeps` is `clear()` as a change of data alone: the owner and the cookie stay; a pending session is loaded.
20. `destroy()` of a destroyed session is no error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Found = Literal["NOTHING", "RECORD", "TOMBSTONE", "PENDING", "UNAVAILABLE"]
Ops = Sequence[str]
Told = Literal["send", "expire"]

# fmt: off
OPS = ("read", "put", "pop", "unstorable", "clear", "invalidate", "regenerate", "regenerate_keep", "login", "login_keep",
       "logout", "touch", "cookie", "none", "enum", "save")
# fmt: on


class Live(NamedTuple):
    data: dict[str, object]
    owner: str | None = None
    max_age: int | None = None  # the session's own


class Tombstone(NamedTuple):
    successor: str


UNSTORABLE = object()
FIRST, SECOND, SUCCESSOR = Live({"n": 1}), Live({"n": 2}), Live({"n": 3})  # what was stored before the request


@dataclass(frozen=True)
class Options:
    unset: Literal["destroy", "keep"] = "destroy"
    save_uninitialized: bool = False
    resave: bool = False
    rolling: bool = False
    clear_keeps: bool = False


DEFAULTS = Options()
Fate = Live | Literal["tombstone", "gone"]


@dataclass(frozen=True)
class Expected:
    fates: dict[str, Fate]  # of the ids brought, and of "successor" under TOMBSTONE
    new: Live | None  # the one live record that was not there before
    cookie: Told | None
    errors: tuple[str | None, ...]  # of each operation that was run
    commit: str | None  # the error when the headers leave
    end: str | None  # the error at the late commit; "refused": nothing is stored, and an error is in the log
    renewed: bool  # "first" lives, and its expiry counts from now: it was written or touched


class Request:
    def __init__(self, found: Found, brought: int, options: Options) -> None:
        assert 0 <= brought <= 2 and (brought or found == "NOTHING")
        self.options = options
        self.brought = ("first", "second")[:brought]
        self.left: tuple[str, ...] = self.brought  # not ended yet by this request
        self.store: dict[str, Live | Tombstone] = {}
        if found == "TOMBSTONE":
            self.store = {"first": Tombstone("successor"), "successor": SUCCESSOR}
        elif found != "NOTHING":
            self.store = {key: live for key, live in (("first", FIRST), ("second", SECOND)) if key in self.brought}

        # The session in memory.
        self.data: dict[str, object] = {}
        self.owner: str | None = None
        self.max_age: int | None = None
        self.key: str | None = None  # where it is stored
        self.asked: Literal["regenerate", "invalidate", "destroy"] | None = None
        self.kept = False  # the record moves along with the regenerate that is asked for
        self.touched = self.renewed = False
        self.pending = found == "PENDING"
        self.unavailable = found == "UNAVAILABLE"
        self.storable = found == "NOTHING"
        self.slot = "session"
        if found == "RECORD":
            self.load()

        # The response.
        self.late = False
        self.closed = False  # invalidated late: there is no way to write any more
        self.cookie: Told | None = None
        self.made = 0

    # What the handler calls. The answer is the name of the error.

    def do(self, op: str) -> str | None:
        assert op in OPS
        if op == "save":
            if self.asked != "destroy" and self.slot != "session":
                return None
            return "SessionEncodeError" if self.asked == "invalidate" and not self.encodes() else self.save()
        if op in ("none", "enum"):
            self.slot = op
            return None
        if op == "logout":
            self.asked = "destroy"
            return None
        if self.asked == "destroy":
            return "SessionDestroyed"
        if op == "invalidate" or (op == "clear" and not self.options.clear_keeps):
            self.invalidate()
            return None
        if self.closed and op in ("put", "unstorable", "login", "login_keep"):
            return "HeadersAlreadySent"
        if self.pending:
            self.load()
        match op:
            case "put":
                self.data["m"] = 1
            case "unstorable":
                self.data["x"] = UNSTORABLE
            case "pop":
                self.data.pop("n", None)
            case "clear":
                self.data = {}
            case "touch":
                self.touched = True
            case "cookie":
                self.max_age = 60
            case "regenerate" | "regenerate_keep":
                self.regenerate(keep=op == "regenerate_keep")
            case "login" | "login_keep":
                self.regenerate(keep=op == "login_keep")
                self.owner = "ann"
            case _:
                assert op == "read"
        return None

    def encodes(self) -> bool:
        return UNSTORABLE not in self.data.values()

    def save(self) -> str | None:
        error = self.commit()
        if self.options.rolling and self.key is not None and error is None:
            self.tell("send")
        return error

    def load(self) -> None:
        self.pending, self.storable, self.key, self.data = False, True, "first", dict(FIRST.data)

    def forget(self) -> None:
        self.data, self.owner, self.max_age, self.kept = {}, None, None, False

    def invalidate(self) -> None:
        self.forget()
        self.asked = "invalidate"
        self.pending, self.unavailable, self.storable = False, False, True
        self.closed = self.late

    def regenerate(self, *, keep: bool) -> None:
        if not keep:
            self.forget()
        elif self.asked is None:
            self.kept = self.key is not None
        self.asked = self.asked or "regenerate"
        self.storable = not self.unavailable

    # What reaches the store and the browser.

    def tell(self, what: Told) -> None:
        if not self.late:
            self.cookie = what

    def end(self, spare: str | None = None) -> None:
        """All brought ids, this session's own, and the successors of those that are tombstones."""
        keys = {*self.left, self.key} - {None}
        self.left = ()
        if keys:
            self.tell("expire")
        while keys:
            key = keys.pop()
            if key is None or key == spare:
                continue
            entry = self.store.pop(key, None)
            if isinstance(entry, Tombstone):
                keys.add(entry.successor)
        self.key = spare

    def store_as_new(self) -> None:
        """Under a new id. An old one that is still stored becomes a tombstone, in the same step."""
        self.made += 1
        new = f"new {self.made}"
        self.store[new] = Live(dict(self.data), self.owner, self.max_age)
        if self.key is not None:
            self.store[self.key] = Tombstone(new)
        self.key = new
        self.tell("send")

    def commit(self) -> str | None:
        encodes = self.encodes()
        own_cookie = self.max_age is not None and not self.closed
        worth = bool(
            self.data or self.owner or self.kept or own_cookie or (self.options.save_uninitialized and not self.late)
        )

        if self.asked == "destroy":
            self.end()
            return None

        if self.asked == "invalidate":
            self.asked = None
            if worth and encodes:
                self.end(spare=self.key)
                self.store_as_new()
            else:
                self.end()
            return None if encodes else "SessionEncodeError"

        if self.asked is None and not self.storable:
            return None

        if self.asked == "regenerate" or self.key is None:
            if self.late and (worth or self.key or self.unavailable):
                return "HeadersAlreadySent"
            if self.unavailable:
                return "StoreUnavailable"
            if not encodes:
                return "SessionEncodeError"
            self.asked, self.kept = None, False
            if worth:
                self.store_as_new()
            elif self.key is not None:
                del self.store[self.key]
                self.key = None
                self.cookie = None if self.cookie == "send" else self.cookie
            return None

        if not encodes:
            return "SessionEncodeError"
        now = Live(dict(self.data), self.owner, self.max_age)
        changed = now != self.store[self.key]
        if changed and now.max_age is not None:
            self.tell("send")
        if changed or self.touched or (self.options.resave and not self.late):
            self.renewed = self.renewed or self.key == "first"
        self.store[self.key] = now
        self.touched = False
        return None

    def leads_somewhere(self, key: str) -> bool:
        """Whether a tombstone's successors end at a live record. One that leads nowhere is as good as gone."""
        entry = self.store.get(key)
        return self.leads_somewhere(entry.successor) if isinstance(entry, Tombstone) else entry is not None

    # What the middleware does: when the headers leave, at the end, and when the handler raised.

    def unset_ends(self) -> bool:
        return self.slot == "enum" or (self.slot == "none" and (self.options.unset == "destroy" or bool(self.asked)))

    def close(self) -> str | None:
        if self.unset_ends():
            self.asked = "destroy"
        elif self.slot == "none":
            return None
        error = self.save()
        if error is not None and not self.late:
            self.cookie = None
        return "refused" if error == "HeadersAlreadySent" else error

    def fail(self) -> None:
        if self.unset_ends() or self.asked in ("destroy", "invalidate"):
            self.end()
        self.cookie = None


def expected(
    found: Found, brought: int, before: Ops, after: Ops = (), *, failed: bool = False, options: Options = DEFAULTS
) -> Expected:
    assert not (failed and after), "no headers left, so there is no after"
    request = Request(found, brought, options)
    errors = [request.do(op) for op in before]
    commit = end = None
    if failed:
        request.fail()
    else:
        commit = request.close()
        if commit is None:
            request.late = True
            errors += [request.do(op) for op in after]
            end = request.close()

    fates: dict[str, Fate] = {}
    for key in (*request.brought, "successor") if found == "TOMBSTONE" else request.brought:
        entry = request.store.get(key)
        fates[key] = entry if isinstance(entry, Live) else "tombstone" if request.leads_somewhere(key) else "gone"
    made = [entry for key, entry in request.store.items() if key.startswith("new") and isinstance(entry, Live)]
    assert len(made) <= 1, "a session is stored once"
    renewed = request.renewed and isinstance(fates.get("first"), Live)
    return Expected(fates, made[0] if made else None, request.cookie, tuple(errors), commit, end, renewed)
